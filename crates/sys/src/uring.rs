//! io_uring fixed buffers: long-term read/write pins of the area's pages.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use io_uring::{IoUring, opcode, types};

use crate::area::Area;

/// A ring with registered buffers. The pages stay pinned until it is dropped.
pub struct FixedBuffers {
    ring: IoUring,
    parts: Vec<(usize, usize)>,
}

/// Can a ring be set up at all?
pub fn available() -> io::Result<()> {
    IoUring::new(1).map(drop)
}

impl FixedBuffers {
    /// Registers parts of the area, given as offsets and lengths in bytes
    /// (IORING_REGISTER_BUFFERS: FOLL_WRITE | FOLL_PIN | FOLL_LONGTERM).
    pub fn register(area: &Area, parts: &[(usize, usize)]) -> io::Result<FixedBuffers> {
        let ring = IoUring::new(4)?;
        let parts: Vec<(usize, usize)> = parts.iter().map(|(offset, len)| (area.address(*offset), *len)).collect();
        let vectors: Vec<libc::iovec> = parts
            .iter()
            .map(|(address, len)| libc::iovec { iov_base: *address as *mut libc::c_void, iov_len: *len })
            .collect();
        // SAFETY: the kernel pins the pages; they lie in the area, where nothing in Rust holds on
        // to their content, and stay valid in the pin whatever becomes of the mapping.
        unsafe { ring.submitter().register_buffers(&vectors) }?;
        Ok(FixedBuffers { ring, parts })
    }

    /// Writes `len` bytes from byte `offset` of buffer `index` to the start of a file
    /// (IORING_OP_WRITE_FIXED): what the pin shows.
    pub fn write_out(&mut self, index: usize, offset: usize, len: usize, file: BorrowedFd<'_>) -> io::Result<()> {
        let address = self.address(index, offset, len)?;
        let entry =
            opcode::WriteFixed::new(types::Fd(file.as_raw_fd()), address as *const u8, len as u32, index as u16);
        self.run(entry.offset(0).build(), len)
    }

    /// Reads `len` bytes from the start of a file to byte `offset` of buffer `index`
    /// (IORING_OP_READ_FIXED): a write through the pin.
    pub fn read_in(&mut self, index: usize, offset: usize, len: usize, file: BorrowedFd<'_>) -> io::Result<()> {
        let address = self.address(index, offset, len)?;
        let entry = opcode::ReadFixed::new(types::Fd(file.as_raw_fd()), address as *mut u8, len as u32, index as u16);
        self.run(entry.offset(0).build(), len)
    }

    fn address(&self, index: usize, offset: usize, len: usize) -> io::Result<usize> {
        match self.parts.get(index) {
            Some((address, size)) if offset.checked_add(len).is_some_and(|end| end <= *size) => Ok(address + offset),
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    fn run(&mut self, entry: io_uring::squeue::Entry, len: usize) -> io::Result<()> {
        // SAFETY: the buffer was registered, and the file outlives the call: we wait for the end.
        unsafe { self.ring.submission().push(&entry) }.map_err(|_| io::Error::from_raw_os_error(libc::EBUSY))?;
        // io_uring_enter(2) tells that the request was taken even if the wait for its end was interrupted.
        let done = loop {
            match self.ring.submit_and_wait(1) {
                Err(error) if error.raw_os_error() != Some(libc::EINTR) => return Err(error),
                _ => {}
            }
            if let Some(done) = self.ring.completion().next() {
                break done;
            }
        };
        match done.result() {
            error if error < 0 => Err(io::Error::from_raw_os_error(-error)),
            moved if moved as usize == len => Ok(()),
            _ => Err(io::Error::from_raw_os_error(libc::EIO)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::fd::AsFd;
    use std::sync::atomic::AtomicBool;
    use std::sync::atomic::Ordering::Relaxed;
    use std::thread;
    use std::time::Duration;

    use cowcheck_model::step::Prot;

    use super::*;
    use crate::area::Source;

    extern "C" fn nothing(_: libc::c_int) {}

    #[test]
    fn a_signal_does_not_end_the_wait() {
        if available().is_err() {
            return;
        }
        let area = Area::reserve(4096, 4096).unwrap();
        area.map(0, 4096, Source::Anonymous, Prot::Rw).unwrap();
        area.put(0, 1).unwrap();
        let mut buffers = FixedBuffers::register(&area, &[(0, 4096)]).unwrap();
        let (from, mut to) = io::pipe().unwrap();
        // SAFETY: the handler does nothing, and no other test uses this signal.
        unsafe { libc::signal(libc::SIGURG, nothing as *const () as libc::sighandler_t) };
        // SAFETY: it has no requirements.
        let waiter = unsafe { libc::pthread_self() };
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..20 {
                    thread::sleep(Duration::from_millis(2));
                    // SAFETY: the thread lives: it waits for this one.
                    unsafe { libc::pthread_kill(waiter, libc::SIGURG) };
                }
                assert!(!is_over.load(Relaxed));
                to.write_all(&7u64.to_ne_bytes()).unwrap();
            });
            buffers.read_in(0, 0, 8, from.as_fd()).unwrap();
            is_over.store(true, Relaxed);
        });
        assert_eq!(area.get(0), Ok(7));
    }
}
