//! The pure part of cowcheck.
//!
//! A [`scenario::Scenario`] is a short program over one piece of private memory and a family of
//! processes. Running it leaves a [`trace::Trace`]. The [`checker`] holds the trace against the
//! [`contract`] and gives a [`verdict::Verdict`]. Nothing here makes a system call, so a trace can
//! be judged on any machine, at any time.
//!
//! Where to look first: the words of the language are in [`step`], the rules in [`contract`].
#![forbid(unsafe_code)]

pub mod checker;
pub mod collapse;
pub mod contract;
pub mod errno;
pub mod explain;
pub mod memory;
pub mod moves;
pub mod pages;
pub mod scenario;
pub mod stamp;
pub mod step;
pub mod storm;
pub mod text;
pub mod trace;
pub mod verdict;
