//! The journal: what has to be undone, on disk, for the next cowcheck if this one and its guard die.
//!
//! A file of JSON lines: a head, then one [`Undo`] a line in the order in which the changes were
//! made. It is readable by a person, too, who has neither.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use super::roots;
use super::undo::{Ledger, Stuck, Undo};

const FORMAT: &str = "cowcheck-journal";
const VERSION: u32 = 1;

/// A process, told from a later one with the same id by the time it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// The id.
    pub pid: u32,
    /// When it started, in clock ticks since boot (field 22 of /proc/PID/stat).
    pub start: u64,
}

impl ProcessId {
    /// The process with this id now, if there is one that is not dead already.
    pub fn of(pid: u32) -> Option<ProcessId> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name (field 2) is in brackets and may hold anything; field 3 is the state.
        let (_, behind_name) = stat.rsplit_once(')')?;
        let mut fields = behind_name.split_whitespace();
        let state = fields.next()?;
        let start = fields.nth(18)?.parse().ok()?;
        (!matches!(state, "Z" | "X")).then_some(ProcessId { pid, start })
    }

    /// Is it this very process that lives?
    pub fn is_alive(self) -> bool {
        ProcessId::of(self.pid) == Some(self)
    }
}

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    format: String,
    version: u32,
    /// The boot in which the changes were made (/proc/sys/kernel/random/boot_id).
    boot: String,
    /// Who made them.
    pub(crate) tool: ProcessId,
    /// Who undoes them when the tool dies.
    pub(crate) guard: ProcessId,
}

/// A journal and what is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    path: PathBuf,
    head: Head,
    undos: Vec<Undo>,
}

/// What came of undoing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restored {
    /// What was put back, a sentence each.
    pub put_back: Vec<String>,
    /// What was not.
    pub stuck: Vec<Stuck>,
}

fn boot() -> String {
    roots::text(Path::new("/proc/sys/kernel/random/boot_id")).unwrap_or_default()
}

fn line(value: &impl Serialize) -> io::Result<String> {
    let mut line = serde_json::to_string(value).map_err(io::Error::other)?;
    line.push('\n');
    Ok(line)
}

impl Journal {
    /// A new, empty journal in the directory.
    pub(crate) fn create(dir: &Path, tool: ProcessId, guard: ProcessId) -> io::Result<Journal> {
        let head = Head { format: FORMAT.to_owned(), version: VERSION, boot: boot(), tool, guard };
        let path = dir.join(format!("{}.jsonl", tool.pid));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(line(&head)?.as_bytes())?;
        Ok(Journal { path, head, undos: Vec::new() })
    }

    /// Reads a journal. A last line that was cut off stands for a change that was not made.
    pub(crate) fn read(path: &Path) -> io::Result<Journal> {
        use io::Read;
        let mut file = OpenOptions::new().read(true).custom_flags(OFlags::NOFOLLOW.bits() as i32).open(path)?;
        let (owner, me) = (file.metadata()?.uid(), rustix::process::geteuid().as_raw());
        if owner != me {
            return Err(io::Error::other(format!("it belongs to user {owner}, expected {me}")));
        }
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        let mut lines = text.lines();
        let head: Head = serde_json::from_str(lines.next().unwrap_or_default()).map_err(io::Error::other)?;
        if (head.format.as_str(), head.version) != (FORMAT, VERSION) {
            let found = format!("{} version {}", head.format, head.version);
            return Err(io::Error::other(format!("expected {FORMAT} version {VERSION}, found {found}")));
        }
        let undos = lines.filter_map(|line| serde_json::from_str(line).ok()).collect();
        Ok(Journal { path: path.to_owned(), head, undos })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its guard, if that lives and will undo it, or else its tool, if that lives and will.
    pub fn keeper(&self) -> Option<ProcessId> {
        [self.head.guard, self.head.tool].into_iter().find(|process| process.is_alive())
    }

    /// Notes a change in memory only: in the guard, the tool has written the file.
    pub(crate) fn note(&mut self, undo: Undo) {
        self.undos.push(undo);
    }

    /// What is still to be undone.
    pub(crate) fn left(&self) -> &[Undo] {
        &self.undos
    }

    /// Undoes everything, the last change first, and removes the file. What cannot be undone stays
    /// in it for the next try. `report` hears of each as it is done.
    pub(crate) fn undo_all(&mut self, mut report: impl FnMut(Result<String, &Stuck>)) -> Restored {
        let mut restored = Restored::default();
        if self.head.boot != boot() {
            self.undos.retain(Undo::outlives_reboot);
        }
        let mut kept = Vec::new();
        while let Some(undo) = self.undos.pop() {
            match undo.run() {
                Ok(false) => {}
                Ok(true) => {
                    let what = undo.to_string();
                    report(Ok(what.clone()));
                    restored.put_back.push(what);
                }
                Err(stuck) => {
                    report(Err(&stuck));
                    restored.stuck.push(stuck);
                    kept.insert(0, undo);
                }
            }
            // What is done must not be done again by somebody who finds the file later: by then a
            // device number may be somebody else's. If the file cannot be written (its directory is
            // gone), going on is still the better thing.
            let _ = self.rewrite(&kept);
        }
        self.undos = kept;
        if self.undos.is_empty() {
            let _ = fs::remove_file(&self.path);
        }
        restored
    }

    fn rewrite(&self, kept: &[Undo]) -> io::Result<()> {
        let mut text = line(&self.head)?;
        for undo in self.undos.iter().chain(kept) {
            text += &line(undo)?;
        }
        let new = self.path.with_extension("new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(text.as_bytes())?;
        fs::rename(&new, &self.path)
    }
}

impl Ledger for Journal {
    fn promise(&mut self, undo: Undo) -> io::Result<()> {
        OpenOptions::new().append(true).open(&self.path)?.write_all(line(&undo)?.as_bytes())?;
        self.undos.push(undo);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::Fake;
    use super::*;

    /// A process that does not live: the id is above what the kernel gives out (2^22).
    const DEAD: ProcessId = ProcessId { pid: 1 << 23, start: 1 };

    fn write(path: &Path, old: &str) -> Undo {
        Undo::WriteFile { path: path.to_owned(), old: old.to_owned() }
    }

    #[test]
    fn what_is_promised_is_read_back_and_undone_last_first() {
        let fake = Fake::new("journal").file("a", "3").file("b", "4");
        let (a, b) = (fake.path().join("a"), fake.path().join("b"));
        let mut journal = Journal::create(fake.path(), DEAD, DEAD).unwrap();
        for undo in [write(&a, "1"), write(&b, "2"), write(&a, "9")] {
            journal.promise(undo).unwrap();
        }
        let mut read = Journal::read(journal.path()).unwrap();
        assert_eq!(read, journal);
        assert_eq!(read.keeper(), None);
        let restored = read.undo_all(|_| ());
        let told: Vec<_> = restored.put_back.iter().map(|line| line.rsplit(' ').next().unwrap()).collect();
        assert_eq!(told, ["9", "2", "1"]);
        assert_eq!((fake.text("a").as_str(), fake.text("b").as_str()), ("1", "2"));
        assert!(!journal.path().exists());
    }

    #[test]
    fn what_is_stuck_stays_in_the_journal() {
        let fake = Fake::new("journal-stuck").file("a", "3");
        let (a, gone) = (fake.path().join("a"), fake.path().join("gone"));
        let mut journal = Journal::create(fake.path(), DEAD, DEAD).unwrap();
        journal.promise(write(&gone, "1")).unwrap();
        journal.promise(write(&a, "1")).unwrap();
        let restored = journal.undo_all(|_| ());
        assert_eq!((restored.put_back.len(), restored.stuck.len()), (1, 1));
        assert_eq!(Journal::read(journal.path()).unwrap().left(), [write(&gone, "1")]);
    }

    #[test]
    fn a_line_cut_off_by_death_is_a_change_that_was_not_made() {
        let fake = Fake::new("journal-cut").file("a", "3");
        let mut journal = Journal::create(fake.path(), DEAD, DEAD).unwrap();
        journal.promise(write(&fake.path().join("a"), "1")).unwrap();
        let text = fs::read_to_string(journal.path()).unwrap();
        fs::write(journal.path(), format!("{text}{{\"undo\":\"write-fi")).unwrap();
        assert_eq!(Journal::read(journal.path()).unwrap(), journal);
    }

    #[test]
    fn after_a_reboot_settings_are_left_alone() {
        let fake = Fake::new("journal-boot").file("a", "3");
        let mut journal = Journal::create(fake.path(), DEAD, DEAD).unwrap();
        journal.head.boot = "another".to_owned();
        journal.promise(write(&fake.path().join("a"), "1")).unwrap();
        journal.promise(Undo::RemoveFile { path: fake.path().join("swap") }).unwrap();
        assert_eq!(journal.undo_all(|_| ()), Restored::default());
        assert_eq!(fake.text("a"), "3");
        assert!(!journal.path().exists());
    }

    #[test]
    fn another_version_is_refused() {
        let fake = Fake::new("journal-version");
        let journal = Journal::create(fake.path(), DEAD, DEAD).unwrap();
        let text = fs::read_to_string(journal.path()).unwrap().replace("\"version\":1", "\"version\":2");
        fs::write(journal.path(), text).unwrap();
        let error = Journal::read(journal.path()).unwrap_err().to_string();
        assert_eq!(error, "expected cowcheck-journal version 1, found cowcheck-journal version 2");
    }

    #[test]
    fn this_process_lives_and_one_with_another_start_does_not() {
        let me = ProcessId::of(std::process::id()).unwrap();
        assert!(me.is_alive());
        assert!(!ProcessId { start: me.start + 1, ..me }.is_alive());
        assert!(!DEAD.is_alive());
    }
}
