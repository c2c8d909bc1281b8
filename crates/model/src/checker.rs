//! Holds a trace against the contract.
//!
//! [`judge`] is the only judge there is: no check has code of its own. It makes no system call, so
//! a trace from a phone, a VM or last year can be judged again anywhere.

use std::collections::{HashMap, HashSet};

use crate::contract::{Origin, Rule, World};
use crate::errno::signal_name;
use crate::pages::{Run, list};
use crate::scenario::Scenario;
use crate::step::{Access, Actor, Advice, Op, Pin, Step, Treatment, groups};
use crate::trace::{End, Record, StepResult, Trace};
use crate::verdict::{Verdict, Violation};

mod at_once;
mod blame;
mod content;
mod marks;
mod probe;
mod sight;
mod states;
mod storm;

use states::Key;

/// SIGBUS and SIGSEGV have the same numbers on every architecture that Linux knows, save three that
/// it has dropped or that have no THP.
const SIGBUS: i32 = 7;
const SIGKILL: i32 = 9;

/// How many violations a verdict lists. A huge page that was lost gives one; one that was filled
/// with noise could give a quarter of a million.
const MAX_VIOLATIONS: usize = 1000;

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

/// Can the rest of the trace be judged?
#[derive(PartialEq, Eq)]
enum Next {
    GoOn,
    /// Nobody knows how far a step came, so nobody knows what is right after it.
    Stop,
}

struct Judge<'a> {
    trace: &'a Trace,
    scenario: &'a Scenario,
    world: World,
    violations: Vec<Violation>,
    /// What the page states after the last step say.
    standing: HashSet<Key>,
    /// How many more there are.
    unlisted: u64,
    /// Why the set-up was not reached.
    unreached: Vec<String>,
    /// The last collapse or the like that was refused; told where a set-up was not reached.
    refused: Option<String>,
    /// Do page states tell of userfaultfd write protection? Linux 5.14, or the helper module.
    tells_uffd_wp: bool,
}

impl<'a> Judge<'a> {
    fn new(trace: &'a Trace) -> Self {
        let scenario = &trace.scenario;
        let world = World::new(scenario.memory, trace.page_size);
        Judge {
            trace,
            scenario,
            world,
            violations: vec![],
            standing: HashSet::new(),
            unlisted: 0,
            unreached: vec![],
            refused: None,
            tells_uffd_wp: false,
        }
    }

    fn steps(&mut self) {
        let (trace, scenario) = (self.trace, self.scenario);
        let records: HashMap<u32, &Record> = trace.records.iter().map(|record| (record.step, record)).collect();
        let mut first = 1;
        for group in groups(&scenario.steps) {
            let numbers = first..first + group.len() as u32;
            let done: Vec<&Record> = numbers.clone().map_while(|number| records.get(&number).copied()).collect();
            if let Some(step) = group.get(done.len()) {
                if trace.end == End::Complete {
                    let number = first + done.len() as u32;
                    self.unreached.push(format!("the trace has no record of step {number}, `{step}`"));
                }
                break;
            }
            let next = match (group, done.as_slice()) {
                ([step], [record]) => self.step(first, step, record),
                _ => self.at_once(first, group, &done),
            };
            if next == Next::Stop {
                break;
            }
            first = numbers.end;
        }
    }

    fn step(&mut self, number: u32, step: &Step, record: &Record) -> Next {
        if let Err(expected) = self.world.check(step) {
            // It depends on a step that was not done. That is told already, save for a pin that took
            // fewer pages than it was asked for.
            if self.unreached.is_empty() {
                self.unreached.push(format!("step {number}, `{step}`: expected {expected}"));
            }
            self.states(number, step, &record.states);
            return Next::GoOn;
        }
        match &record.result {
            StepResult::Ok => self.done(number, step, record, None),
            StepResult::Partial(pages @ 1..) if matches!(step.op, Op::Pin(..)) => {
                self.done(number, step, record, Some(*pages));
            }
            StepResult::Unmet(found) => {
                let before = self.refused.as_ref().map(|refused| format!("; {refused}")).unwrap_or_default();
                self.unreached.push(format!("step {number}, `{step}`: {found}{before}"));
            }
            StepResult::Unobserved(_) if matches!(step.op, Op::Require(..)) => {}
            StepResult::Errno(_) if may_be_refused(&step.op) => {
                self.refused = Some(format!("step {number}, `{step}`, was {}", record.result));
            }
            StepResult::Skipped(_) | StepResult::Unobserved(_) => self.not_done(number, step, &record.result),
            StepResult::Signal { signal, page } => {
                self.saw(number, step, record, page.unwrap_or(0));
                self.signal(number, step, *signal, *page);
                if may_be_done_in_part(&step.op) {
                    return Next::Stop;
                }
            }
            StepResult::Errno(_) | StepResult::Partial(_) => {
                self.not_done(number, step, &record.result);
                if may_be_done_in_part(&step.op) {
                    return Next::Stop;
                }
            }
        }
        self.states(number, step, &record.states);
        Next::GoOn
    }

    fn not_done(&mut self, number: u32, step: &Step, result: &StepResult) {
        self.unreached.push(format!("step {number}, `{step}`: {result}"));
    }

    fn done(&mut self, number: u32, step: &Step, record: &Record, transferred: Option<u32>) {
        // What a reader may see is what was allowed before the step: reading a pipe empties it.
        self.saw(number, step, record, u32::MAX);
        self.world.apply(number, step, transferred);
    }

    /// What the step saw of the pages below `end`, where it came to a halt: is that right?
    fn saw(&mut self, number: u32, step: &Step, record: &Record, end: u32) {
        let actor = step.actor;
        let below = |runs: Vec<Run>| -> Vec<Run> {
            let cut = |run: Run| Run { count: run.count.min(end.saturating_sub(run.first)), ..run };
            runs.into_iter().map(cut).filter(|run| run.count > 0).collect()
        };
        match &step.op {
            Op::Read(range) => self.seen(number, step, View::Own(actor), &below(self.world.runs(range)), &record.seen),
            Op::Storm(range, rivals) => {
                self.seen(number, step, View::Own(actor), &below(self.world.runs(range)), &record.seen);
                if record.result == StepResult::Ok {
                    self.storm(number, step, *rivals, record.storm.as_ref());
                }
            }
            Op::ReadBacking(range) => {
                self.seen(number, step, View::Backing, &below(self.world.runs(range)), &record.seen);
            }
            Op::ReadVia(pin) => {
                self.seen(number, step, View::Via(*pin), &below(self.world.pinned(*pin)), &record.seen);
            }
            Op::Probe(access, range) => {
                self.probed(number, step, *access, &below(self.world.runs(range)), &record.seen);
            }
            _ => {}
        }
    }

    /// Is this a read of a hugetlb page that has been there since before the reader was, with nobody else
    /// writing? Then no copy is made and no free page is needed, so SIGBUS has no excuse. (Where a
    /// write finds no free page for its copy, the kernel takes the page away from the other sharers:
    /// Documentation/mm/hugetlbfs_reserv.rst.)
    fn needs_no_copy(&self, number: u32, step: &Step, page: Option<u32>) -> bool {
        let born = self.world.parent(step.actor).map_or(0, |(_, fork)| fork);
        // What is written at the same time may need the page first.
        let is_alone = self.scenario.group(number).len() == 1;
        let has_content = page
            .and_then(|page| self.world.allowed(step.actor, page))
            .is_some_and(|allowed| !allowed.contains(&Origin::Zero));
        let mut since = self.scenario.numbered().filter(|(other, _)| (born..number).contains(other));
        self.scenario.memory.kind.is_hugetlb()
            && matches!(step.op, Op::Read(_) | Op::Touch(_))
            && has_content
            && is_alone
            && !since.any(|(_, other)| {
                other.actor != step.actor
                    && matches!(other.op, Op::Write(_) | Op::WriteVia(..) | Op::Pin(..) | Op::Probe(Access::Write, _))
            })
    }

    /// An access got a signal that was not due.
    fn signal(&mut self, number: u32, step: &Step, signal: i32, page: Option<u32>) {
        let memory = self.scenario.memory;
        if signal == SIGBUS && self.unprotected(number, step, page) {
            return;
        }
        if signal == SIGBUS && !self.needs_no_copy(number, step, page) {
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
        self.violation(Violation {
            rule: Rule::Integrity,
            step: number,
            pages: page.map(|page| page.to_string()).unwrap_or_default(),
            seen,
            allowed: "no signal".to_owned(),
            sentence,
        });
    }

    fn violation(&mut self, violation: Violation) {
        match self.is_full() {
            false => self.violations.push(violation),
            true => self.unlisted += 1,
        }
    }

    /// Are there as many violations as are listed?
    fn is_full(&self) -> bool {
        self.violations.len() >= MAX_VIOLATIONS
    }

    fn aftermath(&mut self) {
        let behind = |seen: String, allowed: &str, sentence: String| Violation {
            rule: Rule::NothingLeftBehind,
            step: 0,
            pages: String::new(),
            seen,
            allowed: allowed.to_owned(),
            sentence,
        };
        if let Some(first) = self.trace.kernel_log.first() {
            let sentence = format!("while the scenario ran the kernel log got: {first}");
            self.violation(behind(self.trace.kernel_log.join("\n"), "no new warning", sentence));
        }
        if self.trace.hugetlb_missing > 0 {
            let missing = self.trace.hugetlb_missing;
            let sentence = format!("after the family was gone {missing} hugetlb pages had not come back to the pool");
            self.violation(behind(format!("{missing} pages missing"), "all pages back", sentence));
        }
        if self.trace.pages_lost > 0 {
            let lost = self.trace.pages_lost;
            let sentence =
                format!("after the family was gone {lost} of its pages were mapped by nobody, and not freed");
            self.violation(behind(format!("{lost} pages lost"), "all pages freed", sentence));
        }
    }

    fn verdict(mut self) -> Verdict {
        if let (Some(last), 1..) = (self.violations.last_mut(), self.unlisted) {
            last.sentence.push_str(&format!(" (and {} more that are not listed)", self.unlisted));
        }
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
        self.scenario.step(number).map(|step| format!(", `{step}`")).unwrap_or_default()
    }
}

/// May the kernel refuse it, so that a refusal is nothing that keeps the set-up from being reached?
fn may_be_refused(op: &Op) -> bool {
    matches!(
        op,
        Op::Advise(Advice::Collapse | Advice::PageOut, _)
            | Op::CollapseOf(..)
            | Op::Treat(Treatment::Split | Treatment::Migrate, _)
    )
}

/// Where it fails, may it have done some of what it should? Collapse and the like change no content.
fn may_be_done_in_part(op: &Op) -> bool {
    match op {
        Op::Advise(advice, _) => !matches!(
            advice,
            Advice::HugePage | Advice::NoHugePage | Advice::PageOut | Advice::Collapse | Advice::Mergeable
        ),
        Op::Treat(treatment, _) => !matches!(treatment, Treatment::Split | Treatment::Migrate),
        Op::Write(_)
        | Op::Poke(_)
        | Op::Storm(..)
        | Op::WriteBacking(_)
        | Op::WriteVia(..)
        | Op::Mprotect(..)
        | Op::Munmap(_)
        | Op::Mremap(_)
        | Op::ClearSoftDirty => true,
        Op::Read(_)
        | Op::Touch(_)
        | Op::ReadBacking(_)
        | Op::Probe(..)
        | Op::Fork(_)
        | Op::Exit
        | Op::Pin(..)
        | Op::ReadVia(_)
        | Op::Unpin(_)
        | Op::CollapseOf(..)
        | Op::Khugepaged(_)
        | Op::Reclaim
        | Op::Swapoff
        | Op::Ksm
        | Op::Require(..) => false,
    }
}

/// `page 3` or `pages 0-511`
fn pages(run: Run) -> String {
    format!("page{} {}", if run.count == 1 { "" } else { "s" }, list(&[run]))
}
