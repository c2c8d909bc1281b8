//! Our kernel modules: their sources, which are part of this program, and what is built from them.

use std::fs;
use std::path::{Path, PathBuf};

use cowcheck_vm::module::{Sources, Target};
use cowcheck_vm::{Cache, Error};

/// Files of one folder, by name.
macro_rules! files {
    ($($folder:literal: $($name:literal)+),+) => {
        &[$($(($name, include_str!(concat!("../../../", $folder, "/", $name)))),+),+]
    };
}

/// The helper: takes every kind of pin, and tells what a page table holds.
pub const HELPER: Sources<'static> = Sources {
    name: "cowcheck",
    files: files!["kmod": "Kbuild" "compat.h" "cowcheck.h" "device.c" "gup_test.c" "gup_test.h" "look.c" "look.h" "page.c" "page.h" "pin.c" "pin.h"],
};

/// The lab's: collapses anonymous THPs in place, with the parameter `bug=N` wrongly. For guests only: it cannot be
/// unloaded.
pub const IN_PLACE: Sources<'static> = Sources {
    name: "cowcheck_in_place",
    files: files![
        "lab/in-place": "Kbuild" "bugs.h" "collapse.c" "collapse.h" "hook.c" "kernel.c" "kernel.h",
        "kmod": "compat.h"
    ],
};

/// The file of the module for this kernel, built now or before. `say` is told what takes time.
pub fn build(
    module: &Sources<'_>,
    target: &Target,
    cache: &Cache,
    say: &mut dyn FnMut(&str),
) -> Result<PathBuf, Error> {
    target.build(module, cache, say)
}

/// The same as init_module(2) takes it.
pub fn image(
    module: &Sources<'_>,
    target: &Target,
    cache: &Cache,
    say: &mut dyn FnMut(&str),
) -> Result<Vec<u8>, Error> {
    let file = build(module, target, cache, say)?;
    fs::read(&file).map_err(|source| Error::Io { path: file, source })
}

/// What a person does with the helper.
pub fn how_to_load(module: &Path) -> String {
    format!("sudo insmod {}", module.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
    }

    fn sources_in(folder: &str) -> Vec<String> {
        let mut there: Vec<String> = fs::read_dir(root().join(folder))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name == "Kbuild" || name.ends_with(".c") || name.ends_with(".h"))
            .collect();
        there.sort();
        there
    }

    #[test]
    fn all_sources_are_in_the_program() {
        let names = |module: Sources<'static>| module.files.iter().map(|(name, _)| *name).collect::<Vec<_>>();
        assert_eq!(names(HELPER), sources_in("kmod"));
        assert_eq!(names(IN_PLACE), [sources_in("lab/in-place"), vec!["compat.h".to_owned()]].concat());
    }

    /// bugs.h and the list of mutants, which say the same in two languages.
    #[test]
    fn every_bug_of_the_module_is_a_mutant() {
        let (_, bugs) = IN_PLACE.files.iter().find(|(name, _)| *name == "bugs.h").unwrap();
        let number = |line: &str| line.trim().strip_prefix("BUG(")?.split(',').next()?.parse::<i64>().ok();
        let mut wanted: Vec<i64> = bugs.lines().filter_map(number).collect();
        wanted.insert(0, 0);
        let mut found: Vec<i64> = fs::read_dir(root().join("lab/mutants"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("in-place-"))
            .map(|path| {
                let mutant: toml::Table = fs::read_to_string(&path).unwrap().parse().unwrap();
                let bug = mutant["in-place"]["bug"].as_integer().unwrap();
                assert_eq!(mutant.contains_key("control"), bug == 0, "{}", path.display());
                bug
            })
            .collect();
        found.sort_unstable();
        assert_eq!(found, wanted);
    }
}
