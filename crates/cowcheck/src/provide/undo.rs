//! How a change is undone. These are data, so that a journal and another process can keep them.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};
use serde::{Deserialize, Serialize};

use super::roots;

/// Undoes one change. Every one may be done twice, or where the change was never made: then there
/// is nothing to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "undo", rename_all = "kebab-case")]
pub enum Undo {
    /// Writes a setting's old value.
    WriteFile {
        /// The file.
        path: PathBuf,
        /// What it held.
        old: String,
    },
    /// Stops swapping to a device or file.
    Swapoff {
        /// The device or file.
        device: PathBuf,
    },
    /// Removes a compressed RAM disk.
    ZramRemove {
        /// Its number.
        id: u32,
        /// `hot_remove` of zram-control.
        control: PathBuf,
    },
    /// Makes a RAM disk that was all zeroes all zeroes again.
    Wipe {
        /// The device.
        device: PathBuf,
    },
    /// Removes a file.
    RemoveFile {
        /// The file.
        path: PathBuf,
    },
    /// Unmounts.
    Umount {
        /// Where.
        path: PathBuf,
    },
    /// Removes a cgroup.
    Cgroup {
        /// Its directory.
        path: PathBuf,
        /// `cgroup.subtree_control` that had no memory controller.
        control: Option<PathBuf>,
    },
    /// Removes modules, in this order.
    Rmmod {
        /// Their names.
        modules: Vec<String>,
    },
}

/// Keeps what has to be undone. The promise is kept before the change is made, so that there is no
/// moment at which a change is known to nobody.
pub trait Ledger {
    /// Notes that this has to be undone at the end. After an error the change must not be made.
    fn promise(&mut self, undo: Undo) -> io::Result<()>;
}

impl Ledger for Vec<Undo> {
    fn promise(&mut self, undo: Undo) -> io::Result<()> {
        self.push(undo);
        Ok(())
    }
}

/// A change that could not be undone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{undo}: {why}; by hand: {}", undo.by_hand())]
pub struct Stuck {
    /// What should have been done.
    pub undo: Undo,
    /// Why it was not.
    pub why: String,
}

/// How long a device or mount that is still in use is tried again.
const PATIENCE: Duration = Duration::from_secs(5);

impl Undo {
    /// Undoes it. `false` if there was nothing to do.
    pub fn run(&self) -> Result<bool, Stuck> {
        let result = match self {
            Undo::WriteFile { path, old } => write_back(path, old),
            Undo::Swapoff { device } => swapoff(device),
            Undo::ZramRemove { id, control } => patiently(|| zram_remove(*id, control)),
            Undo::Wipe { device } => wipe(device),
            Undo::RemoveFile { path } => unless_gone(fs::remove_file(path)),
            Undo::Umount { path } => umount(path),
            Undo::Cgroup { path, control } => remove_cgroup(path, control.as_deref()),
            Undo::Rmmod { modules } => rmmod(modules),
        };
        result.map_err(|error| Stuck { undo: self.clone(), why: error.to_string() })
    }

    /// Does the change outlive the running kernel? The others are gone with it, and undoing them
    /// would be a change itself.
    pub fn outlives_reboot(&self) -> bool {
        matches!(self, Undo::RemoveFile { .. })
    }

    /// The command that does it, for a person.
    pub fn by_hand(&self) -> String {
        match self {
            Undo::WriteFile { path, old } => format!("echo {old} | sudo tee {}", path.display()),
            Undo::Swapoff { device } => format!("sudo swapoff {}", device.display()),
            Undo::ZramRemove { id, control } => format!("echo {id} | sudo tee {}", control.display()),
            Undo::Wipe { device } => format!("sudo dd if=/dev/zero of={}", device.display()),
            Undo::RemoveFile { path } => format!("sudo rm {}", path.display()),
            Undo::Umount { path } => format!("sudo umount {}", path.display()),
            Undo::Cgroup { path, control: None } => format!("sudo rmdir {}", path.display()),
            Undo::Cgroup { path, control: Some(control) } => {
                format!("sudo rmdir {}; echo -memory | sudo tee {}", path.display(), control.display())
            }
            Undo::Rmmod { modules } => format!("sudo rmmod {}", modules.join(" ")),
        }
    }
}

/// As in "put back: /sys/... to never".
impl std::fmt::Display for Undo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Undo::WriteFile { path, old } => write!(f, "{} to {old}", path.display()),
            Undo::Swapoff { device } => write!(f, "swap on {} off", device.display()),
            Undo::ZramRemove { id, .. } => write!(f, "zram{id} removed"),
            Undo::Wipe { device } => write!(f, "{} wiped", device.display()),
            Undo::RemoveFile { path } => write!(f, "{} removed", path.display()),
            Undo::Umount { path } => write!(f, "{} unmounted", path.display()),
            Undo::Cgroup { path, .. } => write!(f, "cgroup {} removed", path.display()),
            Undo::Rmmod { modules } => write!(f, "module {} unloaded", modules.join(", ")),
        }
    }
}

/// What a setting's file says now: the chosen word of a choice, else the text.
pub(crate) fn value(path: &Path) -> io::Result<String> {
    let text = roots::text(path)?;
    Ok(roots::chosen(&text).map_or_else(|| text.clone(), str::to_owned))
}

/// Writes a setting in one write(2), as sysfs wants it.
pub(crate) fn write_value(path: &Path, value: &str) -> io::Result<()> {
    // Not fs::write: a setting is never to be created where it does not exist.
    OpenOptions::new().write(true).truncate(true).open(path)?.write_all(value.as_bytes())
}

fn write_back(path: &Path, old: &str) -> io::Result<bool> {
    if value(path)? == old {
        return Ok(false);
    }
    write_value(path, old)?;
    let found = value(path)?;
    if found == old { Ok(true) } else { Err(io::Error::other(format!("wrote {old}, found {found}"))) }
}

/// Runs until it is not EBUSY (EAGAIN, EWOULDBLOCK), with a limit: udev opens new devices for a
/// moment to look at them, and a dying process holds what it held until it is dead.
fn patiently<T>(mut act: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let end = Instant::now() + PATIENCE;
    loop {
        match act() {
            Err(error)
                if matches!(Errno::from_io_error(&error), Some(Errno::BUSY | Errno::AGAIN)) && Instant::now() < end =>
            {
                std::thread::sleep(Duration::from_millis(20));
            }
            result => return result,
        }
    }
}

fn unless_gone(result: io::Result<()>) -> io::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn swapoff(device: &Path) -> io::Result<bool> {
    match cowcheck_sys::swap::swapoff(device) {
        // Not active: it never was, or somebody else was faster.
        Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => Ok(false),
        result => unless_gone(result),
    }
}

fn zram_remove(id: u32, control: &Path) -> io::Result<bool> {
    match write_value(control, &id.to_string()) {
        Err(error) if Errno::from_io_error(&error) == Some(Errno::NODEV) => Ok(false),
        result => unless_gone(result),
    }
}

/// Writes zeroes where there are none yet: a RAM disk has a page for whatever was written, zeroes
/// too, so only what needs it is written. Kernels with discard for RAM disks give the pages back.
fn wipe(device: &Path) -> io::Result<bool> {
    const CHUNK: usize = 1 << 20;
    let mut file = match OpenOptions::new().read(true).write(true).open(device) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        result => result?,
    };
    let size = file.seek(SeekFrom::End(0))?;
    let punch = rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE;
    // An older kernel refuses; what is not zero afterwards is overwritten below.
    let _ = rustix::fs::fallocate(&file, punch, 0, size);
    let (mut chunk, zeroes) = (vec![0; CHUNK], vec![0; CHUNK]);
    let mut changed = false;
    let mut at = 0;
    while at < size {
        file.seek(SeekFrom::Start(at))?;
        let len = CHUNK.min(usize::try_from(size - at).unwrap_or(CHUNK));
        file.read_exact(&mut chunk[..len])?;
        if chunk[..len] != zeroes[..len] {
            file.seek(SeekFrom::Start(at))?;
            file.write_all(&zeroes[..len])?;
            changed = true;
        }
        at += len as u64;
    }
    file.sync_all()?;
    Ok(changed)
}

fn umount(path: &Path) -> io::Result<bool> {
    match patiently(|| unmount(path, UnmountFlags::empty()).map_err(io::Error::from)) {
        // Nothing is mounted here.
        Err(error) if Errno::from_io_error(&error) == Some(Errno::INVAL) => Ok(false),
        // Somebody looks into it: it goes when they are done.
        Err(error) if Errno::from_io_error(&error) == Some(Errno::BUSY) => {
            Ok(unmount(path, UnmountFlags::DETACH).map(|()| true)?)
        }
        result => unless_gone(result),
    }
}

/// One that a dying process is in is busy.
fn remove_cgroup(path: &Path, control: Option<&Path>) -> io::Result<bool> {
    let removed = unless_gone(patiently(|| fs::remove_dir(path)))?;
    let Some(control) = control.filter(|control| super::cgroup::has_memory(control)) else { return Ok(removed) };
    patiently(|| write_value(control, "-memory"))?;
    Ok(true)
}

fn rmmod(modules: &[String]) -> io::Result<bool> {
    let mut changed = false;
    // A kernel without CONFIG_MODULES has loaded none, and knows neither the file nor the system call.
    if !Path::new("/proc/modules").exists() {
        return Ok(false);
    }
    for module in modules {
        changed |= unless_gone(patiently(|| cowcheck_sys::swap::delete_module(module)))?;
    }
    Ok(changed)
}

#[cfg(test)]
mod tests {
    use super::super::fake::Fake;
    use super::*;

    #[test]
    fn a_value_is_put_back_once() {
        let fake = Fake::new("undo").file("x", "5\n");
        let undo = Undo::WriteFile { path: fake.path().join("x"), old: "7".to_owned() };
        assert_eq!(undo.run(), Ok(true));
        assert_eq!(fake.text("x").trim(), "7");
        assert_eq!(undo.run(), Ok(false));
    }

    #[test]
    fn a_setting_that_is_gone_is_reported_with_the_command() {
        let undo = Undo::WriteFile { path: "/nonexistent/x".into(), old: "7".to_owned() };
        let stuck = undo.run().unwrap_err().to_string();
        assert!(stuck.ends_with("by hand: echo 7 | sudo tee /nonexistent/x"), "{stuck}");
    }

    #[test]
    fn what_was_never_done_needs_no_undoing() {
        let path = PathBuf::from("/nonexistent/x");
        assert_eq!(Undo::RemoveFile { path: path.clone() }.run(), Ok(false));
        assert_eq!(Undo::Wipe { device: path.clone() }.run(), Ok(false));
        assert_eq!(Undo::ZramRemove { id: 9, control: path }.run(), Ok(false));
    }

    #[test]
    fn wiping_leaves_zeroes() {
        let fake = Fake::new("wipe").file("disk", &"x".repeat(3 << 19));
        let undo = Undo::Wipe { device: fake.path().join("disk") };
        assert!(undo.run().is_ok());
        let bytes = fs::read(fake.path().join("disk")).unwrap();
        assert!(bytes.len() == 3 << 19 && bytes.iter().all(|byte| *byte == 0));
        assert_eq!(undo.run(), Ok(false));
    }

    #[test]
    fn the_text_form_is_stable() {
        let undo = Undo::ZramRemove { id: 1, control: "/c".into() };
        let text = r#"{"undo":"zram-remove","id":1,"control":"/c"}"#;
        assert_eq!(serde_json::to_string(&undo).unwrap(), text);
        assert_eq!(serde_json::from_str::<Undo>(text).unwrap(), undo);
    }
}
