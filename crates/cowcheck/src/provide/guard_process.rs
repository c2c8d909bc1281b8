//! What the guard does in its own process.

use std::fs::{self, OpenOptions};
use std::io::{self, Stdin, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::guard::{Answer, Lines, Tell, wait_readable};
use super::journal::{Journal, ProcessId};

/// How long dying workers are waited for after the tool's death.
const LAST_BREATH: Duration = Duration::from_secs(10);

/// Runs the guard, with the arguments that stand behind the program's name and
/// [`super::guard::ARGUMENT`]. To be called first thing in the program.
pub fn main(args: impl IntoIterator<Item = impl AsRef<str>>) -> ExitCode {
    let numbers: Vec<u64> = args.into_iter().filter_map(|arg| arg.as_ref().parse().ok()).collect();
    let &[lifeline, pid, start] = numbers.as_slice() else {
        eprintln!("cow-guard: this is started by cowcheck itself: expected three numbers");
        return ExitCode::FAILURE;
    };
    settle();
    match watch(lifeline, pid, start) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cow-guard: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Makes the process one that survives what kills the tool. Each of these is a precaution of its
/// own, so a failure of one is no reason to stop.
fn settle() {
    cowcheck_sys::swap::outlive_signals();
    let _ = rustix::process::setsid();
    let _ = fs::write("/proc/self/comm", "cow-guard");
    let _ = fs::write("/proc/self/oom_score_adj", "-1000");
}

/// Why the guard acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    Asked,
    ToolIsGone,
}

fn watch(lifeline: u64, pid: u64, start: u64) -> io::Result<()> {
    // Non-blocking: else the open would wait for a writer when all are gone already.
    let lifeline = OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits() as i32)
        .open(format!("/proc/self/fd/{lifeline}"))?;
    let pid = u32::try_from(pid).map_err(io::Error::other)?;
    // None before 5.3.
    let pidfd =
        i32::try_from(pid).ok().and_then(Pid::from_raw).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    let tool = ProcessId { pid, start };
    answer(&Answer::Ready);

    let mut book = Book { journal: None, asked: false };
    // A guard that can no longer listen puts back what it knows of: too early is better than never.
    let cause = book.keep(tool, pidfd.as_ref()).unwrap_or(Cause::ToolIsGone);
    let Some(mut journal) = book.journal else { return Ok(()) };
    if cause == Cause::ToolIsGone {
        let _ = wait_readable(&lifeline, Instant::now() + LAST_BREATH);
    }
    journal.undo_all(|result| match result {
        Ok(what) => answer(&Answer::PutBack { what }),
        Err(stuck) => {
            answer(&Answer::Stuck { stuck: stuck.clone() });
            if cause == Cause::ToolIsGone {
                // Nobody else can tell.
                let _ = writeln!(io::stderr(), "cowcheck was killed, and could not put back {stuck}");
            }
        }
    });
    answer(&Answer::Done);
    Ok(())
}

/// The tool may be dead and the pipe closed; that is what this process is for.
fn answer(answer: &Answer) {
    if let Ok(mut line) = serde_json::to_vec(answer) {
        line.push(b'\n');
        let mut out = io::stdout().lock();
        let _ = out.write_all(&line).and_then(|()| out.flush());
    }
}

/// What the tool has told so far.
struct Book {
    journal: Option<Journal>,
    asked: bool,
}

impl Book {
    /// Takes down what the tool tells until it is time to act.
    fn keep(&mut self, tool: ProcessId, pidfd: Option<&OwnedFd>) -> io::Result<Cause> {
        let stdin = io::stdin();
        fcntl_setfl(&stdin, OFlags::NONBLOCK)?;
        let mut lines = Lines::<Stdin>::new(stdin);
        loop {
            // The order matters: the tool told of each change before it made it, so what is in the
            // pipe after its death is all there is.
            let is_gone = wait(pidfd)? || !tool.is_alive();
            let is_end = self.drain(&mut lines)?;
            if self.asked {
                return Ok(Cause::Asked);
            }
            if is_gone || is_end {
                return Ok(Cause::ToolIsGone);
            }
        }
    }

    /// Reads all there is. `true` at the end of the pipe.
    fn drain(&mut self, lines: &mut Lines<Stdin>) -> io::Result<bool> {
        loop {
            let is_end = match lines.fill() {
                Ok(len) => len == 0,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            while let Some(line) = lines.buffered() {
                match serde_json::from_slice(&line)? {
                    Tell::Open { journal } => self.journal = Some(journal),
                    Tell::Promise { change } => {
                        self.journal.iter_mut().for_each(|journal| journal.note(change.clone()))
                    }
                    Tell::Restore => self.asked = true,
                }
            }
            if is_end || self.asked {
                return Ok(is_end);
            }
        }
    }
}

/// Waits until the tool says something or is gone (`true`). Without a pidfd it looks at the tool
/// again and again.
fn wait(pidfd: Option<&OwnedFd>) -> io::Result<bool> {
    let stdin = io::stdin();
    let mut fds = vec![PollFd::new(&stdin, PollFlags::IN)];
    fds.extend(pidfd.map(|pidfd| PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN)));
    let limit = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
    match poll(&mut fds, pidfd.is_none().then_some(&limit)) {
        Ok(_) => Ok(fds.get(1).is_some_and(|pidfd| !pidfd.revents().is_empty())),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
