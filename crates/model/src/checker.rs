//! Holds a trace against the contract.
//!
//! [`judge`] is the only judge there is: no check has code of its own. It makes no system call, so
//! a trace from a phone, a VM or last year can be judged again anywhere.

use std::collections::HashMap;

use crate::contract::{Origin, Rule, SetId, World};
use crate::errno::signal_name;
use crate::pages::{Run, list};
use crate::scenario::Scenario;
use crate::stamp::{Holds, Writer};
use crate::step::{Access, Actor, Advice, Op, Pin, Step};
use crate::trace::{End, Observed, Record, Seen, StepResult, Trace};
use crate::verdict::{Verdict, Violation};

/// SIGBUS and SIGSEGV have the same numbers on every architecture that Linux knows, save three that
/// it has dropped or that have no THP.
const SIGBUS: i32 = 7;
const SIGKILL: i32 = 9;

/// What the trace comes to.
///
/// A broken rule is a failure even where the set-up was not reached: the kernel may choose what it
/// does, not what it shows.
pub fn judge(trace: &Trace) -> Verdict {
    let mut judge = Judge::new(trace);
    judge.steps();
    judge.aftermath();
    judge.verdict()
}

/// Through what a reader looked.
#[derive(Clone, Copy)]
enum View {
    Own(Actor),
    Backing,
    Via(Pin),
}

struct Judge<'a> {
    trace: &'a Trace,
    scenario: &'a Scenario,
    world: World,
    violations: Vec<Violation>,
    /// Why the set-up was not reached.
    unreached: Vec<String>,
    /// Collapses and the like that were refused; told where a set-up was not reached.
    refused: Vec<String>,
}

impl<'a> Judge<'a> {
    fn new(trace: &'a Trace) -> Self {
        let scenario = &trace.scenario;
        let world = World::new(scenario.memory, trace.page_size);
        Judge { trace, scenario, world, violations: vec![], unreached: vec![], refused: vec![] }
    }

    fn steps(&mut self) {
        let records: HashMap<u32, &Record> = self.trace.records.iter().map(|record| (record.step, record)).collect();
        for (number, step) in self.scenario.numbered() {
            match records.get(&number) {
                Some(record) => self.step(number, step, record),
                None => {
                    if self.trace.end == End::Complete {
                        self.unreached.push(format!("the trace has no record of step {number}, `{step}`"));
                    }
                    break;
                }
            }
        }
    }

    fn step(&mut self, number: u32, step: &Step, record: &Record) {
        if self.world.check(step).is_err() {
            // It depends on a step that was not done, which is told already.
            return;
        }
        match &record.result {
            StepResult::Ok => self.done(number, step, record, None),
            StepResult::Partial(pages) => self.done(number, step, record, Some(*pages)),
            StepResult::Unmet(found) => {
                let before = self.refused.last().map(|refused| format!("; {refused}")).unwrap_or_default();
                self.unreached.push(format!("step {number}, `{step}`: {found}{before}"));
            }
            StepResult::Errno(_) if matches!(step.op, Op::Advise(Advice::Collapse | Advice::PageOut, _)) => {
                self.refused.push(format!("step {number}, `{step}`, was {}", record.result));
            }
            StepResult::Signal { signal, page } => self.signal(number, step, *signal, *page),
            StepResult::Errno(_) | StepResult::Skipped(_) => {
                self.unreached.push(format!("step {number}, `{step}`: {}", record.result));
            }
        }
        self.states(number, step, record);
    }

    fn done(&mut self, number: u32, step: &Step, record: &Record, transferred: Option<u32>) {
        self.world.apply(number, step, transferred);
        let actor = step.actor;
        match &step.op {
            Op::Read(range) => self.seen(number, step, View::Own(actor), &self.world.runs(range), &record.seen),
            Op::ReadBacking(range) => self.seen(number, step, View::Backing, &self.world.runs(range), &record.seen),
            Op::ReadVia(pin) => self.seen(number, step, View::Via(*pin), &self.world.pinned(*pin), &record.seen),
            Op::Probe(access, range) => self.probed(number, step, *access, &self.world.runs(range), &record.seen),
            _ => {}
        }
    }

    /// A reader saw this: may it?
    fn seen(&mut self, number: u32, step: &Step, view: View, wanted: &[Run], seen: &[Seen]) {
        let mut at: Vec<(u32, &Seen)> = seen.iter().map(|seen| (seen.pages.first, seen)).collect();
        at.sort_unstable_by_key(|(first, _)| *first);
        let mut missing = None;
        let mut bad: Vec<(Run, Holds, SetId)> = Vec::new();
        let mut zeroes: Vec<u32> = Vec::new();
        // Few sets and few stamps meet on many pages.
        let mut last_good: Option<(SetId, Origin)> = None;
        for page in wanted.iter().flat_map(|run| run.pages()) {
            let index = at.partition_point(|(first, _)| *first <= page);
            let found = index.checked_sub(1).map(|index| at[index].1).filter(|seen| page < seen.pages.end());
            let (Some(found), Some(set)) = (found, self.allowed(view, page)) else {
                missing = missing.or(Some(page));
                continue;
            };
            let holds = found.holds.at(page - found.pages.first);
            let origin = match &holds {
                Holds::Zero => Some(Origin::Zero),
                Holds::Stamp { writer, page: of } if *of == page => Some(Origin::Written(*writer)),
                _ => None,
            };
            if let Some(origin) = origin {
                if last_good == Some((set, origin)) || self.world.origins(set).contains(&origin) {
                    last_good = Some((set, origin));
                    if origin == Origin::Zero && self.world.origins(set).len() > 1 {
                        zeroes.push(page);
                    }
                    continue;
                }
            }
            match bad.last_mut() {
                Some((run, first, of)) if run.end() == page && *of == set && first.continued_by(run.count, &holds) => {
                    run.count += 1;
                }
                _ => bad.push((Run { first: page, count: 1 }, holds, set)),
            }
        }
        if let View::Own(actor) = view {
            zeroes.into_iter().for_each(|page| self.world.seen_zero(actor, page));
        }
        if let Some(page) = missing {
            self.unreached.push(format!("step {number}, `{step}`: the trace does not say what page {page} held"));
        }
        for (run, holds, set) in bad {
            self.content_violation(number, step, view, run, &holds, set);
        }
    }

    fn allowed(&self, view: View, page: u32) -> Option<SetId> {
        match view {
            View::Own(actor) => self.world.allowed_id(actor, page),
            View::Backing => self.world.backing_allowed_id(page),
            View::Via(pin) => self.world.pin_allowed_id(pin, page),
        }
    }

    fn content_violation(&mut self, number: u32, step: &Step, view: View, run: Run, holds: &Holds, set: SetId) {
        let allowed: Vec<Origin> = self.world.origins(set).to_vec();
        let (rule, why) = self.blame(view, run.first, holds, &allowed);
        let through = match view {
            View::Own(_) => "its mapping".to_owned(),
            View::Backing => "the backing".to_owned(),
            View::Via(pin) => match self.world.pin_owner(pin) {
                Some((_, kind)) => format!("{pin} (`{}`)", kind.words()),
                None => pin.to_string(),
            },
        };
        let allowed = match allowed.as_slice() {
            [] => "nothing".to_owned(),
            all => all.iter().map(|origin| self.tell(*origin)).collect::<Vec<_>>().join(" or "),
        };
        let sentence = format!(
            "in step {number} {} read {} through {through} and saw {}: {why}; allowed there: {allowed}",
            step.actor,
            pages(run),
            self.tell_holds(holds, run),
        );
        let pages = run.to_string();
        self.violations.push(Violation { rule, step: number, pages, seen: holds.to_string(), allowed, sentence });
    }

    /// An origin for a person: who wrote it, by which step.
    fn tell(&self, origin: Origin) -> String {
        match origin {
            Origin::Zero => "zeroes".to_owned(),
            Origin::Written(Writer::Initial) => "the file's initial content".to_owned(),
            Origin::Written(writer @ Writer::Step(..)) => format!("{writer}{}", self.quote(writer)),
        }
    }

    fn quote(&self, writer: Writer) -> String {
        let Writer::Step(_, number) = writer else { return String::new() };
        let step = (number as usize).checked_sub(1).and_then(|index| self.scenario.steps.get(index));
        step.map(|step| format!(" (`{step}`)")).unwrap_or_default()
    }

    fn tell_holds(&self, holds: &Holds, run: Run) -> String {
        match holds {
            Holds::Zero => "zeroes".to_owned(),
            Holds::Stamp { writer, page } if *page == run.first => self.tell(Origin::Written(*writer)),
            Holds::Stamp { writer, page } => format!("{} of page {page}", self.tell(Origin::Written(*writer))),
            Holds::Foreign(bits) => format!("memory of another run ({bits:#x})"),
            Holds::Raw(word) => format!("bytes that no step wrote ({word:#x} first)"),
            other => format!("`{other}`"),
        }
    }

    /// Which rule is broken, and why it is that one.
    fn blame(&self, view: View, page: u32, holds: &Holds, allowed: &[Origin]) -> (Rule, String) {
        let pin = match view {
            View::Via(pin) => self.world.pin_owner(pin),
            _ => None,
        };
        let stale = match (view, pin) {
            (_, Some((owner, kind))) if kind.is_longterm() => {
                (Rule::PinCoherence, format!("the pin and the page tables of {owner} no longer show the same memory"))
            }
            (View::Own(actor), _) if self.written_via(allowed) => (
                Rule::PinCoherence,
                format!("what was written through the pin did not reach the page tables of {actor}"),
            ),
            (View::Own(actor), _) if self.world.is_wiped(actor, page) => {
                (Rule::Markers, "MADV_WIPEONFORK was not kept".to_owned())
            }
            _ => (Rule::Integrity, "the page lost its content".to_owned()),
        };
        match holds {
            Holds::Stamp { page: of, .. } if *of != page => {
                (Rule::Integrity, format!("that belongs to page {of}, not to page {page}"))
            }
            Holds::Stamp { writer: Writer::Step(writer, step), .. } => match view {
                View::Backing => (Rule::Isolation, format!("a private write by {writer} reached the backing")),
                View::Own(owner) => self.parted(owner, *writer, *step).unwrap_or(stale),
                View::Via(_) => pin.and_then(|(owner, _)| self.parted(owner, *writer, *step)).unwrap_or(stale),
            },
            Holds::Torn(parts) => {
                let parts: Vec<_> = parts
                    .iter()
                    .filter(|(_, part)| !self.is_allowed(part, page, allowed))
                    .map(|(_, part)| self.blame(view, page, part, allowed))
                    .collect();
                let worst = parts.into_iter().min_by_key(|(rule, _)| *rule);
                let (rule, why) = worst.unwrap_or((Rule::Integrity, "the page mixes several contents".to_owned()));
                (rule, format!("the page is torn; {why}"))
            }
            Holds::Foreign(_) | Holds::Raw(_) => (Rule::Integrity, "no step of this scenario wrote that".to_owned()),
            _ => stale,
        }
    }

    fn is_allowed(&self, holds: &Holds, page: u32, allowed: &[Origin]) -> bool {
        match holds {
            Holds::Zero => allowed.contains(&Origin::Zero),
            Holds::Stamp { writer, page: of } => *of == page && allowed.contains(&Origin::Written(*writer)),
            _ => false,
        }
    }

    fn written_via(&self, allowed: &[Origin]) -> bool {
        allowed.iter().any(|origin| match origin {
            Origin::Written(Writer::Step(_, step)) => (*step as usize)
                .checked_sub(1)
                .and_then(|index| self.scenario.steps.get(index))
                .is_some_and(|step| matches!(step.op, Op::WriteVia(..))),
            _ => false,
        })
    }

    /// Did `owner` and `writer` part before `writer` did that step?
    fn parted(&self, owner: Actor, writer: Actor, step: u32) -> Option<(Rule, String)> {
        if self.world.in_history(owner, writer, step) {
            return None;
        }
        let fork =
            [self.world.parent(owner), self.world.parent(writer)].into_iter().flatten().map(|(_, fork)| fork).max();
        let since = fork.map(|fork| format!(" after the fork in step {fork}")).unwrap_or_default();
        Some((Rule::Isolation, format!("{writer} wrote that{since}, and {owner} must never see it")))
    }

    fn probed(&mut self, number: u32, step: &Step, access: Access, wanted: &[Run], seen: &[Seen]) {
        let mut covered = 0;
        for found in seen {
            covered += found.pages.count;
            for page in found.pages.pages() {
                let must = self.world.must_fault(step.actor, page, access);
                let (seen, allowed) = match (&found.holds, must) {
                    (Holds::NoFault, true) => ("no fault".to_owned(), "a fault".to_owned()),
                    (Holds::Fault(signal), false) if *signal != SIGBUS => (signal_name(*signal), "no fault".to_owned()),
                    _ => continue,
                };
                let sentence = format!(
                    "in step {number} {} tried `{step}`: page {page} gave {seen}; allowed there: {allowed}",
                    step.actor
                );
                self.violations.push(Violation {
                    rule: Rule::Markers,
                    step: number,
                    pages: page.to_string(),
                    seen,
                    allowed,
                    sentence,
                });
                break;
            }
        }
        if covered != wanted.iter().map(|run| run.count).sum::<u32>() {
            self.unreached.push(format!("step {number}, `{step}`: the trace does not say what every page gave"));
        }
    }

    fn signal(&mut self, number: u32, step: &Step, signal: i32, page: Option<u32>) {
        let memory = self.scenario.memory;
        if signal == SIGBUS {
            let why = match () {
                () if memory.kind.is_hugetlb() => "no hugetlb page was free for the copy",
                () if memory.kind.has_file() => "the file system is full, or the file was cut",
                () => "the memory or the swap device failed to deliver the page",
            };
            self.unreached.push(format!("step {number}, `{step}`: SIGBUS: {why}"));
            return;
        }
        let at = page.map(|page| format!(" at page {page}")).unwrap_or_default();
        let seen = signal_name(signal);
        let sentence =
            format!("in step {number} {} did `{step}` and got {seen}{at}, on memory that it has mapped", step.actor);
        self.violations.push(Violation {
            rule: Rule::Integrity,
            step: number,
            pages: page.map(|page| page.to_string()).unwrap_or_default(),
            seen,
            allowed: "no signal".to_owned(),
            sentence,
        });
    }

    fn states(&mut self, number: u32, step: &Step, record: &Record) {
        for observed in &record.states {
            self.soft_dirty(number, step, observed);
            self.exclusive(number, step, observed, &record.states);
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
            self.state_violation(Rule::Markers, number, observed, "soft-dirty", sentence);
        }
    }

    fn exclusive(&mut self, number: u32, step: &Step, observed: &Observed, all: &[Observed]) {
        let state = &observed.state;
        let actor = observed.actor;
        let Some(exclusive) = state.exclusive else { return };
        if state.file || !state.present || !self.world.is_own(actor, observed.pages.first) {
            return;
        }
        if !exclusive && state.writable == Some(true) {
            let sentence = format!(
                "after step {number} (`{step}`) {} of {actor} is writable in the page table, but not marked exclusive",
                pages(observed.pages)
            );
            self.state_violation(Rule::Exclusivity, number, observed, "exclusive, or not writable", sentence);
        }
        if !exclusive {
            let pinned =
                observed.pages.pages().find_map(|page| Some((page, self.world.coherent_pins(actor, page).next()?)));
            if let Some((page, pin)) = pinned {
                let sentence = format!(
                    "after step {number} (`{step}`) page {page} of {actor} is under the long-term pin {pin}, but not marked exclusive"
                );
                self.state_violation(Rule::Exclusivity, number, observed, "exclusive", sentence);
            }
        }
        if exclusive && observed.pfn != 0 {
            let end = observed.pfn + u64::from(observed.pages.count);
            let other = all.iter().find(|other| {
                other.actor != actor
                    && other.state.present
                    && other.pfn != 0
                    && other.pfn < end
                    && observed.pfn < other.pfn + u64::from(other.pages.count)
            });
            if let Some(other) = other {
                let sentence = format!(
                    "after step {number} (`{step}`) {} of {actor} is marked exclusive, but {} of {} maps the same frame",
                    pages(observed.pages),
                    pages(other.pages),
                    other.actor
                );
                self.state_violation(Rule::Exclusivity, number, observed, "mapped by one process", sentence);
            }
        }
    }

    fn state_violation(&mut self, rule: Rule, step: u32, observed: &Observed, allowed: &str, sentence: String) {
        let (pages, seen) = (observed.pages.to_string(), observed.state.to_string());
        self.violations.push(Violation { rule, step, pages, seen, allowed: allowed.to_owned(), sentence });
    }

    fn aftermath(&mut self) {
        let mut behind = |seen: String, allowed: &str, sentence: String| {
            self.violations.push(Violation {
                rule: Rule::NothingLeftBehind,
                step: 0,
                pages: String::new(),
                seen,
                allowed: allowed.to_owned(),
                sentence,
            });
        };
        if let Some(first) = self.trace.kernel_log.first() {
            let sentence = format!("while the scenario ran the kernel log got: {first}");
            behind(self.trace.kernel_log.join("\n"), "no new warning", sentence);
        }
        if self.trace.hugetlb_missing > 0 {
            let missing = self.trace.hugetlb_missing;
            let sentence = format!("after the family was gone {missing} hugetlb pages had not come back to the pool");
            behind(format!("{missing} pages missing"), "all pages back", sentence);
        }
    }

    fn verdict(self) -> Verdict {
        if !self.violations.is_empty() {
            return Verdict::Fail { violations: self.violations };
        }
        match &self.trace.end {
            End::Complete => match self.unreached.is_empty() {
                true => Verdict::Pass,
                false => Verdict::Inconclusive { reason: self.unreached.join("; ") },
            },
            End::Died { actor, step, how, signal } => {
                let hint =
                    if *signal == SIGKILL { "; if nobody did it by hand, the kernel was out of memory" } else { "" };
                Verdict::Crash { reason: format!("{actor} died in step {step}{}: {how}{hint}", self.step_text(*step)) }
            }
            End::Timeout { actor, step, limit_ms, state } => Verdict::Timeout {
                reason: format!(
                    "no end after {} s; {actor} was in step {step}{}: {state}",
                    *limit_ms as f64 / 1000.0,
                    self.step_text(*step)
                ),
            },
            End::Failed(why) => Verdict::Inconclusive { reason: why.clone() },
        }
    }

    fn step_text(&self, number: u32) -> String {
        let step = (number as usize).checked_sub(1).and_then(|index| self.scenario.steps.get(index));
        step.map(|step| format!(", `{step}`")).unwrap_or_default()
    }
}

/// `page 3` or `pages 0-511`
fn pages(run: Run) -> String {
    format!("page{} {}", if run.count == 1 { "" } else { "s" }, list(&[run]))
}
