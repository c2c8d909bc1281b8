//! Two records of runs, set side by side: ours, or any KTAP or TAP, so the kernel's own cow.c too.
//!
//! [`read`] (or [`parse`], which touches no file) gives [`Results`]; [`compare`] gives a
//! [`Comparison`], which prints as text and serializes as JSON. The readers take whatever they are
//! given: no text makes them panic, and what cannot be read is told with its line and column.

mod comparison;
mod json;
pub(crate) mod json_line;
mod results;
mod tap;
mod text;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

pub use comparison::{Change, Compared, Comparison, Group, MatchedBy, Side, compare};
pub(crate) use results::clean;
pub use results::{Results, Row, Source};

use cowcheck_model::text::SyntaxError;

/// The largest file that is read, in bytes. A run of the whole catalogue leaves less than 2 MiB.
pub const MAX_FILE: u64 = 256 << 20;

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The system refused.
    #[error("cannot read {name}: {error}")]
    Io {
        /// The file.
        name: String,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// There is more of it than any run leaves.
    #[error("cannot read {name}: found more than {MAX_FILE} bytes, expected results of at most that size")]
    TooLarge {
        /// The file.
        name: String,
    },
    /// It holds something else.
    #[error(transparent)]
    Syntax(#[from] SyntaxError),
}

/// Reads a file of results, in whichever format it is.
pub fn read(path: &Path) -> Result<Results, ReadError> {
    Ok(parse(&bytes(path)?, &path.display().to_string())?)
}

/// What a file holds, if that is not too much.
pub(crate) fn bytes(path: &Path) -> Result<Vec<u8>, ReadError> {
    let name = path.display().to_string();
    let mut bytes = Vec::new();
    // The length is not asked for first: a pipe or a device has none.
    let result = File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes));
    match result {
        Err(error) => Err(ReadError::Io { name, error }),
        Ok(_) if bytes.len() as u64 > MAX_FILE => Err(ReadError::TooLarge { name }),
        Ok(_) => Ok(bytes),
    }
}

/// Reads results, in whichever format they are; `name` is what they are called in errors and reports.
pub fn parse(bytes: &[u8], name: &str) -> Result<Results, SyntaxError> {
    let text = String::from_utf8_lossy(bytes);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let first = text.lines().find(|line| !line.trim().is_empty());
    let read = match first {
        Some(line) if line.trim_start().starts_with('{') => json::read(text, name),
        _ => tap::read(text, name),
    };
    read.map_err(|error| error.in_file(name))
}
