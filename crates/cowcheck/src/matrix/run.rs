//! What one kernel's file of results says.

use super::cell::Cell;

/// The machine that a run was made in, where that was a virtual one: the record of type `vm`.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Deserialize)]
pub struct Vm {
    /// What the kernel was asked for by, as in `debian:6.1`.
    pub handle: Option<String>,
    /// The package that it came from, with its version.
    pub package: Option<String>,
    /// How the machine was run, as in `kvm` or `tcg`.
    pub accel: Option<String>,
}

/// How a virtual machine ended: the record of type `vm-end`.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Deserialize)]
pub struct VmEnd {
    /// One word, as in `panic` or `hang`.
    #[serde(default)]
    pub state: String,
    /// What is known of why.
    #[serde(default)]
    pub reason: String,
}

/// A check of a run, and what its repeats came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// Its id, or what another program calls it.
    pub id: String,
    /// What cow.c calls it.
    pub description: Option<String>,
    /// Is `id` one of this program's?
    pub ours: bool,
    /// The worst of its repeats.
    pub cell: Cell,
}

/// What a file of results says of one kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Run {
    /// The file.
    pub file: String,
    /// Release and version of the kernel; absent if no check ever began.
    pub kernel: Option<String>,
    /// The architecture, where the file says so.
    pub machine: Option<String>,
    /// The virtual machine, where it was one.
    pub vm: Option<Vm>,
    /// How that ended.
    pub vm_end: Option<VmEnd>,
    /// The checks, each once, in the order of the file.
    pub checks: Vec<Ran>,
    /// How many outcomes were planned, where the file says so.
    pub planned: Option<u64>,
    /// How many outcomes there are, every repeat counted.
    pub outcomes: u64,
    /// Does the file end as a whole one does?
    pub ended: bool,
    /// Why the run was stopped, if it was.
    pub stopped: Option<String>,
    /// Wall time of the run in microseconds, where the file says so.
    pub micros: Option<u64>,
    /// What a person should know of the file.
    pub notes: Vec<String>,
}
