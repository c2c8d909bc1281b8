//! New lines of the kernel log that tell of a bug in memory management.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;

/// An open /dev/kmsg, at the end.
pub struct KernelLog(File);

/// What no healthy kernel says of its memory, whatever a program does. A plain `WARNING` can be
/// about anything; those of mm/ are told by their file.
fn tells_of_a_bug(line: &str) -> bool {
    const SIGNS: [&str; 7] = [
        "BUG: Bad page state",
        "BUG: Bad page map",
        "BUG: Bad rss-counter",
        "BUG: non-zero pgtables_bytes",
        "kernel BUG at mm/",
        "kernel BUG at include/linux/mm",
        "page dumped because",
    ];
    SIGNS.iter().any(|sign| line.contains(sign)) || (line.contains("WARNING: ") && line.contains(" at mm/"))
}

impl KernelLog {
    /// Opens the log at its end; `None` without the right to.
    pub fn open() -> Option<KernelLog> {
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32)
            .open("/dev/kmsg")
            .ok()?;
        file.seek(SeekFrom::End(0)).ok()?;
        Some(KernelLog(file))
    }

    /// The lines since the last call that tell of a bug, at most a hundred.
    pub fn news(&mut self) -> Vec<String> {
        let mut found = Vec::new();
        let mut record = [0; 8192];
        // One read, one record. An error other than "lost some" is the end.
        for _ in 0..10_000 {
            match self.0.read(&mut record) {
                Ok(len) if len > 0 => {
                    let text = String::from_utf8_lossy(&record[..len]);
                    let line = text.lines().next().and_then(|line| line.split_once(';')).map_or("", |(_, line)| line);
                    if tells_of_a_bug(line) && found.len() < 100 {
                        found.push(line.to_owned());
                    }
                }
                Err(error) if error.raw_os_error() == Some(rustix::io::Errno::PIPE.raw_os_error()) => {}
                _ => break,
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::tells_of_a_bug;

    #[test]
    fn bugs_of_memory_management_are_told_from_the_rest() {
        assert!(tells_of_a_bug("BUG: Bad rss-counter state mm:00000000 type:MM_ANONPAGES val:1"));
        assert!(tells_of_a_bug("WARNING: CPU: 1 PID: 99 at mm/memory.c:1234 do_wp_page+0x1/0x2"));
        assert!(!tells_of_a_bug("WARNING: CPU: 1 PID: 99 at net/core/dev.c:1 foo+0x1/0x2"));
        assert!(!tells_of_a_bug("cow.c: loading out-of-tree module taints kernel"));
    }
}
