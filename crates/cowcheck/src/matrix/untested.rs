//! What was not tested, and why.

use std::collections::HashMap;

use cowcheck_model::verdict::Kind;

use super::cell::is_tested;
use super::sheet::Check;

/// Why checks were not tested; the same reason and remedy for all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Untested {
    /// [`Kind::Skip`] or [`Kind::Inconclusive`].
    pub verdict: Kind,
    /// Why.
    pub reason: String,
    /// What would make them run; empty if nothing is known that would.
    pub remedy: String,
    /// How many checks, for each kernel.
    pub counts: Vec<usize>,
}

impl Untested {
    /// How many, over all kernels.
    pub fn total(&self) -> usize {
        self.counts.iter().sum()
    }
}

/// Why cells were not tested, the most frequent reason first.
pub(super) fn grouped(checks: &[Check], kernels: usize) -> Vec<Untested> {
    let mut all: Vec<Untested> = Vec::new();
    let mut known = HashMap::new();
    for check in checks {
        for (kernel, cell) in check.cells.iter().enumerate() {
            let Some(cell) = cell.as_ref().filter(|cell| !is_tested(cell.verdict)) else { continue };
            let at = *known.entry((cell.verdict, &cell.reason, &cell.remedy)).or_insert_with(|| {
                let (reason, remedy) = (cell.reason.clone(), cell.remedy.clone());
                all.push(Untested { verdict: cell.verdict, reason, remedy, counts: vec![0; kernels] });
                all.len() - 1
            });
            all[at].counts[kernel] += 1;
        }
    }
    all.sort_by_key(|untested| std::cmp::Reverse(untested.total()));
    all
}
