//! Whether KVM can be used: found by trying, because /dev/kvm alone proves nothing. It can be one that boots no stock
//! kernel at all.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use super::guest::{Guest, Heard, Patience};
use super::qemu::{Accel, Machine};
use super::session::Spec;
use crate::guest::order::Task;

/// A guest that KVM boots has said something by then, and after this time it is up.
const FIRST_WORD: Duration = Duration::from_secs(3);
const UP: Duration = Duration::from_secs(15);

/// Which to use, and why not KVM.
pub struct Choice {
    /// The one.
    pub accel: Accel,
    /// For a person; `None` where there is nothing to wonder about.
    pub why: Option<String>,
}

/// Tries KVM with this kernel, unless it was tried since this machine was booted: that is noted in `notes`.
pub fn choose(spec: &Spec<'_>, notes: &Path) -> Choice {
    let tcg =
        |why: String| Choice { accel: Accel::Tcg, why: Some(format!("no KVM: {why}; QEMU emulates, which is slow")) };
    let device = Path::new("/dev/kvm");
    if let Err(error) = fs::OpenOptions::new().read(true).write(true).open(device) {
        return tcg(format!("{}: {error}", device.display()));
    }
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let note = notes.join(format!("kvm-{}", boot.trim()));
    let known = fs::read_to_string(&note).ok();
    let found = known.unwrap_or_else(|| {
        let found = try_kvm(spec).err().unwrap_or_default();
        // Without the note it is tried again next time, which costs seconds.
        let _ = fs::create_dir_all(notes).and_then(|()| fs::write(&note, &found));
        found
    });
    if found.is_empty() { Choice { accel: Accel::Kvm, why: None } } else { tcg(found) }
}

fn try_kvm(spec: &Spec<'_>) -> Result<(), String> {
    let machine = Machine { accel: Accel::Kvm, ..spec.machine.clone() };
    let files = spec.prepare(Task::Shell).map_err(|error| error.to_string())?;
    let patience = Patience { boot: UP, run: UP };
    let mut guest = Guest::start(spec.qemu, &machine, files, patience).map_err(|error| error.to_string())?;
    let began = Instant::now();
    loop {
        match guest.hear() {
            Heard::Said(_) => return Ok(()),
            Heard::End(end) => return Err(format!("/dev/kvm is there, but {}", end.told())),
            Heard::Nothing if guest.console().lines() == 0 && began.elapsed() >= FIRST_WORD => {
                return Err(format!("/dev/kvm is there, but a guest is silent for {} s", FIRST_WORD.as_secs()));
            }
            Heard::Nothing if began.elapsed() >= UP => {
                return Err(format!("/dev/kvm is there, but a guest was not up after {} s", UP.as_secs()));
            }
            Heard::Nothing => {}
        }
    }
}
