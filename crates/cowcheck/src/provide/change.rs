//! Changes in the making: each is promised to be undone before it is made.

use std::io;
use std::path::Path;

use super::roots::Roots;
use super::undo::{Ledger, Undo, value, write_value};
use super::{CouldNot, Thing};

/// What the providers share.
pub(crate) struct Changes<'a> {
    pub(crate) roots: &'a Roots,
    pub(crate) ledger: &'a mut dyn Ledger,
    pub(crate) did: Vec<String>,
    pub(crate) could_not: Vec<CouldNot>,
}

impl<'a> Changes<'a> {
    pub(crate) fn new(roots: &'a Roots, ledger: &'a mut dyn Ledger) -> Self {
        Changes { roots, ledger, did: Vec::new(), could_not: Vec::new() }
    }

    /// Notes what was done.
    pub(crate) fn did(&mut self, sentence: String) {
        self.did.push(sentence);
    }

    /// Notes what could not be done.
    pub(crate) fn could_not(&mut self, thing: Thing, reason: impl Into<String>, remedy: impl Into<String>) {
        self.could_not.push(CouldNot { thing, reason: reason.into(), remedy: remedy.into() });
    }

    /// Has a setting put back that changes by itself with another. One that does not exist is no
    /// error.
    pub(crate) fn remember(&mut self, path: &Path) -> io::Result<()> {
        match value(path) {
            Ok(old) => self.ledger.promise(Undo::WriteFile { path: path.to_owned(), old }),
            Err(_) => Ok(()),
        }
    }

    /// Writes a setting, unless it has that value. `true` if it was changed.
    pub(crate) fn set(&mut self, path: &Path, new: &str) -> io::Result<bool> {
        let old = value(path)?;
        if old == new {
            return Ok(false);
        }
        self.ledger.promise(Undo::WriteFile { path: path.to_owned(), old })?;
        write_value(path, new)?;
        Ok(true)
    }
}
