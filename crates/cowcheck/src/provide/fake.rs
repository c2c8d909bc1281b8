//! A tree of sysfs and procfs files in a temporary directory, for tests.

use std::fs;
use std::path::{Path, PathBuf};

use super::roots::Roots;

/// Removed when dropped.
pub(crate) struct Fake(PathBuf);

impl Fake {
    /// An empty tree. The name keeps the trees of concurrent tests apart.
    pub(crate) fn new(name: &str) -> Fake {
        let root = std::env::temp_dir().join(format!("cowcheck-fake-{}-{name}", std::process::id()));
        fs::create_dir_all(&root).unwrap();
        Fake(root)
    }

    /// With one more file.
    pub(crate) fn file(self, path: &str, text: &str) -> Fake {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    /// What a file holds now.
    pub(crate) fn text(&self, path: &str) -> String {
        fs::read_to_string(self.0.join(path)).unwrap()
    }

    /// The directory.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// As the providers want it.
    pub(crate) fn roots(&self) -> Roots {
        Roots::below(&self.0)
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
