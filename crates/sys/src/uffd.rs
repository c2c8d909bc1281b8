//! userfaultfd(2), for write protection only.
//!
//! With UFFD_FEATURE_SIGBUS a write to a protected page is not held up for somebody to resolve it but gives SIGBUS, so
//! nobody has to listen. Documentation/admin-guide/mm/userfaultfd.rst; ioctl_userfaultfd(2);
//! include/uapi/linux/userfaultfd.h.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::area::Area;

/// `UFFD_API`
const API: u64 = 0xaa;
/// `UFFD_USER_MODE_ONLY` (Linux 5.11): for who may not watch faults of the kernel, `vm.unprivileged_userfaultfd`.
const USER_MODE_ONLY: libc::c_int = 1;
/// `UFFDIO_REGISTER_MODE_WP`
const REGISTER_MODE_WP: u64 = 1 << 1;
/// `UFFDIO_WRITEPROTECT_MODE_WP`
const WRITEPROTECT_MODE_WP: u64 = 1 << 0;

/// Features that a kernel may have (`UFFD_FEATURE_...`).
pub mod feature {
    /// Write protection of anonymous memory (Linux 5.7).
    pub const PAGEFAULT_FLAG_WP: u64 = 1 << 0;
    /// SIGBUS instead of a message.
    pub const SIGBUS: u64 = 1 << 7;
    /// Write protection of hugetlb and shmem, too (Linux 5.19).
    pub const WP_HUGETLBFS_SHMEM: u64 = 1 << 12;
}

#[repr(C)]
#[derive(Default)]
struct UffdioApi {
    api: u64,
    features: u64,
    ioctls: u64,
}

#[repr(C)]
struct UffdioRegister {
    start: u64,
    len: u64,
    mode: u64,
    ioctls: u64,
}

#[repr(C)]
struct UffdioWriteprotect {
    start: u64,
    len: u64,
    mode: u64,
}

/// `_IOWR(0xAA, 0x3F, struct uffdio_api)`
const UFFDIO_API: libc::c_ulong = 0xc018_aa3f;
/// `_IOWR(0xAA, 0x00, struct uffdio_register)`
const UFFDIO_REGISTER: libc::c_ulong = 0xc020_aa00;
/// `_IOWR(0xAA, 0x06, struct uffdio_writeprotect)`
const UFFDIO_WRITEPROTECT: libc::c_ulong = 0xc018_aa06;

/// A userfaultfd of this process. What it registered is free again when it is dropped; in a forked child it is of no
/// use, because it is about its parent's memory.
#[derive(Debug)]
pub struct Uffd(OwnedFd);

fn open() -> io::Result<OwnedFd> {
    let new = |flags: libc::c_int| {
        // SAFETY: makes a new file descriptor.
        let fd = unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC | flags) };
        match fd {
            // SAFETY: the descriptor is new, so nobody else owns it.
            0.. => Ok(unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) }),
            _ => Err(io::Error::last_os_error()),
        }
    };
    match new(0) {
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => new(USER_MODE_ONLY),
        result => result,
    }
}

/// Agrees on the API. Asked for no feature, the kernel tells those that it has.
fn agree(fd: &OwnedFd, features: u64) -> io::Result<u64> {
    let mut api = UffdioApi { api: API, features, ioctls: 0 };
    // SAFETY: `api` is as the kernel expects it.
    crate::check(unsafe { libc::ioctl(fd.as_raw_fd(), UFFDIO_API as _, &raw mut api) })?;
    Ok(api.features)
}

/// The features that this kernel has, or why there is no userfaultfd.
pub fn features() -> io::Result<u64> {
    agree(&open()?, 0)
}

impl Uffd {
    /// A new one with the features that write protection needs, or more where the kernel has them.
    pub fn new() -> io::Result<Uffd> {
        let fd = open()?;
        let wanted = feature::PAGEFAULT_FLAG_WP | feature::SIGBUS;
        let more = features()? & feature::WP_HUGETLBFS_SHMEM;
        agree(&fd, wanted | more)?;
        Ok(Uffd(fd))
    }

    /// Watches writes to a part of the area (UFFDIO_REGISTER). What is watched already may be named again.
    pub fn register(&self, area: &Area, offset: usize, len: usize) -> io::Result<()> {
        let start = area.address_of(offset, len)? as u64;
        let mut register = UffdioRegister { start, len: len as u64, mode: REGISTER_MODE_WP, ioctls: 0 };
        // SAFETY: `register` is as the kernel expects it. The range lies in the area, where accesses go through `probe`.
        crate::check(unsafe { libc::ioctl(self.0.as_raw_fd(), UFFDIO_REGISTER as _, &raw mut register) }).map(drop)
    }

    /// Protects a part that is registered from writes, or no longer (UFFDIO_WRITEPROTECT).
    pub fn protect(&self, area: &Area, offset: usize, len: usize, protect: bool) -> io::Result<()> {
        let start = area.address_of(offset, len)? as u64;
        let mode = if protect { WRITEPROTECT_MODE_WP } else { 0 };
        let mut range = UffdioWriteprotect { start, len: len as u64, mode };
        // SAFETY: as for `register`.
        crate::check(unsafe { libc::ioctl(self.0.as_raw_fd(), UFFDIO_WRITEPROTECT as _, &raw mut range) }).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::area::Source;
    use crate::probe;
    use cowcheck_model::step::Prot;

    #[test]
    fn a_protected_page_gives_sigbus_until_it_is_not() {
        let Ok(uffd) = Uffd::new() else { return };
        let page = 4096;
        probe::install().unwrap();
        let area = Area::reserve(2 * page, page).unwrap();
        area.map(0, 2 * page, Source::Anonymous, Prot::Rw).unwrap();
        area.store(0).unwrap();
        uffd.register(&area, 0, 2 * page).unwrap();
        uffd.register(&area, 0, 2 * page).unwrap();
        uffd.protect(&area, 0, page, true).unwrap();
        assert_eq!(area.load(0), Ok(()));
        assert_eq!(area.store(0), Err(crate::area::Fault(libc::SIGBUS)));
        assert_eq!(area.store(page), Ok(()));
        uffd.protect(&area, 0, page, false).unwrap();
        assert_eq!(area.store(0), Ok(()));
        assert!(uffd.register(&area, page, 2 * page).is_err());
    }
}
