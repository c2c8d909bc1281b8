//! What the pool asks of a worker, and what it gets back: one line of JSON each.

use cowcheck_model::trace::Trace;
use serde::{Deserialize, Serialize};

use super::fault::Fault;

/// Run this.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Request {
    /// The scenario in its text form.
    pub scenario: String,
    /// The time limit for one run, in milliseconds.
    pub limit_ms: u64,
    /// Record the page states after every step, not only where a `require` step asks.
    pub states: bool,
    /// How often to run it. With 1, the family is made of fresh processes and the trace comes back
    /// whatever it holds. With more, actor A stays from one run to the next as long as all is well,
    /// the worker judges, and only traces that are no pass come back.
    pub repeat: u32,
    /// A fault to plant in our own executor, to see that it is reported.
    pub fault: Option<Fault>,
    /// What takes pins.
    pub devices: Devices,
}

/// What the steps need of the machine, where it is there: devices that take pins, a cgroup, and swap.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Devices {
    /// The helper module's: all pins, and looks at page tables.
    pub helper: Option<String>,
    /// The kernel's gup_test: long-term read-only pins.
    pub gup_test: Option<String>,
    /// A cgroup that memory can be reclaimed from.
    pub cgroup: Option<String>,
    /// A swap area that is cowcheck's own, and the only one there is.
    pub swap: Option<String>,
}

/// What came of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Response {
    /// Runs that were judged a pass by the worker; their traces are not kept.
    pub passes: u32,
    /// The other traces.
    pub traces: Vec<Trace>,
    /// How many runs it took to reach the set-up; the last one's trace is here.
    pub attempts: u32,
    /// Wall time of all the runs, in microseconds.
    pub micros: u64,
    /// The worker is no longer good: a process of the family could not be killed.
    pub spent: bool,
}
