//! The module that collapses anonymous THPs in place on stock kernels, correctly or not: its sources, which are part of
//! this program, and a stock kernel that it is built for.

use std::fs;

use cowcheck_vm::kernel;
use cowcheck_vm::module::{Sources, Target};
use cowcheck_vm::{Cache, Error};

use crate::vm::session::Subject;
use crate::vm::subject;

macro_rules! file {
    ($name:literal) => {
        ($name, include_str!(concat!("../../../../lab/in-place/", $name)))
    };
}

/// The helper module's part that knows how kernels differ is its part, too.
const FILES: &[(&str, &str)] = &[
    ("compat.h", include_str!("../../../../kmod/compat.h")),
    file!("Kbuild"),
    file!("bugs.h"),
    file!("collapse.c"),
    file!("collapse.h"),
    file!("hook.c"),
    file!("kernel.c"),
    file!("kernel.h"),
];

/// All that kbuild needs.
const SOURCES: Sources<'static> = Sources { name: "cowcheck_in_place", files: FILES };

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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn all_sources_are_in_the_program() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../lab/in-place");
        let mut there: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name == "Kbuild" || name.ends_with(".c") || name.ends_with(".h"))
            .collect();
        there.sort();
        let ours: Vec<&str> = FILES.iter().map(|(name, _)| *name).filter(|name| *name != "compat.h").collect();
        assert_eq!(ours, there);
    }
}
