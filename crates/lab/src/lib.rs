//! The mutation lab: bugs planted in real kernels, which show that the checks can fail.
//!
//! A [`Mutant`] is a file of `lab/mutants`. Those of the in-place collapse are forms of one module for stock kernels
//! ([`Plant::InPlace`]); all others are [`edits`](Plant::Edits) of one kernel in which the boot parameter `cowcheck_bug`
//! picks the bug.
#![forbid(unsafe_code)]

pub mod build;
pub mod config;
pub mod edit;
pub mod list;
pub mod mutant;

pub use build::build;
pub use list::list;
pub use mutant::{Area, Edit, Mutant, Plant, Put};
