//! Runs a scenario on this kernel and records what happened. It never judges.
//!
//! ```text
//! cowcheck ── pool ──> worker process ── fork ──> A ── fork ──> B ...
//!              │            │                      └── board ───┘
//!              │            └ time limit, deaths, clean-up
//!              └ as many workers as jobs, none of which it forks itself
//! ```
//!
//! Every actor walks the same list of steps. A word in shared memory says which step is next; the
//! actor whose step it is does it, leaves a record, and moves the word on. Nobody tells anybody
//! what to do, so there is no protocol to get wrong.

pub mod explore;
pub mod family;
pub mod fault;
pub mod frames;
mod khugepaged;
pub mod kmsg;
pub mod layout;
pub mod look;
mod lost;
mod packed;
pub mod page_state;
pub mod pins;
pub mod poke;
pub mod pool;
pub mod processors;
pub mod reclaim;
pub mod request;
pub mod require;
pub mod storm;
mod swapoff;
pub mod treat;
pub mod turns;
pub mod worker;
