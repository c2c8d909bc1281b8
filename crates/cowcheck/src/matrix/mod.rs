//! Results of several kernels as one report: kernels × checks.
//!
//! [`read`] gives the [`Run`] of one kernel, [`Matrix::new`] puts runs side by side in the order of the
//! kernels' versions, and [`text()`], [`json()`] and [`html()`] tell it. Only `read` touches a file. The
//! readers take whatever they are given: no text makes them panic, and rubbish is told with its place.

mod cell;
mod change;
mod collapses;
pub(crate) mod html;
mod json;
mod kernel;
mod name;
mod read;
mod run;
mod sheet;
mod text;
mod untested;

use std::path::Path;

pub use cell::Cell;
pub use change::{Change, Trend};
pub use html::html;
pub use json::json;
pub use kernel::{Kernel, State};
pub use name::Name;
pub use read::parse;
pub use run::{Ran, Run, Vm, VmEnd};
pub use sheet::{Check, Matrix};
pub use text::text;
pub use untested::Untested;

use crate::compare::{self, ReadError};

/// Reads the results of one kernel, in whichever format they are.
pub fn read(path: &Path) -> Result<Run, ReadError> {
    Ok(parse(&compare::bytes(path)?, &path.display().to_string())?)
}

#[cfg(test)]
mod sample;
