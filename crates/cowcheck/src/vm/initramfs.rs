//! The guest's files, as a cpio archive that the kernel unpacks
//! (Documentation/driver-api/early-userspace/buffer-format.rst, the "newc" form).

use std::collections::BTreeSet;

/// An archive as it grows. Directories come by themselves.
#[derive(Debug, Default)]
pub struct Initramfs {
    bytes: Vec<u8>,
    directories: BTreeSet<String>,
    inode: u32,
}

/// stat(2)
const DIRECTORY: u32 = 0o040_755;
const FILE: u32 = 0o100_644;
const PROGRAM: u32 = 0o100_755;
const CHARACTERS: u32 = 0o020_600;

impl Initramfs {
    /// With nothing in it but what a first process needs to be heard.
    pub fn new() -> Self {
        let mut new = Self::default();
        // Process 1 is given it as its standard output, if it is there.
        new.parents("dev/console");
        new.entry("dev/console", CHARACTERS, (5, 1), &[]);
        new
    }

    /// A file; `path` begins with a slash.
    pub fn file(&mut self, path: &str, data: &[u8]) {
        self.add(path, FILE, data);
    }

    /// A file that can be executed.
    pub fn program(&mut self, path: &str, data: &[u8]) {
        self.add(path, PROGRAM, data);
    }

    /// The archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }

    fn add(&mut self, path: &str, mode: u32, data: &[u8]) {
        let path = path.trim_start_matches('/');
        self.parents(path);
        self.entry(path, mode, (0, 0), data);
    }

    fn parents(&mut self, path: &str) {
        for (at, _) in path.match_indices('/') {
            let parent = &path[..at];
            if self.directories.insert(parent.to_owned()) {
                self.entry(parent, DIRECTORY, (0, 0), &[]);
            }
        }
    }

    fn entry(&mut self, name: &str, mode: u32, device: (u32, u32), data: &[u8]) {
        self.inode += 1;
        let size = data.len() as u32;
        let name_size = name.len() as u32 + 1;
        let (uid, gid, links, time, check) = (0, 0, 1, 0, 0);
        self.bytes.extend_from_slice(b"070701");
        // Major and minor of the file system, then of the device file.
        let fields = [self.inode, mode, uid, gid, links, time, size, 0, 0, device.0, device.1, name_size, check];
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(data);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names, modes and contents, read back by the format's own rules.
    fn read(mut bytes: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let mut all = Vec::new();
        loop {
            assert_eq!(&bytes[..6], b"070701");
            let field = |number: usize| {
                u32::from_str_radix(std::str::from_utf8(&bytes[6 + number * 8..][..8]).unwrap(), 16).unwrap() as usize
            };
            let (mode, size, name_size) = (field(1), field(6), field(11));
            let name = String::from_utf8(bytes[110..110 + name_size - 1].to_vec()).unwrap();
            let data = (110 + name_size).next_multiple_of(4);
            if name == "TRAILER!!!" {
                return all;
            }
            all.push((name, mode as u32, bytes[data..data + size].to_vec()));
            bytes = &bytes[(data + size).next_multiple_of(4)..];
        }
    }

    #[test]
    fn what_is_put_in_is_read_back() {
        let mut archive = Initramfs::new();
        archive.program("/init", b"\x7fELF");
        archive.file("/a/b/one", b"1");
        archive.file("/a/b/none", b"");
        let all = read(&archive.finish());
        let names: Vec<&str> = all.iter().map(|(name, ..)| name.as_str()).collect();
        assert_eq!(names, ["dev", "dev/console", "init", "a", "a/b", "a/b/one", "a/b/none"]);
        assert_eq!((all[2].1, all[2].2.as_slice()), (PROGRAM, b"\x7fELF".as_slice()));
        assert_eq!((all[5].1, all[5].2.as_slice()), (FILE, b"1".as_slice()));
    }
}
