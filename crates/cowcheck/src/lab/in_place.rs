//! The module that collapses anonymous THPs in place on stock kernels, correctly or not: its sources, which are part of
//! this program, and a stock kernel that it is built for.

use std::fs;

use cowcheck_vm::kernel;
use cowcheck_vm::module::{Sources, Target};
use cowcheck_vm::{Cache, Error};

use crate::vm::session::Subject;
use crate::vm::subject;

macro_rules! files {
    ($($name:literal),*) => { &[$(($name, include_str!(concat!("../../../../lab/in-place/", $name)))),*] };
}

/// All that kbuild needs.
const SOURCES: Sources<'static> = Sources { name: "in_place", files: files![] };

/// The module's name, as /proc/modules has it.
pub const NAME: &str = SOURCES.name;

/// A stock kernel with everything that checks need, and the module built for it.
pub fn stock(handle: &str, cache: &Cache, say: &mut dyn FnMut(&str)) -> Result<(Subject, Vec<u8>), Error> {
    let stock = subject::find(handle, cache, true, say)?;
    let target = Target::of(&kernel::find(handle, cache, say)?);
    let file = target.build(&SOURCES, cache, say)?;
    let module = fs::read(&file).map_err(|source| Error::Io { path: file, source })?;
    Ok((stock, module))
}
