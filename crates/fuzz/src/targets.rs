//! What is fuzzed.

use cowcheck::compare::{compare, parse};
use cowcheck_model::checker::judge;
use cowcheck_model::explain::explain;
use cowcheck_model::text;
use cowcheck_model::trace::Trace;
use cowcheck_model::verdict::Kind;

/// A reader of texts from elsewhere.
pub(crate) struct Target {
    /// As `--target` names it, and its folder in `corpus/`.
    pub(crate) name: &'static str,
    /// Reads one input; panics if something is wrong.
    pub(crate) run: fn(&[u8]),
    /// Words that mean something to it.
    pub(crate) words: &'static [&'static str],
}

/// All of them. A new one is a line here and a folder of seeds in `corpus/`.
pub(crate) const TARGETS: [Target; 3] = [
    Target { name: "scenario", run: scenario, words: LANGUAGE },
    Target { name: "trace", run: trace, words: JSON },
    Target { name: "results", run: results, words: RESULTS },
];

/// What `--target` can be.
pub(crate) fn names() -> Vec<&'static str> {
    TARGETS.iter().map(|target| target.name).collect()
}

/// The page sizes of arm64 and x86 and the smallest that is accepted.
const PAGE_SIZES: [u32; 3] = [4096, 65536, 512];

/// What is read is printed, and read again, as the same.
fn scenario(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    match text::parse(&text) {
        Ok(scenario) => {
            let printed = scenario.to_string();
            assert_eq!(text::parse(&printed).as_ref(), Ok(&scenario), "printed:\n{printed}");
            for page_size in PAGE_SIZES {
                let valid = text::parse_valid(&text, page_size);
                assert_eq!(valid.is_ok(), scenario.validate(page_size).is_ok());
            }
        }
        Err(error) => {
            assert!(error.line >= 1 && error.column >= 1, "{error}");
            assert!(error.line <= text.lines().count().max(1), "{error}");
            assert!(error.to_string().len() < 2000, "{error}");
        }
    }
}

/// What is read can be judged and explained, and is written and read again as the same.
fn trace(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let Ok(trace) = Trace::from_json(&text) else { return };
    let verdict = judge(&trace);
    assert_eq!(verdict.kind() == Kind::Pass, verdict.reason().is_empty());
    assert!(!explain(&trace, &verdict).is_empty());
    let again = match Trace::from_json(&trace.to_json()) {
        Ok(again) => again,
        Err(error) => panic!("{error}"),
    };
    assert_eq!(again, trace);
    assert_eq!(judge(&again), verdict);
    if verdict.kind() == Kind::Pass {
        // A trace that lacks any of its records tells less, so it cannot pass.
        let mut less = again;
        if less.records.pop().is_some() {
            assert_ne!(judge(&less).kind(), Kind::Pass);
        }
    }
}

/// What is read as results differs in nothing from itself, and can be told.
fn results(input: &[u8]) {
    match parse(input, "fuzz") {
        Ok(results) => {
            let comparison = compare(&results, &results);
            assert!(!comparison.differs(), "{comparison}");
            assert!(!comparison.to_string().is_empty());
        }
        Err(error) => {
            assert!(error.line >= 1 && error.column >= 1, "{error}");
            assert!(error.to_string().len() < 4000, "{error}");
        }
    }
}

const RESULTS: &[&str] = &[
    "KTAP version 1\n",
    "TAP version 13\n",
    "TAP version 14\n",
    "KTAP version 2\n",
    "1..2\n",
    "ok 1 ",
    "not ok 2 ",
    "\nok 2 # SKIP ",
    " # SKIP ",
    " # XFAIL ",
    " # TIMEOUT ",
    " # ERROR ",
    " # TODO ",
    "# Subtest: cow\n",
    "# [RUN] ",
    "# [INFO] ",
    "# Totals: pass:1 fail:0 xfail:0 xpass:0 skip:0 error:0\n",
    "No leak from parent into child",
    " ... with base page",
    " ... with THP (2048 kB)",
    "Bail out!",
    "  ",
    "    ",
    "\r\n",
    "{\"type\":\"start\",\"cowcheck_results\":1,\"planned\":2}\n",
    "{\"type\":\"check\",\"id\":\"cow/fork-write/base\",\"verdict\":\"pass\"}\n",
    "\"verdict\":\"skip\",\"reason\":\"no swap\",\"remedy\":\"\"",
    "\"verdict\":\"fail\",\"violations\":[]",
    "\"description\":\"Basic COW after fork() ... with base page\"",
    "\"repeat\":2",
    "{\"type\":\"end\",\"micros\":1,\"counts\":{\"pass\":1},\"not_run\":1}\n",
    "{\"type\":\"note\",\"text\":\"\"}\n",
    "cow/",
    "\"",
    "{",
    "}",
];

const LANGUAGE: &[&str] = &[
    "cowcheck scenario 1\n",
    "memory ",
    "anon 4K",
    "thp 32K",
    "hugetlb 2M",
    "zero 4K",
    "huge-zero 2M",
    "memfd 16K",
    "tmpfile 16K",
    "memfd-hugetlb 2M",
    "shmem-thp 2M",
    " x8",
    "\nA ",
    "\nB ",
    "write ",
    "poke ",
    "read ",
    "touch ",
    "backing ",
    "via ",
    "probe ",
    "fork B",
    "fork C",
    "exit",
    "\n| A fork B",
    "\n| B write all",
    "| ",
    "mprotect ",
    " none",
    " ro",
    " rw",
    "dontfork ",
    "dofork ",
    "wipeonfork ",
    "dontneed ",
    "free ",
    "hugepage ",
    "nohugepage ",
    "pageout ",
    "collapse ",
    " of B",
    "khugepaged ",
    "storm ",
    "storm all collapse fork gup split pageout pin mprotect",
    "guard ",
    "unguard ",
    "mergeable ",
    "reclaim",
    "swapoff",
    "ksm",
    "uffd-wp ",
    "uffd-unwp ",
    "mlock ",
    "munlock ",
    "split ",
    "migrate ",
    "munmap ",
    "mremap ",
    "clear-soft-dirty",
    "pin rw p0 ",
    "pin ro p1 ",
    "pin short ro fast p2 ",
    "pin rw fast p3 ",
    "pin ro fast p2 ",
    "splice p3 ",
    "unpin p0",
    "require ",
    "populated ",
    "swapped ",
    "pmd-mapped ",
    "pte-mapped ",
    "folio ",
    "shared ",
    "exclusive ",
    "ksm ",
    "zero-page ",
    "pinned ",
    "all",
    "lower",
    "upper",
    "first",
    "last",
    "rest",
    "even",
    "odd",
    "page 0",
    "pages 0-3,5",
    " # ",
    "#",
    "\n",
    "\r\n",
    "\u{a0}",
    "\u{2028}",
    "18446744073709551615",
    "524287",
    "4294967296",
];

const JSON: &[&str] = &[
    "\\n",
    "\\nA write all",
    "\\nA fork B",
    "\\nB read all",
    "\\nA read via p0",
    "\\nA collapse all",
    "\\nA storm all gup",
    "\\n| A write all",
    "\\n| A fork B",
    ",\"storm\":{\"micros\":1,\"cpus\":2,\"rounds\":9,\"rivals\":[{\"rival\":\"gup\",\"rounds\":3}],\"sightings\":[{\"eye\":\"gup\",\"page\":0,\"offset\":40,\"least\":1,\"most\":2,\"count\":0,\"word\":\"0x0\"}]}",
    "\"eye\":\"again\"",
    "\"eye\":\"rest\"",
    "\"eye\":\"protected\"",
    "\"more\":3",
    "\"ok\"",
    "{\"partial\":3}",
    "{\"errno\":22}",
    "{\"signal\":{\"signal\":7,\"page\":3}}",
    "{\"unmet\":\"x\"}",
    "{\"skipped\":\"x\"}",
    ",\"seen\":[{\"pages\":\"0-3\",\"holds\":\"zero\"}]",
    "zero",
    "no fault",
    "fault SIGSEGV (11)",
    "A@1 of page 0",
    "B@3 of page 1",
    "initial of page 0",
    "foreign 0x10001",
    "raw 0xff",
    "torn 0:zero;8:raw 0x1",
    "\"tries\":2",
    ",\"states\":[{\"actor\":\"A\",\"pages\":\"0-3\",\"present\":true,\"exclusive\":true,\"pfn\":1}]",
    "\"soft_dirty\":true",
    "\"present\":true",
    "\"writable\":true",
    "\"exclusive\":false",
    "\"swap\":7",
    "\"index\":3",
    "\"order\":9",
    "\"mapcount\":2",
    "\"tail_exclusive\":true",
    ",\"states_left_out\":true",
    "\"pinned\":true",
    "\"swapped\":true",
    "\"file\":true",
    "\"kernel_log\":[\"WARNING\"],",
    "\"hugetlb_missing\":1,",
    "\"complete\"",
    "{\"failed\":\"x\"}",
    "{\"died\":{\"actor\":\"A\",\"step\":1,\"how\":\"x\",\"signal\":9}}",
    "{\"timeout\":{\"actor\":\"A\",\"step\":1,\"limit_ms\":1,\"state\":\"x\"}}",
    "null",
    "0",
    "1",
    "-1",
    "1e300",
    "524287",
    "4294967295",
    "18446744073709551615",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\u0000",
    "\\ud800",
];
