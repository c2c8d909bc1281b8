//! What one check came to on one kernel.

use std::sync::Arc;

use cowcheck_model::verdict::Kind;

/// What a check came to on a kernel: the worst of its repeats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// The verdict.
    pub verdict: Kind,
    /// One line that says why; empty for a pass.
    pub reason: String,
    /// What would make it run, for a skip.
    pub remedy: String,
    /// What was seen, a sentence for each violation.
    pub sentences: Vec<String>,
    /// The failure told step by step.
    pub explanation: Option<Arc<str>>,
    /// What its first collapse did, in words; of repeats, the one that counts.
    pub collapse: Option<String>,
    /// Wall time in microseconds.
    pub micros: u64,
    /// How many repeats there were.
    pub runs: u32,
    /// How many of them came to this verdict.
    pub alike: u32,
}

impl Cell {
    /// A verdict without anything else.
    pub fn new(verdict: Kind) -> Cell {
        Cell {
            verdict,
            reason: String::new(),
            remedy: String::new(),
            sentences: Vec::new(),
            explanation: None,
            collapse: None,
            micros: 0,
            runs: 1,
            alike: 1,
        }
    }

    /// Takes in one more repeat. The worse of the two is kept with all that it says.
    pub fn add(&mut self, other: Cell) {
        let runs = self.runs.saturating_add(other.runs);
        if other.verdict == self.verdict {
            self.alike = self.alike.saturating_add(other.alike);
        } else if badness(other.verdict) > badness(self.verdict) {
            *self = other;
        }
        self.runs = runs;
    }

    /// `3 of 10 repeats`, where they did not all come to the same.
    pub fn share(&self) -> Option<String> {
        (self.alike < self.runs).then(|| format!("{} of {} repeats", self.alike, self.runs))
    }
}

/// Does the verdict say anything of the kernel?
pub(super) fn is_tested(verdict: Kind) -> bool {
    !matches!(verdict, Kind::Skip | Kind::Inconclusive)
}

/// Is it what someone must look at?
pub(super) fn is_bad(verdict: Kind) -> bool {
    matches!(verdict, Kind::Fail | Kind::Timeout | Kind::Crash)
}

/// What outweighs what among repeats. A pass is above what tested nothing: one repeat that was
/// refused its set-up takes nothing from another that had it.
fn badness(verdict: Kind) -> u8 {
    match verdict {
        Kind::Skip => 0,
        Kind::Inconclusive => 1,
        Kind::Pass => 2,
        Kind::Xfail => 3,
        Kind::Timeout => 4,
        Kind::Crash => 5,
        Kind::Fail => 6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worst(verdicts: &[Kind]) -> (Kind, u32, u32) {
        let mut cells = verdicts.iter().map(|verdict| Cell::new(*verdict));
        let mut cell = cells.next().unwrap();
        cells.for_each(|other| cell.add(other));
        (cell.verdict, cell.alike, cell.runs)
    }

    #[test]
    fn the_worst_repeat_counts() {
        assert_eq!(worst(&[Kind::Pass, Kind::Fail, Kind::Pass, Kind::Fail]), (Kind::Fail, 2, 4));
        assert_eq!(worst(&[Kind::Fail, Kind::Crash, Kind::Pass]), (Kind::Fail, 1, 3));
        assert_eq!(worst(&[Kind::Inconclusive, Kind::Pass, Kind::Skip]), (Kind::Pass, 1, 3));
        assert_eq!(worst(&[Kind::Skip, Kind::Inconclusive]), (Kind::Inconclusive, 1, 2));
    }
}
