//! `cowcheck provide`

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::args::ProvideArgs;
use super::exit::Code;
use super::run::catch_signals;
use crate::here::look;
use crate::provide::needs::Needs;
use crate::provide::roots::Roots;
use crate::provide::{ProvideError, Provided, Wanted};
use crate::suite::{self, Sizes};

/// As of timeout(1) and env(1): these three are not the command's own.
const FAILED: u8 = 125;
const CANNOT_RUN: u8 = 126;
const NOT_FOUND: u8 = 127;

/// Sets up what the catalogue needs, runs a command, puts everything back.
pub fn main(args: &ProvideArgs) -> Code {
    // An error of ours must not look like an exit code of the command's.
    let code = run(args).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        FAILED
    });
    Code::Command(code)
}

fn run(args: &ProvideArgs) -> anyhow::Result<u8> {
    let interrupted = catch_signals()?;
    let roots = Roots::default();
    let machine = look(&roots);
    let jobs = args.jobs.map_or(machine.cores, usize::from).max(1);
    let checks = suite::catalogue(&Sizes::of(&machine));
    let needs: Vec<Needs> = checks.iter().map(|check| Needs::of(&check.scenario, machine.page_size)).collect();
    let provided = set_up(&roots, &Wanted::by(&needs, jobs as u64), args.wait, &interrupted)?;
    for note in provided.did.iter().cloned().chain(provided.could_not.iter().map(ToString::to_string)) {
        eprintln!("note: {note}");
    }
    let ended = run_command(&args.command, &interrupted);
    provided.restore()?;
    ended
}

/// As [`Provided::set_up`], but waits until another cowcheck has put its settings back.
fn set_up(roots: &Roots, wanted: &Wanted, wait: Duration, interrupted: &AtomicBool) -> Result<Provided, ProvideError> {
    let end = Instant::now() + wait;
    loop {
        match Provided::set_up(roots, wanted) {
            Err(ProvideError::Busy { .. }) if Instant::now() < end && !interrupted.load(Ordering::Relaxed) => {
                std::thread::sleep(Duration::from_millis(500));
            }
            result => return result,
        }
    }
}

/// The exit code as a shell has it.
fn run_command(command: &[String], interrupted: &AtomicBool) -> anyhow::Result<u8> {
    let (program, args) = command.split_first().context("no command given")?;
    let mut child = match Command::new(program).args(args).spawn() {
        Ok(child) => child,
        Err(error) => {
            eprintln!("error: failed to run {program}: {error}");
            return Ok(if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { CANNOT_RUN });
        }
    };
    if let Err(error) = pass_signals_on(child.id(), interrupted) {
        eprintln!("error: failed to watch {program}: {error}");
    }
    let status = child.wait().context("failed to wait for the command")?;
    Ok(code(status))
}

/// Waits for the end of the process. A signal that asks us to end is passed on once: the settings are
/// put back only when the command is gone.
fn pass_signals_on(pid: u32, interrupted: &AtomicBool) -> io::Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
    let process = pidfd_open(pid, PidfdFlags::empty())?;
    let mut told = false;
    loop {
        if !told && interrupted.load(Ordering::Relaxed) {
            pidfd_send_signal(&process, Signal::TERM)?;
            told = true;
        }
        // The limit is for a signal that comes between the look above and the sleep.
        let limit = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
        match poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&limit)) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

fn code(status: ExitStatus) -> u8 {
    let signal = || status.signal().map(|signal| 128 + signal);
    status.code().or_else(signal).and_then(|code| u8::try_from(code).ok()).unwrap_or(FAILED)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(command: &[&str]) -> u8 {
        let command: Vec<String> = command.iter().map(ToString::to_string).collect();
        run_command(&command, &AtomicBool::new(false)).expect("it could be waited for")
    }

    #[test]
    fn the_exit_code_is_that_of_the_command() {
        assert_eq!(run(&["sh", "-c", "exit 7"]), 7);
        assert_eq!(run(&["sh", "-c", "kill -9 $$"]), 137);
    }

    #[test]
    fn what_cannot_be_run_is_told_apart() {
        assert_eq!(run(&["/nowhere/at/all"]), NOT_FOUND);
        assert_eq!(run(&["/"]), CANNOT_RUN);
    }

    #[test]
    fn the_command_is_asked_to_end_when_we_are() {
        let command = ["sleep", "60"].map(str::to_owned);
        let code = run_command(&command, &AtomicBool::new(true)).expect("it could be waited for");
        assert_eq!(code, 128 + 15);
    }
}
