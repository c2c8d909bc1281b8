//! Swap: what is active if it is enough, else a compressed RAM disk (zram), else a RAM disk (brd),
//! else a file.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{fstatfs, fstatvfs};

use super::Thing;
use super::change::Changes;
use super::machine::{about, available, program, swaps};
use super::modules;
use super::roots;
use super::swap_header::first_page;
use super::undo::{Undo, write_value};

/// What is swapped out lies in memory, or in a file that has to be written first: more is of no use.
const MOST: u64 = 2 << 30;
const MOST_IN_FILE: u64 = 512 << 20;
/// Space that is left on the disk.
const SPARE_DISK: u64 = 1 << 30;
/// statfs(2)
const TMPFS_MAGIC: i64 = 0x0102_1994;

type Try = fn(&mut Changes<'_>, u64, &Path) -> io::Result<String>;

const TRIES: [(&str, Try); 3] = [("zram", zram), ("RAM disk", ram_disk), ("file", file)];

/// Sees to it that there are `want` bytes of free swap.
pub(crate) fn provide(changes: &mut Changes<'_>, want: u64, dir: Option<&Path>) {
    let free: u64 = swaps(changes.roots).iter().map(|area| area.size.saturating_sub(area.used)).sum();
    if free >= want {
        return changes.did(format!("use the swap there is, {} free", about(free)));
    }
    let dir = dir.unwrap_or(Path::new("/var/tmp"));
    let mut failures = Vec::new();
    for (name, attempt) in TRIES {
        match attempt(changes, want.min(MOST), dir) {
            Ok(what) => {
                if !failures.is_empty() {
                    changes.did(format!("no swap the better way: {}", failures.join("; ")));
                }
                return changes.did(format!("swap on {what}"));
            }
            Err(error) => failures.push(format!("{name}: {error}")),
        }
    }
    changes.could_not(Thing::Swap, failures.join("; "), "activate swap");
}

/// Bytes in whole pages.
fn pages(bytes: u64) -> io::Result<u32> {
    u32::try_from(bytes / rustix::param::page_size() as u64).map_err(io::Error::other)
}

/// Writes the signature and swaps to it.
fn activate(changes: &mut Changes<'_>, area: &Path, bytes: u64) -> io::Result<()> {
    format(area, bytes)?;
    changes.ledger.promise(Undo::Swapoff { device: area.to_owned() })?;
    cowcheck_sys::swap::swapon(area)
}

fn format(area: &Path, bytes: u64) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(area)?;
    file.write_all(&first_page(rustix::param::page_size(), pages(bytes)?))?;
    file.sync_all()
}

/// Swaps to a device that nobody else has, for good.
pub(crate) fn format_and_activate(area: &Path, bytes: u64) -> io::Result<()> {
    format(area, bytes)?;
    cowcheck_sys::swap::swapon(area)
}

/// A compressed RAM disk of our own (Documentation/admin-guide/blockdev/zram.rst).
fn zram(changes: &mut Changes<'_>, bytes: u64, _dir: &Path) -> io::Result<String> {
    let control = changes.roots.zram_control();
    if !control.join("hot_add").exists() {
        // It makes one device on its own if not told otherwise, and that one is nobody's to remove.
        load(changes, "zram", &["num_devices=0".to_owned()])?;
    }
    // Reading makes a device and tells its number: the one change that cannot be promised before it
    // is made. A device without a size is a number in /sys and no more.
    let id: u32 = roots::text(&control.join("hot_add"))?.parse().map_err(io::Error::other)?;
    changes.ledger.promise(Undo::ZramRemove { id, control: control.join("hot_remove") })?;
    write_value(&changes.roots.sys.join(format!("block/zram{id}/disksize")), &bytes.to_string())?;
    let device = node(changes, &format!("zram{id}"))?;
    activate(changes, &device, bytes)?;
    Ok(format!("{}, {}", device.display(), about(bytes)))
}

/// Loads a module if there is one.
fn load(changes: &mut Changes<'_>, module: &str, parameters: &[String]) -> io::Result<()> {
    if program("modprobe").is_none() {
        return Err(io::Error::other(format!("the kernel has no {module}, and there is no modprobe")));
    }
    modules::load(changes.roots, changes.ledger, module, parameters)
}

/// devtmpfs makes it at once; udev and others may take their time.
fn node(changes: &Changes<'_>, name: &str) -> io::Result<PathBuf> {
    let path = changes.roots.dev.join(name);
    let end = Instant::now() + Duration::from_secs(2);
    while !path.exists() {
        if Instant::now() >= end {
            return Err(io::Error::other(format!("{} does not appear", path.display())));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(path)
}

/// A RAM disk (Documentation/admin-guide/blockdev/ramdisk.rst): one that nobody has written to, or
/// the only one of a module that we load.
fn ram_disk(changes: &mut Changes<'_>, bytes: u64, _dir: &Path) -> io::Result<String> {
    let device = changes.roots.dev.join("ram0");
    if !device.exists() {
        let half = available(changes.roots) / 2;
        if bytes > half {
            return Err(io::Error::other(format!("{} of memory is available", about(half * 2))));
        }
        load(changes, "brd", &["rd_nr=1".to_owned(), format!("rd_size={}", bytes >> 10)])?;
        node(changes, "ram0")?;
        activate(changes, &device, bytes)?;
        return Ok(format!("{}, {}", device.display(), about(bytes)));
    }
    let size = size_if_blank(&device)?.min(bytes);
    /// Less would be full at once.
    const LEAST: u64 = 16 << 20;
    if size < LEAST {
        return Err(io::Error::other(format!("{} has {} only", device.display(), about(size))));
    }
    changes.ledger.promise(Undo::Wipe { device: device.clone() })?;
    activate(changes, &device, size)?;
    Ok(format!("{}, {}", device.display(), about(size)))
}

/// A RAM disk has no owner that could be asked; one that holds anything is somebody's.
fn size_if_blank(device: &Path) -> io::Result<u64> {
    let mut disk = OpenOptions::new()
        .read(true)
        .write(true)
        // Of a block device this asks for sole use: it fails on one that is mounted.
        .custom_flags(rustix::fs::OFlags::EXCL.bits() as i32)
        .open(device)?;
    let size = disk.seek(SeekFrom::End(0))?;
    disk.seek(SeekFrom::Start(0))?;
    let mut chunk = vec![0; 1 << 20];
    loop {
        match disk.read(&mut chunk)? {
            0 => return Ok(size),
            len if chunk[..len].iter().any(|byte| *byte != 0) => {
                return Err(io::Error::other(format!("{} is in use: it is not all zeroes", device.display())));
            }
            _ => {}
        }
    }
}

/// A file. It keeps its name until it is no longer swapped to: swapoff(2) goes by name, and when all
/// who had it open are dead, a file without one could not be named.
fn file(changes: &mut Changes<'_>, bytes: u64, dir: &Path) -> io::Result<String> {
    let bytes = bytes.min(MOST_IN_FILE);
    let place = File::open(dir)?;
    if fstatfs(&place)?.f_type == TMPFS_MAGIC {
        return Err(io::Error::other(format!("{} is a tmpfs, which is memory itself", dir.display())));
    }
    let disk = fstatvfs(&place)?;
    let free = disk.f_bavail * disk.f_frsize;
    if free < bytes + SPARE_DISK {
        return Err(io::Error::other(format!(
            "{} free in {}, {} needed",
            about(free),
            dir.display(),
            about(bytes + SPARE_DISK)
        )));
    }
    let path = dir.join(format!("cowcheck-{}.swap", std::process::id()));
    changes.ledger.promise(Undo::RemoveFile { path: path.clone() })?;
    let mut area = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    // Every block written: the kernel swaps to the blocks behind the file system's back and wants no holes.
    let zeroes = vec![0; 1 << 20];
    let mut left = bytes;
    while left > 0 {
        let len = left.min(zeroes.len() as u64);
        area.write_all(&zeroes[..len as usize])?;
        left -= len;
    }
    area.sync_all()?;
    drop(area);
    activate(changes, &path, bytes)?;
    Ok(format!("{}, {}", path.display(), about(bytes)))
}

#[cfg(test)]
mod tests {
    use super::super::fake::Fake;
    use super::*;

    #[test]
    fn active_swap_with_room_is_used() {
        let fake = Fake::new("swap-active")
            .file("proc/swaps", "Filename Type Size Used Priority\n/dev/x partition 2048 0 -2\n");
        let (roots, mut ledger) = (fake.roots(), Vec::new());
        let mut changes = Changes::new(&roots, &mut ledger);
        provide(&mut changes, 2 << 20, None);
        assert_eq!(changes.did, ["use the swap there is, 2M free"]);
        assert!(ledger.is_empty());
    }

    #[test]
    fn every_failure_is_told() {
        let fake = Fake::new("swap-none").file("proc/meminfo", "MemAvailable: 4 kB\n");
        let (roots, mut ledger) = (fake.roots(), Vec::new());
        let mut changes = Changes::new(&roots, &mut ledger);
        provide(&mut changes, 1 << 20, Some(&fake.path().join("nowhere")));
        let told = changes.could_not[0].to_string();
        for part in ["zram: ", "RAM disk: 4K of memory", "file: No such file", "(remedy: activate swap)"] {
            assert!(told.contains(part), "{part} in {told}");
        }
    }

    #[test]
    fn a_ram_disk_that_holds_something_is_not_taken() {
        let fake = Fake::new("swap-disk").file("dev/ram0", &"\0".repeat(4096)).file("dev/ram1", "\0\0x");
        assert!(matches!(size_if_blank(&fake.path().join("dev/ram0")), Ok(4096)));
        let error = size_if_blank(&fake.path().join("dev/ram1")).map_err(|error| error.to_string());
        assert!(error.is_err_and(|error| error.contains("not all zeroes")));
    }
}
