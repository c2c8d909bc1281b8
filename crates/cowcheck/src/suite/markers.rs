//! Group `markers`: what processes ask of their pages besides content and protection - write protection by userfaultfd,
//! guard pages, locks, merging by KSM - must survive what is done to the pages, and end where it says so.
//!
//! A check is a *kind* (what is done) over a *memory* (what it is done to), as in group `cow`.

use cowcheck_model::memory::{Memory, MemoryKind};

use super::Sizes;
use super::check::Check;

/// Which memory a kind makes sense on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum On {
    /// All.
    All,
    /// What can be swapped out and moved page by page: no hugetlb pages.
    Small,
    /// Anonymous memory without hugetlb pages.
    Anonymous,
    /// A THP that a PMD maps.
    Pmd,
}

/// What is done, as lines of the language. `S` stands for the pages that are marked.
struct Kind {
    name: &'static str,
    tag: &'static str,
    on: On,
    lines: &'static [&'static str],
}

const KINDS: [Kind; 22] = [
    Kind {
        name: "uffd-wp",
        tag: "userfaultfd",
        on: On::All,
        lines: &["A uffd-wp S", "A probe write all", "A probe read all", "A uffd-unwp S", "A write all", "A read all"],
    },
    Kind {
        name: "uffd-wp-fork",
        tag: "userfaultfd",
        on: On::All,
        lines: &[
            "A uffd-wp S",
            "A fork B # which does not inherit it",
            "B probe write all",
            "B write all",
            "A probe write all",
            "A uffd-unwp S",
            "A write all",
            "B read all",
            "A read all",
        ],
    },
    Kind {
        name: "uffd-wp-shared",
        tag: "userfaultfd",
        on: On::All,
        lines: &[
            "A fork B",
            "A uffd-wp S",
            "A probe write all",
            "B write all",
            "A probe write all",
            "A uffd-unwp S",
            "A write all",
            "B read all",
            "A read all",
        ],
    },
    Kind {
        name: "uffd-wp-swap",
        tag: "userfaultfd",
        on: On::Small,
        lines: &[
            "A uffd-wp S",
            "A pageout all",
            "A require swapped all",
            "A probe read all",
            "A probe write all",
            "A pageout all",
            "A uffd-unwp S # in the swap entries",
            "A write all",
            "A read all",
        ],
    },
    Kind {
        name: "uffd-wp-swap-fork",
        tag: "userfaultfd",
        on: On::Small,
        lines: &[
            "A uffd-wp S",
            "A pageout all",
            "A require swapped all",
            "A fork B",
            "B probe write all",
            "A probe write all",
            "A uffd-unwp S",
            "A write all",
            "B read all",
        ],
    },
    Kind {
        name: "uffd-wp-mprotect",
        tag: "userfaultfd",
        on: On::All,
        lines: &[
            "A uffd-wp S",
            "A mprotect all ro",
            "A mprotect all rw # may make nothing writable that is protected",
            "A probe write all",
            "A mprotect all none",
            "A mprotect all rw",
            "A probe write all",
            "A uffd-unwp S",
            "A write all",
            "A read all",
        ],
    },
    Kind {
        name: "uffd-wp-mremap",
        tag: "userfaultfd",
        on: On::Small,
        lines: &["A uffd-wp S", "A mremap all # which loses it", "A probe write all", "A write all", "A read all"],
    },
    Kind {
        name: "uffd-wp-dontneed",
        tag: "userfaultfd",
        on: On::Anonymous,
        lines: &["A uffd-wp S", "A dontneed all", "A touch all", "A uffd-unwp S", "A write all", "A read all"],
    },
    Kind {
        name: "uffd-wp-split",
        tag: "userfaultfd",
        on: On::Pmd,
        lines: &[
            "A uffd-wp all",
            "A mprotect page 9 ro # splits the PMD",
            "A mprotect page 9 rw",
            "A require pte-mapped all",
            "A probe write all",
            "A uffd-unwp page 9",
            "A probe write all",
            "A uffd-unwp all",
            "A write all",
            "A read all",
        ],
    },
    Kind {
        name: "uffd-wp-migrate",
        tag: "userfaultfd",
        on: On::Small,
        lines: &["A uffd-wp S", "A migrate all", "A probe write all", "A uffd-unwp S", "A write all", "A read all"],
    },
    Kind {
        name: "uffd-wp-pin",
        tag: "userfaultfd",
        on: On::All,
        lines: &[
            "A pin rw p0 all",
            "A uffd-wp S",
            "A fork B",
            "A probe write all",
            "A write via p0 all # past the page tables",
            "A read all",
            "A uffd-unwp S",
            "A write all",
            "A read via p0",
        ],
    },
    Kind {
        name: "uffd-wp-ksm",
        tag: "userfaultfd",
        on: On::Anonymous,
        lines: &[
            "A mergeable all",
            "A fork B",
            "B probe write all",
            "A uffd-wp S # of two pages that are merged one keeps its entry: so both are protected",
            "B uffd-wp S",
            "A ksm",
            "A require ksm all",
            "A probe write all",
            "B probe write all",
            "A uffd-unwp S",
            "A write all",
            "B read all",
        ],
    },
    Kind {
        name: "soft-dirty-ksm",
        tag: "soft-dirty",
        on: On::Anonymous,
        lines: &[
            "A mergeable all",
            "A fork B",
            "B probe write all",
            "A clear-soft-dirty # of two pages that are merged one keeps its entry: so both are dirty",
            "B clear-soft-dirty",
            "A probe write S",
            "B probe write S",
            "A ksm",
            "A require ksm all",
            "A write all",
            "B read all",
        ],
    },
    Kind {
        name: "guard-fork",
        tag: "guard",
        on: On::Anonymous,
        lines: &[
            "A guard page 3",
            "A probe read all",
            "A fork B",
            "B probe read all",
            "B probe write all",
            "B unguard all",
            "B write all",
            "A probe read all",
            "A unguard all",
            "A read all",
            "A write all",
            "B read all",
        ],
    },
    Kind {
        name: "guard-dontneed",
        tag: "guard",
        on: On::Anonymous,
        lines: &[
            "A guard page 3",
            "A dontneed all # leaves it",
            "A probe read all",
            "A unguard all",
            "A write all",
            "A read all",
        ],
    },
    Kind {
        name: "guard-swap",
        tag: "guard",
        on: On::Anonymous,
        lines: &["A guard page 3", "A pageout all", "A probe read all", "A unguard all", "A read all", "A write all"],
    },
    Kind {
        name: "guard-mremap",
        tag: "guard",
        on: On::Anonymous,
        lines: &["A guard page 3", "A mremap all", "A probe read all", "A unguard all", "A read all", "A write all"],
    },
    Kind {
        name: "guard-migrate",
        tag: "guard",
        on: On::Anonymous,
        lines: &["A guard page 3", "A migrate all", "A probe read all", "A unguard all", "A read all", "A write all"],
    },
    Kind {
        name: "lock-fork",
        tag: "mlock",
        on: On::Small,
        lines: &[
            "A mlock all",
            "A fork B # which does not inherit it",
            "A pageout all",
            "B pageout all",
            "A write all",
            "B read all",
            "B write all",
            "A munlock all",
            "A pageout all",
            "A read all",
        ],
    },
    Kind {
        name: "ksm",
        tag: "ksm",
        on: On::Anonymous,
        lines: &[
            "A mergeable all",
            "A fork B",
            "B probe write all # copies that are the same to the last byte",
            "A ksm",
            "A require ksm all",
            "A write lower",
            "B read all",
            "B write upper",
            "A read all",
            "B read all",
        ],
    },
    Kind {
        name: "ksm-pin",
        tag: "ksm",
        on: On::Anonymous,
        lines: &[
            "A mergeable all",
            "A fork B",
            "B probe write all",
            "A ksm",
            "A require ksm all",
            "A pin rw p0 all",
            "A write all",
            "A read via p0",
            "B read all",
            "A write via p0 all",
            "A read all",
            "B read all",
        ],
    },
    Kind {
        name: "ksm-swap",
        tag: "ksm",
        on: On::Anonymous,
        lines: &[
            "A mergeable all",
            "A fork B",
            "B probe write all",
            "A ksm",
            "A require ksm all",
            "A pageout all",
            "A write lower",
            "B read all",
            "B write upper",
            "A read all",
        ],
    },
];

/// Memory brought into a certain state, after all of it was written.
struct Subject {
    name: &'static str,
    memory: Memory,
    lines: &'static [&'static str],
    /// The pages that are marked.
    marked: &'static str,
}

impl Subject {
    fn suits(&self, on: On) -> bool {
        let kind = self.memory.kind;
        match on {
            On::All => true,
            On::Small => !kind.is_hugetlb(),
            On::Anonymous => !kind.is_hugetlb() && !kind.has_file(),
            On::Pmd => self.name == "thp",
        }
    }
}

fn subjects(sizes: &Sizes) -> Vec<Subject> {
    const PTES: &[&str] = &["A mprotect page 1 ro", "A mprotect page 1 rw", "A require pte-mapped all"];
    let subject = |name, memory, lines, marked| Subject { name, memory, lines, marked };
    let pages = |kind, count| Memory { kind, size: sizes.page, count };
    let mut all = vec![
        subject("base", pages(MemoryKind::Anon, 16), &[], "lower"),
        subject("memfd", Memory::new(MemoryKind::Memfd, sizes.page * 16), &[], "lower"),
    ];
    if (1..=super::collapse::MAX_PMD).contains(&sizes.pmd) {
        let thp = Memory::new(MemoryKind::Thp, sizes.pmd);
        all.push(subject("thp", thp, &["A require pmd-mapped all"], "all"));
        all.push(subject("thp-pte", thp, PTES, "lower"));
    }
    if let Some(size) = sizes.thp.iter().copied().find(|size| *size >= 16 * sizes.page && *size < sizes.pmd) {
        all.push(subject("mthp", Memory::new(MemoryKind::Thp, size), &["A require folio all"], "lower"));
    }
    if let Some(size) = sizes.hugetlb.first().copied().filter(|size| *size <= super::collapse::MAX_PMD) {
        all.push(subject("hugetlb", Memory { kind: MemoryKind::Hugetlb, size, count: 2 }, &[], "lower"));
    }
    all
}

/// The group.
pub fn checks(sizes: &Sizes) -> Vec<Check> {
    let subjects = subjects(sizes);
    let of = |kind: &'static Kind| {
        let suited = subjects.iter().filter(|subject| subject.suits(kind.on));
        suited.map(|subject| check(kind, subject)).collect::<Vec<_>>()
    };
    KINDS.iter().flat_map(of).collect()
}

fn check(kind: &Kind, subject: &Subject) -> Check {
    let lines = subject.lines.iter().chain(kind.lines).map(|line| fill(line, subject.marked));
    let lines: Vec<String> = std::iter::once("A write all".to_owned()).chain(lines).collect();
    let Memory { kind: memory, size, .. } = subject.memory;
    let thp = (memory == MemoryKind::Thp).then_some("thp");
    let swap = kind.name.contains("swap").then_some("swap");
    Check {
        id: format!("markers/{}/{}", kind.name, subject.name),
        group: "markers",
        kind: kind.name.to_owned(),
        memory: subject.name,
        size,
        description: None,
        tags: [Some(kind.tag), thp, swap].into_iter().flatten().collect(),
        scenario: super::scenario(subject.memory, &lines),
    }
}

/// The line with the marked pages in place of `S`.
fn fill(line: &str, marked: &str) -> String {
    let words = line.split(' ').map(|word| if word == "S" { marked } else { word });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_check_can_be_done_and_has_an_id_of_its_own() {
        let all = checks(&Sizes::widest());
        for check in &all {
            assert!(!check.scenario.steps.is_empty(), "{}: {:?}", check.id, check.scenario.about);
            let valid = check.scenario.validate(4096);
            valid.unwrap_or_else(|error| panic!("{}: {error}\n{}", check.id, check.scenario));
        }
        let ids: HashSet<_> = all.iter().map(|check| &check.id).collect();
        assert_eq!(ids.len(), all.len());
        let bare = checks(&Sizes { page: 4096, pmd: 0, thp: vec![], hugetlb: vec![] });
        assert!(bare.iter().all(|check| ["base", "memfd"].contains(&check.memory)));
    }
}
