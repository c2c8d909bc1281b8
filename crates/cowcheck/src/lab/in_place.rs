//! A stock kernel, and the module for it that collapses anonymous THPs in place, correctly or not.

use cowcheck_vm::module::Target;
use cowcheck_vm::{Cache, Error, kernel};

use crate::kmod;
use crate::vm::session::Subject;
use crate::vm::subject;

/// The kernel with everything that checks need, and the module's bytes.
pub fn stock(handle: &str, cache: &Cache, say: &mut dyn FnMut(&str)) -> Result<(Subject, Vec<u8>), Error> {
    let stock = subject::find(handle, cache, true, say)?;
    let target = Target::of(&kernel::find(handle, cache, say)?);
    let module = kmod::image(&kmod::IN_PLACE, &target, cache, say)?;
    Ok((stock, module))
}
