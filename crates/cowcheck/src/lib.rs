//! cowcheck: does this Linux kernel keep the promise of copy-on-write?
//!
//! One flow of data: the [`suite`] (or a `.cow` file) gives a scenario, the [`executor`] runs it on
//! the kernel and leaves a trace, the pure checker of `cowcheck-model` judges the trace, and the
//! verdict goes as an event to the sinks of [`report`].
#![forbid(unsafe_code)]

pub mod cli;
pub mod compare;
pub mod executor;
pub mod explore;
pub mod guest;
pub mod here;
pub mod kmod;
pub mod known;
pub mod lab;
pub mod matrix;
pub mod provide;
pub mod report;
pub mod run;
pub mod suite;
mod version;
pub mod vm;
pub mod wire;
