//! A worker process: runs one family at a time and looks after it.
//!
//! It reads requests from standard input and writes responses to standard output, a line each. It
//! has one thread, forks every actor A itself, adopts orphans, and kills the whole family when its
//! time is up.

use std::collections::HashSet;
use std::io::{self, BufRead, Write};
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use cowcheck_explore::coverage::Transition;
use cowcheck_model::checker::judge;
use cowcheck_model::pages::Run;
use cowcheck_model::scenario::Scenario;
use cowcheck_model::step::Actor;
use cowcheck_model::text;
use cowcheck_model::trace::{End, Record, Trace, VERSION};
use cowcheck_model::verdict::{Kind, Verdict};
use cowcheck_sys::process::{self, Fork};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::explore::Work;
use super::family::{self, Patience, Plan};
use super::kmsg::KernelLog;
use super::look::{Look, Place};
use super::lost;
use super::page_state::Pagemap;
use super::processors;
use super::request::{Request, Response};
use super::swapoff;
use super::turns::{Entry, Turns, died, entries};

/// How long a killed family may take to vanish. A process in uninterruptible sleep takes longer.
const VANISH: Duration = Duration::from_secs(5);

/// How often a scenario is run whose set-up was not reached. Whatever else goes on in the machine can
/// swap a page out or split a THP at the wrong moment.
const ATTEMPTS: u32 = 3;

/// Nor is it run again once it took so long: the pool waits for an answer no longer than the limit of one run, and a grace
/// that is twice this.
const ATTEMPTS_FOR: Duration = Duration::from_secs(10);

/// How many logs of runs that passed are kept.
const PASSED: usize = 64;

fn is_inconclusive(response: &Response) -> bool {
    !response.spent && response.traces.iter().any(|trace| judge(trace).kind() == Kind::Inconclusive)
}

/// Runs requests until standard input ends.
///
/// With the number of a `processor` everybody stays on that one: a family takes turns, and to wake somebody on another
/// processor takes longer.
pub fn main(processor: Option<usize>) -> io::Result<()> {
    if let Some(processor) = processor {
        // Where it may not run there it runs where it may.
        let _ = processors::stay_on(&[processor]);
    }
    process::adopt_orphans()?;
    process::wake_on_child()?;
    process::call(b"cow-worker");
    cowcheck_sys::probe::install()?;
    let mut worker = Worker {
        turns: Turns::new()?,
        log: KernelLog::open(),
        kernel: super::pool::kernel_name(),
        page_size: rustix::param::page_size() as u32,
        soft_dirty: soft_dirty(),
        nonce: (process::id() as u16).wrapping_mul(257),
        covered: HashSet::new(),
    };
    let mut out = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let line = line?;
        let (mut said, spent) = match serde_json::from_str::<Work>(&line) {
            Ok(work) => {
                let done = worker.explore(&work);
                (serde_json::to_vec(&done), done.spent())
            }
            // It has no tag.
            Err(_) => {
                let request: Request = serde_json::from_str(&line).map_err(io::Error::other)?;
                let response = worker.run(&request);
                (serde_json::to_vec(&response), response.spent)
            }
        };
        let said = said.as_mut().map_err(|error| io::Error::other(error.to_string()))?;
        said.push(b'\n');
        out.write_all(said)?;
        out.flush()?;
        if spent {
            break;
        }
    }
    Ok(())
}

/// Does this kernel track soft-dirty pages? A mapping that was never cleared is all soft-dirty.
fn soft_dirty() -> bool {
    use cowcheck_model::memory::{Memory, MemoryKind};
    let page = rustix::param::page_size();
    let memory = Memory::new(MemoryKind::Anon, page as u64);
    let Ok(layout) = super::layout::Layout::new(memory, page, 1) else { return false };
    let all = [Place { pages: Run { first: 0, count: 1 }, address: layout.area.address(0) }];
    layout.area.store(0).is_ok()
        && Pagemap::open()
            .and_then(|pagemap| super::page_state::observe(&pagemap, Actor::A, memory, page, &all, false))
            .is_ok_and(|states| states.iter().all(|observed| observed.state.soft_dirty))
}

pub(super) struct Worker {
    pub(super) turns: Turns,
    pub(super) log: Option<KernelLog>,
    kernel: String,
    pub(super) page_size: u32,
    soft_dirty: bool,
    /// Tells the runs of this worker apart. Workers begin at different places, so that a page from
    /// another's memory is foreign, too.
    pub(super) nonce: u16,
    /// What the explorer has been told already.
    pub(super) covered: HashSet<Transition>,
}

/// How one run ended, as the worker saw it.
pub(super) struct Over {
    /// Why, where the log does not say.
    pub(super) end: Option<End>,
    /// A is gone.
    pub(super) a_gone: bool,
    /// Somebody could not be killed.
    pub(super) stuck: bool,
}

impl Worker {
    fn run(&mut self, request: &Request) -> Response {
        let began = Instant::now();
        let mut response = Response { passes: 0, traces: vec![], attempts: 1, micros: 0, spent: false };
        match text::parse_valid(&request.scenario, self.page_size) {
            Ok(scenario) => {
                self.families(request, &scenario, &mut response);
                let may_again = |response: &Response| {
                    response.attempts < ATTEMPTS && began.elapsed() < ATTEMPTS_FOR && is_inconclusive(response)
                };
                while request.repeat == 1 && may_again(&response) {
                    response.traces.clear();
                    response.attempts += 1;
                    self.families(request, &scenario, &mut response);
                }
            }
            Err(error) => {
                let scenario = text::parse(&request.scenario).unwrap_or_else(|_| empty());
                response.traces.push(self.trace(
                    &scenario,
                    vec![],
                    End::Failed(error.to_string()),
                    vec![],
                    Duration::ZERO,
                ));
            }
        }
        response.micros = began.elapsed().as_micros() as u64;
        response
    }

    /// Runs the scenario as often as asked for, with as many families as that takes.
    fn families(&mut self, request: &Request, scenario: &Scenario, response: &mut Response) {
        let page_size = self.page_size as usize;
        // A module that went away since it was found is as one that was never there.
        let device = request.devices.helper.as_deref();
        let look = device.and_then(|device| Look::open(device, page_size, request.fault).ok());
        let plan = Plan {
            scenario,
            page_size: self.page_size,
            states: request.states,
            frames: true,
            patience: Patience::FULL,
            fault: request.fault,
            devices: &request.devices,
            look: look.as_ref(),
            worker: process::id(),
        };
        let limit = Duration::from_millis(request.limit_ms);
        let mut left = request.repeat.max(1);
        // Logs of runs that passed. The verdict depends on nothing else, and most runs of one scenario
        // are alike to the last letter.
        let mut passed: HashSet<Vec<u8>> = HashSet::new();
        while left > 0 && !response.spent {
            self.turns.reset(0);
            let a = match process::fork() {
                Ok(Fork::Child) => {
                    become_a(std::iter::repeat_n(&plan, left as usize), &self.turns, plan.worker, self.nonce)
                }
                Ok(Fork::Parent(pid)) => {
                    // A does it, too. Whoever comes first, the group is there when it is to be killed.
                    process::own_group(pid);
                    pid
                }
                Err(error) => {
                    let end = End::Failed(format!("no process could be made: {error}"));
                    response.traces.push(self.trace(scenario, vec![], end, vec![], Duration::ZERO));
                    return;
                }
            };
            let mut good = true;
            let mut gone = false;
            while good && left > 0 {
                self.nonce = self.nonce.wrapping_add(1);
                let began = Instant::now();
                let last = left == 1;
                let over = self.watch(&plan, a, limit, last);
                left -= 1;
                response.spent = over.stuck;
                let kernel_log = self.log.as_mut().map(KernelLog::news).unwrap_or_default();
                let log = self.turns.log();
                if over.end.is_none() && kernel_log.is_empty() && passed.contains(&log) {
                    response.passes += 1;
                } else {
                    let (records, end) = collect(&log, over.end);
                    let took = began.elapsed();
                    // With more runs A has its memory still.
                    let is_over = over.a_gone && !over.stuck && request.repeat == 1 && end == End::Complete;
                    let pages_lost = if is_over { lost::count(records.iter()) } else { 0 };
                    let trace = Trace { pages_lost, ..self.trace(scenario, records, end, kernel_log, took) };
                    if request.repeat > 1 && judge(&trace) == Verdict::Pass {
                        response.passes += 1;
                        if passed.len() < PASSED && trace.kernel_log.is_empty() {
                            passed.insert(log);
                        }
                    } else {
                        good = trace.end == End::Complete && request.repeat > 1 && response.traces.len() < 100;
                        response.traces.push(trace);
                    }
                }
                gone = over.a_gone;
                good &= !gone;
                if good && left > 0 {
                    self.turns.reset(a);
                    self.turns.next_run();
                }
            }
            if !gone {
                self.bury(a);
            }
            swapoff::put_back(&plan);
        }
    }

    /// Waits until the run is over or its time is.
    pub(super) fn watch(&self, plan: &Plan<'_>, a: i32, limit: Duration, last: bool) -> Over {
        let scenario = plan.scenario;
        let deadline = Instant::now() + limit;
        let finished = scenario.steps.len() + 1;
        loop {
            let alarm = self.turns.worker_alarm();
            let turn = self.turns.turn();
            let whose = scenario.steps.get(turn.wrapping_sub(1)).map_or(Actor::A, |step| step.actor);
            let step = (turn as u32).min(scenario.steps.len() as u32);
            // A gone is looked at before the turn is: its last word may be the end of the run.
            match process::wait(a, false) {
                Ok(None) => {}
                Ok(Some(exit)) => {
                    let done = self.turns.turn() >= finished || self.turns.aborted();
                    let end = (!done).then(|| died(Actor::A, step, exit));
                    return Over { end, a_gone: true, stuck: !self.bury(a) };
                }
                Err(_) => return Over { end: None, a_gone: true, stuck: !self.bury(a) },
            }
            if !last && turn >= finished && self.turns.resting() && !self.has_orphans() {
                return Over { end: None, a_gone: false, stuck: false };
            }
            self.reap_orphans(plan, turn);
            if nobody_listens() {
                // Killed, or told to stop. Nobody wants the trace any more.
                self.bury(a);
                process::exit_now(1);
            }
            let now = Instant::now();
            if now >= deadline {
                let state = describe(self.turns.pid(whose));
                let limit_ms = limit.as_millis() as u64;
                let end = Some(End::Timeout { actor: whose, step, limit_ms, state });
                return Over { end, a_gone: true, stuck: !self.bury(a) };
            }
            self.turns.worker_sleep(alarm, deadline - now);
        }
    }

    /// Reaps an actor that exits after its parent did.
    fn reap_orphans(&self, plan: &Plan<'_>, turn: usize) {
        let Some(step) = plan.scenario.steps.get(turn.wrapping_sub(1)) else { return };
        if step.actor != Actor::A && self.turns.lives(step.actor) {
            // An error means that it is not ours: its parent lives.
            if let Ok(Some(exit)) = process::wait(self.turns.pid(step.actor), false) {
                self.turns.buried(plan.scenario, step.actor, exit, || plan.family_states(&self.turns));
            }
        }
    }

    /// Is an actor still there whose parent has exited? It would walk on in the next run. Others are gone when A rests:
    /// parents wait for their children.
    fn has_orphans(&self) -> bool {
        let others = (1..Actor::MAX).filter_map(Actor::new).filter(|actor| self.turns.lives(*actor));
        // An error means that it is not ours, or reaped already.
        others.map(|actor| process::wait(self.turns.pid(actor), false)).any(|state| matches!(state, Ok(None)))
    }

    /// Ends the whole family. `false` if a process would not go.
    pub(super) fn bury(&self, a: i32) -> bool {
        process::kill(-a);
        process::reap_all(VANISH)
    }

    pub(super) fn trace(
        &self,
        scenario: &Scenario,
        records: Vec<Record>,
        end: End,
        kernel_log: Vec<String>,
        took: Duration,
    ) -> Trace {
        Trace {
            version: VERSION,
            scenario: scenario.clone(),
            kernel: self.kernel.clone(),
            page_size: self.page_size,
            soft_dirty: self.soft_dirty,
            records,
            end,
            kernel_log,
            hugetlb_missing: 0,
            pages_lost: 0,
            micros: took.as_micros() as u64,
        }
    }
}

/// The records of a run, and how it ended: `end` where the log does not say.
pub(super) fn collect(log: &[u8], end: Option<End>) -> (Vec<Record>, End) {
    let mut records = Vec::new();
    let mut told = None;
    for entry in entries(log) {
        match entry {
            Entry::Record(record) => records.push(record),
            Entry::End(end) => told = told.or(Some(end)),
        }
    }
    (records, told.or(end).unwrap_or(End::Complete))
}

/// Has the tool closed its end of standard input, or died?
fn nobody_listens() -> bool {
    let stdin = io::stdin();
    let mut ends = [PollFd::new(&stdin, PollFlags::empty())];
    poll(&mut ends, Some(&Timespec::default())).is_ok() && ends[0].revents().contains(PollFlags::HUP)
}

fn empty() -> Scenario {
    let memory = cowcheck_model::memory::Memory::new(cowcheck_model::memory::MemoryKind::Anon, 4096);
    Scenario { about: vec![], memory, steps: vec![] }
}

/// The child's side of the fork: actor A, for these runs at most, one after the other.
pub(super) fn become_a<'a>(
    mut plans: impl ExactSizeIterator<Item = &'a Plan<'a>>,
    turns: &'a Turns,
    worker: i32,
    mut nonce: u16,
) -> ! {
    process::own_group(0);
    process::die_with(worker);
    // An error leaves the worker's kill.
    let _ = process::know_worker(worker);
    process::prefer_oom();
    process::call(b"cow-A");
    // The pipe to the tool is the worker's: whoever else holds it open hides the worker's death.
    let _ = rustix::stdio::dup2_stdout(io::stderr());
    turns.set_pid(Actor::A, process::id());
    let mut pagemap = OnceLock::new();
    while let Some(plan) = plans.next() {
        let run = turns.run();
        pagemap = family::live(plan, turns, nonce.max(1), pagemap);
        nonce = nonce.wrapping_add(1);
        if plans.len() == 0 || turns.aborted() {
            break;
        }
        turns.rest(true);
        while turns.run() == run {
            turns.sleep_until_next_run(run);
            if !process::alive(plan.worker) {
                process::exit_now(1);
            }
        }
    }
    process::exit_now(0)
}

/// What a process is doing, for a person to read; with threads, what each is.
fn describe(pid: i32) -> String {
    let all = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let others = all.filter(|task| task.file_name().to_str() != Some(&pid.to_string()));
    let others: Vec<String> = others.map(|task| format!("; a thread: {}", describe_task(&task.path()))).collect();
    format!("{}{}", describe_task(Path::new(&format!("/proc/{pid}"))), others.concat())
}

/// Its state and where in the kernel it waits.
fn describe_task(task: &Path) -> String {
    let read = |name: &str| std::fs::read_to_string(task.join(name)).unwrap_or_default();
    let stat = read("stat");
    let state = match stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next()) {
        Some('R') => "it is running",
        Some('S') => "it is asleep",
        Some('D') => "it sleeps in the kernel and cannot be interrupted",
        Some('T' | 't') => "it is stopped",
        Some('Z') => "it is dead and not reaped",
        _ => "it is gone",
    };
    match read("wchan").trim() {
        "" | "0" => state.to_owned(),
        place => format!("{state}, in {place}"),
    }
}
