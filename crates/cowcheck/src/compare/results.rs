//! What a file of results says, whichever format it has.

use std::fmt;

use cowcheck_model::verdict::Kind;
use serde::Serialize;

use crate::report::event::Counts;

/// The longest name or reason that is kept, in characters.
pub(super) const MAX_TEXT: usize = 512;

/// The most rows that are kept of a file.
pub(super) const MAX_ROWS: usize = 1_000_000;

/// The formats that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// JSON lines of `cowcheck run`.
    CowcheckJson,
    /// KTAP of `cowcheck run`.
    CowcheckKtap,
    /// Any other KTAP.
    Ktap,
    /// Any other TAP, as of the kernel's cow.c.
    Tap,
}

impl Source {
    /// Do the rows have ids of this program's catalogue?
    pub fn has_ids(self) -> bool {
        matches!(self, Source::CowcheckJson | Source::CowcheckKtap)
    }

    /// How the words of the format became verdicts.
    pub fn words(self) -> &'static str {
        match self {
            Source::CowcheckJson => "verdicts as they stand",
            Source::CowcheckKtap => {
                "`ok` is pass, `not ok` fail; SKIP is skip, or inconclusive where its reason says so; XFAIL is xfail, \
                 TIMEOUT timeout, ERROR crash"
            }
            Source::Ktap | Source::Tap => {
                "`ok` is pass, `not ok` fail; SKIP is skip; XFAIL, and TODO that is not ok, xfail; TIMEOUT timeout; \
                 ERROR crash; any other directive falls back to ok or not ok"
            }
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Source::CowcheckJson => "cowcheck JSON lines",
            Source::CowcheckKtap => "cowcheck KTAP",
            Source::Ktap => "KTAP",
            Source::Tap => "TAP",
        })
    }
}

/// One check and what it came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// What the file calls it: the id, or the names of its subtests and its own, joined by `/`.
    pub key: String,
    /// The id in this program's catalogue, where the file is ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What cow.c calls it; the innermost name where the file is not ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Which repeat, from 1.
    pub repeat: u32,
    /// The verdict, in our words.
    pub verdict: Kind,
    /// Why; empty for a pass, or where the file does not say.
    pub reason: String,
}

impl Row {
    /// What rows of a kind have in common: the first two words of an id, or what stands before the
    /// memory in a description of cow.c's.
    pub(super) fn group(&self) -> String {
        match (&self.id, &self.description) {
            (Some(id), _) => id.split('/').take(2).collect::<Vec<_>>().join("/"),
            (None, Some(description)) if description.contains(" ... ") => {
                description.split(" ... ").next().unwrap_or("").to_owned()
            }
            _ => self.key.rsplit_once('/').map_or("", |(path, _)| path).to_owned(),
        }
    }
}

/// What a file of results says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Results {
    /// The file.
    pub name: String,
    /// Its format.
    pub source: Source,
    /// The kernel that ran it, where the file says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// The checks, in the order of the file.
    pub rows: Vec<Row>,
    /// Is it known that results are missing?
    pub truncated: bool,
    /// What a person should know of the file: what is missing, what was odd.
    pub notes: Vec<String>,
}

impl Results {
    /// How many rows have each verdict.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        self.rows.iter().for_each(|row| counts.add(row.verdict));
        counts
    }
}

/// A text of the file as it may be shown: on one line, without control characters, not too long.
pub(crate) fn clean(text: &str) -> String {
    let mut kept = String::new();
    // Bounded before anything is copied: a line may have the size of the file.
    for (count, char) in text.trim().chars().enumerate() {
        if count == MAX_TEXT {
            kept.push('…');
            break;
        }
        kept.push(if char.is_control() { ' ' } else { char });
    }
    kept
}
