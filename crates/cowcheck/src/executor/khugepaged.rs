//! khugepaged, woken.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// Where its settings are (Documentation/admin-guide/mm/transhuge.rst).
const FOLDER: &str = "/sys/kernel/mm/transparent_hugepage/khugepaged";

/// How often it must have been everywhere: the first time it may have begun before it was asked to.
const TIMES: u64 = 2;
/// How long it is waited for, and in what steps. At each wake-up it looks at a limited number of pages.
const LIMIT: Duration = Duration::from_millis(1500);
const PAUSE: Duration = Duration::from_millis(2);

/// Its settings. Nothing of them is changed: to be told how long to sleep wakes it, also where it is told what it knows.
pub(super) struct Khugepaged {
    folder: PathBuf,
    sleep: String,
}

impl Khugepaged {
    /// The running kernel's. An error without CONFIG_TRANSPARENT_HUGEPAGE.
    pub(super) fn find() -> io::Result<Khugepaged> {
        let folder = Path::new(FOLDER);
        let sleep = fs::read_to_string(folder.join("scan_sleep_millisecs"))?;
        Ok(Khugepaged { folder: folder.to_owned(), sleep })
    }

    fn rounds(&self) -> io::Result<u64> {
        let rounds = fs::read_to_string(self.folder.join("full_scans"))?;
        rounds.trim().parse().map_err(io::Error::other)
    }

    /// Wakes it until it has gone round, or until `is_done`. An error says in words why it did not go round.
    pub(super) fn wake(&self, is_done: impl Fn() -> bool) -> Result<(), String> {
        let told = |error: io::Error| format!("khugepaged cannot be woken: {error}");
        let began = Instant::now();
        let before = self.rounds().map_err(told)?;
        while began.elapsed() < LIMIT {
            fs::write(self.folder.join("scan_sleep_millisecs"), self.sleep.trim()).map_err(told)?;
            thread::sleep(PAUSE);
            if is_done() || self.rounds().map_err(told)? >= before + TIMES {
                return Ok(());
            }
        }
        Err(format!(
            "khugepaged has not gone round {TIMES} times in {} s: the machine is busy, and it comes after all others",
            LIMIT.as_secs_f64()
        ))
    }
}
