//! The one stream of events that every output is made from.

use std::fmt;

use cowcheck_model::collapse::Collapse;
use cowcheck_model::trace::Trace;
use cowcheck_model::verdict::{Kind, Verdict};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};

/// What is known before the first check runs.
#[derive(Debug, Clone)]
pub struct Start {
    /// The kernel, as uname(2) has it: release and version.
    pub kernel: String,
    /// The machine's architecture, as uname(2) has it.
    pub machine: String,
    /// The arguments cowcheck was called with.
    pub args: Vec<String>,
    /// Bytes of the PMD-sized THP, or 0 where the kernel has none.
    pub pmd_size: u64,
    /// Bytes of every anonymous THP size, ascending.
    pub thp_sizes: Vec<u64>,
    /// Bytes of every hugetlb page size, ascending.
    pub hugetlb_sizes: Vec<u64>,
    /// The VM that ran it; `None` for a machine of its own.
    pub vm: Option<Vm>,
    /// Every check that will have an outcome, in catalogue order. With repeats, the whole list is
    /// repeated.
    pub plan: Vec<Planned>,
}

/// A VM, as far as results depend on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Vm {
    /// The kernel, as it was asked for: a file, a package, `debian:6.1`.
    pub handle: String,
    /// The distribution's package and its version, where it came from one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
    /// What ran its instructions: `kvm` or `tcg`.
    pub accel: String,
    /// Processors.
    pub cpus: u32,
    /// Bytes of memory.
    pub memory: u64,
}

/// One check of the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// The stable id, as in `cow/fork-write/thp-2m-pte`.
    pub id: String,
    /// The group, as in `cow`.
    pub group: String,
    /// The kind within the group, as in `fork-write`.
    pub kind: String,
    /// The memory, as in `thp-pte`.
    pub memory: String,
    /// Bytes of one page (folio) of the memory.
    pub size: u64,
    /// The description that the kernel's own cow.c prints for the same cell.
    pub description: Option<String>,
    /// Which repeat this is, from 1.
    pub repeat: u32,
}

/// What a check came to.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Index into [`Start::plan`].
    pub index: usize,
    /// The verdict.
    pub verdict: Verdict,
    /// Wall time in microseconds, 0 for a skip.
    pub micros: u64,
    /// How often it came to the same kind of end, where it was run again to know.
    pub again: Option<Rate>,
    /// Remarks, as in "collapse took 3 tries".
    pub notes: Vec<String>,
    /// What its collapses did.
    pub collapses: Vec<Collapse>,
    /// For anything but a pass or a skip: the failure told step by step, with the `.cow` text.
    pub explanation: Option<String>,
    /// The trace, where the check ran.
    pub trace: Option<Trace>,
}

impl Outcome {
    /// Of a check that left nothing but its verdict: it was not run, or what ran it is gone.
    pub fn bare(index: usize, verdict: Verdict) -> Outcome {
        let (notes, collapses) = (vec![], vec![]);
        Outcome { index, verdict, micros: 0, again: None, notes, collapses, explanation: None, trace: None }
    }
}

/// How often a check failed, of so many runs; the first one included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// It failed.
    pub failed: u32,
    /// It was run.
    pub runs: u32,
}

impl Rate {
    /// Did it fail more than once?
    pub fn is_confirmed(self) -> bool {
        self.failed > 1
    }
}

/// `2 of 3`
impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.failed, self.runs)
    }
}

/// An event. Outcomes come in the order in which checks end, each index exactly once.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// First, once.
    Start(&'a Start),
    /// Something a person should know: a provider that set something up, or could not.
    Note(&'a str),
    /// The check with this index has begun.
    Begin(usize),
    /// A check has ended.
    Outcome(&'a Outcome),
    /// Last, once: the run is over, with its wall time in microseconds, and whether it was stopped
    /// before the plan was done (Ctrl-C, --fail-fast).
    End {
        /// Wall time of the run in microseconds.
        micros: u64,
        /// Why the plan was not finished, if it was not.
        stopped: Option<&'a str>,
    },
}

/// How many checks came to each verdict.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts([usize; Kind::ALL.len()]);

impl Counts {
    /// Counts one more.
    pub fn add(&mut self, kind: Kind) {
        self.0[kind as usize] += 1;
    }

    /// How many came to `kind`.
    pub fn of(&self, kind: Kind) -> usize {
        self.0[kind as usize]
    }

    /// How many there were.
    pub fn total(&self) -> usize {
        self.0.iter().sum()
    }
}

/// `pass 705, fail 0, ...`: every word, the zeroes too.
impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<String> = Kind::ALL.iter().map(|kind| format!("{} {}", kind.word(), self.of(*kind))).collect();
        f.write_str(&all.join(", "))
    }
}

/// An object with every word, the zeroes too.
impl Serialize for Counts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(Kind::ALL.len()))?;
        for kind in Kind::ALL {
            map.serialize_entry(kind.word(), &self.of(kind))?;
        }
        map.end()
    }
}
