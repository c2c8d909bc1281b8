//! What this machine is, and whose turn it is to change it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tempfile::TempDir;

use crate::program;

/// Are we root? If not, says on standard error what is not tested.
pub(crate) fn root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skipped("needs root");
    }
    root
}

/// Says why a test has tested nothing.
pub(crate) fn skipped(why: &str) {
    eprintln!("skipped: {why}");
}

/// Bytes of a PMD-sized THP, where PMD-sized THPs can be had as the machine is.
pub(crate) fn thp() -> Option<u64> {
    let of = |name: &str| fs::read_to_string(Path::new("/sys/kernel/mm/transparent_hugepage").join(name)).ok();
    let size = of("hpage_pmd_size").and_then(|text| text.trim().parse().ok());
    let is_on = of("enabled").is_some_and(|text| !text.contains("[never]"));
    if size.is_none() || !is_on {
        skipped("no THP");
    }
    size.filter(|_| is_on)
}

/// The size as an id has it: `2m`.
pub(crate) fn suffix(bytes: u64) -> String {
    cowcheck_model::memory::Size(bytes).to_string().to_lowercase()
}

/// A copy of the program that any user can execute, with its directory.
pub(crate) fn public_copy() -> (TempDir, PathBuf) {
    let dir = public_dir();
    let copy = dir.path().join("cowcheck");
    fs::copy(program::path(), &copy).unwrap();
    set_mode(&copy, 0o755);
    (dir, copy)
}

/// A temporary directory that any user can read and write.
pub(crate) fn public_dir() -> TempDir {
    let dir = TempDir::new().unwrap();
    set_mode(dir.path(), 0o777);
    dir
}

fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Settings of the whole machine, or the memory of all of it: one test at a time.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static MACHINE: Mutex<()> = Mutex::new(());
    MACHINE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Everything that `--provide` may change, as text.
pub(crate) fn settings() -> Vec<(PathBuf, String)> {
    let thp = Path::new("/sys/kernel/mm/transparent_hugepage");
    let mut files = vec![thp.join("enabled"), thp.join("defrag"), thp.join("use_zero_page"), "/proc/swaps".into()];
    for (parent, name) in [(thp, "enabled"), (Path::new("/sys/kernel/mm/hugepages"), "nr_hugepages")] {
        let mut dirs: Vec<PathBuf> =
            fs::read_dir(parent).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        dirs.sort();
        files.extend(dirs.into_iter().map(|dir| dir.join(name)).filter(|file| file.exists()));
    }
    let told = |file: PathBuf| {
        let text = fs::read_to_string(&file).unwrap_or_default();
        (file, text)
    };
    files.into_iter().map(told).collect()
}

/// A user that nothing else runs as, so that what counts by user counts us only.
pub(crate) fn lonely_user() -> String {
    (200_000 + std::process::id() % 100_000).to_string()
}
