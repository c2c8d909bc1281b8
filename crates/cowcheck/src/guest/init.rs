//! Process 1 of a guest: makes the file systems there, loads modules, starts the child that carries out the order,
//! tells every second that it is alive, reaps whoever has lost its parents, and goes off in the end.
//!
//! The work is in a child, because the kernel panics when process 1 ends.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::mount::{MountFlags, mount};
use rustix::process::{Pid, WaitOptions, wait};
use rustix::system::{RebootCommand, init_module, reboot, uname};

use super::order::{self, ModuleFile, Order, Task};
use super::port;
use super::work;
use crate::provide::swap;
use crate::wire::Said;

/// How often it says that it is alive.
const BEAT: Duration = Duration::from_secs(1);

/// How long a device may take to appear.
const DEVICE: Duration = Duration::from_secs(2);

/// The size of the RAM disk that is swapped to. It takes memory only as it fills.
const SWAP: u64 = 512 << 20;

/// The file systems: type, place, may it be missing.
const MOUNTS: [(&str, &str, bool); 7] = [
    ("proc", "/proc", false),
    ("sysfs", "/sys", false),
    ("devtmpfs", "/dev", false),
    ("tmpfs", "/run", false),
    ("tmpfs", "/tmp", false),
    ("debugfs", "/sys/kernel/debug", true),
    ("cgroup2", "/sys/fs/cgroup", true),
];

/// Is this the first process of a guest?
pub fn is_guest() -> bool {
    std::process::id() == 1 && Path::new(order::PLACE).exists()
}

/// Does it all, and goes off.
pub fn main() -> ! {
    if let Err(error) = serve() {
        // The console is all that is left.
        eprintln!("cowcheck: the guest cannot work: {error}");
    }
    let _ = reboot(RebootCommand::Restart);
    loop {
        thread::park();
    }
}

fn serve() -> io::Result<()> {
    mount_all()?;
    let mut port = port::open().map_err(|error| about("the port to the host", &error))?;
    say(&mut port, &Said::Hello { release: uname().release().to_string_lossy().into_owned() })?;
    let beating = port.try_clone()?;
    thread::Builder::new().spawn(move || beat(beating))?;
    if let Err(error) = carry_out(&mut port) {
        say(&mut port, &Said::Refused(error.to_string()))?;
    }
    say(&mut port, &Said::Over)?;
    port::drain(&port);
    Ok(())
}

fn carry_out(port: &mut File) -> io::Result<()> {
    let order = fs::read(order::PLACE).map_err(|error| about(order::PLACE, &error))?;
    let order: Order = serde_json::from_slice(&order)?;
    for module in &order.modules {
        let stem = module.path.file_stem().unwrap_or_default().to_string_lossy();
        // Behind its number.
        let name = stem.split_once('-').map_or(&*stem, |(_, name)| name);
        match (load(module), module.required) {
            (Ok(()), false) => {}
            // Somebody's own module may change everything, so the results name it.
            (Ok(()), true) => {
                say(port, &Said::Note(format!("loaded the module {name}, with \"{}\"", module.parameters)))?
            }
            (Err(error), false) => say(port, &Said::Note(format!("the module {name} could not be loaded: {error}")))?,
            (Err(error), true) => {
                let told = format!("the module {name} could not be loaded: {error}; the kernel's log may say why");
                return Err(io::Error::other(told));
            }
        }
    }
    if let Some(told) = swap_to_ram_disk(&order) {
        say(port, &Said::Note(told))?;
    }
    let mut child = Command::new("/proc/self/exe");
    child.arg(work::ARGUMENT);
    if order.task != Task::Shell {
        child.stdin(Stdio::null());
    }
    let child = child.stdout(port.try_clone()?).spawn().map_err(|error| about("the child", &error))?;
    let child = Pid::from_child(&child);
    let ended = reap_until(child)?;
    say(port, &ended)
}

/// Reaps children, our own and orphans, until this one has ended.
fn reap_until(child: Pid) -> io::Result<Said> {
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == child => {
                return Ok(Said::Ended { code: status.exit_status(), signal: status.terminating_signal() });
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn beat(mut port: File) {
    while say(&mut port, &Said::Beat).is_ok() {
        thread::sleep(BEAT);
    }
}

/// One write a line: lines of several writers do not mix.
fn say(port: &mut File, said: &Said) -> io::Result<()> {
    port.write_all(&said.line())
}

fn about(what: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

fn mount_all() -> io::Result<()> {
    for (kind, place, optional) in MOUNTS {
        let mounted = fs::create_dir_all(place).and_then(|()| Ok(mount(kind, place, kind, MountFlags::empty(), None)?));
        // The kernel may have mounted /dev itself (CONFIG_DEVTMPFS_MOUNT is for disks only, but who knows).
        if let Err(error) = mounted
            && !optional
            && error.raw_os_error() != Some(rustix::io::Errno::BUSY.raw_os_error())
        {
            return Err(about(place, &error));
        }
    }
    Ok(())
}

fn load(module: &ModuleFile) -> io::Result<()> {
    let image = fs::read(&module.path)?;
    let parameters = CString::new(module.parameters.as_str()).map_err(io::Error::other)?;
    match init_module(&image, &parameters) {
        // Another of that name may have other parameters.
        Err(rustix::io::Errno::EXIST) if !module.required => Ok(()),
        other => Ok(other?),
    }
}

/// The RAM disk of `brd` is ours alone, so that it need not be looked through before it is taken. Says what went
/// wrong.
fn swap_to_ram_disk(order: &Order) -> Option<String> {
    let is_ours = |module: &ModuleFile| module.parameters.starts_with("rd_nr=");
    if !order.modules.iter().any(is_ours) {
        return None;
    }
    let disk = Path::new("/dev/ram0");
    let end = Instant::now() + DEVICE;
    while !disk.exists() && Instant::now() < end {
        thread::sleep(Duration::from_millis(5));
    }
    let swapped = swap::format_and_activate(disk, SWAP);
    swapped.err().map(|error| format!("no swap on the RAM disk: {error}"))
}

/// The parameters with which `brd` is loaded (Documentation/admin-guide/blockdev/ramdisk.rst).
pub fn ram_disk_parameters() -> String {
    format!("rd_nr=1 rd_size={}", SWAP >> 10)
}
