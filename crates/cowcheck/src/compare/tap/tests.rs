//! The readers of KTAP and TAP, on texts by hand.

use super::*;
use crate::compare::parse;
use crate::report::ktap::Ktap;
use crate::report::sample;

fn results(text: &str) -> Results {
    parse(text.as_bytes(), "x.tap").unwrap()
}

fn rows(text: &str) -> Vec<(String, Kind, String)> {
    results(text).rows.into_iter().map(|row| (row.key, row.verdict, row.reason)).collect()
}

fn row(key: &str, verdict: Kind, reason: &str) -> (String, Kind, String) {
    (key.to_owned(), verdict, reason.to_owned())
}

fn error(text: &str) -> String {
    parse(text.as_bytes(), "x.tap").unwrap_err().to_string()
}

/// By hand, in the form that cow.c of 7.2 prints.
const COW: &str = "TAP version 13\n# [INFO] detected PMD size: 2048 KiB\n1..5\n\
    # [INFO] Anonymous memory tests in private mappings\n\
    # [RUN] Basic ... with base page\nok 1 Basic ... with base page\n\
    # [RUN] Basic ... with swapped out base page\n# MADV_PAGEOUT did not work\nok 2 # SKIP Basic ... with swapped out base page\n\
    # [RUN] vmsplice() ... with hugetlb (2048 kB)\n# Leak from parent into child\nok 3 # XFAIL vmsplice() ... with hugetlb (2048 kB)\n\
    # [RUN] fork() ... with THP (2048 kB)\n# Longterm pin is not reliable\nnot ok 4 fork() ... with THP (2048 kB)\n\
    # [RUN] Non-anonymous memory tests in private mappings\n# [RUN] Basic ... with memfd\nok 5 Basic ... with memfd\n\
    # 1 skipped test(s) detected.\n# Totals: pass:2 fail:1 xfail:1 xpass:0 skip:1 error:0\n";

fn cow_rows(prefix: &str) -> Vec<(String, Kind, String)> {
    [
        row("Basic ... with base page", Kind::Pass, ""),
        row("Basic ... with swapped out base page", Kind::Skip, "MADV_PAGEOUT did not work"),
        row("vmsplice() ... with hugetlb (2048 kB)", Kind::Xfail, "Leak from parent into child"),
        row("fork() ... with THP (2048 kB)", Kind::Fail, "Longterm pin is not reliable"),
        row("Basic ... with memfd", Kind::Pass, ""),
    ]
    .map(|(key, verdict, reason)| (format!("{prefix}{key}"), verdict, reason))
    .to_vec()
}

#[test]
fn cow_c_is_read() {
    assert_eq!(rows(COW), cow_rows(""));
    let results = results(COW);
    assert_eq!((results.source, results.truncated, results.notes.len()), (Source::Tap, false, 0));
}

#[test]
fn an_older_cow_c_is_read() {
    let old = "TAP version 13\n1..3\n# [RUN] Basic ... with base page\nok 1 No leak from parent into child\n\
        # [RUN] Basic ... (fully shared)\nok 2 # SKIP MADV_COLLAPSE failed: Invalid argument\n\
        # [RUN] Basic ... with memfd\nnot ok 3 Leak from parent into child\n";
    assert_eq!(
        rows(old),
        [
            row("Basic ... with base page", Kind::Pass, ""),
            row("Basic ... (fully shared)", Kind::Skip, "MADV_COLLAPSE failed: Invalid argument"),
            row("Basic ... with memfd", Kind::Fail, "Leak from parent into child"),
        ]
    );
}

#[test]
fn what_the_runner_of_kselftest_makes_of_it_is_read() {
    let inner: String = COW.lines().skip(1).map(|line| format!("# {line}\n")).collect();
    let text = format!("TAP version 13\n1..1\n# selftests: mm: cow\n{inner}not ok 1 selftests: mm: cow # exit=1\n");
    assert_eq!(rows(&text), cow_rows("selftests: mm: cow/"));
    assert_eq!(results(&text).rows[1].description.as_deref(), Some("Basic ... with swapped out base page"));
    assert!(!results(&text).truncated);
}

#[test]
fn a_kernel_log_with_time_stamps_is_read() {
    let log: String = COW.lines().map(|line| format!("<6>[    1.250000] {line}\r\n")).collect();
    let log = format!("[    0.000000] Linux version 6.18\nok, booting\n{log}[   20.000000] reboot: Power down\n");
    assert_eq!(rows(&log), cow_rows(""));
}

#[test]
fn subtests_are_named_by_their_path() {
    let text = "KTAP version 1\n1..3\n  KTAP version 1\n  # Subtest: a\n  1..2\n    KTAP version 1\n    1..1\n    ok 1 x\n  ok 1 deep\n  \
        # why not\n  not ok 2 y\nnot ok 1 a\nok 2 - b\n    # Subtest: c\n    1..1\n    ok 1 z # SKIP no device\nnot ok 3 c\n";
    assert_eq!(
        rows(text),
        [
            row("a/deep/x", Kind::Pass, ""),
            row("a/y", Kind::Fail, "why not"),
            row("b", Kind::Pass, ""),
            row("c/z", Kind::Skip, "no device"),
            // No result within tells why.
            row("c", Kind::Fail, ""),
        ]
    );
    assert_eq!(results(text).notes, Vec::<String>::new());
}

#[test]
fn tap_14_is_read() {
    let text = "TAP version 14\n# Subtest: first\n    ok 1 - a\n    ok 2 - b\n    1..2\nok 1 - first\n\
        # Subtest: second\n    not ok 1 - a # TODO later\n    1..1\nok 2 - second\n1..2\n";
    assert_eq!(
        rows(text),
        [row("first/a", Kind::Pass, ""), row("first/b", Kind::Pass, ""), row("second/a", Kind::Xfail, "later")]
    );
    assert_eq!(results(text).notes, Vec::<String>::new());
}

#[test]
fn runs_one_after_the_other_are_each_complete() {
    let text = "TAP version 13\n1..1\nok 1 a\nTAP version 13\n1..2\nok 1 b\n";
    assert_eq!(rows(text), [row("a", Kind::Pass, ""), row("b", Kind::Pass, "")]);
    assert_eq!(results(text).notes, ["1 of 2 planned tests have a result"]);
}

#[test]
fn every_directive_has_its_verdict() {
    let text = "TAP version 13\n1..9\nok 1 a # SKIP s\nok 2 b # XFAIL x\nnot ok 3 c # TIMEOUT t\nnot ok 4 d # ERROR e\n\
        not ok 5 # error f\nok 6 # XPASS g\nok 7 h # TODO i\nnot ok 8 j # exit=2\nok 9\n";
    assert_eq!(
        rows(text),
        [
            row("a", Kind::Skip, "s"),
            row("b", Kind::Xfail, "x"),
            row("c", Kind::Timeout, "t"),
            row("d", Kind::Crash, "e"),
            row("f", Kind::Crash, ""),
            row("g", Kind::Pass, ""),
            row("h", Kind::Pass, ""),
            row("j", Kind::Fail, "exit=2"),
            row("result 9", Kind::Pass, ""),
        ]
    );
}

fn ours(count: usize, stopped: Option<&str>) -> String {
    let mut out = Vec::new();
    sample::play_part(&mut Ktap::new(&mut out), count, stopped);
    String::from_utf8(out).unwrap()
}

#[test]
fn ours_is_read_with_ids_and_the_names_of_cow_c() {
    let results = results(&ours(8, None));
    assert_eq!((results.source, results.truncated, &results.notes), (Source::CowcheckKtap, false, &vec![]));
    assert_eq!(results.kernel.as_deref(), Some("6.18.0 #1 SMP"));
    let mut outcomes = sample::outcomes();
    outcomes.sort_by_key(|outcome| outcome.index);
    assert_eq!(results.rows.len(), 8);
    for (row, outcome) in results.rows.iter().zip(outcomes) {
        let planned = &sample::start().plan[outcome.index];
        assert_eq!(row.id.as_deref(), Some(planned.id.as_str()));
        assert_eq!((&row.description, row.verdict), (&planned.description, outcome.verdict.kind()));
        let known = outcome.verdict.reason().replace('#', "_");
        assert!(row.reason.replace('#', "_").starts_with(&known), "{row:?}");
    }
}

#[test]
fn what_ours_did_not_run_is_no_row() {
    let results = results(&ours(2, Some("Ctrl-C")));
    let ids: Vec<&str> = results.rows.iter().map(|row| row.key.as_str()).collect();
    assert_eq!(ids, ["cow/fork-write/base", "cow/collapse-all/thp"]);
    assert!(results.truncated);
    assert_eq!(results.notes.len(), 6, "{:?}", results.notes);
    assert_eq!(results.notes[0], "cow/fork-write/base-swapped: not run: Ctrl-C");
}

#[test]
fn a_cut_file_is_read_as_far_as_it_goes() {
    for text in [COW.to_owned(), ours(8, None)] {
        let whole = results(&text).rows;
        let complete = text.find("\n# Totals").or(text.find("\nnot ok 2 own")).unwrap();
        let plan = text.find("\n1..").unwrap() + "\n1..9".len();
        for end in plan + 1..complete {
            let cut = parse(&text.as_bytes()[..end], "x").unwrap();
            assert_eq!(cut.rows, whole[..cut.rows.len()], "cut at {end}");
            let lost = whole.len() > cut.rows.len();
            assert!(cut.truncated || !lost, "cut at {end}: {:?} {}", cut.notes, &text[..end]);
            assert!(!(cut.truncated && cut.notes.is_empty()), "cut at {end}");
        }
        // A plan that is cut is no plan.
        for end in plan - 1..=plan {
            let cut = parse(&text.as_bytes()[..end], "x").unwrap();
            assert!(cut.truncated && cut.notes[0].ends_with("is cut off and was not read"), "{:?}", cut.notes);
        }
    }
}

#[test]
fn missing_and_odd_numbers_are_told() {
    let notes = |text: &str| (results(text).truncated, results(text).notes);
    let text = "TAP version 13\n1..3\nok 1 a\nok 3 c\n";
    let (truncated, told) = notes(text);
    assert!(truncated);
    assert_eq!(told, ["line 4: result 3 stands where 2 should", "2 of 3 planned tests have a result"]);
    assert_eq!(notes("TAP version 13\nok 1 a\n").1, ["there is no plan, so missing results cannot be seen"]);
    assert_eq!(notes("TAP version 13\n1..1\nok 1 a\nok 2 b\n"), (false, vec!["2 results for 1 planned tests".into()]));
    let (truncated, told) = notes("TAP version 13\n1..2\nok 1 a\nBail out! no memory\n");
    assert!(truncated);
    assert_eq!(told[0], "line 4: the program gave up: no memory");
    assert!(notes("TAP version 13\nok 1 a\nok 3 c\n").0, "a gap tells of a loss, without a plan too");
    let many: String = (0..100).map(|_| "ok 7 a\n").collect();
    assert_eq!(notes(&format!("TAP version 13\n{many}")).1.len(), MAX_REMARKS + 1);
}

#[test]
fn an_error_names_line_column_found_and_expected() {
    let version = |text| error(text).split(", the ones").next().unwrap().to_owned();
    assert_eq!(
        version("KTAP version 2\n1..1\n"),
        "x.tap:1:1: found `KTAP version 2`, expected KTAP version 1 or TAP version 13 or 14"
    );
    assert!(version("TAP version 13\n1..1\n  TAP version 15\n").starts_with("x.tap:3:3: found `TAP version 15`"));
    assert_eq!(error("TAP version 13\n1..x\n"), "x.tap:2:4: found `x`, expected the number of tests, as in 1..9");
    assert_eq!(
        error("TAP version 13\n1..2\nnot ok two\n"),
        "x.tap:3:8: found `two`, expected the number of the test, as in `ok 1 name`"
    );
    assert!(error("TAP version 13\nok 99999999999999999999 a\n").starts_with("x.tap:2:4: found `9999"));
    assert!(error("").starts_with("x.tap:1:1: found the end of a file without results, expected JSON lines"));
    assert!(error("hello\nworld\n").starts_with("x.tap:2:1: "));
    let deep: String = (0..17).map(|depth| format!("{}1..1\n", " ".repeat(depth))).collect();
    assert!(error(&deep).starts_with("x.tap:17:17: found `one more subtest`, expected subtests at most 16 deep"));
}
