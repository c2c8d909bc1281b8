//! What exploring costs beside the system calls themselves, what the second core gives, and how long shrinking takes.
//!
//! ```text
//! cargo bench -p cowcheck --bench explore              # tells
//! cargo bench -p cowcheck --bench explore -- --check   # exit code 1 below a goal
//! ```
//!
//! Ours makes scenarios, has a worker run and judge them, and reads what came of it. The bare loop takes the same
//! scenarios ready made and does their system calls with the same forks, stores and loads of the same words, and the same
//! passing of turns; it compares nothing, looks at no page table and keeps nothing. Both are on one core and take turns with every
//! batch, of which the best round counts on either side. Left out on both sides are steps that wait (KSM, reclaim of the whole
//! cgroup) or act on another process.

use std::collections::HashMap;
use std::error::Error;
use std::fs;
use std::hint::black_box;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use cowcheck::executor::explore::{Done, Manner, Work, Wrong};
use cowcheck::executor::fault::Fault;
use cowcheck::executor::layout::Layout;
use cowcheck::executor::pins::{self, Held};
use cowcheck::executor::poke;
use cowcheck::executor::pool::WORKER_ARG;
use cowcheck::executor::processors;
use cowcheck::executor::request::Devices;
use cowcheck::executor::treat;
use cowcheck::explore::source::Ground;
use cowcheck::here;
use cowcheck::known::Known;
use cowcheck::provide::machine::Machine;
use cowcheck::provide::needs::Needs;
use cowcheck::provide::roots::Roots;
use cowcheck_explore::generate::Generator;
use cowcheck_explore::mutate::mutate;
use cowcheck_explore::random::Random;
use cowcheck_model::checker::judge;
use cowcheck_model::memory::{Memory, MemoryKind};
use cowcheck_model::scenario::Scenario;
use cowcheck_model::stamp::{Stamp, Writer};
use cowcheck_model::step::{Access, Actor, Advice, Op, Pin};
use cowcheck_sys::area::{Area, Fault as Signal};
use cowcheck_sys::board::{self, Board};
use cowcheck_sys::probe;
use cowcheck_sys::process::{self, Fork};
use cowcheck_sys::uffd::Uffd;

const ROUNDS: u32 = 5;
const PAGE: u32 = 4096;
const SEED: u64 = 0;
/// Scenarios of a round, before those are left out that cannot be run.
const COUNT: u64 = 1000;
/// How many a worker gets at once, as in a campaign.
const BATCH: usize = 32;
/// Scenarios of the runs on one core and on two.
const CAMPAIGN: u64 = 3000;

/// How long an actor of the bare loop waits for its turn.
const LOST: Duration = Duration::from_secs(1);

/// What is asked: of the bare rate, of one core's, and seconds to shrink a finding of so many steps.
const RATE: f64 = 0.7;
const CORES: f64 = 1.8;
const SHRINK: f64 = 10.0;
const STEPS: usize = 40;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// One actor of the bare loop.
struct Bare<'a> {
    scenario: &'a Scenario,
    board: &'a Board,
    devices: &'a Devices,
    me: Actor,
    layout: Layout,
    held: HashMap<Pin, Held>,
    uffd: Option<Uffd>,
    children: Vec<i32>,
}

/// Does a scenario's system calls. Was it gone through to its end?
fn bare(scenario: &Scenario, board: &Board, devices: &Devices) -> io::Result<bool> {
    board.word(0).store(0, Ordering::Release);
    let layout = Layout::new(scenario.memory, PAGE as usize, 1).map_err(io::Error::other)?;
    let (held, children) = (HashMap::new(), vec![]);
    let mut a = Bare { scenario, board, devices, me: Actor::A, layout, held, uffd: None, children };
    a.walk();
    a.children.iter().try_for_each(|child| process::wait(*child, true).map(drop))?;
    Ok(board.word(0).load(Ordering::Acquire) != u32::MAX)
}

impl Bare<'_> {
    fn walk(&mut self) {
        let turn = self.board.word(0);
        let (mut last, mut since) = (0, Instant::now());
        loop {
            let number = turn.load(Ordering::Acquire);
            let Some(step) = self.scenario.steps.get(number as usize) else { return };
            if step.actor != self.me {
                // Whose turn it is may have died, or never have been there: then this scenario is over.
                if number != last {
                    (last, since) = (number, Instant::now());
                } else if since.elapsed() > LOST {
                    board::post(turn, u32::MAX);
                    return;
                }
                board::wait(turn, number, LOST);
                continue;
            }
            match &step.op {
                Op::Exit => {
                    board::post(turn, number + 1);
                    process::exit_now(0);
                }
                Op::Fork(child) => match process::fork() {
                    Ok(Fork::Child) => {
                        (self.me, self.uffd) = (*child, None);
                        self.children.clear();
                        while turn.load(Ordering::Acquire) == number {
                            board::wait(turn, number, Duration::from_secs(1));
                        }
                        self.walk();
                        self.children.iter().for_each(|child| drop(process::wait(*child, true)));
                        process::exit_now(0);
                    }
                    Ok(Fork::Parent(pid)) => self.children.push(pid),
                    Err(_) => return board::post(turn, u32::MAX),
                },
                // A refusal is as good as another answer.
                op => self.call(op),
            }
            board::post(turn, number + 1);
        }
    }

    fn call(&mut self, op: &Op) {
        let runs = op.range().map_or(vec![], |range| range.runs(self.layout.pages()));
        let stamp = |page| Stamp { nonce: 1, writer: Writer::Initial, page };
        let area = &self.layout.area;
        let parts = self.layout.parts(&runs);
        let each = |call: &dyn Fn(usize, usize) -> io::Result<()>| {
            let _ = parts.iter().try_for_each(|part| call(part.offset, self.layout.len(part)));
        };
        let pages = || self.layout.each(&runs).map(|(_, offset)| offset);
        let backed = || runs.iter().flat_map(|run| run.pages()).map(|page| (page * PAGE) as usize);
        match op {
            Op::Write(_) => {
                let _ = pages().try_for_each(|at| fill(area, at));
            }
            Op::Poke(_) => drop(poke::poke(&self.layout, &runs, stamp)),
            Op::Probe(Access::Write, _) => pages().for_each(|at| _ = area.store(at)),
            Op::Probe(Access::Read, _) => pages().for_each(|at| _ = area.load(at)),
            Op::Read(_) => {
                let _ = pages().try_for_each(|at| go_over(area, at));
            }
            Op::Touch(_) => {
                let _ = pages().try_for_each(|at| area.load(at));
            }
            Op::ReadBacking(_) => {
                let _ = self.layout.backing.iter().try_for_each(|area| backed().try_for_each(|at| go_over(area, at)));
            }
            Op::WriteBacking(_) => {
                let _ = self.layout.backing.iter().try_for_each(|area| backed().try_for_each(|at| fill(area, at)));
            }
            Op::Mprotect(_, prot) => each(&|offset, len| area.protect(offset, len, *prot)),
            Op::Advise(advice, _) => each(&|offset, len| match area.advise(offset, len, *advice) {
                Err(error) if *advice == Advice::Collapse && matches!(error.raw_os_error(), Some(11 | 12 | 16)) => {
                    std::thread::sleep(Duration::from_micros(500));
                    area.advise(offset, len, *advice)
                }
                result => result,
            }),
            Op::Munmap(_) => each(&|offset, len| area.unmap(offset, len)),
            Op::Treat(treatment, _) => {
                treat::treat(*treatment, &self.layout, &runs, &mut self.uffd);
            }
            Op::Mremap(_) => drop(self.layout.remap(&runs)),
            Op::ClearSoftDirty => drop(fs::write("/proc/self/clear_refs", "4")),
            Op::Pin(kind, pin, _) => {
                if let Ok(taken) = pins::take(*kind, &self.layout, &runs, self.devices) {
                    self.held.insert(*pin, taken.held);
                }
            }
            Op::ReadVia(pin) => {
                let held = self.held.get_mut(pin);
                let _ = held.map(|held| held.read(&self.layout, |_, _| {}));
            }
            Op::WriteVia(pin, _) => {
                let held = self.held.get_mut(pin);
                let _ = held.map(|held| held.write(&self.layout, &runs, stamp));
            }
            Op::Unpin(pin) => drop(self.held.remove(pin)),
            _ => {}
        }
    }
}

/// Stores every word of a page.
fn fill(area: &Area, at: usize) -> std::result::Result<(), Signal> {
    area.write(at, PAGE as usize, |words| words.fill(at as u64))
}

/// Loads every word of a page.
fn go_over(area: &Area, at: usize) -> std::result::Result<(), Signal> {
    area.read(at, PAGE as usize, |words| _ = black_box(words.iter().fold(0, |all, word| all ^ word)))
}

/// `cowcheck __worker`, and the lines to and from it.
struct Worker {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Worker {
    fn start() -> Result<Worker> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cowcheck"));
        let mut child = command.arg(WORKER_ARG).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let to = child.stdin.take().ok_or("no pipe to the worker")?;
        let from = BufReader::new(child.stdout.take().ok_or("no pipe from the worker")?);
        Ok(Worker { child, to, from })
    }

    fn ask(&mut self, work: &Work) -> Result<Done> {
        writeln!(self.to, "{}", serde_json::to_string(work)?)?;
        let mut line = String::new();
        self.from.read_line(&mut line)?;
        Ok(serde_json::from_str(&line)?)
    }

    fn end(self) -> io::Result<()> {
        let Worker { mut child, to, from } = self;
        drop((to, from));
        child.wait().map(drop)
    }
}

fn manner(machine: &Machine, fault: Option<Fault>) -> Manner {
    Manner { limit_ms: 10_000, fault, devices: machine.devices() }
}

/// Is it in both loops?
fn fits(scenario: &Scenario, ground: &Ground<'_>) -> bool {
    let waits = |op: &Op| matches!(op, Op::Ksm | Op::Reclaim | Op::CollapseOf(..));
    let a_exits = scenario.steps.iter().any(|step| step.actor == Actor::A && step.op == Op::Exit);
    !scenario.has(waits) && !a_exits && ground.unmet(scenario, &Needs::of(scenario, PAGE)).is_none()
}

/// Makes the scenarios with these numbers and has them run.
fn ours(worker: &mut Worker, machine: &Machine, generator: &Generator, numbers: &[u64]) -> Result<()> {
    let scenarios = numbers.iter().map(|number| generator.scenario(*number).to_string()).collect();
    let Done::Batch { ran, .. } = worker.ask(&Work::Batch { scenarios, manner: manner(machine, None) })? else {
        return Err("the worker answered something else".into());
    };
    match ran.iter().find_map(|ran| ran.trace.as_ref()) {
        Some(found) => Err(format!("something was found: {}", found.scenario).into()),
        None => Ok(()),
    }
}

/// Ours and bare, in scenarios per second.
fn rates(machine: &Machine) -> Result<(f64, f64)> {
    let ground = Ground::new(machine, 2, &Known::shipped());
    let board = Board::new(1, 0)?;
    let generator = Generator::new(SEED, vec![]);
    let devices = machine.devices();
    let mut taken = Vec::new();
    for number in 0..COUNT {
        let scenario = generator.scenario(number);
        // One that the bare loop loses its way in would make it look slow.
        if fits(&scenario, &ground) && bare(&scenario, &board, &devices)? {
            taken.push(number);
        }
    }
    let (mut time, mut time_bare, mut count) = (Duration::ZERO, Duration::ZERO, 0);
    let mut worker = Worker::start()?;
    for numbers in taken.chunks(BATCH) {
        let made: Vec<Scenario> = numbers.iter().map(|number| generator.scenario(*number)).collect();
        let (mut best, mut best_bare) = (Duration::MAX, None);
        for _ in 0..ROUNDS {
            let began = Instant::now();
            ours(&mut worker, machine, &generator, numbers)?;
            best = best.min(began.elapsed());
            let began = Instant::now();
            let mut whole = true;
            for scenario in &made {
                whole &= bare(scenario, &board, &devices)?;
            }
            let took = whole.then(|| began.elapsed());
            best_bare = best_bare.into_iter().chain(took).min();
        }
        // In some batches one loses its way after all, in every round.
        if let Some(best_bare) = best_bare {
            (time, time_bare, count) = (time + best, time_bare + best_bare, count + made.len());
        }
    }
    worker.end()?;
    let rate = |time: Duration| count as f64 / time.as_secs_f64();
    Ok((rate(time), rate(time_bare)))
}

/// A whole campaign of the program with so many workers: scenarios per second.
fn campaign(jobs: usize) -> Result<f64> {
    let directory = tempfile::TempDir::new()?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_cowcheck"));
    command.args(["explore", "--unguided", "--jobs", &jobs.to_string(), "--scenarios", &CAMPAIGN.to_string()]);
    // Nothing that waits: KSM and reclaim are not to be had.
    let on = ["thp 2M", "thp 64K", "anon 4K x16", "memfd 16K"];
    command.args(on.iter().flat_map(|on| ["--on", on]));
    command.arg("--results").arg(directory.path()).stdout(Stdio::null()).stderr(Stdio::null());
    let began = Instant::now();
    command.status()?;
    let took = began.elapsed().as_secs_f64();
    let text = fs::read_to_string(directory.path().join("campaign.json"))?;
    let ran = serde_json::from_str::<serde_json::Value>(&text)?["tally"]["numbered"].as_u64().unwrap_or(0);
    Ok(ran as f64 / took)
}

/// Shrinks a finding of many steps: how many it had, how many are left, seconds.
fn shrink(machine: &Machine) -> Result<(usize, usize, f64)> {
    let ground = Ground::new(machine, 2, &Known::shipped());
    let manner = manner(machine, Some(Fault::LostWrite));
    let mut worker = Worker::start()?;
    let thp = Memory::new(MemoryKind::Thp, 2 << 20);
    let generator = Generator::new(SEED, vec![thp]);
    for number in 0..1000 {
        let mut random = Random::of(SEED, number);
        let mut scenario = generator.scenario(number);
        (0..200).for_each(|_| {
            let longer = mutate(&scenario, &mut random);
            if longer.steps.len() > scenario.steps.len() && scenario.steps.len() < STEPS {
                scenario = longer;
            }
        });
        if scenario.steps.len() < STEPS || !fits(&scenario, &ground) {
            continue;
        }
        let text = scenario.to_string();
        let Done::Batch { ran, .. } =
            worker.ask(&Work::Batch { scenarios: vec![text.clone()], manner: manner.clone() })?
        else {
            continue;
        };
        let Some(trace) = ran.into_iter().next().and_then(|ran| ran.trace) else { continue };
        let verdict = judge(&trace);
        let (Some(wrong), Some(first)) = (Wrong::of(&verdict), verdict.violations().first()) else { continue };
        let work = Work::Shrink { scenario: text, wrong, step: first.step, budget_ms: 60_000, manner };
        let began = Instant::now();
        let done = worker.ask(&work)?;
        let took = began.elapsed().as_secs_f64();
        let Done::Shrunk { smallest: Some(smallest), .. } = done else { return Err("it never showed again".into()) };
        worker.end()?;
        return Ok((scenario.steps.len(), smallest.trace.scenario.steps.len(), took));
    }
    Err(format!("no scenario of {STEPS} steps shows the planted fault").into())
}

fn run() -> Result<bool> {
    probe::install()?;
    let machine = here::look(&Roots::default());
    let cores = processors::allowed()?;
    let one = &cores[cores.len().saturating_sub(1)..];
    let mut good = true;
    let mut tell = |text: String, is_met: bool| {
        println!("{text}{}", if is_met { "" } else { ": below the goal" });
        good &= is_met;
    };

    processors::stay_on(one)?;
    let (ours, bare) = rates(&machine)?;
    let part = ours / bare;
    let text = format!("{ours:.0} scenarios/s on one core, bare system calls {bare:.0}/s: {:.0} %", 100.0 * part);
    tell(format!("{text}; goal {:.0} %", 100.0 * RATE), part >= RATE);

    if let [.., _, _] = cores[..] {
        let (mut alone, mut both) = (0.0_f64, 0.0_f64);
        for _ in 0..ROUNDS {
            processors::stay_on(one)?;
            alone = alone.max(campaign(1)?);
            processors::stay_on(&cores[cores.len() - 2..])?;
            both = both.max(campaign(2)?);
        }
        let times = both / alone;
        tell(
            format!("a campaign: {alone:.0}/s on one core, {both:.0}/s on two: {times:.2} times; goal {CORES}"),
            times >= CORES,
        );
    } else {
        println!("there is one core only: what the second gives was not measured");
    }

    processors::stay_on(&cores)?;
    let (steps, left, seconds) = shrink(&machine)?;
    tell(
        format!("a finding of {steps} steps was shrunk to {left} in {seconds:.1} s; goal {SHRINK:.0} s"),
        seconds <= SHRINK,
    );
    Ok(good)
}

fn main() -> ExitCode {
    // cargo bench adds --bench.
    let check = std::env::args().any(|arg| arg == "--check");
    match run() {
        Ok(good) if good || !check => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}
