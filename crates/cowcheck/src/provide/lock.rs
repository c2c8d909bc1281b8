//! One cowcheck at a time changes settings.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{FlockOperation, OFlags, fcntl_lock};
use rustix::io::Errno;

/// Held until dropped.
///
/// It is a record lock (fcntl(2), F_SETLK), not flock(2): forked workers do not inherit it, so a
/// worker that hangs does not keep it when the tool is gone.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// Record locks do not exclude a process from itself, and closing the file again gives them up.
static HELD: AtomicBool = AtomicBool::new(false);

/// Why there is no lock.
#[derive(Debug)]
pub(crate) enum Refused {
    /// This process has it.
    HeldBy(u32),
    /// The file cannot be made or locked.
    Failed(io::Error),
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Refused::Failed(error)
    }
}

impl Lock {
    /// Takes the lock in the directory, which exists.
    pub(crate) fn take(dir: &Path) -> Result<Lock, Refused> {
        if HELD.swap(true, Ordering::AcqRel) {
            return Err(Refused::HeldBy(std::process::id()));
        }
        Lock::take_file(dir).inspect_err(|_| HELD.store(false, Ordering::Release))
    }

    fn take_file(dir: &Path) -> Result<Lock, Refused> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(OFlags::NOFOLLOW.bits() as i32)
            .open(dir.join("lock"))?;
        match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::AGAIN | Errno::ACCESS) => {
                let mut holder = String::new();
                file.read_to_string(&mut holder)?;
                // Empty for the moment between its lock and its write.
                return Err(Refused::HeldBy(holder.trim().parse().unwrap_or(0)));
            }
            Err(error) => return Err(Refused::Failed(error.into())),
        }
        file.set_len(0)?;
        file.seek(SeekFrom::Start(0))?;
        writeln!(file, "{}", std::process::id())?;
        Ok(Lock { _file: file })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        HELD.store(false, Ordering::Release);
    }
}

/// Makes the directory, or checks that nobody else can write to it: what its files say is done as
/// root later.
pub(crate) fn own_directory(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    check_directory(dir)
}

/// Is it a directory of ours that nobody else can write to?
pub(crate) fn check_directory(dir: &Path) -> io::Result<()> {
    let meta = fs::symlink_metadata(dir)?;
    let me = rustix::process::geteuid().as_raw();
    if meta.is_dir() && meta.uid() == me && meta.mode() & 0o022 == 0 {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "{} must be a directory of user {me} that nobody else can write to; found user {}, mode {:o}",
        dir.display(),
        meta.uid(),
        meta.mode() & 0o7777
    )))
}

#[cfg(test)]
mod tests {
    use super::super::fake::Fake;
    use super::*;

    #[test]
    fn a_second_lock_is_refused_and_names_the_holder() {
        let fake = Fake::new("lock");
        let lock = Lock::take(fake.path());
        assert!(lock.is_ok(), "{lock:?}");
        let again = Lock::take(fake.path());
        assert!(matches!(again, Err(Refused::HeldBy(pid)) if pid == std::process::id()), "{again:?}");
        drop(lock);
        assert!(Lock::take(fake.path()).is_ok());
    }

    #[test]
    fn a_directory_that_others_can_write_to_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let fake = Fake::new("lockdir");
        let dir = fake.path().join("run");
        assert!(own_directory(&dir).is_ok());
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
        let error = own_directory(&dir).unwrap_err().to_string();
        assert!(error.contains("mode 777"), "{error}");
        std::os::unix::fs::symlink("/tmp", fake.path().join("link")).unwrap();
        assert!(check_directory(&fake.path().join("link")).is_err());
    }
}
