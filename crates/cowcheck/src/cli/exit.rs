//! Exit codes. They are part of the interface: scripts tell by them what happened.

use std::process::ExitCode;

use crate::suite::select::Unknown;

/// How the program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// 0: every check that ran passed, or failed in a way that is known.
    Success,
    /// 1: the kernel broke the contract; for `compare`, the results differ.
    Failure,
    /// 2: the arguments or a file given are not what they should be.
    Usage,
    /// 3: nothing broke, but something could not be tested: a check was inconclusive, ran out of time
    /// or crashed, the run was stopped, or nothing ran at all.
    CouldNotTest,
    /// With `--format kselftest`: the kernel's own codes, 0 pass, 1 fail, 4 skip.
    Kselftest(u8),
    /// `provide`: that of the command, or 125 to 127.
    Command(u8),
}

/// For `--help`.
pub const HELP: &str = "\
Exit codes:
  0  every check that ran passed, or failed in a way that is known
  1  the kernel broke the contract (compare: the results differ)
  2  the arguments or a file given are not what they should be
  3  nothing broke, but something could not be tested: inconclusive, out of time,
     crashed, stopped, or nothing ran
  With --format kselftest: 0 pass, 1 fail, 4 skip, as the kernel's own tests.";

impl From<Code> for ExitCode {
    fn from(code: Code) -> ExitCode {
        ExitCode::from(match code {
            Code::Success => 0,
            Code::Failure => 1,
            Code::Usage => 2,
            Code::CouldNotTest => 3,
            Code::Kselftest(code) | Code::Command(code) => code,
        })
    }
}

/// An error of whoever called: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

impl From<Unknown> for Usage {
    fn from(unknown: Unknown) -> Usage {
        Usage(unknown.0)
    }
}
