//! What the page states say: soft-dirty bits, pins that were left, and rule 5, exclusivity.
//!
//! What rule 5 is judged by only the helper module can tell, and only it tells of all actors in one record. What is
//! not known is not judged.

use super::{Judge, pages};
use crate::contract::Rule;
use crate::pages::Run;
use crate::step::Step;
use crate::trace::{Observed, PageState};
use crate::verdict::Violation;

/// The step whose states are looked at.
#[derive(Clone, Copy)]
struct After<'a> {
    number: u32,
    step: &'a Step,
}

impl Judge<'_> {
    pub(super) fn states(&mut self, number: u32, step: &Step, states: &[Observed]) {
        let after = After { number, step };
        let frames = Places::new(states, |seen| Some(seen.pfn).filter(|pfn| seen.state.present && *pfn != 0));
        let entries = Places::new(states, |seen| seen.swap.filter(|_| seen.state.swapped));
        for observed in states {
            self.soft_dirty(after, observed);
            match observed.state.exclusive {
                Some(true) => self.exclusive(after, observed, &frames, &entries),
                Some(false) => self.not_exclusive(after, observed),
                None => self.without_mark(after, observed),
            }
            self.not_pinned(after, observed);
            if observed.state.tail_exclusive {
                let what =
                    "mapped by a PMD, where only the head page's mark counts, but has a mark of its own".to_owned();
                self.found(Rule::Exclusivity, after, observed, observed.pages, "no mark on a tail page", what);
            }
        }
    }

    fn soft_dirty(&mut self, after: After<'_>, observed: &Observed) {
        let state = &observed.state;
        if !self.trace.soft_dirty || state.soft_dirty || !(state.present || state.swapped) {
            return;
        }
        let must = |page: &u32| self.world.must_be_soft_dirty(observed.actor, *page);
        if let Some(first) = observed.pages.pages().find(must) {
            let count = (first..observed.pages.end()).take_while(must).count() as u32;
            let what = "not soft-dirty, though written since clear-soft-dirty".to_owned();
            self.found(Rule::Markers, after, observed, Run { first, count }, "soft-dirty", what);
        }
    }

    /// Marked exclusive: nobody else may map it.
    fn exclusive(&mut self, after: After<'_>, observed: &Observed, frames: &Places<'_>, entries: &Places<'_>) {
        const ALLOWED: &str = "mapped by one process";
        if let Some((run, other, frame)) = frames.of_another(observed) {
            let whose = format!("{} of {}", pages(other.pages), other.actor);
            let what = format!("marked exclusive, but {whose} maps the same frame ({frame:#x})");
            self.found(Rule::Exclusivity, after, observed, run, ALLOWED, what);
        } else if let Some((run, other, entry)) = entries.of_another(observed) {
            let whose = format!("{} of {}", pages(other.pages), other.actor);
            let what = format!("marked exclusive, but {whose} has the same swap entry ({entry:#x})");
            self.found(Rule::Exclusivity, after, observed, run, ALLOWED, what);
        } else if let PageState { present: true, mapcount: Some(times @ 2..), .. } = observed.state {
            let what = format!("marked exclusive, but mapped {times} times");
            self.found(Rule::Exclusivity, after, observed, observed.pages, ALLOWED, what);
        }
    }

    /// Anonymous and not marked exclusive: nobody may write to it without a fault, and no pin may be on it.
    fn not_exclusive(&mut self, after: After<'_>, observed: &Observed) {
        if !observed.state.present {
            return;
        }
        if observed.state.writable == Some(true) {
            let what = "writable in the page table, but not marked exclusive".to_owned();
            self.found(Rule::Exclusivity, after, observed, observed.pages, "exclusive, or not writable", what);
        }
        // Where no pin is on it, a pin has been left: `not_pinned` tells.
        let under = self.world.under_pin(observed.actor, observed.pages);
        if let Some((run, pin)) = under.filter(|_| observed.state.pinned != Some(false)) {
            let what = format!("under the pin {pin}, but not marked exclusive");
            self.found(Rule::Exclusivity, after, observed, run, "exclusive", what);
        }
    }

    /// All memory is private, so what belongs to a file, and the zero page, is nobody's to write to. Of an anonymous
    /// page on a kernel without marks there is nothing to say.
    fn without_mark(&mut self, after: After<'_>, observed: &Observed) {
        let PageState { present: true, writable: Some(true), file, zero, .. } = observed.state else { return };
        if file || zero {
            let whose = if zero { "the zero page" } else { "the file's own" };
            let what = format!("writable in the page table, but {whose}");
            self.found(Rule::Exclusivity, after, observed, observed.pages, "anonymous, or not writable", what);
        }
    }

    /// A coherent pin holds the very page that the page table shows. A file's page and the zero page are left to what
    /// they hold: a kernel may map them again after they were pinned.
    fn not_pinned(&mut self, after: After<'_>, observed: &Observed) {
        let PageState { present: true, pinned: Some(false), file: false, zero: false, .. } = observed.state else {
            return;
        };
        if let Some((run, pin)) = self.world.under_pin(observed.actor, observed.pages) {
            let what = format!("not pinned: {pin} holds another page than the page table shows");
            self.found(Rule::PinCoherence, after, observed, run, "pinned", what);
        }
    }

    /// `run`, of what was observed, is `what`.
    fn found(&mut self, rule: Rule, after: After<'_>, observed: &Observed, run: Run, allowed: &str, what: String) {
        let After { number, step } = after;
        let frame = match observed.pfn {
            0 => String::new(),
            pfn => format!(" (frame {:#x})", pfn.saturating_add(u64::from(run.first - observed.pages.first))),
        };
        let verb = if run.count == 1 { "is" } else { "are" };
        let sentence =
            format!("after step {number} (`{step}`) {} of {}{frame} {verb} {what}", pages(run), observed.actor);
        let (pages, seen, allowed) = (run.to_string(), observed.state.to_string(), allowed.to_owned());
        self.violation(Violation { rule, step: number, pages, seen, allowed, sentence });
    }
}

/// A run of pages, and where it is: in which frames, or under which swap entries.
#[derive(Clone, Copy)]
struct Place<'a> {
    from: u64,
    observed: &'a Observed,
}

impl Place<'_> {
    /// One past the last.
    fn end(&self) -> u64 {
        self.from.saturating_add(u64::from(self.observed.pages.count))
    }
}

/// Who is where after one step.
struct Places<'a> {
    /// The place of what is in one at all.
    of: fn(&Observed) -> Option<u64>,
    /// In order of where they begin.
    runs: Vec<Place<'a>>,
    /// For each length of a prefix of `runs`: those two in it, of different actors, that end last.
    last: Vec<[Option<Place<'a>>; 2]>,
}

impl<'a> Places<'a> {
    fn new(states: &'a [Observed], of: fn(&Observed) -> Option<u64>) -> Self {
        let mut runs: Vec<Place<'_>> =
            states.iter().filter_map(|observed| Some(Place { from: of(observed)?, observed })).collect();
        runs.sort_by_key(|run| run.from);
        let mut last = vec![[None, None]];
        for run in &runs {
            let [first, second]: [Option<Place<'_>>; 2] = last[last.len() - 1];
            let is_same =
                |other: Option<Place<'_>>| other.is_some_and(|other| other.observed.actor == run.observed.actor);
            let ends_later = |other: Option<Place<'_>>| other.is_none_or(|other| run.end() > other.end());
            last.push(match () {
                () if is_same(first) => [if ends_later(first) { Some(*run) } else { first }, second],
                () if ends_later(first) => [Some(*run), first],
                () if ends_later(second) => [first, Some(*run)],
                () => [first, second],
            });
        }
        Places { of, runs, last }
    }

    /// The pages of `observed` that are in the same place as another actor's, that other's, and the first place.
    fn of_another(&self, observed: &Observed) -> Option<(Run, &'a Observed, u64)> {
        let here = Place { from: (self.of)(observed)?, observed };
        let before = self.runs.partition_point(|run| run.from < here.end());
        let mut candidates = self.last.get(before)?.iter().flatten();
        let other = candidates.find(|other| other.observed.actor != observed.actor && other.end() > here.from)?;
        let (from, end) = (here.from.max(other.from), here.end().min(other.end()));
        // Both lie in runs of pages, whose numbers are 32 bits wide.
        let run = Run { first: observed.pages.first + (from - here.from) as u32, count: (end - from) as u32 };
        Some((run, other.observed, from))
    }
}
