//! The catalogue: every named check, as data.
//!
//! A check is a scenario with a stable id. [`cow`] holds the cells of the kernel's own cow.c, [`collapse`] what a
//! collapse could get wrong, [`markers`] what userfaultfd, guard pages, locks and KSM add, [`cases`] single states besides.

pub mod cases;
pub mod check;
pub mod collapse;
pub mod cow;
pub mod glob;
pub mod markers;
pub mod select;

use cowcheck_model::memory::Memory;
use cowcheck_model::scenario::Scenario;
use cowcheck_model::text;
use serde::{Deserialize, Serialize};

use check::Check;

use crate::provide::machine::Machine;

/// The sizes of pages that a machine has, from which the catalogue is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sizes {
    /// Bytes of the base page.
    pub page: u64,
    /// Bytes of a PMD-mapped THP; 0 where the kernel has no THP.
    pub pmd: u64,
    /// Bytes of every anonymous THP size, ascending, the PMD size included.
    pub thp: Vec<u64>,
    /// Bytes of every hugetlb page size, ascending.
    pub hugetlb: Vec<u64>,
}

impl Sizes {
    /// All that any x86_64 kernel has, to tell early what words can mean.
    pub fn widest() -> Sizes {
        Sizes {
            page: 4096,
            pmd: 2 << 20,
            thp: (13..=21).map(|order| 1 << order).collect(),
            hugetlb: vec![2 << 20, 1 << 30],
        }
    }

    /// Those of a machine.
    pub fn of(machine: &Machine) -> Sizes {
        Sizes {
            page: u64::from(machine.page_size),
            pmd: machine.pmd_size,
            thp: machine.thp.iter().map(|size| size.bytes).collect(),
            hugetlb: machine.hugetlb.iter().map(|size| size.bytes).collect(),
        }
    }
}

/// Every check, in catalogue order.
pub fn catalogue(sizes: &Sizes) -> Vec<Check> {
    let mut all = cow::checks(sizes);
    all.extend(collapse::checks(sizes));
    all.extend(markers::checks(sizes));
    all.extend(cases::checks(sizes));
    all
}

/// Lines of the language as a scenario. Tests parse every one of the catalogue.
fn scenario(memory: Memory, lines: &[String]) -> Scenario {
    let text = format!("{}\nmemory {memory}\n{}\n", text::HEADER, lines.join("\n"));
    text::parse(&text).unwrap_or_else(|error| Scenario {
        about: vec![format!("a mistake in the catalogue: {error}")],
        memory,
        steps: vec![],
    })
}
