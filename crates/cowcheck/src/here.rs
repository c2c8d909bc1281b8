//! Runs checks on this machine: looks what it has, sets up what they need, runs them, puts everything back.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Context as _;

use crate::executor::fault::Fault;
use crate::known::Known;
use crate::provide::guard;
use crate::provide::machine::Machine;
use crate::provide::needs::Needs;
use crate::provide::roots::Roots;
use crate::provide::{self, CouldNot, NotRestored, ProvideError, Provided, Wanted};
use crate::report::Sink;
use crate::report::event::Start;
use crate::run::{self, Entry, Options, Setup, Summary};
use crate::suite::check::Check;

/// What may be done to the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settings {
    /// Nothing.
    AsTheyAre,
    /// What the checks need, until they are done.
    Provided,
    /// What the checks need, and it stays: the machine is gone afterwards.
    ForGood,
}

/// What to run, and how.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The checks.
    pub checks: Vec<Check>,
    /// How often each.
    pub repeat: u32,
    /// How many at once; one for each processor if not given.
    pub jobs: Option<usize>,
    /// The time limit of one run.
    pub limit: Duration,
    /// Stop at the first failure.
    pub fail_fast: bool,
    /// How often what failed is run again, alone, at most: until it has failed again.
    pub confirm: u32,
    /// Where to save traces.
    pub save_trace: Option<PathBuf>,
    /// A fault to plant in our own executor.
    pub fault: Option<Fault>,
    /// What may be set up.
    pub settings: Settings,
    /// Failures that are known.
    pub known: Known,
    /// Indices of the plan that have an outcome from before.
    pub done: BTreeSet<usize>,
}

/// Why there is no summary.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing was run.
    #[error("--provide: {0}")]
    Provide(#[from] ProvideError),
    /// The checks ran, but not everything is as it was.
    #[error(transparent)]
    NotRestored(#[from] NotRestored),
    /// The results could not be told.
    #[error(transparent)]
    Results(#[from] anyhow::Error),
}

/// Runs the plan and tells the sink.
pub fn run(plan: Plan, interrupted: &AtomicBool, sink: &mut dyn Sink) -> Result<Summary, Error> {
    let page_size = rustix::param::page_size() as u32;
    let needs: Vec<Needs> = plan.checks.iter().map(|check| Needs::of(&check.scenario, page_size)).collect();
    let Plan { checks, repeat, jobs, limit, fail_fast, confirm, save_trace, fault, settings, known, done } = plan;
    with_settings(&needs, jobs, settings, |machine, jobs, notes| {
        let entries: Vec<Entry> = checks
            .into_iter()
            .zip(&needs)
            .map(|(check, needs)| {
                let unmet = needs.unmet(machine).map(|unmet| (unmet.reason, unmet.remedy));
                Entry { check, unmet, hugetlb: needs.hugetlb.map(|need| (need.size, need.pages)) }
            })
            .collect();
        let start = start(machine, &entries, repeat);
        let setup = Setup { free: free_hugetlb(machine), notes };
        let options = Options {
            repeat,
            jobs,
            limit_ms: limit.as_millis() as u64,
            fail_fast,
            confirm,
            save_trace,
            fault,
            devices: machine.devices(),
            known,
            done,
        };
        run::run(&entries, &start, &options, &setup, interrupted, sink)
    })
}

/// Does the work with what it needs set up as far as the settings allow, and puts everything back. The work gets the
/// machine, how many workers there are to be, and what a person should know.
pub fn with_settings<T>(
    needs: &[Needs],
    jobs: Option<usize>,
    settings: Settings,
    work: impl FnOnce(&Machine, usize, Vec<String>) -> io::Result<T>,
) -> Result<T, Error> {
    let roots = Roots::default();
    let mut notes = put_back_leftovers(&roots);
    provide::raise_memlock();
    let mut machine = look(&roots);
    let jobs = jobs.unwrap_or(machine.cores).max(1);
    let provided = match settings {
        Settings::AsTheyAre => None,
        Settings::Provided => {
            let provided = Provided::set_up(&roots, &Wanted::by(needs, jobs as u64))?;
            let before = std::mem::take(&mut machine.swaps);
            machine = look_again(&roots, &provided.did, &provided.could_not, &mut notes);
            machine.own_swap = machine.swap_since(&before);
            Some(provided)
        }
        Settings::ForGood => {
            let (did, could_not) = provide::for_good(&roots, &Wanted::by(needs, jobs as u64));
            machine = look_again(&roots, &did, &could_not, &mut notes);
            // The machine is ours as a whole.
            machine.own_swap = machine.swap_since(&[]);
            None
        }
    };
    let worked = work(&machine, jobs, notes);
    // Put back before anything else can go wrong.
    let restored = provided.map_or(Ok(vec![]), Provided::restore);
    let result = worked.context("failed to write the results")?;
    restored?;
    Ok(result)
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

fn look_again(roots: &Roots, did: &[String], could_not: &[CouldNot], notes: &mut Vec<String>) -> Machine {
    notes.extend(did.iter().cloned());
    notes.extend(could_not.iter().map(ToString::to_string));
    let mut machine = look(roots);
    machine.could_not = could_not.to_vec();
    machine
}

fn start(machine: &Machine, entries: &[Entry], repeat: u32) -> Start {
    Start {
        kernel: format!("{} {}", machine.kernel.release, machine.kernel.version),
        machine: machine.kernel.machine.clone(),
        args: std::env::args().skip(1).collect(),
        pmd_size: machine.pmd_size,
        thp_sizes: machine.thp.iter().map(|size| size.bytes).collect(),
        hugetlb_sizes: machine.hugetlb.iter().map(|size| size.bytes).collect(),
        vm: None,
        plan: run::plan(entries.iter().map(|entry| &entry.check), repeat),
    }
}

/// Hugetlb pages that are free: bytes of a page, and how many.
pub fn free_hugetlb(machine: &Machine) -> BTreeMap<u64, u64> {
    machine.hugetlb.iter().map(|size| (size.bytes, size.available())).collect()
}
