//! Runs checks and tells the sinks: the middle of the flow.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use cowcheck_model::checker::judge;
use cowcheck_model::collapse::collapses;
use cowcheck_model::explain::explain;
use cowcheck_model::moves::moves;
use cowcheck_model::step::Op;
use cowcheck_model::trace::{StepResult, Trace};
use cowcheck_model::verdict::{Kind, Verdict};

use crate::executor::fault::Fault;
use crate::executor::pool::{self, Job, Lost, News, Wish};
use crate::executor::request::{Devices, Request, Response};
use crate::known::Known;
use crate::report::Sink;
use crate::report::event::{Counts, Event, Outcome, Planned, Rate, Start};
use crate::suite::check::Check;

/// How to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// How often each check is run.
    pub repeat: u32,
    /// How many at once.
    pub jobs: usize,
    /// The time limit of one run, in milliseconds.
    pub limit_ms: u64,
    /// Stop at the first failure.
    pub fail_fast: bool,
    /// How often what failed is run again, alone, at most: until it has failed again.
    pub confirm: u32,
    /// Where to save traces: a directory. All of them, not only failures.
    pub save_trace: Option<PathBuf>,
    /// A fault to plant in our own executor.
    pub fault: Option<Fault>,
    /// What takes pins, and what looks at page tables.
    pub devices: Devices,
    /// Failures that are known.
    pub known: Known,
    /// Indices of the plan that have an outcome from before: they are passed over.
    pub done: BTreeSet<usize>,
}

/// A check to run, or the reason and the remedy why it is not.
pub struct Entry {
    /// The check.
    pub check: Check,
    /// Why it cannot be run here, and what would help.
    pub unmet: Option<(String, String)>,
    /// Hugetlb pages it takes: bytes of a page, and how many.
    pub hugetlb: Option<(u64, u64)>,
}

/// What has been set up for the run.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// Free hugetlb pages: bytes of a page, and how many there are.
    pub free: BTreeMap<u64, u64>,
    /// What a person should know of it.
    pub notes: Vec<String>,
}

/// What a run came to.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// Checks by verdict.
    pub counts: Counts,
    /// Why it was stopped early.
    pub stopped: Option<String>,
}

/// The plan of a run: every check, as often as it is repeated.
pub fn plan<'a>(checks: impl Iterator<Item = &'a Check> + Clone, repeat: u32) -> Vec<Planned> {
    let planned = |repeat| {
        checks.clone().map(move |check| Planned {
            id: check.id.clone(),
            group: check.group.to_owned(),
            kind: check.kind.clone(),
            memory: check.memory.to_owned(),
            size: check.size,
            description: check.description.clone(),
            repeat,
        })
    };
    (1..=repeat).flat_map(planned).collect()
}

/// Why a run with `fail_fast` ends.
const FAILED: &str = "a check failed, and --fail-fast was given";

/// How many checks are named that passed though a bug is known.
const MISSED: usize = 4;

/// Runs the entries. `start` is told first; its plan must be that of [`plan`]. `interrupted` is looked
/// at now and then.
pub fn run(
    entries: &[Entry],
    start: &Start,
    options: &Options,
    setup: &Setup,
    interrupted: &AtomicBool,
    sink: &mut dyn Sink,
) -> io::Result<Summary> {
    let began = Instant::now();
    sink.event(Event::Start(start))?;
    for note in &setup.notes {
        sink.event(Event::Note(note))?;
    }
    let mut teller = Teller {
        entries,
        options,
        sink,
        counts: Counts::default(),
        missed: BTreeMap::new(),
        suspects: Vec::new(),
        stopped: None,
        error: None,
    };
    let mut todo = Vec::new();
    for index in (0..start.plan.len()).filter(|index| !options.done.contains(index)) {
        let entry = &entries[index % entries.len()];
        match &entry.unmet {
            Some((reason, remedy)) => {
                let verdict = Verdict::Skip { reason: reason.clone(), remedy: remedy.clone() };
                teller.outcome(Outcome::bare(index, verdict));
            }
            None => todo.push(index),
        }
    }
    loop {
        let jobs = todo.iter().map(|index| teller.job(*index)).collect();
        todo = pool::run(jobs, options.jobs, setup.free.clone(), |news| {
            if interrupted.load(Ordering::Relaxed) {
                teller.stop("interrupted");
            }
            match news {
                Some(News::Begun(index)) => teller.event(Event::Begin(index)),
                Some(News::Done(index, result)) => teller.done(index, result),
                None => {}
            }
            if teller.is_over() || !teller.suspects.is_empty() { Wish::Stop } else { Wish::Continue }
        });
        if teller.suspects.is_empty() {
            break;
        }
        // While nothing else runs.
        teller.confirm(&setup.free, interrupted);
        if teller.is_over() {
            break;
        }
    }
    for (bug, checks) in std::mem::take(&mut teller.missed) {
        let (some, more) = checks.split_at(checks.len().min(MISSED));
        let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
        teller.event(Event::Note(&format!("a known bug did not show in {}{more}: {bug}", some.join(", "))));
    }
    let Teller { counts, stopped, error, sink, .. } = teller;
    if let Some(error) = error {
        return Err(error);
    }
    sink.event(Event::End { micros: began.elapsed().as_micros() as u64, stopped: stopped.as_deref() })?;
    Ok(Summary { counts, stopped })
}

fn job(index: usize, entry: &Entry, options: &Options) -> Job {
    let scenario = &entry.check.scenario;
    // Clearing and copying 1 GiB takes a second or two, in a VM without acceleration ten times that.
    let limit_ms = options.limit_ms.max(options.limit_ms * (scenario.memory.bytes() >> 26));
    let request = Request {
        scenario: scenario.to_string(),
        limit_ms,
        states: true,
        repeat: 1,
        fault: options.fault,
        devices: options.devices.clone(),
    };
    // They collapse what others have carefully mapped by PTEs, fill the swap up, or bring in what others swapped out.
    let alone = scenario.has(|op| matches!(op, Op::Khugepaged(_) | Op::Reclaim | Op::Swapoff));
    // One after the other, the order of the plan is as good as any.
    let cost = if options.jobs > 1 { scenario.memory.bytes() >> 22 } else { 0 };
    Job { index, request, hugetlb: entry.hugetlb, alone, cost }
}

/// Turns news into events.
struct Teller<'a> {
    entries: &'a [Entry],
    options: &'a Options,
    sink: &'a mut dyn Sink,
    counts: Counts,
    /// Bugs that are known and did not show, and the checks in which they should have.
    missed: BTreeMap<String, Vec<String>>,
    /// What failed and is to be run again.
    suspects: Vec<Outcome>,
    stopped: Option<String>,
    error: Option<io::Error>,
}

impl Teller<'_> {
    fn event(&mut self, event: Event<'_>) {
        if let Err(error) = self.sink.event(event) {
            self.error = self.error.take().or(Some(error));
        }
    }

    fn outcome(&mut self, outcome: Outcome) {
        self.counts.add(outcome.verdict.kind());
        self.event(Event::Outcome(&outcome));
    }

    fn stop(&mut self, why: &str) {
        self.stopped.get_or_insert_with(|| why.to_owned());
    }

    fn is_over(&self) -> bool {
        self.stopped.is_some() || self.error.is_some()
    }

    fn entry(&self, index: usize) -> &Entry {
        &self.entries[index % self.entries.len()]
    }

    fn job(&self, index: usize) -> Job {
        job(index, self.entry(index), self.options)
    }

    fn judged(&self, index: usize, result: Result<Response, Lost>) -> Outcome {
        let (trace, attempts) = match result {
            Ok(mut response) if !response.traces.is_empty() => (response.traces.remove(0), response.attempts),
            other => {
                return Outcome::bare(
                    index,
                    match other {
                        Err(Lost::NotStarted(reason)) => Verdict::Inconclusive { reason },
                        Err(Lost::Died(reason)) => Verdict::Crash { reason },
                        Err(Lost::Silent(reason)) => Verdict::Timeout { reason },
                        Ok(_) => Verdict::Crash { reason: "the worker gave no trace".to_owned() },
                    },
                );
            }
        };
        let mut outcome = outcome(index, &self.entry(index).check.id, trace, &self.options.known);
        if attempts > 1 {
            outcome.notes.push(format!("run {attempts} times to reach the set-up"));
        }
        outcome
    }

    /// Runs what failed again, one at a time, until it has failed again or has been run often enough.
    fn confirm(&mut self, free: &BTreeMap<u64, u64>, interrupted: &AtomicBool) {
        for mut suspect in std::mem::take(&mut self.suspects) {
            let mut rate = Rate { failed: 1, runs: 1 };
            while !rate.is_confirmed() && rate.runs <= self.options.confirm && !interrupted.load(Ordering::Relaxed) {
                pool::run(vec![self.job(suspect.index)], 1, free.clone(), |news| {
                    if let Some(News::Done(index, result)) = news {
                        rate.runs += 1;
                        rate.failed += u32::from(self.judged(index, result).verdict.kind().is_bad());
                    }
                    Wish::Continue
                });
            }
            suspect.again = Some(rate);
            let is_late = suspect.verdict.kind() == Kind::Timeout;
            self.outcome(suspect);
            // Time limits say little where the host is busy: something better may come.
            if rate.is_confirmed() && self.options.fail_fast && !is_late {
                self.stop(FAILED);
            }
        }
    }

    fn done(&mut self, index: usize, result: Result<Response, Lost>) {
        let check = &self.entries[index % self.entries.len()].check;
        let outcome = self.judged(index, result);
        if let (Kind::Pass, Some(trace)) = (outcome.verdict.kind(), &outcome.trace) {
            for bug in self.options.known.missed(&check.id, &trace.kernel) {
                self.missed.entry(bug.named()).or_default().push(check.id.clone());
            }
        }
        if let Some(directory) = &self.options.save_trace {
            let name = trace_name(&check.id, index / self.entries.len());
            if let Err(error) = save(directory, &name, &outcome) {
                self.event(Event::Note(&format!("{name} was not saved in {}: {error}", directory.display())));
            }
        }
        if self.options.confirm > 0 && outcome.verdict.kind().is_bad() {
            self.suspects.push(outcome);
            return;
        }
        let failed = outcome.verdict.kind() == Kind::Fail;
        self.outcome(outcome);
        if failed && self.options.fail_fast {
            self.stop(FAILED);
        }
    }
}

/// Judges a trace and tells what there is to tell about it.
pub fn outcome(index: usize, id: &str, trace: Trace, known: &Known) -> Outcome {
    let verdict = known.weigh(id, &trace.kernel, judge(&trace));
    let left_out = trace.records.iter().filter(|record| record.states_left_out).count();
    let explanation = (verdict.kind() != Kind::Pass).then(|| explain(&trace, &verdict));
    let mut notes: Vec<String> = trace
        .scenario
        .numbered()
        .filter_map(|(number, step)| {
            let record = trace.records.iter().find(|record| record.step == number)?;
            match &record.result {
                StepResult::Ok if record.tries > 1 => {
                    Some(format!("step {number}, `{step}`, took {} tries", record.tries))
                }
                StepResult::Unobserved(_) => Some(format!("step {number}, `{step}`: {}", record.result)),
                _ => None,
            }
        })
        .collect();
    for record in &trace.records {
        if let (Some(storm), Some(step)) = (&record.storm, trace.scenario.step(record.step)) {
            notes.push(format!("step {}, `{step}`: {storm}", record.step));
        }
    }
    let collapses = collapses(&trace);
    for collapse in &collapses {
        let step = trace.scenario.step(collapse.step).map(|step| format!(", `{step}`")).unwrap_or_default();
        notes.push(format!("step {}{step}: {}", collapse.step, collapse.how));
    }
    for moved in moves(&trace) {
        let step = trace.scenario.step(moved.step).map(|step| format!(", `{step}`")).unwrap_or_default();
        notes.push(format!("step {}{step}: {}", moved.step, moved.how));
    }
    if left_out > 0 {
        notes.push(format!("the page states after {left_out} steps were left out of the trace: there was no room"));
    }
    let (micros, again) = (trace.micros, None);
    Outcome { index, verdict, micros, again, notes, collapses, explanation, trace: Some(trace) }
}

/// The file name of a check's trace.
pub fn trace_name(id: &str, repeat: usize) -> String {
    let id = id.replace('/', "_");
    match repeat {
        0 => format!("{id}.trace.json"),
        _ => format!("{id}.{}.trace.json", repeat + 1),
    }
}

fn save(directory: &Path, name: &str, outcome: &Outcome) -> io::Result<()> {
    let Some(trace) = &outcome.trace else { return Ok(()) };
    std::fs::create_dir_all(directory)?;
    std::fs::write(directory.join(name), trace.to_json() + "\n")
}
