//! vmsplice(2): pages of the area into a pipe, by reference.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::area::Area;

/// Splices parts of the area, given as offsets and lengths in bytes, into the write end of a pipe.
/// Returns how many bytes the pipe took; never sleeps for room.
pub fn vmsplice(pipe: BorrowedFd<'_>, area: &Area, parts: &[(usize, usize)]) -> io::Result<usize> {
    let mut total = 0;
    for &(offset, len) in parts {
        let mut done = 0;
        while done < len {
            let iov = libc::iovec { iov_base: area.address(offset + done) as *mut libc::c_void, iov_len: len - done };
            // SAFETY: the pages lie in the area, where nothing in Rust holds on to their content.
            let taken = unsafe { libc::vmsplice(pipe.as_raw_fd(), &iov, 1, libc::SPLICE_F_NONBLOCK as _) };
            match taken {
                0 => return Ok(total),
                taken if taken > 0 => {
                    done += taken as usize;
                    total += taken as usize;
                }
                _ => {
                    let error = io::Error::last_os_error();
                    let full = error.kind() == io::ErrorKind::WouldBlock && total > 0;
                    return if full { Ok(total) } else { Err(error) };
                }
            }
        }
    }
    Ok(total)
}
