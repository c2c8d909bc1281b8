//! Where downloads and what was unpacked from them are kept.
//!
//! What is there is whole: everything is made under another name and renamed when it is done. A
//! second process that wants the same waits for the first, and then finds it made.

use std::env;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, flock};

use crate::Error;

/// A folder of things that can be made again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    root: PathBuf,
    /// It lies where anybody may have put it.
    is_exposed: bool,
}

impl Cache {
    /// The user's: `$COWCHECK_CACHE`, else `$XDG_CACHE_HOME/cowcheck`, else `~/.cache/cowcheck`,
    /// else a folder for temporary files.
    pub fn user() -> Cache {
        let var = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        match user_root(var) {
            Some(root) => Cache::at(root),
            None => {
                let name = format!("cowcheck-{}", rustix::process::geteuid().as_raw());
                Cache { is_exposed: true, ..Cache::at(env::temp_dir().join(name)) }
            }
        }
    }

    /// This folder. It need not exist yet.
    pub fn at(path: impl Into<PathBuf>) -> Cache {
        let root = path.into();
        // apt is started in another folder, so a path that depends on where we are is of no use.
        Cache { root: std::path::absolute(&root).unwrap_or(root), is_exposed: false }
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder `name` in the cache, there from now on.
    pub fn folder(&self, name: &str) -> Result<PathBuf, Error> {
        let path = self.root.join(name);
        fs::create_dir_all(&path).map_err(Error::io(&path))?;
        if self.is_exposed {
            let meta = fs::symlink_metadata(&self.root).map_err(Error::io(&self.root))?;
            if !meta.is_dir() || meta.uid() != rustix::process::geteuid().as_raw() {
                let why = "the folder for the cache, and it is somebody else's; set COWCHECK_CACHE to one of yours";
                return Err(Error::broken(&self.root, why));
            }
        }
        Ok(path)
    }

    /// Nobody else has the lock `name` while the result lives.
    pub fn lock(&self, name: &str) -> Result<Lock, Error> {
        let path = self.folder("locks")?.join(name);
        let file = File::create(&path).map_err(Error::io(&path))?;
        loop {
            match flock(&file, FlockOperation::LockExclusive) {
                Ok(()) => return Ok(Lock(file)),
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(Error::io(&path)(errno.into())),
            }
        }
    }

    /// The file or folder `kind/key`: as it is, or as `make` makes it at the path it is given.
    pub(crate) fn entry(
        &self,
        kind: &str,
        key: &str,
        make: impl FnOnce(&Path) -> Result<(), Error>,
    ) -> Result<PathBuf, Error> {
        let path = self.folder(kind)?.join(key);
        if path.exists() {
            return Ok(path);
        }
        let _lock = self.lock(&format!("{kind}-{key}"))?;
        if path.exists() {
            return Ok(path);
        }
        // Whoever has the lock is alone with this name: what is there was left by somebody who died.
        let part = self.root.join(kind).join(format!(".{key}.part"));
        remove(&part)?;
        match make(&part).and_then(|()| settle(&part, &path)) {
            Ok(()) => Ok(path),
            Err(error) => {
                // The first error is the one to tell.
                let _ = remove(&part);
                Err(error)
            }
        }
    }
}

/// Held until it is dropped; the system lets go of it, too, when the process dies.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "closing the file is what unlocks")] File);

/// On disk first, then under its name: a name without its content must not outlive a power cut.
fn settle(part: &Path, path: &Path) -> Result<(), Error> {
    let file = File::open(part).map_err(Error::io(part))?;
    let synced = if part.is_dir() { rustix::fs::syncfs(&file).map_err(Into::into) } else { file.sync_all() };
    synced.map_err(Error::io(part))?;
    fs::rename(part, path).map_err(Error::io(path))
}

/// The file or folder is gone afterwards.
pub(crate) fn remove(path: &Path) -> Result<(), Error> {
    let Ok(meta) = fs::symlink_metadata(path) else { return Ok(()) };
    if meta.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.map_err(Error::io(path))
}

/// How long ago the file was written; None where it is not there or from the future.
pub(crate) fn age(path: &Path) -> Option<Duration> {
    SystemTime::now().duration_since(fs::metadata(path).ok()?.modified().ok()?).ok()
}

fn user_root(var: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let home = || var("HOME").map(|home| home.join(".cache/cowcheck"));
    var("COWCHECK_CACHE").or_else(|| var("XDG_CACHE_HOME").map(|cache| cache.join("cowcheck"))).or_else(home)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;

    #[test]
    fn the_users_cache_is_where_the_variables_say() {
        let root = |set: &[(&str, &str)]| {
            let set: Vec<_> = set.iter().map(|(name, value)| (name.to_string(), PathBuf::from(value))).collect();
            user_root(|name| set.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone()))
        };
        let all = [("HOME", "/h"), ("XDG_CACHE_HOME", "/x"), ("COWCHECK_CACHE", "/c")];
        assert_eq!(root(&all).unwrap(), Path::new("/c"));
        assert_eq!(root(&all[..2]).unwrap(), Path::new("/x/cowcheck"));
        assert_eq!(root(&all[..1]).unwrap(), Path::new("/h/.cache/cowcheck"));
        assert_eq!(root(&[]), None);
    }

    #[test]
    fn a_folder_that_somebody_else_may_have_made_has_to_be_ours() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("theirs")).unwrap();
        std::os::unix::fs::symlink("theirs", folder.path().join("link")).unwrap();
        let exposed = |name: &str| Cache { is_exposed: true, ..Cache::at(folder.path().join(name)) };
        assert!(exposed("ours").folder("things").is_ok());
        assert!(exposed("link").folder("things").unwrap_err().to_string().contains("COWCHECK_CACHE"));
    }

    #[test]
    fn many_at_once_make_it_once() {
        let folder = tempfile::tempdir().unwrap();
        let made = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let path = Cache::at(folder.path()).entry("things", "one", |path| {
                        made.fetch_add(1, Ordering::SeqCst);
                        fs::create_dir(path).unwrap();
                        thread::sleep(Duration::from_millis(20));
                        fs::write(path.join("whole"), "yes").map_err(Error::io(path))
                    });
                    assert_eq!(fs::read_to_string(path.unwrap().join("whole")).unwrap(), "yes");
                });
            }
        });
        assert_eq!(made.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn what_failed_or_was_left_half_made_is_never_taken() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path());
        let failed = cache.entry("things", "one", |path| {
            fs::create_dir(path).unwrap();
            Err(Error::broken(path, "half"))
        });
        assert!(matches!(failed, Err(Error::Broken { .. })), "{failed:?}");
        // As somebody who was killed leaves it.
        fs::create_dir_all(folder.path().join("things/.one.part/old")).unwrap();
        let path = cache.entry("things", "one", |path| fs::create_dir(path).map_err(Error::io(path))).unwrap();
        assert!(!path.join("old").exists());
        assert_eq!(fs::read_dir(folder.path().join("things")).unwrap().count(), 1, "nothing else is left");
    }
}
