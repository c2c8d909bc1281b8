//! The kernel's own pin device, /sys/kernel/debug/gup_test (CONFIG_GUP_TEST; mm/gup_test.h).

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;

use crate::area::Area;

/// Where the device is, with debugfs in its usual place.
pub const GUP_TEST: &str = "/sys/kernel/debug/gup_test";

#[repr(C)]
struct PinLongtermTest {
    addr: u64,
    size: u64,
    flags: u32,
}

const USE_FAST: u32 = 2;
/// `_IOW('g', 7, struct pin_longterm_test)`
const START: libc::c_ulong = 0x4018_6707;
/// `_IO('g', 8)`
const STOP: libc::c_ulong = 0x6708;
/// `_IOW('g', 9, __u64)`
const READ: libc::c_ulong = 0x4008_6709;

/// A long-term read-only pin, held by the device until it is dropped.
#[derive(Debug)]
pub struct ReadOnlyPin {
    device: File,
    len: usize,
}

impl ReadOnlyPin {
    /// Pins `len` bytes of the area from byte `offset`; `fast` by GUP-fast. The device holds one
    /// range at a time.
    pub fn take(device: &str, area: &Area, offset: usize, len: usize, fast: bool) -> io::Result<ReadOnlyPin> {
        let device = OpenOptions::new().read(true).write(true).open(device)?;
        let arg = PinLongtermTest {
            addr: area.address(offset) as u64,
            size: len as u64,
            flags: if fast { USE_FAST } else { 0 },
        };
        // SAFETY: the device reads the argument and pins pages of the area.
        crate::check(unsafe { libc::ioctl(device.as_raw_fd(), START as _, &raw const arg) })?;
        Ok(ReadOnlyPin { device, len })
    }

    /// All bytes under the pin, as it shows them.
    pub fn read(&self) -> io::Result<Vec<u64>> {
        let mut content = vec![0u64; self.len / 8];
        let address = content.as_mut_ptr() as u64;
        // SAFETY: the device writes exactly the pinned number of bytes to the address given.
        crate::check(unsafe { libc::ioctl(self.device.as_raw_fd(), READ as _, &raw const address) })?;
        Ok(content)
    }
}

impl Drop for ReadOnlyPin {
    fn drop(&mut self) {
        // SAFETY: takes no argument. Closing the device would release the pages, too.
        unsafe { libc::ioctl(self.device.as_raw_fd(), STOP as _) };
    }
}
