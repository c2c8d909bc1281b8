//! Where the pages of the memory are.
//!
//! A scenario counts pages; mremap moves them. The layout of an actor knows the address of each.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use cowcheck_model::memory::{Memory, MemoryKind};
use cowcheck_model::pages::Run;
use cowcheck_model::stamp::{Stamp, Writer};
use cowcheck_model::step::{Advice, Prot};
use cowcheck_sys::area::{Area, Source};

use super::family::{Patience, passes};
use rustix::fs::{FallocateFlags, MemfdFlags};

/// Consecutive pages at consecutive addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Which pages.
    pub pages: Run,
    /// Byte offset of the first in the area.
    pub offset: usize,
}

/// The memory of one actor.
#[derive(Debug)]
pub struct Layout {
    /// The address space in which it lies.
    pub area: Area,
    /// The same pages without private copies, for memory that has them.
    pub backing: Option<Area>,
    page_size: usize,
    parts: Vec<Part>,
    /// Where the next page that is moved goes.
    free: usize,
    end: usize,
    /// Keeps the file open as long as the mapping; closing it would change nothing that is known.
    _file: Option<OwnedFd>,
}

/// The set-up failed: what was tried, and the error.
#[derive(Debug, thiserror::Error)]
#[error("setting up memory {memory}: {what}: {error}")]
pub struct SetupError {
    memory: Memory,
    what: &'static str,
    error: io::Error,
}

fn is_large(bytes: usize) -> bool {
    bytes > 64 << 20
}

impl Layout {
    /// Maps the memory of a scenario. Nothing of it is touched, but a file gets its initial stamps
    /// and the pages of a backing are populated.
    pub fn new(memory: Memory, page_size: usize, nonce: u16) -> Result<Layout, SetupError> {
        let failed = |what: &'static str| move |error: io::Error| SetupError { memory, what, error };
        let (bytes, align) = (memory.bytes() as usize, (memory.size as usize).next_power_of_two().max(page_size));
        // The main part, a gap so that the two never merge, and room to move everything several times; what is large
        // twice. What is moved as a whole is aligned as before.
        let free = bytes.next_multiple_of(align) + align;
        let end = free + bytes.next_multiple_of(align) + if is_large(bytes) { bytes } else { 16 * bytes };
        let area = Area::reserve(end, align).map_err(failed("reserving address space"))?;
        let file = match memory.kind.has_file() {
            true => Some(file(memory).map_err(failed("making the file"))?),
            false => None,
        };
        let source = match (&file, memory.kind) {
            (Some(file), _) => Source::Private(file.as_fd()),
            (None, MemoryKind::Hugetlb) => Source::Hugetlb { shift: memory.size.trailing_zeros() },
            (None, _) => Source::Anonymous,
        };
        let backing = match (&file, memory.kind) {
            (Some(file), _) => Some((Source::Shared(file.as_fd()), Prot::Rw)),
            (None, MemoryKind::Zero | MemoryKind::HugeZero) => Some((Source::Anonymous, Prot::Ro)),
            _ => None,
        };
        let backing = backing.map(|(source, prot)| -> io::Result<Area> {
            let area = Area::reserve(bytes, align)?;
            area.map(0, bytes, source, prot)?;
            advise_size(&area, memory)?;
            Ok(area)
        });
        let backing = backing.transpose().map_err(failed("mapping the backing"))?;
        area.map(0, bytes, source, Prot::Rw).map_err(failed("mapping it"))?;
        advise_size(&area, memory).map_err(failed("madvise"))?;
        let pages = (bytes / page_size) as u32;
        if let Some(backing) = &backing {
            for page in 0..pages {
                let offset = page as usize * page_size;
                let touched = match memory.kind.has_file() {
                    true => {
                        let stamp = Stamp { nonce, writer: Writer::Initial, page };
                        if is_large(bytes) {
                            backing.stream(offset, page_size, stamp.words())
                        } else {
                            backing.write(offset, page_size, |words| stamp.fill(words))
                        }
                    }
                    false => backing.load(offset),
                };
                touched
                    .map_err(|_| io::Error::other("no room for the file"))
                    .map_err(failed("populating the backing"))?;
            }
        }
        if let (MemoryKind::ShmemThp, Some(backing)) = (memory.kind, &backing) {
            collapse(backing, bytes).map_err(failed("collapsing the pages of the file to a THP"))?;
        }
        let parts = vec![Part { pages: Run { first: 0, count: pages }, offset: 0 }];
        Ok(Layout { area, backing, page_size, parts, free, end, _file: file })
    }

    /// How many pages there are.
    pub fn pages(&self) -> u32 {
        self.parts.iter().map(|part| part.pages.end()).max().unwrap_or(0)
    }

    /// Is it larger than any processor's caches near the core?
    pub fn is_large(&self) -> bool {
        is_large(self.pages() as usize * self.page_size)
    }

    /// Bytes of a page.
    pub fn page_size(&self) -> usize {
        self.page_size
    }

    /// Where the pages of `runs` are, in that order, as few parts as possible.
    pub fn parts(&self, runs: &[Run]) -> Vec<Part> {
        let mut found = Vec::new();
        for run in runs {
            for part in &self.parts {
                let first = run.first.max(part.pages.first);
                let end = run.end().min(part.pages.end());
                if first < end {
                    let offset = part.offset + (first - part.pages.first) as usize * self.page_size;
                    found.push(Part { pages: Run { first, count: end - first }, offset });
                }
            }
        }
        found
    }

    /// The bytes of a part.
    pub fn len(&self, part: &Part) -> usize {
        part.pages.count as usize * self.page_size
    }

    /// Each page of `runs` with its offset.
    pub fn each(&self, runs: &[Run]) -> impl Iterator<Item = (u32, usize)> {
        let page_size = self.page_size;
        self.parts(runs).into_iter().flat_map(move |part| {
            (0..part.pages.count).map(move |i| (part.pages.first + i, part.offset + i as usize * page_size))
        })
    }

    /// Which page is at this offset?
    pub fn page_at(&self, offset: usize) -> Option<u32> {
        let part = self.parts.iter().find(|part| (part.offset..part.offset + self.len(part)).contains(&offset))?;
        Some(part.pages.first + ((offset - part.offset) / self.page_size) as u32)
    }

    /// Moves the pages of `runs` to another address.
    pub fn remap(&mut self, runs: &[Run]) -> io::Result<()> {
        for part in self.parts(runs) {
            let len = self.len(&part);
            if self.free + len > self.end {
                // To go back and forth is not needed by any scenario yet, and a clear refusal is better than a
                // surprise.
                return Err(io::ErrorKind::OutOfMemory.into());
            }
            self.area.remap(part.offset, self.free, len)?;
            self.moved(part, self.free);
            self.free += len;
        }
        Ok(())
    }

    fn moved(&mut self, part: Part, to: usize) {
        let mut parts = Vec::new();
        for old in &self.parts {
            let (first, end) = (part.pages.first.max(old.pages.first), part.pages.end().min(old.pages.end()));
            if first >= end {
                parts.push(*old);
                continue;
            }
            let piece = |first: u32, end: u32| Part {
                pages: Run { first, count: end - first },
                offset: old.offset + (first - old.pages.first) as usize * self.page_size,
            };
            parts.extend((old.pages.first < first).then(|| piece(old.pages.first, first)));
            parts.push(Part { offset: to + (first - part.pages.first) as usize * self.page_size, ..piece(first, end) });
            parts.extend((end < old.pages.end()).then(|| piece(end, old.pages.end())));
        }
        parts.sort_unstable_by_key(|part| part.pages.first);
        self.parts = parts;
    }
}

/// Huge pages for what is about them, base pages for the rest. A kernel without THP knows neither
/// advice, and base pages are all it has.
fn advise_size(area: &Area, memory: Memory) -> io::Result<()> {
    let (advice, needed) = match memory.kind {
        MemoryKind::Thp | MemoryKind::HugeZero => (Advice::HugePage, true),
        MemoryKind::Anon | MemoryKind::Zero => (Advice::NoHugePage, false),
        _ => return Ok(()),
    };
    match area.advise(0, memory.bytes() as usize, advice) {
        Err(error) if needed => Err(error),
        _ => Ok(()),
    }
}

/// Whatever the settings say (but `deny` for shmem), MADV_COLLAPSE makes a THP of the file's pages. Tried again while the
/// refusal may pass.
fn collapse(backing: &Area, bytes: usize) -> io::Result<()> {
    let mut tries = 0;
    loop {
        match backing.advise(0, bytes, Advice::Collapse) {
            Err(error) if passes(&error) && tries < Patience::FULL.tries => {
                tries += 1;
                std::thread::sleep(Patience::FULL.pause);
            }
            result => return result,
        }
    }
}

fn file(memory: Memory) -> io::Result<OwnedFd> {
    let file = match memory.kind {
        MemoryKind::Tmpfile => temporary()?,
        MemoryKind::MemfdHugetlb => {
            // MFD_HUGE_SHIFT, as MAP_HUGE_SHIFT: the page size's logarithm from bit 26.
            let size = MemfdFlags::from_bits_retain(memory.size.trailing_zeros() << 26);
            rustix::fs::memfd_create("cowcheck", MemfdFlags::CLOEXEC | MemfdFlags::HUGETLB | size)?
        }
        _ => rustix::fs::memfd_create("cowcheck", MemfdFlags::CLOEXEC)?,
    };
    rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, memory.bytes())?;
    Ok(file)
}

/// A file without a name in the directory for temporary files.
fn temporary() -> io::Result<OwnedFd> {
    use rustix::fs::{Mode, OFlags};
    let dir = std::env::temp_dir();
    match rustix::fs::open(&dir, OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR) {
        Ok(file) => return Ok(file),
        // Not every file system can (overlayfs before 6.1, NFS).
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ISDIR | rustix::io::Errno::INVAL) => {}
        Err(error) => return Err(error.into()),
    }
    let name = dir.join(format!("cowcheck-{}", std::process::id()));
    let file = File::options().read(true).write(true).create_new(true).open(&name)?;
    std::fs::remove_file(&name)?;
    Ok(file.into())
}
