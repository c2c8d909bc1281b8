//! Pins that an actor holds.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};

use cowcheck_model::pages::Run;
use cowcheck_model::stamp::Stamp;
use cowcheck_model::step::{PinKind, Prot};
use cowcheck_sys::area::{Area, Source};
use cowcheck_sys::gup::ReadOnlyPin;
use cowcheck_sys::splice::vmsplice;
use cowcheck_sys::uring::FixedBuffers;
use rustix::fs::MemfdFlags;

use super::layout::{Layout, Part};

/// How much goes through a fixed buffer at once: enough to amortise the call, little enough to stay
/// in the cache.
const CHUNK: usize = 256 << 10;

/// Pages held by the kernel on behalf of one actor.
pub enum Held {
    /// An io_uring fixed buffer, and a file to read and write it through.
    Fixed {
        /// The ring.
        buffers: Box<FixedBuffers>,
        /// What is pinned, in the order of the buffers.
        parts: Vec<Part>,
        /// Holds one chunk.
        scratch: Scratch,
    },
    /// Read-only, by the kernel's pin device.
    ReadOnly {
        /// The pin.
        pin: ReadOnlyPin,
        /// What is pinned.
        pages: Run,
    },
    /// A pipe.
    Pipe {
        /// Its read end.
        read: File,
        /// Its write end, kept open so that draining does not meet the end of file.
        _write: OwnedFd,
        /// What it holds, in order.
        pages: Vec<Run>,
    },
}

/// How a pin was taken.
pub struct Taken {
    /// The pin.
    pub held: Held,
    /// How many pages, where a pipe had no room for all.
    pub partial: Option<u32>,
}

/// Why a pin was not taken.
pub enum Refused {
    /// There is nothing to take it with.
    NoDevice(String),
    /// The kernel said so.
    Errno(io::Error),
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Refused::Errno(error)
    }
}

/// Takes a pin of `runs`.
pub fn take(kind: PinKind, layout: &Layout, runs: &[Run], device: Option<&str>) -> Result<Taken, Refused> {
    let parts = layout.parts(runs);
    let bytes: Vec<(usize, usize)> = parts.iter().map(|part| (part.offset, layout.len(part))).collect();
    match kind {
        PinKind::ReadWrite => {
            let buffers = Box::new(FixedBuffers::register(&layout.area, &bytes)?);
            Ok(Taken {
                held: Held::Fixed { buffers, parts, scratch: Scratch::new(layout.page_size())? },
                partial: None,
            })
        }
        PinKind::ReadOnly | PinKind::ReadOnlyFast => {
            let device =
                device.ok_or_else(|| Refused::NoDevice("this kernel has no device for read-only pins".into()))?;
            let [part] = parts.as_slice() else {
                return Err(Refused::NoDevice("the device pins one range at a time".into()));
            };
            let fast = kind == PinKind::ReadOnlyFast;
            let pin = ReadOnlyPin::take(device, &layout.area, part.offset, layout.len(part), fast)?;
            Ok(Taken { held: Held::ReadOnly { pin, pages: part.pages }, partial: None })
        }
        PinKind::Splice => {
            let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(io::Error::from)?;
            let wanted: u32 = runs.iter().map(|run| run.count).sum();
            // A pipe has a slot for each page. What the limit for this user does not give, it does
            // not hold, and the record says so.
            for slots in [wanted, wanted.min(256)] {
                if rustix::pipe::fcntl_setpipe_size(&write, slots as usize * layout.page_size()).is_ok() {
                    break;
                }
            }
            let bytes = vmsplice(write.as_fd(), &layout.area, &bytes)?;
            let mut left = (bytes / layout.page_size()) as u32;
            let partial = (left < wanted).then_some(left);
            let mut pages = Vec::new();
            for part in parts {
                let count = part.pages.count.min(left);
                left -= count;
                pages.extend((count > 0).then_some(Run { count, ..part.pages }));
            }
            Ok(Taken { held: Held::Pipe { read: read.into(), _write: write, pages }, partial })
        }
    }
}

impl Held {
    /// Reads every byte through the pin and tells `page` of each page.
    pub fn read(&mut self, layout: &Layout, mut page: impl FnMut(u32, &[u64])) -> io::Result<()> {
        let size = layout.page_size();
        match self {
            Held::Fixed { buffers, parts, scratch } => {
                for (index, part) in parts.iter().enumerate() {
                    for chunk in scratch.chunks(part) {
                        buffers.write_out(
                            index,
                            (chunk.first - part.pages.first) as usize * size,
                            chunk.count as usize * size,
                            scratch.file.as_fd(),
                        )?;
                        scratch.read(chunk, &mut page)?;
                    }
                }
            }
            Held::ReadOnly { pin, pages } => {
                let content = pin.read()?;
                for (number, words) in pages.pages().zip(content.chunks_exact(size / 8)) {
                    page(number, words);
                }
            }
            Held::Pipe { read, pages, .. } => {
                let mut bytes = vec![0; size];
                for number in pages.iter().flat_map(|run| run.pages()) {
                    read.read_exact(&mut bytes)?;
                    tell(&bytes, size, number, &mut page);
                }
            }
        }
        Ok(())
    }

    /// Writes the stamps of `runs` through the pin.
    pub fn write(&mut self, layout: &Layout, runs: &[Run], stamp: impl Fn(u32) -> Stamp) -> io::Result<()> {
        let Held::Fixed { buffers, parts, scratch } = self else { return Err(io::ErrorKind::PermissionDenied.into()) };
        let size = layout.page_size();
        for run in runs {
            for (index, part) in parts.iter().enumerate() {
                let (first, end) = (run.first.max(part.pages.first), run.end().min(part.pages.end()));
                if first >= end {
                    continue;
                }
                for chunk in scratch.chunks(&Part { pages: Run { first, count: end - first }, ..*part }) {
                    scratch.write(chunk, &stamp)?;
                    buffers.read_in(
                        index,
                        (chunk.first - part.pages.first) as usize * size,
                        chunk.count as usize * size,
                        scratch.file.as_fd(),
                    )?;
                }
            }
        }
        Ok(())
    }
}

/// A file in memory, mapped, through which a fixed buffer is read and written a chunk at a time.
pub struct Scratch {
    file: OwnedFd,
    area: Area,
    page_size: usize,
}

impl Scratch {
    fn new(page_size: usize) -> io::Result<Scratch> {
        let file = rustix::fs::memfd_create("cowcheck-pin", MemfdFlags::CLOEXEC)?;
        rustix::fs::ftruncate(&file, CHUNK as u64)?;
        let area = Area::reserve(CHUNK, page_size)?;
        area.map(0, CHUNK, Source::Shared(file.as_fd()), Prot::Rw)?;
        Ok(Scratch { file, area, page_size })
    }

    /// The pages of a part, a chunk at a time.
    fn chunks(&self, part: &Part) -> impl Iterator<Item = Run> + use<> {
        let step = CHUNK / self.page_size;
        let pages = part.pages;
        pages.pages().step_by(step).map(move |first| Run { first, count: (pages.end() - first).min(step as u32) })
    }

    fn read(&self, chunk: Run, page: &mut impl FnMut(u32, &[u64])) -> io::Result<()> {
        for (number, offset) in chunk.pages().zip((0..).step_by(self.page_size)) {
            self.area
                .read(offset, self.page_size, |words| page(number, words))
                .map_err(|_| io::ErrorKind::OutOfMemory)?;
        }
        Ok(())
    }

    fn write(&self, chunk: Run, stamp: &impl Fn(u32) -> Stamp) -> io::Result<()> {
        for (number, offset) in chunk.pages().zip((0..).step_by(self.page_size)) {
            self.area
                .write(offset, self.page_size, |words| stamp(number).fill(words))
                .map_err(|_| io::ErrorKind::OutOfMemory)?;
        }
        Ok(())
    }
}

/// Cuts bytes into pages of words.
fn tell(bytes: &[u8], size: usize, first: u32, page: &mut impl FnMut(u32, &[u64])) {
    let mut words = vec![0u64; size / 8];
    for (number, bytes) in (first..).zip(bytes.chunks_exact(size)) {
        for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = u64::from_ne_bytes(bytes.try_into().unwrap_or_default());
        }
        page(number, &words);
    }
}
