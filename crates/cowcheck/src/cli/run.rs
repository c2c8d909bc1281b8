//! `cowcheck run`, and what `replay` shares with it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context as _;
use cowcheck_model::verdict::Kind;

use super::args::{Format, RunArgs, Running};
use super::exit::{Code, Usage};
use super::outputs::Outputs;
use super::select::select;
use crate::provide::guard;
use crate::provide::machine::Machine;
use crate::provide::needs::Needs;
use crate::provide::roots::Roots;
use crate::provide::{self, Provided, Wanted};
use crate::report::event::Start;
use crate::run::{self, Entry, Options, Setup, Summary};
use crate::suite::check::Check;
use crate::suite::{self, Sizes};

/// Runs checks of the catalogue.
pub fn main(args: RunArgs) -> anyhow::Result<Code> {
    let mut checks = select(suite::catalogue(&Sizes::of(&look(&Roots::default()))), &args.selection)?;
    if args.running.format == Format::Kselftest {
        checks.retain(|check| check.description.is_some());
    }
    checks_on_this_machine(checks, &args.running)
}

/// Runs these checks: sets up what they need, runs them, puts everything back.
pub fn checks_on_this_machine(checks: Vec<Check>, args: &Running) -> anyhow::Result<Code> {
    // Files that cannot be written are better known before anything is changed.
    let mut outputs = Outputs::open(args)?;
    let interrupted = catch_signals()?;
    let roots = Roots::default();
    let mut notes = put_back_leftovers(&roots);
    provide::raise_memlock();
    let mut machine = look(&roots);
    let jobs = args.jobs.map_or(machine.cores, usize::from).max(1);
    let needs: Vec<Needs> = checks.iter().map(|check| Needs::of(&check.scenario, machine.page_size)).collect();
    let provided = provide(args, &roots, &needs, jobs, &mut machine, &mut notes)?;
    let entries: Vec<Entry> = checks
        .into_iter()
        .zip(&needs)
        .map(|(check, needs)| {
            let unmet = needs.unmet(&machine).map(|unmet| (unmet.reason, unmet.remedy));
            Entry { check, unmet, hugetlb: needs.hugetlb.map(|need| (need.size, need.pages)) }
        })
        .collect();
    let start = start(&machine, &entries, args.repeat);
    let setup = Setup { free: free_hugetlb(&machine), notes };
    let options = Options {
        repeat: args.repeat,
        jobs,
        limit_ms: args.timeout.as_millis() as u64,
        fail_fast: args.fail_fast,
        save_trace: args.save_trace.clone(),
        fault: args.self_test,
        pin_device: machine.pin_device.as_ref().map(|device| device.path.display().to_string()),
    };
    let ran = run::run(&entries, &start, &options, &setup, &interrupted, &mut outputs.fan);
    // Put back before anything else can go wrong.
    let restored = provided.map_or(Ok(vec![]), Provided::restore);
    let summary = ran.context("failed to write the results")?;
    if let Err(stuck) = restored {
        eprintln!("error: {stuck}");
        return Ok(Code::CouldNotTest);
    }
    Ok(match args.format {
        Format::Kselftest => Code::Kselftest(outputs.kselftest_exit_code()),
        _ => code(&summary),
    })
}

/// What a cowcheck left that was killed together with its guard.
fn put_back_leftovers(roots: &Roots) -> Vec<String> {
    let restored = guard::recover(&roots.run);
    let done = restored.put_back.iter().map(|what| format!("put back what a killed cowcheck had left: {what}"));
    let stuck = restored.stuck.iter().map(|stuck| format!("a killed cowcheck had left behind: {stuck}"));
    done.chain(stuck).collect()
}

/// What this machine has.
pub fn look(roots: &Roots) -> Machine {
    Machine::look(roots, cowcheck_sys::uring::available)
}

fn provide(
    args: &Running,
    roots: &Roots,
    needs: &[Needs],
    jobs: usize,
    machine: &mut Machine,
    notes: &mut Vec<String>,
) -> anyhow::Result<Option<Provided>> {
    if !args.provide {
        return Ok(None);
    }
    let wanted = Wanted::by(needs, jobs as u64);
    let provided = Provided::set_up(roots, &wanted).map_err(|error| Usage(format!("--provide: {error}")))?;
    notes.extend(provided.did.iter().cloned());
    notes.extend(provided.could_not.iter().map(ToString::to_string));
    *machine = look(roots);
    machine.could_not.clone_from(&provided.could_not);
    Ok(Some(provided))
}

fn start(machine: &Machine, entries: &[Entry], repeat: u32) -> Start {
    Start {
        kernel: format!("{} {}", machine.kernel.release, machine.kernel.version),
        machine: machine.kernel.machine.clone(),
        args: std::env::args().skip(1).collect(),
        pmd_size: machine.pmd_size,
        thp_sizes: machine.thp.iter().map(|size| size.bytes).collect(),
        hugetlb_sizes: machine.hugetlb.iter().map(|size| size.bytes).collect(),
        plan: run::plan(entries, repeat),
    }
}

fn free_hugetlb(machine: &Machine) -> BTreeMap<u64, u64> {
    machine.hugetlb.iter().map(|size| (size.bytes, size.available())).collect()
}

/// Ctrl-C and its like ask for an orderly end; the second one ends the program at once, and the
/// guard cleans up.
pub fn catch_signals() -> anyhow::Result<Arc<AtomicBool>> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register_conditional_default(signal, Arc::clone(&interrupted))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&interrupted)))
            .context("failed to catch signals")?;
    }
    Ok(interrupted)
}

/// The exit code of a run.
pub fn code(summary: &Summary) -> Code {
    let of = |kind| summary.counts.of(kind);
    let untested = of(Kind::Inconclusive) + of(Kind::Timeout) + of(Kind::Crash);
    match () {
        () if of(Kind::Fail) > 0 => Code::Failure,
        () if untested > 0 || summary.stopped.is_some() || of(Kind::Pass) + of(Kind::Xfail) == 0 => Code::CouldNotTest,
        () => Code::Success,
    }
}
