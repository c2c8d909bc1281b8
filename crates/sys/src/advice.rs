//! Which advice the kernel's madvise(2) knows, and advice about the memory of others.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// MADV_COLLAPSE (Linux 6.1).
pub const COLLAPSE: i32 = libc::MADV_COLLAPSE;

/// MADV_GUARD_INSTALL (Linux 6.13).
pub const GUARD: i32 = 102;

/// Does the kernel know this advice? An unknown one is refused before the range is looked at.
pub fn is_known(advice: i32) -> bool {
    // SAFETY: the range is empty, so nothing happens to any page.
    unsafe { libc::madvise(std::ptr::null_mut(), 0, advice) == 0 }
}

/// MADV_COLLAPSE of another process's memory, given as addresses and lengths in bytes: process_madvise(2), which wants
/// CAP_SYS_NICE, and the right to look into that process. Knows collapses since Linux 6.1.
pub fn collapse_of(pid: i32, places: &[(usize, usize)]) -> io::Result<()> {
    // SAFETY: gives a new file descriptor and has no memory effect.
    let opened = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if opened < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just opened, and nobody else knows of it.
    let process = unsafe { OwnedFd::from_raw_fd(opened as libc::c_int) };
    for (address, len) in places {
        let place = libc::iovec { iov_base: *address as *mut libc::c_void, iov_len: *len };
        // SAFETY: reads the one vector. The range is another process's, or at worst this one's: its content does not
        // change.
        let advised =
            unsafe { libc::syscall(libc::SYS_process_madvise, process.as_raw_fd(), &raw const place, 1, COLLAPSE, 0) };
        match advised {
            ..0 => return Err(io::Error::last_os_error()),
            advised if advised as usize == *len => {}
            // A part was: another try may do the rest.
            _ => return Err(io::Error::from_raw_os_error(libc::EAGAIN)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_oldest_advice_is_known_and_nonsense_is_not() {
        assert!(super::is_known(libc::MADV_DONTNEED));
        assert!(!super::is_known(9999));
    }
}
