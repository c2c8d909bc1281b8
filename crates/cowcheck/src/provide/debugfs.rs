//! debugfs: where the kernel's pin device is, on kernels that have it.

use std::io;

use rustix::mount::{MountFlags, mount};

use super::Thing;
use super::change::Changes;
use super::machine::is_mounted;
use super::undo::{Ledger, Undo};

/// Mounts it in its usual place.
pub(crate) fn provide(changes: &mut Changes<'_>) {
    let path = changes.roots.debugfs();
    if is_mounted(changes.roots, &path) {
        return;
    }
    if !path.is_dir() {
        return changes.could_not(Thing::Debugfs, "kernel without debugfs", "a kernel with CONFIG_DEBUG_FS=y");
    }
    let promise: &mut dyn Ledger = changes.ledger;
    let result = promise.promise(Undo::Umount { path: path.clone() }).and_then(|()| {
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        mount("debugfs", &path, "debugfs", flags, None).map_err(io::Error::from)
    });
    match result {
        Ok(()) => changes.did(format!("mounted debugfs at {}", path.display())),
        Err(error) => {
            changes.could_not(Thing::Debugfs, format!("debugfs cannot be mounted: {error}"), "mount it by hand");
        }
    }
}
