//! A scenario as a C program that needs nothing but libc: for whoever is to mend the kernel.
//!
//! The program does what the executor does, step by step, and holds what it reads against what the contract allows at that
//! point. The sets of what is allowed are computed here, by the contract's own [`World`], so the program has no
//! model in it, only numbers of steps.
//!
//! A word of the language is translated in one of the files of `translate`, by one function; what it calls is C text in
//! `c`, named in `helpers`. A word that nothing translates is an [`Error`] that names it.
//!
//! [`World`]: cowcheck_model::contract::World
#![forbid(unsafe_code)]

mod calls;
mod error;
mod frame;
mod head;
mod helpers;
mod places;
mod program;
mod prose;
mod translate;

use cowcheck_model::scenario::Scenario;
use cowcheck_model::trace::Trace;

pub use error::Error;

/// The program, for a machine whose base pages have `page_size` bytes. With a trace its head tells what was seen
/// on which kernel.
pub fn c(scenario: &Scenario, page_size: u32, trace: Option<&Trace>) -> Result<String, Error> {
    scenario.validate(page_size)?;
    let program = program::Program::of(scenario, page_size)?;
    Ok(frame::text(program, &head::text(scenario, page_size, trace)))
}
