//! Pins that an actor holds.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};

use cowcheck_model::pages::Run;
use cowcheck_model::stamp::Stamp;
use cowcheck_model::step::{PinKind, Prot};
use cowcheck_sys::area::{Area, Source};
use cowcheck_sys::gup::ReadOnlyPin;
use cowcheck_sys::helper::{How, Pins};
use cowcheck_sys::splice::vmsplice;
use cowcheck_sys::uring::FixedBuffers;
use rustix::fs::MemfdFlags;

use super::layout::{Layout, Part};
use super::request::Devices;

/// How much goes through a pin at once: enough to amortise the call, little enough to stay
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
    /// By the helper module.
    Helper {
        /// The pins.
        pins: Pins,
        /// What is pinned, in their order.
        parts: Vec<Part>,
    },
    /// Read-only, by the kernel's gup_test.
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

/// ENOSYS, EPERM, EACCES: there is no io_uring for us.
const NO_RING: [i32; 3] = [38, 1, 13];

/// Takes a pin of `runs`: a long-term read/write pin as a fixed buffer, which is what it is in practice, and any other by
/// the helper module. gup_test can do the long-term read-only ones.
pub fn take(kind: PinKind, layout: &Layout, runs: &[Run], devices: &Devices) -> Result<Taken, Refused> {
    let parts = layout.parts(runs);
    let bytes: Vec<(usize, usize)> = parts.iter().map(|part| (part.offset, layout.len(part))).collect();
    match kind {
        PinKind::Gup { short, write, fast } => {
            let by_helper = |device: &String| -> Result<Held, Refused> {
                let pins = Pins::take(device, &layout.area, &bytes, How { longterm: !short, write, fast })?;
                Ok(Held::Helper { pins, parts: parts.clone() })
            };
            let held = match (&devices.helper, &devices.gup_test) {
                (helper, _) if kind == PinKind::READ_WRITE => match (fixed(layout, &parts, &bytes), helper) {
                    (Err(error), Some(device))
                        if error.raw_os_error().is_some_and(|errno| NO_RING.contains(&errno)) =>
                    {
                        by_helper(device)?
                    }
                    (held, _) => held?,
                },
                (Some(device), _) => by_helper(device)?,
                (None, Some(device)) if !short && !write => {
                    let [part] = parts.as_slice() else { return Err(no_helper("gup_test pins one range at a time")) };
                    let pin = ReadOnlyPin::take(device, &layout.area, part.offset, layout.len(part), fast)?;
                    Held::ReadOnly { pin, pages: part.pages }
                }
                _ => return Err(no_helper("no device that takes it")),
            };
            Ok(Taken { held, partial: None })
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

fn fixed(layout: &Layout, parts: &[Part], bytes: &[(usize, usize)]) -> io::Result<Held> {
    let buffers = Box::new(FixedBuffers::register(&layout.area, bytes)?);
    Ok(Held::Fixed { buffers, parts: parts.to_vec(), scratch: Scratch::new(layout.page_size())? })
}

fn no_helper(why: &str) -> Refused {
    Refused::NoDevice(format!("{why}, and the helper module is not loaded (cowcheck kmod build)"))
}

impl Held {
    /// Reads every byte through the pin and tells `page` of each page.
    pub fn read(&mut self, layout: &Layout, mut page: impl FnMut(u32, &[u64])) -> io::Result<()> {
        let size = layout.page_size();
        match self {
            Held::Fixed { buffers, parts, scratch } => {
                for (index, part) in parts.iter().enumerate() {
                    for chunk in chunks(part.pages, size) {
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
            Held::Helper { pins, parts } => {
                let mut content = vec![0u64; CHUNK / 8];
                for (index, part) in parts.iter().enumerate() {
                    for chunk in chunks(part.pages, size) {
                        let words = &mut content[..chunk.count as usize * size / 8];
                        pins.read(index, (chunk.first - part.pages.first) as usize * size, words)?;
                        chunk.pages().zip(words.chunks_exact(size / 8)).for_each(|(number, words)| page(number, words));
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
        let size = layout.page_size();
        match self {
            Held::Fixed { buffers, parts, scratch } => written(parts, runs, size, |index, offset, chunk| {
                scratch.write(chunk, &stamp)?;
                buffers.read_in(index, offset, chunk.count as usize * size, scratch.file.as_fd())
            }),
            Held::Helper { pins, parts } => {
                let mut content = vec![0u64; CHUNK / 8];
                written(parts, runs, size, |index, offset, chunk| {
                    let words = &mut content[..chunk.count as usize * size / 8];
                    let pages = chunk.pages().zip(words.chunks_exact_mut(size / 8));
                    pages.for_each(|(number, words)| stamp(number).fill(words));
                    pins.write(index, offset, words)
                })
            }
            Held::ReadOnly { .. } | Held::Pipe { .. } => Err(io::ErrorKind::PermissionDenied.into()),
        }
    }
}

/// Goes through those pages of `runs` that are in `parts`, a chunk at a time: which part, at which byte of it, what.
fn written(
    parts: &[Part],
    runs: &[Run],
    size: usize,
    mut write: impl FnMut(usize, usize, Run) -> io::Result<()>,
) -> io::Result<()> {
    for run in runs {
        for (index, part) in parts.iter().enumerate() {
            let (first, end) = (run.first.max(part.pages.first), run.end().min(part.pages.end()));
            if first >= end {
                continue;
            }
            for chunk in chunks(Run { first, count: end - first }, size) {
                write(index, (chunk.first - part.pages.first) as usize * size, chunk)?;
            }
        }
    }
    Ok(())
}

/// Pages, a chunk at a time.
fn chunks(pages: Run, page_size: usize) -> impl Iterator<Item = Run> {
    let step = (CHUNK / page_size).max(1);
    pages.pages().step_by(step).map(move |first| Run { first, count: (pages.end() - first).min(step as u32) })
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
        words.iter_mut().zip(bytes.as_chunks().0).for_each(|(word, bytes)| *word = u64::from_ne_bytes(*bytes));
        page(number, &words);
    }
}
