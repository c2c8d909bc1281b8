//! Writes that no protection of the mapping stops: what a debugger does to set a breakpoint.
//!
//! /proc/self/mem writes with FOLL_FORCE (proc_pid_mem(5); `mem_rw()` in the kernel's fs/proc/base.c). Since Linux 6.12
//! the boot parameter `proc_mem.force_override` can forbid it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;

use cowcheck_model::step::Prot;

use crate::area::{Area, Source};

/// The memory of the process that opened it. A child needs one of its own.
#[derive(Debug)]
pub struct Force(File);

impl Force {
    /// Opens /proc/self/mem.
    pub fn open() -> io::Result<Force> {
        OpenOptions::new().write(true).open("/proc/self/mem").map(Force)
    }

    /// Writes to a part of the area, whatever its protection. EIO says that the kernel would not, and what came before
    /// the page in question may have been written.
    pub fn write(&self, area: &Area, offset: usize, words: &[u64]) -> io::Result<()> {
        let address = area.address_of(offset, size_of_val(words))?;
        // SAFETY: the words lie there for as long as they are borrowed, and every byte of a word may be read.
        let bytes = unsafe { std::slice::from_raw_parts(words.as_ptr().cast::<u8>(), size_of_val(words)) };
        self.0.write_all_at(bytes, address as u64)
    }
}

/// Is it allowed? Tried on a read-only page, of so many bytes.
pub fn allowed(page: usize) -> io::Result<()> {
    let area = Area::reserve(page, page)?;
    area.map(0, page, Source::Anonymous, Prot::Ro)?;
    Force::open()?.write(&area, 0, &[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_only_page_is_written_and_one_outside_is_not() {
        let page = 4096;
        crate::probe::install().unwrap();
        let area = Area::reserve(page, page).unwrap();
        area.map(0, page, Source::Anonymous, Prot::Ro).unwrap();
        let force = Force::open().unwrap();
        let written = force.write(&area, 8, &[7]);
        match allowed(page) {
            Ok(()) => {
                written.unwrap();
                assert_eq!(area.get(8), Ok(7));
                assert!(area.put(8, 1).is_err(), "the mapping is as it was");
            }
            Err(_) => assert!(written.is_err()),
        }
        assert!(force.write(&area, page - 4, &[0]).is_err());
        assert!(force.write(&area, usize::MAX, &[0]).is_err());
    }
}
