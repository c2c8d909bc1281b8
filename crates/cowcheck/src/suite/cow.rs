//! Group `cow`: every cell of the kernel's own selftest, tools/testing/selftests/mm/cow.c as of
//! Linux 7.2, in its order and with its descriptions.
//!
//! A cell is a *kind* (what is done) over a *memory* (what it is done to). A kind works on the
//! subject of its memory: the pages that the memory is about. Beyond the peer, every check stamps
//! and compares all bytes of all pages in every process, reads fixed buffers in both directions,
//! and observes that the set-up was reached.

use cowcheck_model::memory::{Memory, MemoryKind, Size};
use cowcheck_model::pages::{Range, Run};
use cowcheck_model::scenario::Scenario;
use cowcheck_model::step::PinKind;

use super::Sizes;
use super::check::Check;

/// The pages that a pipe is given at most: 2 MiB of 4 KiB pages. A pipe needs a slot for each, and
/// larger memory is copied as a whole anyhow.
const PIPE_PAGES: u32 = 512;

/// What is written of a hugetlb page once it is there. It is copied as a whole or not at all, and what
/// the copy holds is seen where it is not written over at once. Inside of what any pipe takes; not at the
/// page's start, because a copy has gone wrong that began elsewhere (Linux 6.11 to 6.13).
const HUGETLB_WRITTEN: Run = Run { first: 8, count: 8 };

/// What is done, as lines of the language. `S` stands for the subject, `P` for as much of it as a
/// pipe takes, `W` for what is written and `R` for what is read of it after the fork
/// (all of it is read at the end), `PIN` for a read-only pin: fast where the kind's name says so.
struct Kind {
    name: &'static str,
    description: &'static str,
    tags: &'static [&'static str],
    lines: &'static [&'static str],
}

// What slow and fast pins have in common.

const PIN_SHARED: &[&str] = &["A fork B", "A PIN p0 S", "A write W", "A read via p0", "B read all", "A read all"];

const PIN_PREVIOUSLY_SHARED: &[&str] =
    &["A fork B", "B exit", "A PIN p0 S", "A write W", "A read via p0", "A read all"];

const PIN_EXCLUSIVE: &[&str] = &[
    "A mprotect S ro",
    "A clear-soft-dirty # keeps the next mprotect from mapping the pages writable at once",
    "A mprotect S rw",
    "A PIN p0 S",
    "A write W",
    "A read via p0",
    "A read all",
];

const PIN_FILE: &[&str] = &["A PIN p0 all", "A write W", "A read via p0", "A read backing all", "A read all"];

const ANONYMOUS: [Kind; 14] = [
    Kind {
        name: "fork-write",
        description: "Basic COW after fork()",
        tags: &[],
        lines: &["A fork B", "B read R", "A write W", "B read all", "A read all"],
    },
    Kind {
        name: "fork-write-mprotect",
        description: "Basic COW after fork() with mprotect() optimization",
        tags: &["mprotect"],
        lines: &[
            "A fork B",
            "B read R",
            "A mprotect S ro",
            "A mprotect S rw # may map pages writable at once, without a write fault",
            "A write W",
            "B read all",
            "A read all",
        ],
    },
    Kind {
        name: "vmsplice-child",
        description: "vmsplice() + unmap in child",
        tags: &["vmsplice", "CVE-2020-29374"],
        lines: &["A fork B", "B read R", "B splice p0 P", "B munmap S", "A write W", "B read via p0", "A read all"],
    },
    Kind {
        name: "vmsplice-child-mprotect",
        description: "vmsplice() + unmap in child with mprotect() optimization",
        tags: &["vmsplice", "mprotect", "CVE-2020-29374"],
        lines: &[
            "A fork B",
            "B read R",
            "B splice p0 P",
            "B munmap S",
            "A mprotect S ro",
            "A mprotect S rw # may map pages writable at once, without a write fault",
            "A write W",
            "B read via p0",
            "A read all",
        ],
    },
    Kind {
        name: "vmsplice-before-fork",
        description: "vmsplice() before fork(), unmap in parent after fork()",
        tags: &["vmsplice"],
        lines: &["A splice p0 P", "A fork B", "A munmap S", "B write W", "A read via p0", "B read all"],
    },
    Kind {
        name: "vmsplice-after-fork",
        description: "vmsplice() + unmap in parent after fork()",
        tags: &["vmsplice"],
        lines: &["A fork B", "A splice p0 P", "A munmap S", "B write W", "A read via p0", "B read all"],
    },
    Kind {
        name: "uring-ro",
        description: "R/O-mapping a page registered as iouring fixed buffer",
        tags: &["io_uring", "mprotect"],
        lines: &[
            "A pin rw p0 S",
            "A mprotect S ro",
            "A clear-soft-dirty # keeps the next mprotect from mapping the pages writable at once",
            "A mprotect S rw",
            "A write W",
            "A read via p0",
            "A write via p0 W",
            "A read all",
        ],
    },
    Kind {
        name: "uring-fork",
        description: "fork() with an iouring fixed buffer",
        tags: &["io_uring"],
        lines: &[
            "A pin rw p0 S",
            "A fork B",
            "A write W",
            "A read via p0",
            "A write via p0 W",
            "A read all",
            "B read all",
        ],
    },
    Kind {
        name: "ro-pin-shared",
        description: "R/O GUP pin on R/O-mapped shared page",
        tags: &["gup"],
        lines: PIN_SHARED,
    },
    Kind {
        name: "ro-pin-fast-shared",
        description: "R/O GUP-fast pin on R/O-mapped shared page",
        tags: &["gup"],
        lines: PIN_SHARED,
    },
    Kind {
        name: "ro-pin-previously-shared",
        description: "R/O GUP pin on R/O-mapped previously-shared page",
        tags: &["gup"],
        lines: PIN_PREVIOUSLY_SHARED,
    },
    Kind {
        name: "ro-pin-fast-previously-shared",
        description: "R/O GUP-fast pin on R/O-mapped previously-shared page",
        tags: &["gup"],
        lines: PIN_PREVIOUSLY_SHARED,
    },
    Kind {
        name: "ro-pin-exclusive",
        description: "R/O GUP pin on R/O-mapped exclusive page",
        tags: &["gup", "mprotect"],
        lines: PIN_EXCLUSIVE,
    },
    Kind {
        name: "ro-pin-fast-exclusive",
        description: "R/O GUP-fast pin on R/O-mapped exclusive page",
        tags: &["gup", "mprotect"],
        lines: PIN_EXCLUSIVE,
    },
];

/// The checks of the patch that cowcheck grew out of, with what its reviewer asked for: that the
/// THP was mapped by PTEs before and is mapped by a PMD after. In-place collapse must merge the
/// exclusive marks of the sub-pages: none set, none on the huge page; all set, the head's only; a
/// mixture, no collapse in place.
const COLLAPSE: [Kind; 4] = [
    Kind {
        name: "collapse-before-fork",
        description: "Basic COW after fork() when collapsing before fork()",
        tags: &["collapse"],
        lines: &[
            "A collapse all # every sub-page is exclusive",
            "A require pmd-mapped all",
            "A fork B",
            "B read all",
            "A write all",
            "B read all",
            "A read all",
        ],
    },
    Kind {
        name: "collapse-fully-shared",
        description: "Basic COW after fork() when collapsing after fork() (fully shared)",
        tags: &["collapse"],
        lines: &[
            "A fork B",
            "B read all",
            "A collapse all # no sub-page is exclusive",
            "A require pmd-mapped all",
            "A write all",
            "B read all",
            "A read all",
        ],
    },
    Kind {
        name: "collapse-lower-shared",
        description: "Basic COW after fork() when collapsing after fork() (lower shared)",
        tags: &["collapse"],
        lines: &[
            "A dontfork upper",
            "A fork B",
            "B read lower",
            "A dofork all # makes it one mapping again, else it cannot be collapsed",
            "A collapse all # the upper sub-pages are exclusive, the lower are not",
            "A require pmd-mapped all",
            "A write all",
            "B read lower",
            "A read all",
        ],
    },
    Kind {
        name: "collapse-upper-shared",
        description: "Basic COW after fork() when collapsing after fork() (upper shared)",
        tags: &["collapse"],
        lines: &[
            "A dontfork lower",
            "A fork B",
            "B read upper",
            "A dofork all # makes it one mapping again, else it cannot be collapsed",
            "A collapse all # the lower sub-pages are exclusive, the upper are not",
            "A require pmd-mapped all",
            "A write all",
            "B read upper",
            "A read all",
        ],
    },
];

/// Private mappings of pages that are not anonymous; they are shared without any fork.
const NOT_ANONYMOUS: [Kind; 3] = [
    Kind {
        name: "file-write",
        description: "Basic COW",
        tags: &[],
        lines: &["A read backing all", "A write W", "A read backing all", "A read all"],
    },
    Kind { name: "file-ro-pin", description: "R/O longterm GUP pin", tags: &["gup"], lines: PIN_FILE },
    Kind { name: "file-ro-pin-fast", description: "R/O longterm GUP-fast pin", tags: &["gup"], lines: PIN_FILE },
];

/// What a kind is done to: memory brought into a certain state.
struct Subject {
    name: &'static str,
    memory: Memory,
    /// As the peer says it, behind " ... with ".
    description: String,
    lines: &'static [&'static str],
    range: Range,
}

const MAP_BY_PTES: [&str; 3] = [
    "A mprotect page 1 ro # splits a PMD; a no-op on a smaller THP",
    "A mprotect page 1 rw",
    "A require pte-mapped all",
];

/// The states of a THP, in the peer's order. The first two are for the PMD size only.
const THP: [(&str, &str, &[&str], Range); 8] = [
    (
        "thp",
        "THP ({})",
        &["A write first # the first touch gives the whole THP", "A require pmd-mapped all", "A write all"],
        Range::All,
    ),
    (
        "thp-swapped",
        "swapped-out THP ({})",
        &["A write first", "A require pmd-mapped all", "A write all", "A pageout all", "A require swapped all"],
        Range::All,
    ),
    (
        "thp-pte",
        "PTE-mapped THP ({})",
        &[
            "A write first # the first touch gives the whole THP",
            "A require folio all",
            "A write all",
            MAP_BY_PTES[0],
            MAP_BY_PTES[1],
            MAP_BY_PTES[2],
        ],
        Range::All,
    ),
    (
        "thp-pte-swapped",
        "swapped-out, PTE-mapped THP ({})",
        &[
            "A write first",
            "A require folio all",
            "A write all",
            MAP_BY_PTES[0],
            MAP_BY_PTES[1],
            MAP_BY_PTES[2],
            "A pageout all",
            "A require swapped all",
        ],
        Range::All,
    ),
    (
        "thp-single-pte",
        "single PTE of THP ({})",
        &["A write first", "A require folio all", "A write all", "A dontneed rest", "A require populated first"],
        Range::First,
    ),
    (
        "thp-single-pte-swapped",
        "single PTE of swapped-out THP ({})",
        &[
            "A write first",
            "A require folio all",
            "A write all",
            "A dontneed rest",
            "A pageout first",
            "A require swapped first",
        ],
        Range::First,
    ),
    (
        "thp-mremap",
        "partially mremap()'ed THP ({})",
        &["A write first", "A require folio all", "A write all", "A mremap upper", "A require pte-mapped upper"],
        Range::Upper,
    ),
    (
        "thp-part-shared",
        "partially shared THP ({})",
        &[
            "A write first",
            "A require folio all",
            "A write all",
            "A dontfork rest",
            "A fork C # shares the first page with a child",
            "C exit # which is gone before anything happens",
            "A dofork rest",
            "A require pte-mapped all",
        ],
        Range::All,
    ),
];

fn anonymous(sizes: &Sizes) -> Vec<Subject> {
    let subject = |name, memory, description: String, lines, range| Subject { name, memory, description, lines, range };
    let base = Memory::new(MemoryKind::Anon, sizes.page);
    let swapped = &["A write all", "A pageout all", "A require swapped all"];
    let mut all = vec![
        subject("base", base, "base page".into(), &["A write all"], Range::All),
        subject("base-swapped", base, "swapped out base page".into(), swapped, Range::All),
    ];
    for &size in &sizes.thp {
        let states = if size == sizes.pmd { &THP[..] } else { &THP[2..] };
        all.extend(states.iter().map(|(name, description, lines, range)| {
            subject(
                name,
                Memory::new(MemoryKind::Thp, size),
                description.replace("{}", &kb(size)),
                lines,
                range.clone(),
            )
        }));
    }
    all.extend(sizes.hugetlb.iter().map(|&size| {
        let description = format!("hugetlb ({})", kb(size));
        subject("hugetlb", Memory::new(MemoryKind::Hugetlb, size), description, &["A write all"], Range::All)
    }));
    all
}

fn not_anonymous(sizes: &Sizes) -> Vec<Subject> {
    let subject = |name, kind, size, description: String, lines| Subject {
        name,
        memory: Memory::new(kind, size),
        description,
        lines,
        range: Range::All,
    };
    let touched = &["A touch all", "A require populated all"];
    let mut all = vec![
        subject("zero", MemoryKind::Zero, sizes.page, "shared zeropage".into(), touched),
        subject("memfd", MemoryKind::Memfd, sizes.page, "memfd".into(), touched),
        subject("tmpfile", MemoryKind::Tmpfile, sizes.page, "tmpfile".into(), touched),
    ];
    if sizes.pmd != 0 {
        let lines = &["A touch first # maps the huge zero page", "A require pmd-mapped all"];
        all.push(subject("huge-zero", MemoryKind::HugeZero, sizes.pmd, "huge zeropage".into(), lines));
    }
    all.extend(sizes.hugetlb.iter().map(|&size| {
        let description = format!("memfd hugetlb ({})", kb(size));
        subject("memfd-hugetlb", MemoryKind::MemfdHugetlb, size, description, touched)
    }));
    all
}

/// As the peer prints sizes.
fn kb(size: u64) -> String {
    format!("{} kB", size / 1024)
}

/// The group, in the peer's order.
pub fn checks(sizes: &Sizes) -> Vec<Check> {
    let mut all = Vec::new();
    let anonymous = anonymous(sizes);
    for kind in &ANONYMOUS {
        all.extend(anonymous.iter().map(|subject| cell(kind, subject)));
    }
    if sizes.pmd != 0 {
        let pte_mapped = anonymous.iter().find(|subject| subject.name == "thp-pte" && subject.memory.size == sizes.pmd);
        all.extend(pte_mapped.iter().flat_map(|subject| {
            COLLAPSE.iter().map(|kind| Check {
                id: format!("cow/{}", kind.name),
                description: Some(kind.description.to_owned()),
                ..cell(kind, subject)
            })
        }));
    }
    let not_anonymous = not_anonymous(sizes);
    for kind in &NOT_ANONYMOUS {
        all.extend(not_anonymous.iter().map(|subject| cell(kind, subject)));
    }
    all
}

fn cell(kind: &Kind, subject: &Subject) -> Check {
    let Memory { kind: memory, size, .. } = subject.memory;
    let sized = matches!(memory, MemoryKind::Thp | MemoryKind::Hugetlb | MemoryKind::MemfdHugetlb);
    let suffix = if sized { format!("-{}", Size(size)).to_ascii_lowercase() } else { String::new() };
    let mut tags = kind.tags.to_vec();
    let swapped = subject.name.ends_with("swapped").then_some("swap");
    let thp = matches!(memory, MemoryKind::Thp | MemoryKind::HugeZero).then_some("thp");
    let hugetlb = memory.is_hugetlb().then_some("hugetlb");
    tags.extend([swapped, thp, hugetlb].into_iter().flatten());
    Check {
        id: format!("cow/{}/{}{suffix}", kind.name, subject.name),
        group: "cow",
        kind: kind.name.to_owned(),
        memory: subject.name,
        size,
        description: Some(format!("{} ... with {}", kind.description, subject.description)),
        tags,
        scenario: scenario(kind, subject),
    }
}

/// Puts the lines together. They are constants of this file, and a test parses every one of them.
fn scenario(kind: &Kind, subject: &Subject) -> Scenario {
    let memory = subject.memory;
    let spliced = match memory.bytes() > u64::from(PIPE_PAGES) * 4096 {
        true => Range::Pages(vec![Run { first: 0, count: PIPE_PAGES }]),
        false => subject.range.clone(),
    };
    let written = match memory.kind.is_hugetlb() {
        true => Range::Pages(vec![HUGETLB_WRITTEN]),
        false => subject.range.clone(),
    };
    let fill = |line: &str| -> String {
        let (code, note) = line.split_once('#').map_or((line, None), |(code, note)| (code, Some(note)));
        let words = code.split_whitespace().map(|word| match word {
            "S" => subject.range.to_string(),
            "P" => spliced.to_string(),
            "W" => written.to_string(),
            "R" => if memory.kind.is_hugetlb() { &spliced } else { &subject.range }.to_string(),
            "PIN" => if kind.name.contains("-fast") { PinKind::READ_ONLY_FAST } else { PinKind::READ_ONLY }
                .words()
                .to_owned(),
            word => word.to_owned(),
        });
        let code = words.collect::<Vec<_>>().join(" ");
        note.map_or(code.clone(), |note| format!("{code} #{note}"))
    };
    let lines: Vec<String> = subject.lines.iter().chain(kind.lines).map(|line| fill(line)).collect();
    super::scenario(memory, &lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The machine of the peer's transcript: 4 KiB pages, THPs from 16 KiB to 2 MiB, hugetlb pages of
    /// 2 MiB and 1 GiB.
    fn sizes() -> Sizes {
        let thp = (14..=21).map(|shift| 1 << shift).collect();
        Sizes { page: 4096, pmd: 2 << 20, thp, hugetlb: vec![2 << 20, 1 << 30] }
    }

    #[test]
    fn there_are_as_many_cells_as_the_peer_plans() {
        assert_eq!(checks(&sizes()).len(), 778);
        let without = Sizes { thp: vec![2 << 20], hugetlb: vec![2 << 20], ..sizes() };
        assert_eq!(checks(&without).len(), 173);
        let no_thp = Sizes { pmd: 0, thp: vec![], hugetlb: vec![], ..sizes() };
        assert_eq!(checks(&no_thp).len(), 14 * 2 + 3 * 3);
    }

    #[test]
    fn every_cell_can_be_done_and_ids_and_descriptions_are_unique() {
        let checks = checks(&sizes());
        for check in &checks {
            assert!(!check.scenario.steps.is_empty(), "{}: {:?}", check.id, check.scenario.about);
            check.scenario.validate(4096).unwrap_or_else(|error| panic!("{}: {error}", check.id));
        }
        let unique = |names: Vec<String>| names.len() == names.iter().collect::<std::collections::HashSet<_>>().len();
        assert!(unique(checks.iter().map(|check| check.id.clone()).collect()));
        assert!(unique(checks.iter().filter_map(|check| check.description.clone()).collect()));
    }

    #[test]
    fn the_ids_of_the_seed_are_there() {
        let ids: Vec<String> = checks(&sizes()).into_iter().map(|check| check.id).collect();
        for id in [
            "cow/collapse-before-fork",
            "cow/collapse-fully-shared",
            "cow/collapse-lower-shared",
            "cow/collapse-upper-shared",
        ] {
            assert!(ids.iter().any(|each| each == id), "{id}");
        }
        assert!(ids.contains(&"cow/fork-write/thp-pte-swapped-64k".to_owned()));
    }
}
