//! Group `collapse`: what an in-place collapse of an anonymous THP could get wrong.
//!
//! Linux collapses anonymous memory by copying it into a fresh THP (7.3 included). Whoever collapses in
//! place one day has to merge what each sub-page has of its own into what the one huge page has. A cell
//! is a `Pattern` of sharing, a `Pin`, `Contents` of the range, who collapses, a `Writer` and an
//! `Aftermath`; `cells` says which of them together. The kernel may collapse in place, by copy, or
//! refuse: no cell requires a success, and the contract is judged after each of the three.

mod cells;
mod pages;
mod patterns;
mod shmem;
mod sizes;
mod storms;
mod story;

use cowcheck_model::memory::{Memory, MemoryKind};

use super::Sizes;
use super::check::Check;
use cells::Cell;

/// Larger huge pages (512 MiB where base pages have 64 KiB) cost more than they show.
pub(super) const MAX_PMD: u64 = 32 << 20;

/// The group. The ids are the same on every machine.
pub fn checks(sizes: &Sizes) -> Vec<Check> {
    if sizes.pmd == 0 || sizes.pmd > MAX_PMD {
        return vec![];
    }
    let pages = (sizes.pmd / sizes.page) as u32;
    let thp = Memory::new(MemoryKind::Thp, sizes.pmd);
    let shmem = Memory::new(MemoryKind::ShmemThp, sizes.pmd);
    let of = |cell: &Cell| {
        let kind = cell.pattern.name;
        check(kind, &cell.name(), ("thp-pte", thp), cell.tags(), &story::lines(cell, pages))
    };
    let mut checks: Vec<Check> = cells::all().iter().map(of).collect();
    checks.extend(
        storms::all()
            .iter()
            .map(|cell| check(cell.pattern.name, &cell.name(), ("thp-pte", thp), cell.tags(), &cell.lines(pages))),
    );
    checks.extend(
        shmem::all()
            .iter()
            .map(|cell| check(&cell.kind(), &cell.name(), ("shmem-thp", shmem), cell.tags(), &cell.lines(pages))),
    );
    checks.extend(
        sizes::all(pages)
            .iter()
            .map(|(name, lines)| check("base-pages", name, ("base-pages", thp), vec!["collapse", "khugepaged"], lines)),
    );
    checks
}

fn check(kind: &str, name: &str, memory: (&'static str, Memory), tags: Vec<&'static str>, lines: &[String]) -> Check {
    let (word, memory) = memory;
    Check {
        id: format!("collapse/{kind}/{name}"),
        group: "collapse",
        kind: kind.to_owned(),
        memory: word,
        size: memory.size,
        description: None,
        tags,
        scenario: super::scenario(memory, lines),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn of(pmd: u64) -> Vec<Check> {
        checks(&Sizes { page: 4096, pmd, thp: vec![pmd], hugetlb: vec![] })
    }

    #[test]
    fn every_cell_can_be_done_on_every_size() {
        for pmd in [2 << 20, 32 << 20] {
            for check in of(pmd) {
                assert!(!check.scenario.steps.is_empty(), "{}: {:?}", check.id, check.scenario.about);
                check
                    .scenario
                    .validate(4096)
                    .unwrap_or_else(|error| panic!("{}: {error}\n{}", check.id, check.scenario));
            }
        }
    }

    #[test]
    fn ids_are_unique_and_the_same_everywhere() {
        let ids = |pmd| of(pmd).into_iter().map(|check| check.id).collect::<Vec<_>>();
        let small = ids(2 << 20);
        assert_eq!(small, ids(32 << 20));
        assert_eq!(small.iter().collect::<HashSet<_>>().len(), small.len());
        assert!(of(0).is_empty() && of(512 << 20).is_empty());
    }

    #[test]
    fn the_case_of_the_reviewer_is_there() {
        let ids: HashSet<String> = of(2 << 20).into_iter().map(|check| check.id).collect();
        for pattern in ["lower", "upper", "first", "last", "middle", "all-but-one", "every-other", "runs"] {
            for writer in ["parent", "pin"] {
                let id = format!("collapse/{pattern}/uring-after-fork+{writer}-writes");
                assert!(ids.contains(&id), "{id}");
            }
        }
    }
}
