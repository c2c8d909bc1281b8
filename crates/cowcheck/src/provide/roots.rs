//! Where the kernel shows itself. Tests point these at a tree of their own.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The directories that machine facts are read from and settings written to.
#[derive(Debug, Clone)]
pub struct Roots {
    /// sysfs.
    pub sys: PathBuf,
    /// procfs.
    pub proc: PathBuf,
    /// Device nodes.
    pub dev: PathBuf,
    /// Kernel modules, a directory for each release in it.
    pub modules: PathBuf,
    /// Where the journal of changed settings and the lock are kept.
    pub run: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Roots {
            sys: "/sys".into(),
            proc: "/proc".into(),
            dev: "/dev".into(),
            modules: "/lib/modules".into(),
            run: "/run/cowcheck".into(),
        }
    }
}

impl Roots {
    /// Everything below one directory: `sys`, `proc`, `dev`, `modules`, `run`.
    pub fn below(root: &Path) -> Roots {
        Roots {
            sys: root.join("sys"),
            proc: root.join("proc"),
            dev: root.join("dev"),
            modules: root.join("modules"),
            run: root.join("run"),
        }
    }

    /// Documentation/admin-guide/mm/transhuge.rst
    pub(crate) fn thp(&self) -> PathBuf {
        self.sys.join("kernel/mm/transparent_hugepage")
    }

    /// Documentation/admin-guide/mm/ksm.rst
    pub(crate) fn ksm(&self) -> PathBuf {
        self.sys.join("kernel/mm/ksm")
    }

    /// Documentation/admin-guide/mm/hugetlbpage.rst
    pub(crate) fn hugetlb(&self) -> PathBuf {
        self.sys.join("kernel/mm/hugepages")
    }

    /// Documentation/admin-guide/blockdev/zram.rst
    pub(crate) fn zram_control(&self) -> PathBuf {
        self.sys.join("class/zram-control")
    }

    /// Documentation/filesystems/debugfs.rst
    pub(crate) fn debugfs(&self) -> PathBuf {
        self.sys.join("kernel/debug")
    }
}

/// The text of a small file, without white space at its ends.
pub(crate) fn text(path: &Path) -> io::Result<String> {
    fs::read_to_string(path).map(|text| text.trim().to_owned())
}

/// A file that holds one decimal number.
pub(crate) fn number(path: &Path) -> Option<u64> {
    text(path).ok()?.parse().ok()
}

/// The chosen word of a file such as `always [madvise] never`.
pub(crate) fn chosen(text: &str) -> Option<&str> {
    text.split_whitespace().find_map(|word| word.strip_prefix('[')?.strip_suffix(']'))
}

/// The bytes that a directory such as `hugepages-2048kB` is about.
pub(crate) fn hugepages_bytes(name: &str) -> Option<u64> {
    name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

/// The `hugepages-*kB` directories below `parent`, ascending by size.
pub(crate) fn hugepages_dirs(parent: &Path) -> Vec<(u64, PathBuf)> {
    let mut dirs: Vec<(u64, PathBuf)> = fs::read_dir(parent)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((hugepages_bytes(entry.file_name().to_str()?)?, entry.path())))
        .collect();
    dirs.sort();
    dirs
}
