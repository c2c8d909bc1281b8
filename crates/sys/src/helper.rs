//! The helper module's device, /dev/cowcheck (kmod/cowcheck.h): pins of every kind, and looks at page tables that
//! change nothing. Opening it needs CAP_SYS_ADMIN.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;

use crate::area::Area;

/// Where the device is.
pub const DEVICE: &str = "/dev/cowcheck";

/// The interface that this program speaks.
pub const ABI: i32 = 1;

/// `_IO(0xCC, 0)`
const GET_ABI: libc::c_ulong = 0xCC00;
/// `_IOWR(0xCC, 1, struct cowcheck_pin)`
const PIN: libc::c_ulong = 0xC018_CC01;
/// `_IOW(0xCC, 2, struct cowcheck_io)`
const READ: libc::c_ulong = 0x4020_CC02;
/// `_IOW(0xCC, 3, struct cowcheck_io)`
const WRITE: libc::c_ulong = 0x4020_CC03;
/// `_IO(0xCC, 4)`
const UNPIN: libc::c_ulong = 0xCC04;
/// `_IOWR(0xCC, 5, struct cowcheck_look)`
const LOOK: libc::c_ulong = 0xC030_CC05;

/// `struct cowcheck_pin`
#[repr(C)]
struct PinArgument {
    addr: u64,
    len: u64,
    flags: u32,
    id: u32,
}

/// `struct cowcheck_io`
#[repr(C)]
struct IoArgument {
    offset: u64,
    len: u64,
    buf: u64,
    id: u32,
    zero: u32,
}

/// `struct cowcheck_look`
#[repr(C)]
struct LookArgument {
    addr: u64,
    len: u64,
    runs: u64,
    room: u32,
    filled: u32,
    end: u64,
    pid: i32,
    zero: u32,
}

/// `struct cowcheck_run`: `count` neighbouring pages that are alike. From one to the next only `pfn`, `index` and `swap`
/// count up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Run {
    /// Where the first is.
    pub addr: u64,
    /// What is known of each: the constants of [`flag`].
    pub flags: u64,
    /// The frame of the first; 0 where nothing is present.
    pub pfn: u64,
    /// The swap entry of the first; 0 where there is none.
    pub swap: u64,
    /// How many pages.
    pub count: u32,
    /// The folio's order.
    pub order: u32,
    /// The first page's place in the folio.
    pub index: u32,
    /// Mappings of each page; -1 where this kernel does not count them.
    pub mapcount: i32,
    /// Mappings of the whole folio.
    pub folio_mapcount: i32,
    /// References to the whole folio.
    pub refcount: i32,
}

// The numbers above have the sizes in them.
const _: () = assert!(size_of::<PinArgument>() == 0x18 && size_of::<IoArgument>() == 0x20);
const _: () = assert!(size_of::<LookArgument>() == 0x30 && size_of::<Run>() == 56);

/// Bits of [`Run::flags`].
pub mod flag {
    /// In memory.
    pub const PRESENT: u64 = 1 << 0;
    /// A swap entry.
    pub const SWAPPED: u64 = 1 << 1;
    /// A migration entry.
    pub const MIGRATING: u64 = 1 << 2;
    /// A marker or another entry that is no page.
    pub const SPECIAL: u64 = 1 << 3;
    /// Mapped by a PMD.
    pub const PMD: u64 = 1 << 4;
    /// Mapped by a PUD.
    pub const PUD: u64 = 1 << 5;
    /// Writable in the page table.
    pub const WRITABLE: u64 = 1 << 6;
    /// Dirty in the page table.
    pub const DIRTY: u64 = 1 << 7;
    /// Soft-dirty: the page, or all of its mapping, as pagemap has it.
    pub const SOFT_DIRTY: u64 = 1 << 8;
    /// Write-protected through userfaultfd.
    pub const UFFD_WP: u64 = 1 << 9;
    /// An anonymous folio.
    pub const ANON: u64 = 1 << 10;
    /// A page of KSM's.
    pub const KSM: u64 = 1 << 11;
    /// The zero page, small or huge.
    pub const ZERO: u64 = 1 << 12;
    /// A hugetlb mapping.
    pub const HUGETLB: u64 = 1 << 13;
    /// On an LRU list.
    pub const LRU: u64 = 1 << 14;
    /// In the swap cache.
    pub const SWAPCACHE: u64 = 1 << 15;
    /// PG_anon_exclusive, as far as it counts for this mapping; or the mark of a swap or migration entry.
    pub const EXCLUSIVE: u64 = 1 << 16;
    /// PG_anon_exclusive of this very page.
    pub const OWN_EXCLUSIVE: u64 = 1 << 17;
    /// Maybe pinned for DMA.
    pub const PINNED: u64 = 1 << 18;
    /// A guard region's marker.
    pub const GUARD: u64 = 1 << 19;
    /// This kernel has PG_anon_exclusive.
    pub const MARKS_KNOWN: u64 = 1 << 20;
}

/// How a pin is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct How {
    /// FOLL_LONGTERM
    pub longterm: bool,
    /// FOLL_WRITE
    pub write: bool,
    /// By `pin_user_pages_fast()`.
    pub fast: bool,
}

/// The open device.
#[derive(Debug)]
pub struct Helper(File);

impl Helper {
    /// Opens it; a module that speaks another interface is refused.
    pub fn open(device: &str) -> io::Result<Helper> {
        let file = OpenOptions::new().read(true).write(true).open(device)?;
        // SAFETY: takes no argument.
        let abi = crate::check(unsafe { libc::ioctl(file.as_raw_fd(), GET_ABI as _) })?;
        match abi == ABI {
            true => Ok(Helper(file)),
            false => Err(io::Error::other(format!(
                "the helper module that is loaded speaks interface {abi}, expected {ABI}: load the one of this cowcheck"
            ))),
        }
    }

    /// Tells of `len` bytes from `address` in the memory of process `pid` (0: this one), a run at a time and in order.
    /// What is not mapped is told, too, or left out.
    ///
    /// `address` can be any number: the device looks at page tables, not at memory.
    pub fn look(&self, pid: i32, address: usize, len: usize, mut run: impl FnMut(&Run)) -> io::Result<()> {
        let mut runs = [Run::default(); 256];
        let end = address as u64 + len as u64;
        let mut at = address as u64;
        while at < end {
            let mut look = LookArgument {
                addr: at,
                len: end - at,
                runs: runs.as_mut_ptr() as u64,
                room: runs.len() as u32,
                filled: 0,
                end: at,
                pid,
                zero: 0,
            };
            // SAFETY: the device writes at most `room` runs to `runs`, which are plain numbers, and to the argument.
            crate::check(unsafe { libc::ioctl(self.0.as_raw_fd(), LOOK as _, &raw mut look) })?;
            runs.iter().take(look.filled as usize).for_each(&mut run);
            if look.end <= at {
                return Err(io::Error::other("the helper module does not get on with its look"));
            }
            at = look.end;
        }
        Ok(())
    }
}

/// Pins of parts of an area, held by the device until they are dropped.
///
/// They have an open device of their own, which children inherit: the pages stay pinned until they are given back or the
/// last of the family is gone.
#[derive(Debug)]
pub struct Pins {
    device: File,
    /// What the device calls each, and its bytes.
    parts: Vec<(u32, usize)>,
}

impl Pins {
    /// Pins parts of the area, given as offsets and lengths in bytes.
    pub fn take(device: &str, area: &Area, parts: &[(usize, usize)], how: How) -> io::Result<Pins> {
        let Helper(device) = Helper::open(device)?;
        let bits = [how.longterm, how.write, how.fast];
        let flags = (0..).zip(bits).map(|(bit, is_set)| u32::from(is_set) << bit).sum();
        let mut pins = Pins { device, parts: Vec::new() };
        for (offset, len) in parts {
            let mut pin = PinArgument { addr: area.address(*offset) as u64, len: *len as u64, flags, id: 0 };
            // SAFETY: the device pins pages of the area, where nothing in Rust holds on to their content, and which stay
            // valid in the pin whatever becomes of the mapping; it writes the name into the argument.
            crate::check(unsafe { libc::ioctl(pins.device.as_raw_fd(), PIN as _, &raw mut pin) })?;
            pins.parts.push((pin.id, *len));
        }
        Ok(pins)
    }

    /// Reads from byte `offset` of part `index`, as the pin shows it.
    pub fn read(&self, index: usize, offset: usize, words: &mut [u64]) -> io::Result<()> {
        let argument = self.argument(index, offset, words.as_mut_ptr() as u64, size_of_val(words))?;
        // SAFETY: the device writes `len` bytes to the words, for which any bytes are valid.
        crate::check(unsafe { libc::ioctl(self.device.as_raw_fd(), READ as _, &raw const argument) }).map(drop)
    }

    /// Writes through the pin, from byte `offset` of part `index` on.
    pub fn write(&self, index: usize, offset: usize, words: &[u64]) -> io::Result<()> {
        let argument = self.argument(index, offset, words.as_ptr() as u64, size_of_val(words))?;
        // SAFETY: the device reads `len` bytes of the words, and writes to pages of the area, where nothing in Rust holds
        // on to their content.
        crate::check(unsafe { libc::ioctl(self.device.as_raw_fd(), WRITE as _, &raw const argument) }).map(drop)
    }

    fn argument(&self, index: usize, offset: usize, buf: u64, len: usize) -> io::Result<IoArgument> {
        match self.parts.get(index) {
            Some((id, size)) if offset.checked_add(len).is_some_and(|end| end <= *size) => {
                Ok(IoArgument { offset: offset as u64, len: len as u64, buf, id: *id, zero: 0 })
            }
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        for (id, _) in &self.parts {
            // SAFETY: the argument is a number. Closing the device would release the pages, too, if nobody inherited it.
            unsafe { libc::ioctl(self.device.as_raw_fd(), UNPIN as _, libc::c_ulong::from(*id)) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers as include/uapi/asm-generic/ioctl.h puts them together.
    #[test]
    fn the_numbers_are_those_of_the_header() {
        let number = |direction: u64, nr: u64, size: usize| direction << 30 | (size as u64) << 16 | 0xCC << 8 | nr;
        let all = [
            (GET_ABI, number(0, 0, 0)),
            (PIN, number(3, 1, size_of::<PinArgument>())),
            (READ, number(1, 2, size_of::<IoArgument>())),
            (WRITE, number(1, 3, size_of::<IoArgument>())),
            (UNPIN, number(0, 4, 0)),
            (LOOK, number(3, 5, size_of::<LookArgument>())),
        ];
        for (ours, theirs) in all {
            assert_eq!(ours, theirs, "{ours:#x}");
        }
    }

    #[test]
    fn another_device_is_refused() {
        let error = Helper::open("/dev/null").unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOTTY));
        assert!(Helper::open("/dev/there-is-none").is_err_and(|error| error.kind() == io::ErrorKind::NotFound));
    }
}
