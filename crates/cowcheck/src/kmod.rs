//! The helper module: its sources, which are part of this program, and what it is built from them.

use std::path::{Path, PathBuf};

use cowcheck_vm::module::{Sources, Target};
use cowcheck_vm::{Cache, Error};

macro_rules! files {
    ($($name:literal),*) => { &[$(($name, include_str!(concat!("../../../kmod/", $name)))),*] };
}

/// All that kbuild needs.
const SOURCES: Sources<'static> = Sources {
    name: "cowcheck",
    files: files![
        "Kbuild",
        "compat.h",
        "cowcheck.h",
        "device.c",
        "gup_test.c",
        "gup_test.h",
        "look.c",
        "look.h",
        "page.c",
        "page.h",
        "pin.c",
        "pin.h"
    ],
};

/// The module's name, as /proc/modules has it.
pub const NAME: &str = SOURCES.name;

/// The file of the module for this kernel, built now or before.
pub fn build(target: &Target, cache: &Cache, say: &mut dyn FnMut(&str)) -> Result<PathBuf, Error> {
    target.build(&SOURCES, cache, say)
}

/// What a person does with it.
pub fn how_to_load(module: &Path) -> String {
    format!("sudo insmod {}", module.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_sources_are_in_the_program() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../kmod");
        let mut there: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name == "Kbuild" || name.ends_with(".c") || name.ends_with(".h"))
            .collect();
        there.sort();
        let ours: Vec<&str> = SOURCES.files.iter().map(|(name, _)| *name).collect();
        assert_eq!(ours, there);
    }
}
