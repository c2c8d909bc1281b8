//! A file that grows, line by line.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The longest line that is taken in; a guest gone mad writes without end.
const MAX_LINE: usize = 64 << 20;

/// The most that is read at a time.
const CHUNK: u64 = 1 << 20;

/// A reader that follows the file.
pub struct Tail {
    file: File,
    /// What is no whole line yet.
    rest: Vec<u8>,
    /// How far the rest was looked through.
    looked: usize,
}

impl Tail {
    /// From its beginning; the file is there already.
    pub fn open(path: &Path) -> io::Result<Tail> {
        Ok(Tail { file: File::open(path)?, rest: Vec::new(), looked: 0 })
    }

    /// The next whole line without its end, `None` if there is none yet. A line that is too long is an error.
    pub fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(at) = self.rest[self.looked..].iter().position(|byte| *byte == b'\n') {
                let end = self.looked + at;
                let line = self.rest[..end].to_vec();
                self.rest.drain(..=end);
                self.looked = 0;
                return Ok(Some(line));
            }
            self.looked = self.rest.len();
            if self.rest.len() > MAX_LINE {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a line without end"));
            }
            if self.file.by_ref().take(CHUNK).read_to_end(&mut self.rest)? == 0 {
                return Ok(None);
            }
        }
    }

    /// What came after the last whole line.
    pub fn rest(&self) -> &[u8] {
        &self.rest
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn lines_come_when_they_are_whole() {
        let path = std::env::temp_dir().join(format!("cowcheck-tail-{}", std::process::id()));
        let mut file = File::create(&path).unwrap();
        let mut tail = Tail::open(&path).unwrap();
        assert_eq!(tail.line().unwrap(), None);
        file.write_all(b"one\ntw").unwrap();
        assert_eq!(tail.line().unwrap(), Some(b"one".to_vec()));
        assert_eq!(tail.line().unwrap(), None);
        assert_eq!(tail.rest(), b"tw");
        file.write_all(b"o\n\nthree\n").unwrap();
        for line in [&b"two"[..], b"", b"three"] {
            assert_eq!(tail.line().unwrap().as_deref(), Some(line));
        }
        assert_eq!(tail.line().unwrap(), None);
        std::fs::remove_file(&path).unwrap();
    }
}
