//! All checks on one kernel, in as many guests as it takes: a check that kills its guest costs only itself.
//!
//! When a guest dies while several checks run, any of them may have done it. They are run again one at a time in a
//! fresh guest, which tells which one it was; if none does it again, all of them are charged.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use cowcheck_model::trace::Trace;
use cowcheck_model::verdict::Verdict;

use super::console::Sign;
use super::guest::{End, Guest, Heard, Patience};
use super::initramfs::Initramfs;
use super::load::Load;
use super::qemu::{Files, Machine};
use super::tries::{self, Ended, Tries};
use crate::guest::order::{self, Checks, ModuleFile, Order, Task};
use crate::report::Sink;
use crate::report::event::{Counts, Event, Outcome, Planned, Start, Vm};
use crate::run::{self, Summary};
use crate::suite::Sizes;
use crate::wire::Said;

/// The consoles of all guests of a session, in its directory.
pub const CONSOLES: &str = "consoles.log";

/// How many guests may die before the kernel is given up.
pub(crate) const DEATHS: u32 = 40;

/// How many lines of the kernel log are told of each sign.
const TOLD: usize = 5;

/// A kernel, ready to be booted.
#[derive(Debug, Clone)]
pub struct Subject {
    /// As it was asked for.
    pub handle: String,
    /// The distribution's package and its version.
    pub package: Option<String>,
    /// Its release, as far as its file tells.
    pub release: String,
    /// The file that QEMU boots.
    pub file: PathBuf,
    /// Modules to load, in order.
    pub modules: Vec<Load>,
}

/// Everything about a session but its order.
#[derive(Debug, Clone)]
pub struct Spec<'a> {
    /// The kernel.
    pub subject: &'a Subject,
    /// The machine.
    pub machine: Machine,
    /// QEMU.
    pub qemu: &'a Path,
    /// The first process: this program.
    pub init: &'a [u8],
    /// A program to run in the guest, where that is the order: its place and its bytes.
    pub program: Option<(String, &'a [u8])>,
    /// Where the guest's files go.
    pub directory: &'a Path,
    /// How long a guest may be silent.
    pub patience: Patience,
}

impl Spec<'_> {
    /// Makes the initramfs, and tells where everything lies.
    pub fn prepare(&self, task: Task) -> io::Result<Files> {
        fs::create_dir_all(self.directory)?;
        let mut archive = Initramfs::new();
        archive.program("/init", self.init);
        let mut modules = Vec::new();
        for (number, module) in self.subject.modules.iter().enumerate() {
            let path = format!("/cowcheck/modules/{number:02}-{}.ko", module.name);
            archive.file(&path, &module.data);
            let parameters = module.parameters.clone();
            modules.push(ModuleFile { path: path.into(), parameters, required: module.required });
        }
        if let Some((path, data)) = &self.program {
            archive.program(path, data);
        }
        let order = Order { modules, task };
        archive.file(order::PLACE, &serde_json::to_vec(&order)?);
        let files = Files::new(&self.subject.file, self.directory);
        fs::write(files.initramfs(), archive.finish())?;
        Ok(files)
    }

    /// Starts a guest with this to do.
    pub fn boot(&self, task: Task) -> io::Result<Guest> {
        Guest::start(self.qemu, &self.machine, self.prepare(task)?, self.patience)
    }

    /// The consoles of all guests, one after the other.
    pub fn keep_console(&self) -> io::Result<()> {
        let files = Files::new(&self.subject.file, self.directory);
        let text = fs::read(files.console()).unwrap_or_default();
        let mut all = fs::OpenOptions::new().create(true).append(true).open(self.directory.join(CONSOLES))?;
        io::Write::write_all(&mut all, &text)
    }

    /// As outputs tell it.
    fn vm(&self) -> Vm {
        Vm {
            handle: self.subject.handle.clone(),
            package: self.subject.package.clone(),
            accel: self.machine.accel.to_string(),
            cpus: self.machine.cpus,
            memory: self.machine.memory,
        }
    }
}

/// What else a session needs.
pub struct Means<'a> {
    /// Where the events go.
    pub sink: &'a mut dyn Sink,
    /// Where traces are saved, if they are.
    pub save_trace: Option<&'a Path>,
    /// Asked now and then: why is it to stop, if it is?
    pub stop: Stop<'a>,
}

/// Tells why something is to stop that takes long, if it is.
pub type Stop<'a> = &'a dyn Fn() -> Option<String>;

/// Runs checks.
pub fn run(spec: &Spec<'_>, order: &Checks, means: Means<'_>) -> io::Result<Summary> {
    let session = Session {
        spec,
        order,
        means,
        began: Instant::now(),
        plan: Vec::new(),
        checks_in_plan: 0,
        done: order.done.clone(),
        counts: Counts::default(),
        started: false,
        signs: BTreeMap::new(),
        deaths: 0,
        noted: BTreeSet::new(),
        early: Vec::new(),
    };
    session.run()
}

struct Session<'s, 'k, 'm> {
    spec: &'s Spec<'k>,
    order: &'s Checks,
    means: Means<'m>,
    began: Instant,
    plan: Vec<Planned>,
    /// Without the repeats.
    checks_in_plan: usize,
    done: BTreeSet<usize>,
    counts: Counts,
    started: bool,
    /// What the kernel log had, guest by guest.
    signs: BTreeMap<Sign, Vec<String>>,
    deaths: u32,
    /// What guests told already.
    noted: BTreeSet<String>,
    /// Notes from before the start, which comes first in every output.
    early: Vec<String>,
}

/// What one guest came to.
struct Stay {
    ended: Ended,
    /// Begun and not ended.
    running: BTreeSet<usize>,
    /// Outcomes that are held back until it is known what they are worth.
    held: Vec<Outcome>,
    /// Did the checks come to their end?
    finished: bool,
    /// Why they were not all run.
    stopped: Option<String>,
}

impl Session<'_, '_, '_> {
    fn run(mut self) -> io::Result<Summary> {
        let mut suspects: BTreeSet<usize> = BTreeSet::new();
        let mut blame: Option<End> = None;
        let (mut tries, mut idle_deaths) = (Tries::default(), 0);
        let stopped = loop {
            let before = self.done.len();
            let stay = self.stay(&suspects)?;
            if let End::Stopped(why) = stay.ended.end {
                break Some(why);
            }
            if let Some(stopped) = stay.stopped {
                break Some(stopped);
            }
            if self.done.len() > before {
                tries = Tries::default();
            }
            if tries.again(&stay.ended) {
                let again = match stay.ended.was_up {
                    true => "; what ran is run again",
                    false => " before its first program; it is booted again",
                };
                self.note(&format!("{}{again}", stay.ended.end.told()))?;
                for outcome in stay.held {
                    self.tell(outcome)?;
                }
                suspects.retain(|index| !self.done.contains(index));
                continue;
            }
            let tries = std::mem::take(&mut tries);
            if !self.started {
                let Ended { end, was_up, console } = tries.cause(stay.ended);
                self.say_console(&console)?;
                break Some(match was_up {
                    true => end.told(),
                    false => format!("no boot: {}", end.told()),
                });
            }
            let Ended { end, console, .. } = stay.ended;
            if end == End::Over && stay.finished {
                if !suspects.is_empty() {
                    let blame = blame.take().map(|end| {
                        format!("{} while this ran beside others; run alone, none of them did it again", end.told())
                    });
                    for outcome in stay.held {
                        match &blame {
                            Some(reason) => {
                                self.charge(outcome.index, Verdict::Crash { reason: reason.clone() }, None)?;
                            }
                            None => self.tell(outcome)?,
                        }
                    }
                    suspects.clear();
                }
                if self.done.len() == self.plan.len() {
                    break None;
                }
                if self.done.len() == before {
                    break Some("the guest left checks out".to_owned());
                }
                continue;
            }
            // It died.
            self.deaths += 1;
            for outcome in stay.held {
                self.tell(outcome)?;
            }
            let running: Vec<usize> = stay.running.iter().copied().collect();
            suspects.clear();
            match running.as_slice() {
                [] => {
                    self.note(&format!("{} between two checks", end.told()))?;
                    self.say_console(&console)?;
                    idle_deaths = if self.done.len() == before { idle_deaths + 1 } else { 0 };
                    if self.done.len() == self.plan.len() {
                        break Some(format!("after the last check {}", end.told()));
                    }
                    if idle_deaths == 2 {
                        break Some(end.told());
                    }
                }
                [culprit] => self.charge(*culprit, verdict(&end), Some(&console))?,
                several => {
                    let names: Vec<&str> = several.iter().map(|index| self.name(*index)).collect();
                    let text = format!("{} while {} ran; they are run one at a time", end.told(), names.join(" and "));
                    self.note(&text)?;
                    self.say_console(&console)?;
                    suspects = stay.running;
                    // Nobody's fault, where QEMU is to blame.
                    blame = Some(end).filter(|end| !matches!(end, End::StaleCode(_)));
                }
            }
            if self.deaths == DEATHS {
                break Some(format!("{DEATHS} guests died"));
            }
        };
        self.finish(stopped)
    }

    /// One guest, from its boot to its end. With suspects, only these, one at a time.
    fn stay(&mut self, suspects: &BTreeSet<usize>) -> io::Result<Stay> {
        let mut order = self.order.clone();
        order.done = self.done.clone();
        if !suspects.is_empty() {
            order.done = (0..self.plan.len()).filter(|index| !suspects.contains(index)).collect();
            order.jobs = Some(1);
        }
        let mut stay = Stay {
            ended: Ended { end: End::Over, was_up: false, console: String::new() },
            running: BTreeSet::new(),
            held: Vec::new(),
            finished: false,
            stopped: None,
        };
        let mut guest = match self.spec.boot(Task::Checks(Box::new(order))) {
            Ok(guest) => guest,
            Err(error) => {
                stay.stopped = Some(error.to_string());
                return Ok(stay);
            }
        };
        let end = loop {
            if let Some(why) = (self.means.stop)() {
                break End::Stopped(why);
            }
            match guest.hear() {
                Heard::Nothing => {}
                Heard::End(end) => break end,
                Heard::Said(said) => match self.said(said, &mut stay, !suspects.is_empty())? {
                    Ok(()) => {}
                    Err(End::Worker(how)) => break guest.why_work_ended(how),
                    Err(end) => break end,
                },
            }
        };
        stay.ended = Ended { end, was_up: guest.is_up(), console: guest.console().tale() };
        for (sign, lines) in guest.console().signs() {
            self.signs.entry(sign).or_default().extend_from_slice(lines);
        }
        guest.kill();
        self.spec.keep_console()?;
        Ok(stay)
    }

    /// Takes in what was said. What makes no sense ends the guest.
    fn said(&mut self, said: Said, stay: &mut Stay, hold: bool) -> io::Result<Result<(), End>> {
        match said {
            Said::Hello { .. } | Said::Beat | Said::Printed(_) | Said::Explored(_) | Said::Over => {}
            Said::Note(text) => {
                // Those of later guests are mostly the same.
                if self.noted.insert(text.clone()) {
                    self.note(&text)?;
                }
            }
            Said::Refused(text) => stay.stopped = Some(text),
            Said::Start { kernel, machine, sizes, planned } => {
                if let Err(end) = self.start(kernel, machine, &sizes, planned)? {
                    return Ok(Err(end));
                }
            }
            Said::Begin(index) if index < self.plan.len() => {
                stay.running.insert(index);
                self.means.sink.event(Event::Begin(index))?;
            }
            Said::Outcome { index, verdict, micros, again, notes, collapses, explanation, trace }
                if index < self.plan.len() && !self.done.contains(&index) =>
            {
                stay.running.remove(&index);
                let trace = trace.map(|trace| *trace);
                let outcome = Outcome { index, verdict, micros, again, notes, collapses, explanation, trace };
                if hold {
                    stay.held.push(outcome);
                } else {
                    self.tell(outcome)?;
                }
            }
            Said::Begin(index) | Said::Outcome { index, .. } => {
                return Ok(Err(End::Rubbish(format!("check {index} of {}, or twice", self.plan.len()))));
            }
            Said::End { stopped } => {
                stay.finished = true;
                stay.stopped = stopped;
            }
            Said::Ended { code, signal } => {
                if !stay.finished && stay.stopped.is_none() {
                    let how = match (code, signal) {
                        (_, Some(signal)) => format!("was killed by signal {signal}"),
                        (code, _) => format!("exited with {}", code.unwrap_or(-1)),
                    };
                    return Ok(Err(End::Worker(how)));
                }
            }
        }
        Ok(Ok(()))
    }

    fn start(&mut self, kernel: String, machine: String, sizes: &Sizes, planned: usize) -> io::Result<Result<(), End>> {
        if self.started {
            return Ok(Ok(()));
        }
        let plan = match self.order.checks(sizes) {
            Ok(checks) => run::plan(checks.iter(), self.order.repeat),
            Err(error) => return Ok(Err(End::Rubbish(error.to_string()))),
        };
        if plan.len() != planned {
            return Ok(Err(End::Rubbish(format!("a plan of {planned} checks, not {}", plan.len()))));
        }
        self.checks_in_plan = plan.len() / (self.order.repeat.max(1) as usize);
        self.plan.clone_from(&plan);
        self.tell_start(Start {
            kernel,
            machine,
            args: std::env::args().skip(1).collect(),
            pmd_size: sizes.pmd,
            thp_sizes: sizes.thp.clone(),
            hugetlb_sizes: sizes.hugetlb.clone(),
            vm: Some(self.spec.vm()),
            plan,
        })?;
        Ok(Ok(()))
    }

    fn tell_start(&mut self, start: Start) -> io::Result<()> {
        self.started = true;
        self.means.sink.event(Event::Start(&start))?;
        std::mem::take(&mut self.early).iter().try_for_each(|text| self.note(text))
    }

    fn note(&mut self, text: &str) -> io::Result<()> {
        if !self.started {
            self.early.push(text.to_owned());
            return Ok(());
        }
        self.means.sink.event(Event::Note(text))
    }

    fn say_console(&mut self, console: &str) -> io::Result<()> {
        console.lines().try_for_each(|line| self.note(&format!("console: {line}")))
    }

    fn name(&self, index: usize) -> &str {
        self.plan.get(index).map_or("", |planned| &planned.id)
    }

    /// A check whose guest died.
    fn charge(&mut self, index: usize, verdict: Verdict, console: Option<&str>) -> io::Result<()> {
        let explanation = console.map(|console| format!("the console:\n{console}"));
        self.tell(Outcome { explanation, ..Outcome::bare(index, verdict) })
    }

    fn tell(&mut self, outcome: Outcome) -> io::Result<()> {
        self.done.insert(outcome.index);
        if let (Some(directory), Some(trace)) = (self.means.save_trace, &outcome.trace) {
            let repeat = outcome.index / self.checks_in_plan.max(1);
            let name = run::trace_name(self.name(outcome.index), repeat);
            if let Err(error) = save(directory, &name, trace) {
                self.note(&format!("{name} was not saved in {}: {error}", directory.display()))?;
            }
        }
        self.counts.add(outcome.verdict.kind());
        self.means.sink.event(Event::Outcome(&outcome))
    }

    fn finish(mut self, stopped: Option<String>) -> io::Result<Summary> {
        if !self.started {
            // Outputs want to know what it is that was not tested.
            self.tell_start(Start {
                kernel: self.spec.subject.release.clone(),
                machine: std::env::consts::ARCH.to_owned(),
                args: std::env::args().skip(1).collect(),
                pmd_size: 0,
                thp_sizes: vec![],
                hugetlb_sizes: vec![],
                vm: Some(self.spec.vm()),
                plan: vec![],
            })?;
        }
        for (sign, lines) in std::mem::take(&mut self.signs) {
            for line in lines.iter().take(TOLD) {
                self.note(&format!("kernel log, {sign}: {line}"))?;
            }
            if lines.len() > TOLD {
                self.note(&format!("kernel log, {sign}: {} more", lines.len() - TOLD))?;
            }
        }
        let micros = self.began.elapsed().as_micros() as u64;
        self.means.sink.event(Event::End { micros, stopped: stopped.as_deref() })?;
        Ok(Summary { counts: self.counts, stopped })
    }
}

/// Of a check that killed its guest.
fn verdict(end: &End) -> Verdict {
    let reason = end.told();
    match end {
        End::Silent { .. } => Verdict::Timeout { reason },
        End::StaleCode(_) => Verdict::Inconclusive { reason: format!("{reason}; {} times in a row", tries::MOST) },
        _ => Verdict::Crash { reason },
    }
}

fn save(directory: &Path, name: &str, trace: &Trace) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    fs::write(directory.join(name), trace.to_json() + "\n")
}

/// How a program ended that was run in a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProgramEnd {
    /// With this exit code.
    Exit(i32),
    /// It did not: why.
    Not(String),
}

/// Runs the program of the spec. Each line that it prints is told, and each note. It is run again, from its beginning, where
/// a guest ended by no fault of its own.
pub fn run_program(
    spec: &Spec<'_>,
    args: &[String],
    stop: Stop<'_>,
    mut told: impl FnMut(&Said),
) -> io::Result<ProgramEnd> {
    let mut tries = Tries::default();
    loop {
        let mut guest = spec.boot(Task::Program(args.to_vec()))?;
        let mut ended = None;
        let end = loop {
            if let Some(why) = stop() {
                break End::Stopped(why);
            }
            match guest.hear() {
                Heard::Nothing => {}
                Heard::End(end) => break end,
                Heard::Said(Said::Ended { code, signal }) if ended.is_none() => {
                    ended = Some(match (code, signal) {
                        (Some(code), _) => ProgramEnd::Exit(code),
                        (None, signal) => ProgramEnd::Not(format!("killed by signal {}", signal.unwrap_or(0))),
                    });
                }
                Heard::Said(Said::Refused(why)) => ended = Some(ProgramEnd::Not(why)),
                Heard::Said(said) => told(&said),
            }
        };
        guest.kill();
        spec.keep_console()?;
        let last = Ended { end, was_up: guest.is_up(), console: guest.console().tale() };
        if tries.again(&last) {
            told(&Said::Note(format!("{}; the program is run again, in a new guest", last.end.told())));
            continue;
        }
        let Ended { end, console, .. } = tries.cause(last);
        return Ok(match (end, ended) {
            (End::Over, Some(ended)) => ended,
            (End::Stopped(why), _) => ProgramEnd::Not(why),
            (end, _) => ProgramEnd::Not(format!("{}; the console:\n{console}", end.told())),
        });
    }
}
