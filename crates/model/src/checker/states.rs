//! What the page states say: soft-dirty bits and the exclusive mark.

use super::{Judge, pages};
use crate::contract::Rule;
use crate::pages::Run;
use crate::step::{Actor, Step};
use crate::trace::Observed;
use crate::verdict::Violation;

impl Judge<'_> {
    pub(super) fn states(&mut self, number: u32, step: &Step, states: &[Observed]) {
        let frames = Frames::new(states);
        for observed in states {
            self.soft_dirty(number, step, observed);
            self.exclusive(number, step, observed, &frames);
        }
    }

    fn soft_dirty(&mut self, number: u32, step: &Step, observed: &Observed) {
        let state = &observed.state;
        if !self.trace.soft_dirty || state.soft_dirty || !(state.present || state.swapped) {
            return;
        }
        let clean = observed.pages.pages().find(|page| self.world.must_be_soft_dirty(observed.actor, *page));
        if let Some(page) = clean {
            let sentence = format!(
                "after step {number} (`{step}`) page {page} of {} is not soft-dirty, though it was written since clear-soft-dirty",
                observed.actor
            );
            self.state_violation(Rule::Markers, number, observed, page, "soft-dirty", sentence);
        }
    }

    fn exclusive(&mut self, number: u32, step: &Step, observed: &Observed, frames: &Frames<'_>) {
        let state = &observed.state;
        let actor = observed.actor;
        let Some(exclusive) = state.exclusive else { return };
        let own = observed.pages.pages().find(|page| self.world.is_own(actor, *page));
        let Some(own) = own.filter(|_| state.present && !state.file) else { return };
        if exclusive {
            if let Some(other) = frames.of_another(observed) {
                let sentence = format!(
                    "after step {number} (`{step}`) {} of {actor} is marked exclusive, but {} of {} maps the same frame",
                    pages(observed.pages),
                    pages(other.pages),
                    other.actor
                );
                self.state_violation(Rule::Exclusivity, number, observed, own, "mapped by one process", sentence);
            }
            return;
        }
        if state.writable == Some(true) {
            let sentence = format!(
                "after step {number} (`{step}`) page {own} of {actor} is writable in the page table, but not marked exclusive"
            );
            self.state_violation(Rule::Exclusivity, number, observed, own, "exclusive, or not writable", sentence);
        }
        let pin = |page| self.world.coherent_pins(actor, page).next().filter(|_| self.world.is_own(actor, page));
        if let Some((page, pin)) = observed.pages.pages().find_map(|page| Some((page, pin(page)?))) {
            let sentence = format!(
                "after step {number} (`{step}`) page {page} of {actor} is under the long-term pin {pin}, but not marked exclusive"
            );
            self.state_violation(Rule::Exclusivity, number, observed, page, "exclusive", sentence);
        }
    }

    /// `from` is the first page of the run to which it applies.
    fn state_violation(
        &mut self,
        rule: Rule,
        step: u32,
        observed: &Observed,
        from: u32,
        allowed: &str,
        sentence: String,
    ) {
        let run = Run { first: from, count: observed.pages.end().saturating_sub(from).max(1) };
        let (pages, seen) = (run.to_string(), observed.state.to_string());
        self.violation(Violation { rule, step, pages, seen, allowed: allowed.to_owned(), sentence });
    }
}

/// Who maps which frames after one step.
struct Frames<'a> {
    /// In order of the first frame.
    runs: Vec<&'a Observed>,
    /// For each length of a prefix of `runs`: those two in it, of different actors, that end last.
    last: Vec<[Option<&'a Observed>; 2]>,
}

/// One past the last frame.
fn end(observed: &Observed) -> u64 {
    observed.pfn.saturating_add(u64::from(observed.pages.count))
}

impl<'a> Frames<'a> {
    fn new(states: &'a [Observed]) -> Self {
        let mut runs: Vec<&Observed> = states.iter().filter(|state| state.state.present && state.pfn != 0).collect();
        runs.sort_by_key(|state| state.pfn);
        let mut last = vec![[None, None]];
        for run in &runs {
            let [first, second]: [Option<&Observed>; 2] = last[last.len() - 1];
            let is = |other: Option<&Observed>, actor: Actor| other.is_some_and(|other| other.actor == actor);
            let ends_later = |other: Option<&Observed>| other.is_none_or(|other| end(run) > end(other));
            last.push(match () {
                () if is(first, run.actor) => [if ends_later(first) { Some(run) } else { first }, second],
                () if ends_later(first) => [Some(run), first],
                () if ends_later(second) => [first, Some(run)],
                () => [first, second],
            });
        }
        Frames { runs, last }
    }

    /// Pages of another actor in the same frames.
    fn of_another(&self, observed: &Observed) -> Option<&'a Observed> {
        if observed.pfn == 0 {
            return None;
        }
        let before = self.runs.partition_point(|run| run.pfn < end(observed));
        let candidates = self.last.get(before)?.iter().flatten();
        candidates.copied().find(|other| other.actor != observed.actor && end(other) > observed.pfn)
    }
}
