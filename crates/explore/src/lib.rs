//! The pure part of the explorer: scenarios that nobody wrote.
//!
//! | module | |
//! |---|---|
//! | [`menu`] | the steps and memories there are to choose from, with weights: two tables |
//! | [`generate`] | scenario number N of a seed: the same on every machine and release |
//! | [`mutate`] | another scenario made of one that reached something new |
//! | [`exhaustive`] | every sequence of up to K steps over a small menu |
//! | [`coverage`] | what a trace's steps did to the state of pages, and goals that should be met |
//! | [`shrink`] | fewest steps, smallest range, plainest memory, that still show the finding |
//! | [`signature`] | what makes two findings the same |
//!
//! Nothing here makes a system call or reads a clock. Whether a step can be done is asked of the contract's own
//! [`World`](cowcheck_model::contract::World), so every scenario that is made can be run and judged.
#![forbid(unsafe_code)]

pub mod coverage;
pub mod draft;
pub mod exhaustive;
pub mod generate;
pub mod menu;
pub mod mutate;
mod prelude;
pub mod random;
pub mod rate;
pub mod shrink;
pub mod signature;
mod simpler;

/// The base page that scenarios are made for, in bytes. A machine with another one can run those whose memory is a
/// multiple of its own.
pub const PAGE: u32 = 4096;
