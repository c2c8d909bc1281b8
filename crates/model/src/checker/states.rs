//! What the page states say: soft-dirty bits, pins that were left, and rule 5, exclusivity.
//!
//! What rule 5 is judged by only the helper module can tell, and only it tells of all actors in one record. What is
//! not known is not judged.

use super::{Judge, pages};
use crate::contract::Rule;
use crate::pages::Run;
use crate::step::{Actor, Step};
use crate::trace::{Observed, PageState};
use crate::verdict::Violation;

/// What a finding is known by: rule, actor, first page, count of pages, and what they are.
pub(super) type Key = (Rule, Actor, u32, u32, String);

/// What the states of some pages say that they must not.
struct Finding {
    rule: Rule,
    actor: Actor,
    run: Run,
    /// What they are, instead of what is allowed.
    what: String,
    allowed: &'static str,
    state: PageState,
    /// The frame of the first page; 0 where there is none.
    pfn: u64,
}

impl Finding {
    /// Is it the same, of the page behind?
    fn is_continued_by(&self, next: &Finding) -> bool {
        self.run.end() == next.run.first && (self.rule, self.actor, &self.what) == (next.rule, next.actor, &next.what)
    }

    /// What makes it the same after another step.
    fn key(&self) -> Key {
        (self.rule, self.actor, self.run.first, self.run.count, self.what.clone())
    }
}

/// What was found after one step.
pub(super) struct Findings<'a> {
    pub(super) observed: &'a Observed,
    all: Vec<Finding>,
}

impl Findings<'_> {
    /// `run`, of what was observed, is `what`.
    pub(super) fn add(&mut self, rule: Rule, run: Run, allowed: &'static str, what: String) {
        /// So much can be found of one run.
        const MOST: usize = 5;
        let Observed { actor, state, .. } = *self.observed;
        let pfn = match self.observed.pfn {
            0 => 0,
            pfn => pfn.saturating_add(u64::from(run.first - self.observed.pages.first)),
        };
        let next = Finding { rule, actor, run, what, allowed, state, pfn };
        match self.all.iter_mut().rev().take(2 * MOST).find(|last| last.is_continued_by(&next)) {
            Some(last) => last.run.count += next.run.count,
            None => self.all.push(next),
        }
    }
}

impl Judge<'_> {
    pub(super) fn states(&mut self, number: u32, step: &Step, states: &[Observed]) {
        // Only what is marked exclusive must not be anywhere else.
        let marked = states.iter().any(|seen| seen.state.exclusive == Some(true));
        let placed = if marked { states } else { &[] };
        let frames = Places::new(placed, |seen| Some(seen.pfn).filter(|pfn| seen.state.present && *pfn != 0));
        let entries = Places::new(placed, |seen| seen.swap.filter(|_| seen.state.swapped));
        self.learn_uffd_wp(step, states);
        let Some(observed) = states.first() else { return };
        let mut found = Findings { observed, all: vec![] };
        for observed in states {
            found.observed = observed;
            self.soft_dirty(&mut found);
            self.marks(&mut found);
            match observed.state.exclusive {
                Some(true) => exclusive(&mut found, &frames, &entries),
                Some(false) => self.not_exclusive(&mut found),
                None => without_mark(&mut found),
            }
            self.not_pinned(&mut found);
            if observed.state.tail_exclusive {
                let what =
                    "mapped by a PMD, where only the head page's mark counts, but has a mark of its own".to_owned();
                found.add(Rule::Exclusivity, observed.pages, "no mark on a tail page", what);
            }
        }
        self.tell_states(number, step, found.all);
    }

    /// What was so after the step before has been told.
    fn tell_states(&mut self, number: u32, step: &Step, found: Vec<Finding>) {
        let before = std::mem::take(&mut self.standing);
        let is_old = |next: &Finding| before.contains(&next.key());
        for Finding { rule, actor, run, what, allowed, state, pfn } in found.iter().filter(|next| !is_old(next)) {
            let frame = if *pfn == 0 { String::new() } else { format!(" (frame {pfn:#x})") };
            let verb = if run.count == 1 { "is" } else { "are" };
            let sentence = format!("after step {number} (`{step}`) {} of {actor}{frame} {verb} {what}", pages(*run));
            self.violation(Violation {
                rule: *rule,
                step: number,
                pages: run.to_string(),
                seen: state.to_string(),
                allowed: (*allowed).to_owned(),
                sentence,
            });
        }
        self.standing = found.into_iter().map(|each| each.key()).collect();
    }

    fn soft_dirty(&self, found: &mut Findings<'_>) {
        let Observed { actor, state, .. } = *found.observed;
        if !self.trace.soft_dirty || state.soft_dirty || !(state.present || state.swapped) {
            return;
        }
        let must = |page: u32| self.world.must_be_soft_dirty(actor, page);
        if let Some(run) = first_run(found.observed.pages, must) {
            let what = "not soft-dirty, though written since clear-soft-dirty".to_owned();
            found.add(Rule::Markers, run, "soft-dirty", what);
        }
    }

    /// Anonymous and not marked exclusive: nobody may write to it without a fault, and no pin may be on it.
    fn not_exclusive(&self, found: &mut Findings<'_>) {
        let Observed { actor, pages, state, .. } = *found.observed;
        if !state.present {
            return;
        }
        if state.writable == Some(true) {
            let what = "writable in the page table, but not marked exclusive".to_owned();
            found.add(Rule::Exclusivity, pages, "exclusive, or not writable", what);
        }
        // Where no pin is on it, a pin has been left: `not_pinned` tells.
        let under = self.world.under_pin(actor, pages).filter(|_| state.pinned != Some(false));
        if let Some((run, pin)) = under {
            found.add(Rule::Exclusivity, run, "exclusive", format!("under the pin {pin}, but not marked exclusive"));
        }
    }

    /// A coherent pin holds the very page that the page table shows. A file's page and the zero page are left to what
    /// they hold: a kernel may map them again after they were pinned.
    fn not_pinned(&self, found: &mut Findings<'_>) {
        let Observed { actor, pages, state, .. } = *found.observed;
        let PageState { present: true, pinned: Some(false), file: false, zero: false, .. } = state else { return };
        if let Some((run, pin)) = self.world.under_pin(actor, pages) {
            let what = format!("not pinned: {pin} holds another page than the page table shows");
            found.add(Rule::PinCoherence, run, "pinned", what);
        }
    }
}

/// The first pages of `run` that are so.
pub(super) fn first_run(run: Run, so: impl Fn(u32) -> bool) -> Option<Run> {
    let first = run.pages().find(|page| so(*page))?;
    Some(Run { first, count: (first..run.end()).take_while(|page| so(*page)).count() as u32 })
}

/// Marked exclusive: nobody else may map it.
fn exclusive(found: &mut Findings<'_>, frames: &Places<'_>, entries: &Places<'_>) {
    const ALLOWED: &str = "mapped by one process";
    let Observed { pages, state, .. } = *found.observed;
    if let Some((run, other)) = frames.of_another(found.observed) {
        found.add(Rule::Exclusivity, run, ALLOWED, format!("marked exclusive, but {other} maps the same frame"));
    } else if let Some((run, other)) = entries.of_another(found.observed) {
        found.add(Rule::Exclusivity, run, ALLOWED, format!("marked exclusive, but {other} has the same swap entry"));
    } else if let PageState { present: true, mapcount: Some(times @ 2..), .. } = state {
        found.add(Rule::Exclusivity, pages, ALLOWED, format!("marked exclusive, but mapped {times} times"));
    }
}

/// All memory is private, so what belongs to a file, and the zero page, is nobody's to write to. Of an anonymous page on
/// a kernel without marks there is nothing to say.
fn without_mark(found: &mut Findings<'_>) {
    let PageState { present: true, writable: Some(true), file, zero, .. } = found.observed.state else { return };
    if file || zero {
        let whose = if zero { "the zero page" } else { "the file's own" };
        let what = format!("writable in the page table, but {whose}");
        found.add(Rule::Exclusivity, found.observed.pages, "anonymous, or not writable", what);
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

    /// The pages of `observed` that are in the same place as another actor's, and whose: `B` where they are the same
    /// pages there, else those of B.
    fn of_another(&self, observed: &Observed) -> Option<(Run, String)> {
        let here = Place { from: (self.of)(observed)?, observed };
        let before = self.runs.partition_point(|run| run.from < here.end());
        let mut candidates = self.last.get(before)?.iter().flatten();
        let other = candidates.find(|other| other.observed.actor != observed.actor && other.end() > here.from)?;
        let (from, end) = (here.from.max(other.from), here.end().min(other.end()));
        // Both lie in runs of pages, whose numbers are 32 bits wide.
        let of = |place: &Place<'_>| Run {
            first: place.observed.pages.first + (from - place.from) as u32,
            count: (end - from) as u32,
        };
        let (run, others) = (of(&here), of(other));
        let actor = other.observed.actor;
        Some((run, if run == others { actor.to_string() } else { format!("{} of {actor}", pages(others)) }))
    }
}
