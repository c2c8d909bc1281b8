//! The sources of a kernel, to build one of our own.

use std::path::PathBuf;

use crate::cache::Cache;
use crate::{Error, debian};

/// Sources, unpacked. They are the cache's: what changes them works on a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The top of their tree.
    pub tree: PathBuf,
    /// `linux-source-7.2 7.2.13-1`
    pub package: String,
}

/// The sources of the version `wanted` in Debian's archive, or the nearest of its series that is still there: what a
/// machine like QEMU's is built of. `say` is told what takes time, and what is not as it was asked for.
pub fn find(wanted: &str, cache: &Cache, say: &mut dyn FnMut(&str)) -> Result<Source, Error> {
    debian::sources(wanted, cache, say).map(|(tree, package)| Source { tree, package })
}
