//! Where downloads and what was unpacked from them are kept.
//!
//! What is there is whole: everything is made under another name and renamed when it is done. A
//! second process that wants the same waits for the first, and then finds it made.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::Error;

/// A folder of things that can be made again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// The user's: `$COWCHECK_CACHE`, else `$XDG_CACHE_HOME/cowcheck`, else `~/.cache/cowcheck`,
    /// else a folder for temporary files.
    pub fn user() -> Cache {
        let root = user_root(|name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from));
        // A user of apt goes to other folders, so a path that depends on where we are is of no use.
        Cache { root: std::path::absolute(&root).unwrap_or(root) }
    }

    /// This folder. It need not exist yet.
    pub fn at(path: impl Into<PathBuf>) -> Cache {
        let root = path.into();
        Cache { root: std::path::absolute(&root).unwrap_or(root) }
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder `name` in the cache, there from now on.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf, Error> {
        let path = self.root.join(name);
        fs::create_dir_all(&path).map_err(Error::io(&path))?;
        Ok(path)
    }

    /// Nobody else has the lock `name` while the result lives.
    pub(crate) fn lock(&self, name: &str) -> Result<Lock, Error> {
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
pub(crate) struct Lock(#[expect(dead_code, reason = "closing the file is what unlocks")] File);

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

fn user_root(var: impl Fn(&str) -> Option<PathBuf>) -> PathBuf {
    let home = || var("HOME").map(|home| home.join(".cache/cowcheck"));
    var("COWCHECK_CACHE")
        .or_else(|| var("XDG_CACHE_HOME").map(|cache| cache.join("cowcheck")))
        .or_else(home)
        .unwrap_or_else(|| env::temp_dir().join(format!("cowcheck-{}", rustix::process::getuid().as_raw())))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_users_cache_is_where_the_variables_say() {
        let root = |set: &[(&str, &str)]| {
            let set: Vec<_> = set.iter().map(|(name, value)| (name.to_string(), PathBuf::from(value))).collect();
            user_root(|name| set.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone()))
        };
        let all = [("HOME", "/h"), ("XDG_CACHE_HOME", "/x"), ("COWCHECK_CACHE", "/c")];
        assert_eq!(root(&all), Path::new("/c"));
        assert_eq!(root(&all[..2]), Path::new("/x/cowcheck"));
        assert_eq!(root(&all[..1]), Path::new("/h/.cache/cowcheck"));
        assert!(root(&[]).starts_with(env::temp_dir()));
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
