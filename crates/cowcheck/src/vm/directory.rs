//! Where the guests' files are: kept where a person says so, else gone in the end.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const NAME: &str = "cowcheck-vm-";

/// The directory. Dropping it removes it, unless it is kept.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    keep: bool,
}

impl Directory {
    /// This one, to be kept; or a temporary one. Temporary ones of processes that were killed are removed first.
    pub fn new(keep: Option<&Path>) -> io::Result<Directory> {
        let path = match keep {
            Some(path) => path.to_owned(),
            None => {
                let all = std::env::temp_dir();
                remove_leftovers(&all);
                all.join(format!("{NAME}{}", std::process::id()))
            }
        };
        fs::create_dir_all(&path)?;
        // QEMU gets the paths, wherever it is started.
        Ok(Directory { path: fs::canonicalize(path)?, keep: keep.is_some() })
    }

    /// The path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if !self.keep {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

fn remove_leftovers(all: &Path) {
    for entry in fs::read_dir(all).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(NAME)).filter(|id| id.parse::<u32>().is_ok());
        if process.is_some_and(|id| !Path::new("/proc").join(id).exists()) {
            // Somebody else's stays.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_kept_is_gone() {
        let stale = std::env::temp_dir().join(format!("{NAME}4194305"));
        fs::create_dir_all(&stale).unwrap();
        let directory = Directory::new(None).unwrap();
        let path = directory.path().to_owned();
        assert!(path.exists() && !stale.exists(), "no process has a number above 4194304");
        drop(directory);
        assert!(!path.exists());
        let kept = std::env::temp_dir().join(format!("cowcheck-kept-{}", std::process::id()));
        drop(Directory::new(Some(&kept)).unwrap());
        assert!(kept.exists());
        fs::remove_dir(kept).unwrap();
    }
}
