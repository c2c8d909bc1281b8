//! `cowcheck lab explore`

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use cowcheck_vm::Cache;

use super::exit::{Code, Usage};
use super::explore::{EMULATED, LIMIT, TIME, subject};
use super::lab::{chosen, with_controls};
use super::lab_args::{ExploredFormat, LabExploreArgs};
use super::lab_run::{choose_accel, families, store, width};
use super::run::catch_signals;
use crate::explore::campaign::Order;
use crate::explore::order::Shard;
use crate::known::{self, Known};
use crate::lab::explore::Exploration;
use crate::lab::explored::{self, Table};
use crate::lab::view::View;
use crate::vm::directory::Directory;
use crate::vm::qemu::{self, Accel, Machine};
use crate::vm::slim::loaded_part;

/// So many processors a guest needs for steps at once.
const AT_ONCE: u32 = 2;

/// Explores every mutant.
pub(super) fn main(args: &LabExploreArgs) -> anyhow::Result<Code> {
    let mut mutants = chosen(&args.globs)?;
    if args.globs.is_empty() {
        // One step after the other there is no race, and what is none is found without.
        mutants.retain(|mutant| (mutant.processors > 1) == args.at_once);
    }
    let mutants = with_controls(mutants)?;
    let mut order = order(args)?;
    let interrupted = catch_signals()?;
    let cache = Cache::user();
    let mut undone = Vec::new();
    let families = families(&args.kernel, &mutants, &cache, &mut undone);
    let init = loaded_part(&fs::read("/proc/self/exe").context("failed to read this program")?);
    let directory = Directory::new(None).context("failed to make a directory for the guests")?;
    let store = store(args.results.as_deref(), args.resume)?;
    let qemu = qemu::program();
    let cpus = if args.at_once { AT_ONCE } else { 1 };
    let mut machine = Machine { accel: Accel::Tcg, cpus, memory: args.memory, cmdline: String::new() };
    if let Some(first) = families.first() {
        machine.accel =
            choose_accel(args.accel, &first.references[0], &machine, &qemu, &init, directory.path(), &cache);
    }
    if machine.accel == Accel::Tcg {
        order.limit_ms *= u64::from(EMULATED);
    }
    let exploration = Exploration {
        qemu: &qemu,
        init: &init,
        directory: directory.path(),
        machine,
        order,
        width: width(args.jobs, &families, cpus, args.memory),
        interrupted: &interrupted,
        store: store.as_ref(),
    };
    let mut table = exploration.run(&families, &mut View::new()).context("the lab could not go on")?;
    table.undone = undone;
    tell(args, &table)?;
    Ok(code(&table))
}

fn order(args: &LabExploreArgs) -> anyhow::Result<Order> {
    let subject = subject(args.seed, args.exhaustive, args.at_once, &args.on)?;
    let (known, _) = Known::with(&[] as &[&Path], &known::today()).map_err(|error| Usage(error.to_string()))?;
    let time = args.time.or_else(|| args.exhaustive.is_none().then_some(TIME));
    Ok(Order {
        subject,
        guided: !args.unguided && args.exhaustive.is_none(),
        shard: Shard::WHOLE,
        below: 0,
        end: None,
        mutants: 0,
        time_ms: time.as_ref().map(millis),
        jobs: Some(1),
        limit_ms: millis(&LIMIT),
        shrink_ms: millis(&args.shrink),
        fault: None,
        guest_fault: None,
        known,
        corpus: Default::default(),
        covered: Default::default(),
        found: Default::default(),
        pending: vec![],
    })
}

fn millis(time: &Duration) -> u64 {
    time.as_millis() as u64
}

fn told(table: &Table, format: ExploredFormat) -> anyhow::Result<String> {
    Ok(match format {
        ExploredFormat::Terminal => explored::text(table),
        ExploredFormat::Json => serde_json::to_string(table)? + "\n",
        ExploredFormat::Markdown => explored::markdown(table),
    })
}

fn tell(args: &LabExploreArgs, table: &Table) -> anyhow::Result<()> {
    if let Some(directory) = &args.results {
        for (format, name) in [
            (ExploredFormat::Terminal, "explored.txt"),
            (ExploredFormat::Json, "explored.json"),
            (ExploredFormat::Markdown, "explored.md"),
        ] {
            let file = directory.join(name);
            fs::write(&file, told(table, format)?).with_context(|| format!("failed to write {}", file.display()))?;
        }
    }
    let mut out = io::stdout().lock();
    out.write_all(told(table, args.format)?.as_bytes())?;
    out.flush()?;
    Ok(())
}

fn code(table: &Table) -> Code {
    match () {
        () if table.false_alarms() > 0 || table.missed() > 0 => Code::Failure,
        () if !table.is_whole() => Code::CouldNotTest,
        () => Code::Success,
    }
}
