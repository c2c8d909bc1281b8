//! What the explorer asks of a worker: many short scenarios in one go, judged at once; and to shrink what was found.
//!
//! Actor A stays from one scenario to the next as long as all is well, and only what is worth knowing goes through the
//! pipe: so the explorer costs little more than the system calls themselves.

use std::time::{Duration, Instant};

use cowcheck_explore::coverage;
use cowcheck_explore::rate::Rate;
use cowcheck_explore::shrink::{Answer, shrink};
use cowcheck_explore::signature::kind;
use cowcheck_model::checker::judge;
use cowcheck_model::contract::Rule;
use cowcheck_model::scenario::Scenario;
use cowcheck_model::text;
use cowcheck_model::trace::{End, StepResult, Trace};
use cowcheck_model::verdict::{Kind, Verdict};
use cowcheck_sys::process::{self, Fork};
use serde::{Deserialize, Serialize};

use super::family::{Patience, Plan};
use super::fault::Fault;
use super::kmsg::KernelLog;
use super::look::Look;
use super::lost;
use super::pool::{self, Ask};
use super::request::Devices;
use super::worker::{Worker, become_a, collect};

/// How often a finding is run again to see how often it shows; fewer where it shows each time.
const CONFIRM: u32 = 12;
const SURE: u32 = 3;

/// How to run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Manner {
    /// The time limit of one run, in milliseconds.
    pub limit_ms: u64,
    /// A fault to plant in our own executor.
    pub fault: Option<Fault>,
    /// What takes pins.
    pub devices: Devices,
}

/// A request.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    /// Run these, one after the other, each once.
    Batch {
        /// In their text form.
        scenarios: Vec<String>,
        /// How.
        manner: Manner,
    },
    /// Run this again and again, and make it smaller.
    Shrink {
        /// What shows it.
        scenario: String,
        /// What it shows.
        wrong: Wrong,
        /// In which step, from 1; 0 if that is not known.
        step: u32,
        /// How long it may take, in milliseconds.
        budget_ms: u64,
        /// How.
        manner: Manner,
    },
}

/// What is wrong with a run, as far as two runs can have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wrong {
    /// It broke this rule first.
    Rule(Rule),
    /// A process died.
    Crash,
    /// It did not end.
    Timeout,
}

impl Wrong {
    /// Is anything?
    pub fn of(verdict: &Verdict) -> Option<Wrong> {
        match verdict {
            Verdict::Fail { violations } => violations.first().map(|first| Wrong::Rule(first.rule)),
            Verdict::Crash { .. } => Some(Wrong::Crash),
            Verdict::Timeout { .. } => Some(Wrong::Timeout),
            _ => None,
        }
    }
}

impl std::fmt::Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Wrong::Rule(rule) => rule.fmt(f),
            Wrong::Crash => f.write_str("crash"),
            Wrong::Timeout => f.write_str("timeout"),
        }
    }
}

/// What one scenario of a batch came to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ran {
    /// The verdict.
    pub kind: Kind,
    /// Of an inconclusive one: why, so that the same causes have the same words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// What it did to pages that no scenario of this worker had done before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub new: Vec<String>,
    /// Where something is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<Box<Trace>>,
}

/// A response.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Done {
    /// To a batch: each scenario that was run, in order.
    Batch {
        /// What they came to.
        ran: Vec<Ran>,
        /// The worker is no longer good.
        spent: bool,
    },
    /// To a finding.
    Shrunk {
        /// How often it showed as it was: hits and runs.
        as_found: (u32, u32),
        /// The smallest scenario that shows it, how often that does, and its trace; `None` if it never showed again.
        smallest: Option<Box<Smallest>>,
        /// The worker is no longer good.
        spent: bool,
    },
}

/// The smallest scenario that shows a finding.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Smallest {
    /// A trace in which it shows.
    pub trace: Trace,
    /// Runs that showed it, and all.
    pub rate: (u32, u32),
    /// Other scenarios that were tried.
    pub asked: u32,
    /// Was there time for all of them?
    pub finished: bool,
}

impl Ask for Work {
    type Answer = Done;

    fn limit(&self) -> Duration {
        match self {
            Work::Batch { scenarios, manner } => {
                Duration::from_millis(manner.limit_ms).saturating_mul(scenarios.len().max(1) as u32)
            }
            // The last run begins before the budget is used up.
            Work::Shrink { budget_ms, manner, .. } => Duration::from_millis(budget_ms + 2 * manner.limit_ms),
        }
    }
}

impl pool::Answer for Done {
    fn is_last(&self) -> bool {
        self.spent()
    }
}

impl Done {
    /// Is the worker no longer good: could a process of a family not be killed?
    pub fn spent(&self) -> bool {
        match self {
            Done::Batch { spent, .. } | Done::Shrunk { spent, .. } => *spent,
        }
    }
}

impl Worker {
    /// Does what the explorer asks for.
    pub(super) fn explore(&mut self, work: &Work) -> Done {
        match work {
            Work::Batch { scenarios, manner } => self.batch(scenarios, manner),
            Work::Shrink { scenario, wrong, step, budget_ms, manner } => {
                match text::parse_valid(scenario, self.page_size) {
                    Ok(scenario) => self.shrink(&scenario, *wrong, *step, *budget_ms, manner),
                    Err(_) => Done::Shrunk { as_found: (0, 0), smallest: None, spent: false },
                }
            }
        }
    }

    fn batch(&mut self, texts: &[String], manner: &Manner) -> Done {
        let mut ran = Vec::new();
        let mut scenarios = Vec::new();
        for text in texts {
            match text::parse_valid(text, self.page_size) {
                Ok(scenario) => scenarios.push(scenario),
                // Made for another page size, most likely. Those before it are run, in order.
                Err(error) => {
                    let spent =
                        self.run_each(&scenarios, manner, false, &mut |worker, trace| ran.push(worker.weigh(trace)));
                    scenarios.clear();
                    if spent {
                        return Done::Batch { ran, spent };
                    }
                    ran.push(Ran { kind: Kind::Skip, why: error.expected, new: vec![], trace: None });
                }
            }
        }
        let spent = self.run_each(&scenarios, manner, false, &mut |worker, trace| ran.push(worker.weigh(trace)));
        Done::Batch { ran, spent }
    }

    /// Runs the scenarios, each once, with as few families as that takes. The numbers of `frames` are for whoever reads a
    /// trace: nothing is judged by them alone. `true` if a process could not be killed.
    fn run_each(
        &mut self,
        scenarios: &[Scenario],
        manner: &Manner,
        frames: bool,
        each: &mut dyn FnMut(&mut Worker, Trace),
    ) -> bool {
        let page_size = self.page_size as usize;
        let device = manner.devices.helper.as_deref();
        let look = device.and_then(|device| Look::open(device, page_size, manner.fault).ok());
        let plan = |scenario| Plan {
            scenario,
            page_size: self.page_size,
            states: true,
            frames,
            patience: Patience::BRIEF,
            fault: manner.fault,
            devices: &manner.devices,
            look: look.as_ref(),
            worker: process::id(),
        };
        let plans: Vec<Plan<'_>> = scenarios.iter().map(plan).collect();
        let mut left = plans.as_slice();
        while let [first, ..] = left {
            self.turns.reset(0);
            let a = match process::fork() {
                Ok(Fork::Child) => become_a(left.iter(), &self.turns, first.worker, self.nonce),
                Ok(Fork::Parent(pid)) => {
                    process::own_group(pid);
                    pid
                }
                Err(error) => {
                    let end = End::Failed(format!("no process could be made: {error}"));
                    let trace = self.trace(first.scenario, vec![], end, vec![], Duration::ZERO);
                    each(self, trace);
                    left = &left[1..];
                    continue;
                }
            };
            let mut ran = Vec::new();
            let (mut stays, mut stuck) = (true, false);
            while let ([plan, rest @ ..], true) = (left, stays) {
                self.nonce = self.nonce.wrapping_add(1);
                let began = Instant::now();
                let limit = Duration::from_millis(manner.limit_ms);
                let over = self.watch(plan, a, limit, rest.is_empty());
                let kernel_log = self.log.as_mut().map(KernelLog::news).unwrap_or_default();
                let (records, end) = collect(&self.turns.log(), over.end);
                stays = !over.a_gone && end == End::Complete;
                let trace = self.trace(plan.scenario, records, end, kernel_log, began.elapsed());
                ran.push(trace);
                left = rest;
                stuck = over.stuck;
                if stays && !left.is_empty() {
                    self.turns.reset(a);
                    self.turns.next_run();
                }
            }
            stuck |= !self.bury(a);
            // One that did not end as it should may have somebody left.
            let is_whole = !stuck && ran.iter().all(|trace| trace.end == End::Complete);
            let lost = if is_whole { lost::count(ran.iter().flat_map(|trace| &trace.records)) } else { 0 };
            match &mut ran[..] {
                [trace] => trace.pages_lost = lost,
                several if lost > 0 => {
                    // Which of them was it?
                    let suspects: Vec<Scenario> = several.iter().map(|trace| trace.scenario.clone()).collect();
                    stuck = suspects.iter().any(|one| self.run_each(std::slice::from_ref(one), manner, true, each));
                    ran.clear();
                }
                _ => {}
            }
            ran.into_iter().for_each(|trace| each(self, trace));
            if stuck {
                return true;
            }
        }
        false
    }

    fn weigh(&mut self, trace: Trace) -> Ran {
        let verdict = judge(&trace);
        let new = coverage::transitions(&trace).into_iter().filter(|transition| self.covered.insert(*transition));
        let new = coverage::keys(&new.collect()).into_iter().collect();
        let why = match &verdict {
            Verdict::Inconclusive { reason } => cause(&trace, reason),
            _ => String::new(),
        };
        let trace = Wrong::of(&verdict).map(|_| Box::new(trace));
        Ran { kind: verdict.kind(), why, new, trace }
    }

    fn shrink(&mut self, found: &Scenario, wrong: Wrong, step: u32, budget_ms: u64, manner: &Manner) -> Done {
        let deadline = Instant::now() + Duration::from_millis(budget_ms);
        let mut spent = false;
        // Runs it once, with a family of its own.
        let mut once = |scenario: &Scenario| -> Option<Trace> {
            let mut seen = None;
            spent |= self.run_each(std::slice::from_ref(scenario), manner, true, &mut |_, trace| seen = Some(trace));
            seen.filter(|trace| Wrong::of(&judge(trace)) == Some(wrong))
        };
        let measure = |once: &mut dyn FnMut(&Scenario) -> Option<Trace>, scenario: &Scenario| {
            let (mut rate, mut last) = (Rate { hits: 0, runs: 0 }, None);
            while rate.runs < CONFIRM && (rate.hits, rate.runs) != (SURE, SURE) && Instant::now() < deadline {
                let hit = once(scenario);
                rate.hits += u32::from(hit.is_some());
                rate.runs += 1;
                last = hit.or(last);
            }
            (rate, last)
        };
        let (as_found, trace) = measure(&mut once, found);
        let Some(mut trace) = trace else {
            return Done::Shrunk { as_found: (as_found.hits, as_found.runs), smallest: None, spent };
        };
        let repeats = as_found.repeats();
        let shrunk = shrink(found, step, &mut |candidate| {
            for _ in 0..repeats {
                if Instant::now() >= deadline {
                    return Answer::Enough;
                }
                if let Some(hit) = once(candidate) {
                    trace = hit;
                    return Answer::Yes;
                }
            }
            Answer::No
        });
        let (mut rate, last) = match shrunk.finished {
            true => measure(&mut once, &shrunk.scenario),
            false => (as_found, None),
        };
        if let Some(last) = last {
            trace = last;
        } else if trace.scenario != shrunk.scenario {
            // Its names were changed and it did not show again: the trace that there is has the truth.
            rate = as_found;
        }
        let smallest = Smallest { trace, rate: (rate.hits, rate.runs), asked: shrunk.asked, finished: shrunk.finished };
        Done::Shrunk { as_found: (as_found.hits, as_found.runs), smallest: Some(Box::new(smallest)), spent }
    }
}

/// Why a run was inconclusive, without what differs from one scenario to the next.
fn cause(trace: &Trace, reason: &str) -> String {
    for record in &trace.records {
        let Some(step) = trace.scenario.step(record.step) else { continue };
        match &record.result {
            StepResult::Ok => {}
            StepResult::Signal { signal, .. } => {
                return format!("{}: {}", kind(&step.op), cowcheck_model::errno::signal_name(*signal));
            }
            StepResult::Partial(_) => return format!("{}: fewer pages than asked for", kind(&step.op)),
            result @ StepResult::Errno(_) => {
                let word = kind(&step.op);
                if word != "collapse" && word != "pageout" {
                    return format!("{word}: {result}");
                }
            }
            result => return format!("{}: {result}", kind(&step.op)),
        }
    }
    reason.to_owned()
}
