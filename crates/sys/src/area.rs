//! Memory under test.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use cowcheck_model::step::{Advice, Prot};

use crate::{probe, vector};

/// Linux 6.1; not in every libc's headers.
const MADV_COLLAPSE: libc::c_int = 25;
/// Linux 6.13.
const MADV_GUARD_INSTALL: libc::c_int = crate::advice::GUARD;
const MADV_GUARD_REMOVE: libc::c_int = 103;

/// A reservation of address space, inaccessible until something is mapped into it.
///
/// Offsets and lengths are in bytes from its start. It is unmapped when dropped.
#[derive(Debug)]
pub struct Area {
    base: usize,
    len: usize,
}

/// What to map.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    /// Private anonymous memory.
    Anonymous,
    /// Private anonymous hugetlb memory with pages of 2^shift bytes.
    Hugetlb {
        /// Binary logarithm of the page size.
        shift: u32,
    },
    /// A private mapping of a file from offset 0.
    Private(BorrowedFd<'a>),
    /// A shared mapping of a file from offset 0.
    Shared(BorrowedFd<'a>),
}

/// The flags of mprotect(2) and mmap(2).
fn bits(prot: Prot) -> libc::c_int {
    match prot {
        Prot::None => libc::PROT_NONE,
        Prot::Ro => libc::PROT_READ,
        Prot::Rw => libc::PROT_READ | libc::PROT_WRITE,
    }
}

impl Area {
    /// Reserves `len` bytes of address space whose start is a multiple of `align`, a power of two.
    pub fn reserve(len: usize, align: usize) -> io::Result<Area> {
        let whole = len.checked_add(align).ok_or(io::ErrorKind::InvalidInput)?;
        // SAFETY: a new mapping at an address of the kernel's choice touches no existing memory.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                whole,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = start as usize;
        let base = start.next_multiple_of(align);
        for (from, to) in [(start, base), (base + len, start + whole)] {
            if from < to {
                // SAFETY: the ends of the mapping just made; nothing refers to them.
                unsafe { libc::munmap(from as *mut libc::c_void, to - from) };
            }
        }
        Ok(Area { base, len })
    }

    /// The address of a byte.
    pub fn address(&self, offset: usize) -> usize {
        self.base + offset
    }

    /// The address of a part, which must lie in the area.
    pub(crate) fn address_of(&self, offset: usize, len: usize) -> io::Result<usize> {
        self.part(offset, len).map(|at| at as usize)
    }

    /// The offset of an address, if it lies in the area.
    pub fn offset(&self, address: usize) -> Option<usize> {
        address.checked_sub(self.base).filter(|offset| *offset < self.len)
    }

    fn part(&self, offset: usize, len: usize) -> io::Result<*mut libc::c_void> {
        match offset.checked_add(len) {
            Some(end) if end <= self.len => Ok((self.base + offset) as *mut libc::c_void),
            _ => Err(io::Error::from_raw_os_error(libc::EINVAL)),
        }
    }

    /// mmap(2) over a part of the area.
    pub fn map(&self, offset: usize, len: usize, source: Source<'_>, prot: Prot) -> io::Result<()> {
        let (flags, fd) = match source {
            Source::Anonymous => (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1),
            Source::Hugetlb { shift } => (
                libc::MAP_PRIVATE
                    | libc::MAP_ANONYMOUS
                    | libc::MAP_HUGETLB
                    | ((shift & 63) << libc::MAP_HUGE_SHIFT) as libc::c_int,
                -1,
            ),
            Source::Private(fd) => (libc::MAP_PRIVATE, fd.as_raw_fd()),
            Source::Shared(fd) => (libc::MAP_SHARED, fd.as_raw_fd()),
        };
        let at = self.part(offset, len)?;
        // SAFETY: the target lies in the area, whose pages nothing in Rust owns or borrows.
        let mapped = unsafe { libc::mmap(at, len, bits(prot), flags | libc::MAP_FIXED, fd, 0) };
        if mapped == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// mprotect(2)
    pub fn protect(&self, offset: usize, len: usize, prot: Prot) -> io::Result<()> {
        let at = self.part(offset, len)?;
        // SAFETY: the range lies in the area; accesses go through `probe` first.
        crate::check(unsafe { libc::mprotect(at, len, bits(prot)) }).map(drop)
    }

    /// madvise(2)
    pub fn advise(&self, offset: usize, len: usize, advice: Advice) -> io::Result<()> {
        let number = match advice {
            Advice::DontFork => libc::MADV_DONTFORK,
            Advice::DoFork => libc::MADV_DOFORK,
            Advice::WipeOnFork => libc::MADV_WIPEONFORK,
            Advice::DontNeed => libc::MADV_DONTNEED,
            Advice::Free => libc::MADV_FREE,
            Advice::HugePage => libc::MADV_HUGEPAGE,
            Advice::NoHugePage => libc::MADV_NOHUGEPAGE,
            Advice::PageOut => libc::MADV_PAGEOUT,
            Advice::Collapse => MADV_COLLAPSE,
            Advice::Guard => MADV_GUARD_INSTALL,
            Advice::Unguard => MADV_GUARD_REMOVE,
            Advice::Mergeable => libc::MADV_MERGEABLE,
        };
        let at = self.part(offset, len)?;
        // SAFETY: the range lies in the area, whose content no Rust value depends on.
        crate::check(unsafe { libc::madvise(at, len, number) }).map(drop)
    }

    /// mlock(2)
    pub fn lock(&self, offset: usize, len: usize) -> io::Result<()> {
        let at = self.part(offset, len)?;
        // SAFETY: the range lies in the area; no content changes.
        crate::check(unsafe { libc::mlock(at, len) }).map(drop)
    }

    /// munlock(2)
    pub fn unlock(&self, offset: usize, len: usize) -> io::Result<()> {
        let at = self.part(offset, len)?;
        // SAFETY: as for `lock`.
        crate::check(unsafe { libc::munlock(at, len) }).map(drop)
    }

    /// munmap(2), after which the range is reserved again: nothing else can get in there.
    pub fn unmap(&self, offset: usize, len: usize) -> io::Result<()> {
        let at = self.part(offset, len)?;
        // SAFETY: the range lies in the area.
        crate::check(unsafe { libc::munmap(at, len) })?;
        // SAFETY: the hole just made; nobody else maps at fixed addresses in this process, which
        // has one thread.
        let again = unsafe {
            libc::mmap(
                at,
                len,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED,
                -1,
                0,
            )
        };
        if again == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// mremap(2): moves `len` bytes within the area.
    pub fn remap(&self, from: usize, to: usize, len: usize) -> io::Result<()> {
        let (source, target) = (self.part(from, len)?, self.part(to, len)?);
        // SAFETY: both ranges lie in the area.
        let moved = unsafe { libc::mremap(source, len, len, libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED, target) };
        if moved == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the source range is a hole now; reserve it again, as in `unmap`.
        unsafe {
            libc::mmap(
                source,
                len,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED,
                -1,
                0,
            );
        }
        Ok(())
    }

    /// The words of `len` bytes for reading, once a load of the first has raised no signal.
    /// `len` must not reach over the page that holds `offset`.
    pub fn read<T>(&self, offset: usize, len: usize, read: impl FnOnce(&[u64]) -> T) -> Result<T, Fault> {
        let at = self.part(offset, len).map_err(|_| Fault(libc::SIGSEGV))? as usize;
        probe::load(at).map_err(Fault)?;
        // SAFETY: in the area, aligned to a page, readable as just seen. Nothing else in this
        // process refers to it, and whoever else could write to it waits for its turn.
        let words = unsafe { std::slice::from_raw_parts(at as *const u64, len / 8) };
        Ok(vector::best(|| read(words)))
    }

    /// The same for writing, once a store to the first word has raised no signal. That word is zero
    /// then: `write` is to write them all.
    pub fn write<T>(&self, offset: usize, len: usize, write: impl FnOnce(&mut [u64]) -> T) -> Result<T, Fault> {
        let at = self.part(offset, len).map_err(|_| Fault(libc::SIGSEGV))? as usize;
        probe::clear(at).map_err(Fault)?;
        // SAFETY: as in `read`, and writable as just seen.
        let words = unsafe { std::slice::from_raw_parts_mut(at as *mut u64, len / 8) };
        Ok(vector::best(|| write(words)))
    }

    /// As [`Area::write`], with the words themselves, past the caches: for memory that is much larger
    /// than those. Loading every line before it is overwritten takes twice the time.
    pub fn stream(&self, offset: usize, len: usize, words: impl Iterator<Item = u64>) -> Result<(), Fault> {
        self.write(offset, len, |to| {
            for (to, word) in to.iter_mut().zip(words) {
                #[cfg(target_arch = "x86_64")]
                // SAFETY: a store to a word that is borrowed, and SSE2 is part of x86-64.
                unsafe {
                    std::arch::x86_64::_mm_stream_si64(ptr::from_mut(to).cast(), word as i64);
                }
                #[cfg(not(target_arch = "x86_64"))]
                {
                    *to = word;
                }
            }
            #[cfg(target_arch = "x86_64")]
            // SAFETY: makes the stores visible to other processors in order; no other effect.
            unsafe {
                std::arch::x86_64::_mm_sfence();
            }
        })
    }

    /// A word that other threads may be writing to meanwhile.
    pub fn get(&self, offset: usize) -> Result<u64, Fault> {
        let at = self.part(offset, 8).map_err(|_| Fault(libc::SIGSEGV))? as usize;
        probe::get(at).map_err(Fault)
    }

    /// Stores a word that other threads may be reading meanwhile.
    pub fn put(&self, offset: usize, word: u64) -> Result<(), Fault> {
        let at = self.part(offset, 8).map_err(|_| Fault(libc::SIGSEGV))? as usize;
        probe::put(at, word).map_err(Fault)
    }

    /// Gives a part a mapping of its own for a moment, by a flag that concerns core dumps only (MADV_DONTDUMP,
    /// MADV_DODUMP). Where a PMD reaches over the part's ends, PTEs take its place. No access is affected.
    pub fn set_apart(&self, offset: usize, len: usize) -> io::Result<()> {
        let at = self.part(offset, len)?;
        for advice in [libc::MADV_DONTDUMP, libc::MADV_DODUMP] {
            // SAFETY: the range lies in the area, and no content changes.
            crate::check(unsafe { libc::madvise(at, len, advice) })?;
        }
        Ok(())
    }

    /// Reads parts, given as offsets and lengths in bytes, by process_vm_readv(2): not by the page tables of this
    /// processor, but as another process would, by GUP. All of `bytes` or an error.
    pub fn read_remote(&self, parts: &[(usize, usize)], bytes: &mut [u8]) -> io::Result<()> {
        let vectors = |(offset, len): &(usize, usize)| -> io::Result<libc::iovec> {
            Ok(libc::iovec { iov_base: self.part(*offset, *len)?, iov_len: *len })
        };
        let remote: Vec<libc::iovec> = parts.iter().map(vectors).collect::<io::Result<_>>()?;
        let local = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
        // SAFETY: writes to `bytes` only, as far as it is long; what is read may be written to meanwhile, which is the
        // kernel's business and not Rust's.
        let read = unsafe {
            libc::process_vm_readv(libc::getpid(), &local, 1, remote.as_ptr(), remote.len() as libc::c_ulong, 0)
        };
        match read {
            -1 => Err(io::Error::last_os_error()),
            read if read as usize == bytes.len() => Ok(()),
            _ => Err(io::Error::from_raw_os_error(libc::EFAULT)),
        }
    }

    /// Loads one word.
    pub fn load(&self, offset: usize) -> Result<(), Fault> {
        let at = self.part(offset, 8).map_err(|_| Fault(libc::SIGSEGV))? as usize;
        probe::load(at).map_err(Fault)
    }

    /// Stores to one word what it holds already.
    pub fn store(&self, offset: usize) -> Result<(), Fault> {
        let at = self.part(offset, 8).map_err(|_| Fault(libc::SIGSEGV))? as usize;
        probe::store(at).map_err(Fault)
    }
}

/// An access that raised this signal: SIGSEGV or SIGBUS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault(pub i32);

impl Drop for Area {
    fn drop(&mut self) {
        // SAFETY: the area owns the range, and is gone.
        unsafe { libc::munmap(self.base as *mut libc::c_void, self.len) };
    }
}
