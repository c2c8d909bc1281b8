//! Faults that can be planted in the executor itself, to prove that they are reported.
//!
//! fsx has the same: a tool that has never been seen to fail has never been seen to work.

use serde::{Deserialize, Serialize};

/// A fault of our own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// A's last write leaves one byte wrong.
    WrongByte,
    /// A's last write leaves out one page.
    LostWrite,
    /// A's last write puts two pages (or the halves of one) the wrong way round.
    SwappedPage,
    /// B kills itself at its first step.
    Die,
    /// B stops itself at its first step.
    Stop,
    /// B spins for ever at its first step.
    Spin,
    /// B makes an access to nowhere at its first step.
    Crash,
    /// The look at page tables tells of a mark on every anonymous page. Needs the helper module.
    FalseMark,
    /// A writer of a storm leaves out one write that it counts.
    LostIncrement,
    /// A child forked in a storm changes its own snapshot.
    LeakySnapshot,
    /// What GUP read in a storm is taken for newer than it is.
    StaleRead,
    /// What a storm writes through a pin is not written once.
    LostPinWrite,
    /// A write at once with other steps leaves out the last word of its last page.
    LostAtOnce,
    /// A storm takes pages for read-only that are not.
    NotProtected,
}

impl Fault {
    /// Does it concern a write of A?
    pub fn is_in_write(self) -> bool {
        matches!(self, Fault::WrongByte | Fault::LostWrite | Fault::SwappedPage)
    }
}
