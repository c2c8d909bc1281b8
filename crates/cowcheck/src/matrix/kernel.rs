//! A kernel of the matrix and how its run went.

use std::fmt;

use cowcheck_model::verdict::Kind;

use super::cell::{is_bad, is_tested};
use super::run::Run;
use crate::report::event::Counts;
use crate::version::Version;

/// How far a run came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// To its end.
    Complete,
    /// Somebody or something stopped it, for this reason.
    Stopped(String),
    /// It was cut off: the results have no end. What is known of why.
    CutOff(String),
    /// The kernel never came to run a check. What is known of why.
    NotBooted(String),
}

impl State {
    fn of(run: &Run) -> State {
        let known = run.vm_end.as_ref().map(|end| match (end.state.as_str(), end.reason.as_str()) {
            (state, "") => state.to_owned(),
            ("", reason) => reason.to_owned(),
            (state, reason) => format!("{state}: {reason}"),
        });
        let known = known.unwrap_or_default();
        match &run.stopped {
            _ if run.kernel.is_none() && run.checks.is_empty() => State::NotBooted(known),
            _ if !run.ended => State::CutOff(known),
            // A guest that could not be asked what there is to check.
            Some(why) if run.planned == Some(0) => State::NotBooted(why.clone()),
            Some(why) => State::Stopped(why.clone()),
            None => State::Complete,
        }
    }

    /// One word or two.
    pub fn word(&self) -> &'static str {
        match self {
            State::Complete => "complete",
            State::Stopped(_) => "stopped",
            State::CutOff(_) => "cut off",
            State::NotBooted(_) => "not booted",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            State::Complete => f.write_str(self.word()),
            State::Stopped(why) | State::CutOff(why) | State::NotBooted(why) if why.is_empty() => {
                f.write_str(self.word())
            }
            State::Stopped(why) | State::CutOff(why) | State::NotBooted(why) => write!(f, "{}: {why}", self.word()),
        }
    }
}

/// A kernel, and what its run came to as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// What it is called here; no two of a matrix are called the same.
    pub label: String,
    /// Release and version as the kernel has them, where it told.
    pub kernel: Option<String>,
    /// The architecture.
    pub machine: Option<String>,
    /// What it was asked for by, as in `debian:6.1`.
    pub handle: Option<String>,
    /// The package that it came from.
    pub package: Option<String>,
    /// How its virtual machine was run, as in `tcg`.
    pub accel: Option<String>,
    /// The file of results.
    pub file: String,
    /// How far the run came.
    pub state: State,
    /// How many checks came to each verdict.
    pub counts: Counts,
    /// Wall time of the run in microseconds.
    pub micros: Option<u64>,
    /// What a person should know of it.
    pub notes: Vec<String>,
}

impl Kernel {
    pub(super) fn of(run: &Run) -> (Version, Kernel) {
        let vm = run.vm.clone().unwrap_or_default();
        let version = Version::of(run.kernel.as_deref(), vm.package.as_deref(), vm.handle.as_deref(), &run.file);
        let mut counts = Counts::default();
        run.checks.iter().for_each(|check| counts.add(check.cell.verdict));
        let state = State::of(run);
        let mut notes = run.notes.clone();
        notes.extend(
            run.planned
                .filter(|planned| *planned > run.outcomes)
                .map(|planned| format!("{} of {planned} planned outcomes are there", run.outcomes)),
        );
        if let (State::Complete | State::Stopped(_), Some(end)) = (&state, &run.vm_end)
            && !end.reason.is_empty()
        {
            notes.push(format!("after the run: {}: {}", end.state, end.reason));
        }
        let kernel = Kernel {
            label: version.label.clone(),
            kernel: run.kernel.clone(),
            machine: run.machine.clone(),
            handle: vm.handle,
            package: vm.package,
            accel: vm.accel,
            file: run.file.clone(),
            state,
            counts,
            micros: run.micros,
            notes,
        };
        (version, kernel)
    }

    /// How many checks broke or gave no answer.
    pub fn bad(&self) -> usize {
        Kind::ALL.into_iter().filter(|kind| is_bad(*kind)).map(|kind| self.counts.of(kind)).sum()
    }

    /// How many checks say something of the kernel.
    pub fn tested(&self) -> usize {
        Kind::ALL.into_iter().filter(|kind| is_tested(*kind)).map(|kind| self.counts.of(kind)).sum()
    }
}
