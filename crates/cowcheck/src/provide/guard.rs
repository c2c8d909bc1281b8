//! The guard: a process that outlives the tool and puts back what the tool changed.
//!
//! ```text
//! tool ── stdin: one JSON line for every change, before it is made ──> guard (own session, ignores
//!   │ <── stdout: what was put back, then done ──                        signals, named cow-guard)
//!   └── lifeline: a pipe that every process of the tool holds open; at its end all are gone
//! ```
//!
//! The guard acts when it is asked to, when the pipe ends, or when the tool dies. The pidfd is for
//! workers that inherited the pipe and hang: they must not keep it open. The lifeline is for workers
//! that are about to die: what they hold is freed before hugetlb pages and swap are taken away.
//! Should the guard be killed, too, the next cowcheck finds the [`Journal`] ([`recover`]).

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::pipe::{PipeFlags, pipe_with};
use serde::{Deserialize, Serialize};

use super::ProvideError;
pub use super::guard_process::main;
pub use super::journal::{Journal, ProcessId, Restored};
use super::lock::{self, Lock, Refused};
use super::undo::{Ledger, Stuck, Undo};

/// The hidden first argument that makes this program a guard.
pub const ARGUMENT: &str = "__guard";

/// What the tool tells the guard.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "tell", rename_all = "kebab-case")]
pub(crate) enum Tell {
    /// Where the journal is. Comes first.
    Open { journal: Journal },
    /// A change is about to be made.
    Promise { change: Undo },
    /// Put everything back.
    Restore,
}

/// What the guard answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub(crate) enum Answer {
    /// It knows the tool and would notice its death.
    Ready,
    /// This is as it was.
    PutBack { what: String },
    /// This is not.
    Stuck { stuck: Stuck },
    /// That was all.
    Done,
}

/// The tool's end of it.
#[derive(Debug)]
pub struct Guard {
    /// Who may ask: a forked worker has a copy of this value, too.
    owner: u32,
    child: Child,
    to: ChildStdin,
    from: Lines<ChildStdout>,
    journal: Journal,
    /// Inherited by every process that is started from now on.
    _lifeline: OwnedFd,
    _lock: Lock,
}

impl Guard {
    /// Puts back what an earlier cowcheck left, then starts a guard. The sentences say what was put
    /// back.
    pub fn start(dir: &Path) -> Result<(Guard, Restored), ProvideError> {
        let dir = &usable(dir)?;
        let lock = Lock::take(dir).map_err(|refused| match refused {
            Refused::HeldBy(pid) => ProvideError::Busy { pid },
            Refused::Failed(source) => ProvideError::Directory { path: dir.clone(), source },
        })?;
        let restored = recover_locked(dir, Duration::from_secs(15))?;

        let me = ProcessId::of(std::process::id())
            .ok_or_else(|| ProvideError::Guard(io::Error::other("no /proc/self/stat")))?;
        let (child, to, mut from, lifeline) = spawn(me).map_err(ProvideError::Guard)?;
        match from.next_as::<Answer>(Duration::from_secs(10)) {
            Ok(Some(Answer::Ready)) => {}
            Ok(_) => return Err(ProvideError::Guard(io::Error::other("it did not answer as a guard does"))),
            Err(error) => return Err(ProvideError::Guard(error)),
        }
        let process =
            ProcessId::of(child.id()).ok_or_else(|| ProvideError::Guard(io::Error::other("it died at once")))?;
        let journal = Journal::create(dir, me, process)
            .map_err(|source| ProvideError::Directory { path: dir.clone(), source })?;
        let mut guard = Guard { owner: me.pid, child, to, from, journal, _lifeline: lifeline, _lock: lock };
        let open = Tell::Open { journal: guard.journal.clone() };
        guard.tell(&open).map_err(ProvideError::Guard)?;
        Ok((guard, restored))
    }

    /// The guard's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The journal of what this guard will undo.
    pub fn journal(&self) -> &Path {
        self.journal.path()
    }

    fn tell(&mut self, tell: &Tell) -> io::Result<()> {
        let mut line = serde_json::to_vec(tell).map_err(io::Error::other)?;
        line.push(b'\n');
        self.to.write_all(&line)
    }

    /// Has everything put back and waits for it, at most `limit`. What is not done by then is
    /// reported as stuck, though the guard goes on.
    pub fn restore(&mut self, limit: Duration) -> Restored {
        if std::process::id() != self.owner {
            return Restored::default();
        }
        let end = Instant::now() + limit;
        let mut restored = Restored::default();
        let is_done = self.tell(&Tell::Restore).is_ok()
            && loop {
                match self.from.next_as(end.saturating_duration_since(Instant::now())) {
                    Ok(Some(Answer::Done)) => break true,
                    Ok(Some(Answer::PutBack { what })) => restored.put_back.push(what),
                    Ok(Some(Answer::Stuck { stuck })) => restored.stuck.push(stuck),
                    Ok(Some(Answer::Ready)) => {}
                    Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                        restored.stuck.extend(self.overdue(limit));
                        return restored;
                    }
                    Ok(None) | Err(_) => break false,
                }
            };
        if is_done {
            self.reap();
        } else if let Ok(mut journal) = Journal::read(self.journal.path()) {
            // The guard was killed. The file says what it had not done yet.
            let rest = journal.undo_all(|_| ());
            restored.put_back.extend(rest.put_back);
            restored.stuck.extend(rest.stuck);
        }
        restored
    }

    fn overdue(&self, limit: Duration) -> Vec<Stuck> {
        let why = format!("not done after {} s; process {} goes on with it", limit.as_secs(), self.pid());
        let journal = Journal::read(self.journal.path()).ok();
        let left = journal.as_ref().map(Journal::left).unwrap_or_default();
        left.iter().map(|undo| Stuck { undo: undo.clone(), why: why.clone() }).collect()
    }

    /// It exits at once after its last word; if somebody else waited for it, that is fine, too.
    fn reap(&mut self) {
        let end = Instant::now() + Duration::from_secs(1);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Ledger for Guard {
    fn promise(&mut self, undo: Undo) -> io::Result<()> {
        self.journal.promise(undo.clone())?;
        self.tell(&Tell::Promise { change: undo })
    }
}

type Spawned = (Child, ChildStdin, Lines<ChildStdout>, OwnedFd);

fn spawn(me: ProcessId) -> io::Result<Spawned> {
    let (lifeline_of_guard, lifeline) = pipe_with(PipeFlags::CLOEXEC)?;
    // By number, the guard opens it anew. Its name has nothing of this program's, so that killing
    // by name or by command line does not take it along.
    fcntl_setfd(&lifeline_of_guard, FdFlags::empty())?;
    let mut child = Command::new("/proc/self/exe")
        .arg0("cow-guard")
        .args([ARGUMENT, &lifeline_of_guard.as_raw_fd().to_string(), &me.pid.to_string(), &me.start.to_string()])
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    drop(lifeline_of_guard);
    fcntl_setfd(&lifeline, FdFlags::empty())?;
    match (child.stdin.take(), child.stdout.take()) {
        (Some(to), Some(from)) => Ok((child, to, Lines::new(from), lifeline)),
        _ => Err(io::Error::other("no pipe to it")),
    }
}

/// The directory for journals, or one below the temporary directory where it cannot be made.
fn usable(dir: &Path) -> Result<PathBuf, ProvideError> {
    let Err(source) = lock::own_directory(dir) else { return Ok(dir.to_owned()) };
    let other = second_choice();
    match lock::own_directory(&other) {
        Ok(()) => Ok(other),
        Err(_) => Err(ProvideError::Directory { path: dir.to_owned(), source }),
    }
}

fn second_choice() -> PathBuf {
    std::env::temp_dir().join(format!("cowcheck-run-{}", rustix::process::geteuid().as_raw()))
}

/// The journals in the directory that nobody alive will undo.
pub fn leftovers(dir: &Path) -> Vec<Journal> {
    journals(dir).into_iter().filter(|journal| journal.keeper().is_none()).collect()
}

/// All journals in the directory.
pub fn journals(dir: &Path) -> Vec<Journal> {
    if lock::check_directory(dir).is_err() {
        return Vec::new();
    }
    fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"))
        .filter_map(|path| Journal::read(&path).ok())
        .collect()
}

/// Puts back what a cowcheck left that was killed together with its guard. Does nothing while
/// another cowcheck holds the lock: that one has done it.
pub fn recover(dir: &Path) -> Restored {
    let mut restored = Restored::default();
    for dir in [dir.to_owned(), second_choice()] {
        if leftovers(&dir).is_empty() {
            continue;
        }
        if let Ok(_lock) = Lock::take(&dir) {
            undo_leftovers(&dir, &mut restored);
        }
    }
    restored
}

fn undo_leftovers(dir: &Path, restored: &mut Restored) {
    for mut journal in leftovers(dir) {
        let each = journal.undo_all(|_| ());
        restored.put_back.extend(each.put_back);
        restored.stuck.extend(each.stuck);
    }
}

/// The same with the lock in hand; guards at work are given `patience` to end it.
fn recover_locked(dir: &Path, patience: Duration) -> Result<Restored, ProvideError> {
    let end = Instant::now() + patience;
    loop {
        let mut restored = Restored::default();
        undo_leftovers(dir, &mut restored);
        let Some(keeper) = journals(dir).iter().find_map(Journal::keeper) else { return Ok(restored) };
        if Instant::now() >= end {
            return Err(ProvideError::Busy { pid: keeper.pid });
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Lines from a pipe, with a time limit.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    from: R,
    buffer: Vec<u8>,
}

impl<R: Read + AsFd> Lines<R> {
    pub(crate) fn new(from: R) -> Self {
        Lines { from, buffer: Vec::new() }
    }

    /// The next line; `None` at the end.
    pub(crate) fn next(&mut self, limit: Duration) -> io::Result<Option<Vec<u8>>> {
        let end = Instant::now() + limit;
        loop {
            if let Some(line) = self.buffered() {
                return Ok(Some(line));
            }
            if !wait_readable(&self.from, end)? {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time"));
            }
            if self.fill()? == 0 {
                return Ok(None);
            }
        }
    }

    /// The next line as a message.
    pub(crate) fn next_as<T: for<'de> Deserialize<'de>>(&mut self, limit: Duration) -> io::Result<Option<T>> {
        let Some(line) = self.next(limit)? else { return Ok(None) };
        serde_json::from_slice(&line).map(Some).map_err(io::Error::other)
    }

    /// A whole line that was read already.
    pub(crate) fn buffered(&mut self) -> Option<Vec<u8>> {
        let end = self.buffer.iter().position(|byte| *byte == b'\n')?;
        let rest = self.buffer.split_off(end + 1);
        Some(std::mem::replace(&mut self.buffer, rest))
    }

    /// Reads once; 0 at the end.
    pub(crate) fn fill(&mut self) -> io::Result<usize> {
        let mut chunk = [0; 4096];
        let len = self.from.read(&mut chunk)?;
        self.buffer.extend_from_slice(&chunk[..len]);
        Ok(len)
    }
}

/// Waits until there is something to read, or the end. `false` if the time is up.
pub(crate) fn wait_readable(from: &impl AsFd, end: Instant) -> io::Result<bool> {
    loop {
        let left = Timespec::try_from(end.saturating_duration_since(Instant::now())).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(from, PollFlags::IN)], Some(&left)) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
