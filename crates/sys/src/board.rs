//! Memory that all processes of a family share, and futexes on it.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Shared anonymous memory: words to synchronise on, then bytes to leave results in.
#[derive(Debug)]
pub struct Board {
    base: usize,
    len: usize,
    words: usize,
}

impl Board {
    /// A board of `words` 32-bit words and `bytes` bytes behind them. Forked children share it.
    pub fn new(words: usize, bytes: usize) -> io::Result<Board> {
        let len = words * 4 + bytes;
        // SAFETY: a new mapping at an address of the kernel's choice.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Board { base: base as usize, len, words })
    }

    /// Word number `index`.
    ///
    /// # Panics
    /// If there is no such word, which is a mistake of the caller's.
    pub fn word(&self, index: usize) -> &AtomicU32 {
        assert!(index < self.words, "board word {index} of {}", self.words);
        // SAFETY: in the mapping, aligned, and shared words are only ever used atomically.
        unsafe { &*((self.base + index * 4) as *const AtomicU32) }
    }

    /// How many bytes lie behind the words.
    pub fn capacity(&self) -> usize {
        self.len - self.words * 4
    }

    /// Copies `bytes` to byte `offset`. `false` if there is no room.
    pub fn put(&self, offset: usize, bytes: &[u8]) -> bool {
        let fits = offset.checked_add(bytes.len()).is_some_and(|end| end <= self.capacity());
        if fits {
            let to = self.base + self.words * 4 + offset;
            // SAFETY: in the mapping. One process at a time writes: the one whose turn it is.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to as *mut u8, bytes.len()) };
        }
        fits
    }

    /// The first `len` bytes, as far as there are so many.
    pub fn get(&self, len: usize) -> Vec<u8> {
        let len = len.min(self.capacity());
        let from = (self.base + self.words * 4) as *const u8;
        let mut bytes = vec![0; len];
        // SAFETY: in the mapping; the writers are done or dead.
        unsafe { std::ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), len) };
        bytes
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        // SAFETY: the board owns the mapping, and is gone.
        unsafe { libc::munmap(self.base as *mut libc::c_void, self.len) };
    }
}

/// Sleeps while the word holds `value`, at most `limit`. Returns early on a signal or for no reason:
/// the caller looks at the word again.
pub fn wait(word: &AtomicU32, value: u32, limit: Duration) {
    let limit = libc::timespec { tv_sec: limit.as_secs() as libc::time_t, tv_nsec: limit.subsec_nanos().into() };
    // SAFETY: futex(2) FUTEX_WAIT reads the word, which lives as long as the borrow.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, value, &limit) };
}

/// Sets the word and wakes whoever waits for it.
pub fn post(word: &AtomicU32, value: u32) {
    word.store(value, Ordering::Release);
    // SAFETY: futex(2) FUTEX_WAKE uses the address only.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, i32::MAX) };
}
