//! Outcomes come in the order in which checks end; the line formats want the order of the plan.

use std::collections::BTreeMap;
use std::io;

use cowcheck_model::verdict::Verdict;

use super::event::{Outcome, Planned};

/// What is told of a check: its outcome without the trace, which is large and told elsewhere.
pub(super) struct Told {
    pub(super) verdict: Verdict,
    pub(super) notes: Vec<String>,
    pub(super) explanation: Option<String>,
}

/// A check whose turn has come; `told` is missing where the run ended before it.
pub(super) struct Due {
    pub(super) planned: Planned,
    pub(super) told: Option<Told>,
}

/// Holds outcomes back until all before them in the plan are there.
#[derive(Default)]
pub(super) struct InOrder {
    plan: Vec<Planned>,
    next: usize,
    held: BTreeMap<usize, Told>,
}

impl InOrder {
    /// Nothing of `plan` is known yet.
    pub(super) fn new(plan: Vec<Planned>) -> Self {
        InOrder { plan, ..Self::default() }
    }

    /// The checks, in the order of the plan.
    pub(super) fn plan(&self) -> &[Planned] {
        &self.plan
    }

    /// The index of the check that all others wait for.
    pub(super) fn next(&self) -> usize {
        self.next
    }

    /// Takes an outcome and gives those whose turn it now is.
    pub(super) fn put(&mut self, outcome: &Outcome) -> io::Result<Vec<Due>> {
        let index = outcome.index;
        if index >= self.plan.len() || index < self.next || self.held.contains_key(&index) {
            let what = format!("outcome {index} of a plan of {} comes twice or is not in it", self.plan.len());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        let told = Told {
            verdict: outcome.verdict.clone(),
            notes: outcome.notes.clone(),
            explanation: outcome.explanation.clone(),
        };
        self.held.insert(index, told);
        let mut due = Vec::new();
        while let Some(told) = self.held.remove(&self.next) {
            due.push(self.take(Some(told)));
        }
        Ok(due)
    }

    /// All that are left, with gaps for those that never ended.
    pub(super) fn rest(&mut self) -> Vec<Due> {
        let mut due = Vec::new();
        while self.next < self.plan.len() {
            let told = self.held.remove(&self.next);
            due.push(self.take(told));
        }
        due
    }

    fn take(&mut self, told: Option<Told>) -> Due {
        let due = Due { planned: self.plan[self.next].clone(), told };
        self.next += 1;
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    /// Where in the plan each stands, and whether its outcome is known.
    fn indices(due: &[Due]) -> Vec<(usize, bool)> {
        let plan = sample::start().plan;
        let place = |due: &Due| plan.iter().position(|planned| *planned == due.planned).unwrap();
        due.iter().map(|due| (place(due), due.told.is_some())).collect()
    }

    #[test]
    fn outcomes_wait_for_those_before_them() {
        let mut order = InOrder::new(sample::start().plan);
        let pass = |index| sample::outcome(index, Verdict::Pass);
        assert_eq!(indices(&order.put(&pass(2)).unwrap()), []);
        assert_eq!(indices(&order.put(&pass(0)).unwrap()), [(0, true)]);
        assert_eq!(indices(&order.put(&pass(1)).unwrap()), [(1, true), (2, true)]);
        assert_eq!(order.next(), 3);
        assert_eq!(indices(&order.put(&pass(4)).unwrap()), []);
        assert_eq!(indices(&order.rest())[..2], [(3, false), (4, true)]);
        assert!(order.rest().is_empty());
    }

    #[test]
    fn an_outcome_that_comes_twice_is_refused() {
        let mut order = InOrder::new(sample::start().plan);
        order.put(&sample::outcome(1, Verdict::Pass)).unwrap();
        assert!(order.put(&sample::outcome(1, Verdict::Pass)).is_err());
        order.put(&sample::outcome(0, Verdict::Pass)).unwrap();
        assert!(order.put(&sample::outcome(0, Verdict::Pass)).is_err());
        assert!(order.put(&sample::outcome(99, Verdict::Pass)).is_err());
    }
}
