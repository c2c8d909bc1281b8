//! Swap areas and modules: what an administrator's commands do, for machines that lack them.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

fn c_string(bytes: &[u8]) -> io::Result<CString> {
    CString::new(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a NUL byte in a name for the kernel"))
}

/// swapon(2) without flags: the kernel chooses the priority. The file or device must carry a swap
/// signature.
pub fn swapon(path: &Path) -> io::Result<()> {
    let path = c_string(path.as_os_str().as_bytes())?;
    // SAFETY: reads a NUL-terminated string that outlives the call.
    crate::check(unsafe { libc::swapon(path.as_ptr(), 0) }).map(drop)
}

/// swapoff(2). EINVAL says that the path is no active swap area.
pub fn swapoff(path: &Path) -> io::Result<()> {
    let path = c_string(path.as_os_str().as_bytes())?;
    // SAFETY: reads a NUL-terminated string that outlives the call.
    crate::check(unsafe { libc::swapoff(path.as_ptr()) }).map(drop)
}

/// delete_module(2), which does not wait and does not force: EWOULDBLOCK says that the module is in
/// use, ENOENT that it is not loaded.
pub fn delete_module(name: &str) -> io::Result<()> {
    let name = c_string(name.as_bytes())?;
    // SAFETY: reads a NUL-terminated string that outlives the call. The kernel checks that nobody
    // uses the module.
    let result = unsafe { libc::syscall(libc::SYS_delete_module, name.as_ptr(), libc::O_NONBLOCK) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// This process no longer ends on SIGINT, SIGTERM, SIGHUP, SIGQUIT and SIGPIPE. SIGKILL it cannot refuse.
pub fn outlive_signals() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT, libc::SIGPIPE] {
        // SAFETY: SIG_IGN is no code of ours that could run.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_no_swap_area_is_an_error_not_a_crash() {
        // EPERM without root, ENOENT with it.
        assert!(swapon(Path::new("/nonexistent/cowcheck")).is_err());
        assert!(swapoff(Path::new("/nonexistent/cowcheck")).is_err());
        assert!(delete_module("no_such_module_cowcheck").is_err());
    }

    #[test]
    fn a_nul_byte_is_refused_before_the_kernel_sees_half_a_name() {
        let path = Path::new(std::ffi::OsStr::from_bytes(b"/dev/ram0\0x"));
        assert_eq!(swapon(path).map_err(|error| error.kind()), Err(io::ErrorKind::InvalidInput));
    }
}
