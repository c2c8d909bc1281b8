//! `cowcheck run`, and what `replay` shares with it.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context as _;
use cowcheck_model::verdict::Kind;

use super::args::{Format, RunArgs, Running};
use super::exit::{Code, Usage};
use super::outputs::Outputs;
use crate::here::{self, Plan, Settings};
use crate::known::{self, Known};
use crate::provide::roots::Roots;
use crate::run::Summary;
use crate::suite::check::Check;
use crate::suite::select::select;
use crate::suite::{self, Sizes};

/// Runs checks of the catalogue.
pub fn main(args: RunArgs) -> anyhow::Result<Code> {
    let catalogue = suite::catalogue(&Sizes::of(&here::look(&Roots::default())));
    let mut checks = select(catalogue, &args.selection).map_err(Usage::from)?;
    if args.running.format == Format::Kselftest {
        checks.retain(|check| check.description.is_some());
    }
    let settings = if args.provide { Settings::Provided } else { Settings::AsTheyAre };
    checks_on_this_machine(checks, settings, &args.running)
}

/// Runs these checks, with every output that was asked for.
pub fn checks_on_this_machine(checks: Vec<Check>, settings: Settings, args: &Running) -> anyhow::Result<Code> {
    // Files that cannot be written are better known before anything is changed.
    let mut outputs = Outputs::open(args)?;
    let interrupted = catch_signals()?;
    let plan = Plan {
        checks,
        repeat: args.repeat,
        jobs: args.jobs.map(usize::from),
        limit: args.timeout,
        fail_fast: args.fail_fast,
        confirm: args.confirm,
        save_trace: args.save_trace.clone(),
        fault: args.self_test,
        settings,
        known: known(args)?,
        done: Default::default(),
    };
    let summary = match here::run(plan, &interrupted, &mut outputs.fan) {
        Ok(summary) => summary,
        Err(error @ here::Error::Provide(_)) => return Err(Usage(error.to_string()).into()),
        Err(here::Error::NotRestored(stuck)) => {
            eprintln!("error: {stuck}");
            return Ok(Code::CouldNotTest);
        }
        Err(here::Error::Results(error)) => return Err(error),
    };
    Ok(match args.format {
        Format::Kselftest => Code::Kselftest(outputs.kselftest_exit_code()),
        _ => code(&summary),
    })
}

/// The failures that are known; what has expired is told.
pub fn known(args: &Running) -> Result<Known, Usage> {
    let (known, expired) = Known::with(&args.known, &known::today()).map_err(|error| Usage(error.to_string()))?;
    expired.iter().for_each(|text| eprintln!("note: {text}"));
    Ok(known)
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
