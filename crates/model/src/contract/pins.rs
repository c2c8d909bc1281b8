//! What pins and pipes hold.

use super::sets::SetId;
use crate::pages::Run;
use crate::step::{Actor, PinKind};

/// One page as a pin shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PinCell {
    /// The pin does not hold this page.
    Absent,
    /// The same as the owner's page.
    Coherent,
    /// One of a set.
    Loose {
        set: SetId,
        /// What the owner writes may show here.
        follows: bool,
        /// It may be the backing's own page: what is written there may show here.
        backed: bool,
    },
}

impl PinCell {
    /// The same where `written` may have come in.
    pub(super) fn joined(self, union: impl FnOnce(SetId) -> SetId) -> PinCell {
        match self {
            PinCell::Loose { set, follows, backed } => PinCell::Loose { set: union(set), follows, backed },
            other => other,
        }
    }
}

/// A pin or a pipe.
#[derive(Debug, Clone)]
pub(super) struct Pinned {
    pub(super) owner: Actor,
    pub(super) kind: PinKind,
    /// What it holds, in the order it was asked for.
    pub(super) runs: Vec<Run>,
    /// By page; shorter than the memory where it ends before it.
    pub(super) cells: Vec<PinCell>,
}

impl Pinned {
    pub(super) fn cell(&self, page: u32) -> PinCell {
        self.cells.get(page as usize).copied().unwrap_or(PinCell::Absent)
    }

    /// May it show what the owner writes to this page, or not?
    pub(super) fn follows(&self, page: u32) -> bool {
        matches!(self.cell(page), PinCell::Loose { follows: true, .. })
    }

    /// The pages of `runs` that it may hold.
    pub(super) fn cells_mut(&mut self, runs: &[Run]) -> impl Iterator<Item = (u32, &mut PinCell)> {
        let cells = self.cells.as_mut_slice();
        let mut rest = cells;
        let mut at = 0;
        runs.iter().flat_map(move |run| {
            let taken = std::mem::take(&mut rest);
            let (_, tail) = taken.split_at_mut((run.first.saturating_sub(at) as usize).min(taken.len()));
            let (here, tail) = tail.split_at_mut((run.count as usize).min(tail.len()));
            rest = tail;
            at = run.end();
            (run.first..).zip(here)
        })
    }
}

/// The first `most` pages of `runs`.
pub(super) fn first_of(runs: &[Run], most: Option<u32>) -> Vec<Run> {
    let mut left = most.unwrap_or(u32::MAX);
    let mut taken = Vec::new();
    for run in runs {
        let count = run.count.min(left);
        left -= count;
        if count > 0 {
            taken.push(Run { count, ..*run });
        }
    }
    taken
}
