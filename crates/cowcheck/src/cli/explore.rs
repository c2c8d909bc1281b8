//! `cowcheck explore`

use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use cowcheck_vm::Cache;

use super::args::{ExploreArgs, ExploreCommand};
use super::exit::{Code, Usage};
use super::run::catch_signals;
use crate::explore::campaign::{self, Order};
use crate::explore::guests::{self, Desk as _};
use crate::explore::ledger::Ledger;
use crate::explore::news::News;
use crate::explore::order::{Shard, Subject, memory};
use crate::explore::store::{self, Store};
use crate::explore::view::{self, Progress};
use crate::here::{self, Settings};
use crate::known::{self, Known};
use crate::vm::directory::Directory;
use crate::vm::qemu::{self, Accel, Machine};
use crate::vm::session::Spec;
use crate::vm::slim::loaded_part;
use crate::vm::{accel, subject};

/// How long a campaign takes that nobody gave a time.
pub(super) const TIME: Duration = Duration::from_secs(60);

/// The time limit of one run, where nobody gave another.
pub(super) const LIMIT: Duration = Duration::from_secs(10);

/// How long a finding may be shrunk.
const SHRINK: Duration = Duration::from_secs(10);

/// How many times as long everything may take where instructions are emulated.
pub(super) const EMULATED: u32 = 3;

/// How often the store is brought up to date, at least.
const SAVE: Duration = Duration::from_secs(2);

/// Memory of a guest that nobody gave any.
const GUEST_MEMORY: u64 = 2 << 30;

/// Explores.
pub fn main(args: &ExploreArgs) -> anyhow::Result<Code> {
    if let Some(ExploreCommand::Merge { stores, into }) = &args.command {
        return merge(stores, into);
    }
    let (store, ledger) = open(args)?;
    let shard = shard(args, &ledger)?;
    let mut order = order(args, &ledger, shard)?;
    guests::go_on(&mut order, &ledger);
    if let (Some(most), Some(total)) = (order.subject.exhaustive, order.subject.scenarios().total()) {
        let steps = if most == 1 { "step" } else { "steps" };
        let on: Vec<String> = order.subject.exhausted().iter().map(ToString::to_string).collect();
        eprintln!("{total} sequences of up to {most} {steps} on {}", on.join(" and "));
    }
    let interrupted = catch_signals()?;
    let mut desk = Desk::new(store, ledger, shard);
    let stopped = match &args.vm {
        None => here(order, args, &interrupted, &mut desk)?,
        Some(kernel) => in_guests(order, args, kernel, &interrupted, &mut desk)?,
    };
    desk.close(stopped)
}

/// The store, if one is wanted, and the campaign so far.
fn open(args: &ExploreArgs) -> anyhow::Result<(Option<Store>, Ledger)> {
    let wrong = |error: store::Error| match error {
        store::Error::Content { .. } => anyhow::Error::from(Usage(error.to_string())),
        error @ store::Error::Io { .. } => anyhow::Error::from(error),
    };
    if let Some(directory) = &args.resume {
        let (store, ledger) = Store::open(directory).map_err(wrong)?;
        return Ok((Some(store), ledger));
    }
    let subject = subject(args.seed, args.exhaustive, args.at_once, &args.on)?;
    // Which scenarios come of others depends on what the kernel did, so shards of a guided campaign would not be parts
    // of one whole.
    let whole = args.shard.unwrap_or(Shard::WHOLE) == Shard::WHOLE;
    let guided = !args.unguided && whole && args.exhaustive.is_none();
    let store = args.results.as_deref().map(Store::create).transpose().map_err(wrong)?;
    Ok((store, Ledger::new(subject, guided)))
}

/// What is to be explored, by the arguments.
pub(super) fn subject(seed: u64, exhaustive: Option<u32>, at_once: bool, on: &[String]) -> Result<Subject, Usage> {
    match on.iter().find(|text| memory(text).is_none()) {
        Some(text) => Err(Usage(format!(
            "--on '{text}': expected a memory as the language writes it, as in 'thp 2M' or 'anon 4K x16'"
        ))),
        None => Ok(Subject { seed, exhaustive, at_once, on: on.to_vec() }),
    }
}

/// The part that is worked on: that of before, where the campaign goes on.
fn shard(args: &ExploreArgs, ledger: &Ledger) -> Result<Shard, Usage> {
    let before: Vec<Shard> = ledger.below.keys().copied().collect();
    match (&before[..], args.shard) {
        ([], shard) => Ok(shard.unwrap_or(Shard::WHOLE)),
        ([before], None) => Ok(*before),
        (all, Some(shard)) if all.contains(&shard) => Ok(shard),
        (all, _) => {
            let all: Vec<String> = all.iter().map(ToString::to_string).collect();
            Err(Usage(format!("--shard: this campaign has shard {}", all.join(", "))))
        }
    }
}

fn order(args: &ExploreArgs, ledger: &Ledger, shard: Shard) -> anyhow::Result<Order> {
    let (known, expired) = Known::with(&args.known, &known::today()).map_err(|error| Usage(error.to_string()))?;
    expired.iter().for_each(|text| eprintln!("note: {text}"));
    let ends = args.scenarios.is_some() || ledger.subject.exhaustive.is_some();
    let time = args.time.or_else(|| (!ends).then_some(TIME));
    Ok(Order {
        subject: ledger.subject.clone(),
        guided: ledger.guided,
        shard,
        below: 0,
        end: args.scenarios,
        mutants: 0,
        time_ms: time.map(|time| time.as_millis() as u64),
        jobs: args.jobs.map(usize::from),
        limit_ms: args.timeout.as_millis() as u64,
        shrink_ms: SHRINK.as_millis() as u64,
        fault: args.self_test,
        guest_fault: args.guest_fault,
        known,
        corpus: Default::default(),
        covered: Default::default(),
        found: Default::default(),
        pending: vec![],
    })
}

fn here(order: Order, args: &ExploreArgs, interrupted: &AtomicBool, desk: &mut Desk) -> anyhow::Result<Option<String>> {
    let settings = if args.provide { Settings::Provided } else { Settings::AsTheyAre };
    match campaign::run(order, settings, interrupted, &mut |news| desk.take(news)) {
        Ok(()) => {}
        Err(error @ here::Error::Provide(_)) => return Err(Usage(error.to_string()).into()),
        Err(here::Error::NotRestored(stuck)) => return Ok(Some(stuck.to_string())),
        Err(here::Error::Results(error)) => return Err(error),
    }
    let stopped = interrupted.load(std::sync::atomic::Ordering::Relaxed);
    Ok(stopped.then(|| "interrupted".to_owned()))
}

fn in_guests(
    mut order: Order,
    args: &ExploreArgs,
    kernel: &str,
    interrupted: &AtomicBool,
    desk: &mut Desk,
) -> anyhow::Result<Option<String>> {
    let cache = Cache::user();
    let subject = subject::find(kernel, &cache, !args.guest.no_helper, &mut |text| eprintln!("{kernel}: {text}"))
        .map_err(|error| Usage(error.to_string()))?;
    let this = fs::read("/proc/self/exe").context("failed to read this program")?;
    let init = loaded_part(&this);
    let directory = Directory::new(args.guest.keep.as_deref()).context("failed to make a directory for the guests")?;
    let processors = std::thread::available_parallelism().map_or(1, |processors| processors.get() as u32);
    let qemu = qemu::program();
    let mut spec = Spec {
        subject: &subject,
        machine: Machine {
            accel: args.guest.accel.unwrap_or(Accel::Tcg),
            cpus: args.guest.cpus.unwrap_or(processors),
            memory: args.guest.memory.unwrap_or(GUEST_MEMORY),
            cmdline: args.guest.cmdline.clone(),
        },
        qemu: &qemu,
        init: &init,
        program: None,
        directory: directory.path(),
        patience: Default::default(),
    };
    if args.guest.accel.is_none() {
        let choice = accel::choose(&spec, cache.root());
        spec.machine.accel = choice.accel;
        choice.why.iter().for_each(|why| eprintln!("note: {why}"));
    }
    if spec.machine.accel == Accel::Tcg {
        order.limit_ms *= u64::from(EMULATED);
        order.shrink_ms *= u64::from(EMULATED);
    }
    Ok(guests::run(&spec, order, interrupted, desk)?)
}

/// Takes in the news: keeps the ledger, brings it to the disk, tells the person.
struct Desk {
    store: Option<Store>,
    ledger: Ledger,
    shard: Shard,
    progress: Progress,
    total: Option<u64>,
    /// Numbered scenarios that were done or skipped, for the progress.
    saved: Instant,
    /// Why the store is behind.
    trouble: Option<String>,
}

impl Desk {
    fn new(store: Option<Store>, ledger: Ledger, shard: Shard) -> Desk {
        let progress = Progress::new(ledger.tally.ran());
        Desk { store, ledger, shard, progress, total: None, saved: Instant::now(), trouble: None }
    }

    /// A disk that is full now may have room later: the ledger has everything, and what was found is told in any case.
    fn save(&mut self) {
        self.saved = Instant::now();
        let Some(store) = &mut self.store else { return };
        match store.save(&self.ledger) {
            Ok(()) => self.trouble = None,
            Err(error) => {
                let text = format!("the results could not be saved and are kept in memory: {error}");
                if self.trouble.is_none() {
                    self.progress.say(&format!("note: {text}"));
                }
                self.trouble = Some(text);
            }
        }
    }
}

impl guests::Desk for Desk {
    fn take(&mut self, news: News) -> io::Result<()> {
        let known = self.ledger.findings.len();
        self.ledger.take(self.shard, &news);
        match &news {
            News::Note(text) => self.progress.say(&format!("note: {text}")),
            News::Start { total, .. } => self.total = *total,
            _ => {}
        }
        let found = self.ledger.findings.len() > known;
        if let (true, News::Found(finding)) = (found, &news) {
            self.progress.say(view::finding(finding).trim_end());
        }
        let urgent = matches!(news, News::Start { .. } | News::Pending(_)) || found;
        if urgent || self.saved.elapsed() >= SAVE {
            self.save();
        }
        let done = self.ledger.below.get(&self.shard).map_or(0, |below| below.div_ceil(self.shard.of));
        self.progress.tell(&self.ledger, self.total.map(|total| (done, total)));
        Ok(())
    }

    fn ledger(&self) -> &Ledger {
        &self.ledger
    }
}

impl Desk {
    fn close(mut self, stopped: Option<String>) -> anyhow::Result<Code> {
        self.save();
        self.progress.end();
        print!("{}", view::summary(&self.ledger));
        for finding in self.ledger.findings.values() {
            print!("{}", view::finding(finding).lines().next().unwrap_or_default());
            println!();
        }
        if let Some(why) = &stopped {
            eprintln!("stopped: {why}");
        }
        if let Some(trouble) = &self.trouble {
            eprintln!("error: {trouble}");
            // This is the last chance to see them.
            for finding in self.ledger.findings.values() {
                eprintln!("{}\n{}", finding.signature, finding.scenario);
            }
        }
        let new = self.ledger.new_findings().count()
            + self.ledger.pending.values().filter(|finding| finding.known.is_none()).count();
        Ok(match () {
            () if new > 0 => Code::Failure,
            () if stopped.is_some() || self.trouble.is_some() || self.ledger.tally.ran() == 0 => Code::CouldNotTest,
            () => Code::Success,
        })
    }
}

fn merge(stores: &[std::path::PathBuf], into: &Path) -> anyhow::Result<Code> {
    let mut all: Option<Ledger> = None;
    for directory in stores {
        let next = store::read(directory).map_err(|error| Usage(error.to_string()))?;
        match &mut all {
            None => all = Some(next),
            Some(all) => all.merge(next).map_err(|why| Usage(format!("{}: {why}", directory.display())))?,
        }
    }
    let Some(ledger) = all else { return Ok(Code::Usage) };
    Store::create(into).map_err(|error| Usage(error.to_string()))?.save(&ledger)?;
    print!("{}", view::summary(&ledger));
    Ok(if ledger.new_findings().count() > 0 { Code::Failure } else { Code::Success })
}
