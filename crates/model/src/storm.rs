//! `storm`: several things at once on the same pages.
//!
//! Writers, a thread each, go round the pages of the step. Every page has one word for each of them, and nobody else
//! writes that word: its writer stores a count that goes up by one, and knows what the word must hold when it comes back.
//! Meanwhile each of the step's rivals does its own in a loop. Whoever looks at a word knows the fewest counts that were
//! surely written before it looked and the most that can have been written until it had looked. Outside of these, a
//! write was lost, or was seen where it must not be.
//!
//! A run leaves what was done, and each look that found something else. Whether that breaks the contract is for
//! [`crate::checker`] to say.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How many threads write, each its own word of every page.
pub const WRITERS: u32 = 2;

/// What runs beside the writers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rival {
    /// Has the range mapped by PTEs, then collapses it: MADV_COLLAPSE.
    Collapse,
    /// Forks a child that looks at its snapshot twice and exits.
    Fork,
    /// Reads by GUP: vmsplice(2) into a pipe, process_vm_readv(2).
    Gup,
    /// Has the range mapped by PTEs: a mapping of its own for a page, for a moment.
    Split,
    /// MADV_PAGEOUT.
    Pageout,
    /// Takes io_uring fixed buffers of some pages, writes its own word through them and reads the writers'.
    Pin,
    /// Makes some pages read-only for a moment.
    Mprotect,
}

impl Rival {
    /// Each with its word.
    pub const WORDS: [(Rival, &'static str); 7] = [
        (Rival::Collapse, "collapse"),
        (Rival::Fork, "fork"),
        (Rival::Gup, "gup"),
        (Rival::Split, "split"),
        (Rival::Pageout, "pageout"),
        (Rival::Pin, "pin"),
        (Rival::Mprotect, "mprotect"),
    ];

    /// Its word.
    pub fn word(self) -> &'static str {
        crate::step::word(&Self::WORDS, self)
    }
}

/// A set of rivals.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Rivals(u8);

impl Rivals {
    /// The same and `rival`. `None` if it was there already.
    pub fn with(self, rival: Rival) -> Option<Rivals> {
        (!self.has(rival)).then_some(Rivals(self.0 | 1 << rival as u8))
    }

    /// Is it among them?
    pub fn has(self, rival: Rival) -> bool {
        self.0 >> rival as u8 & 1 == 1
    }

    /// They, in the order of [`Rival::WORDS`].
    pub fn each(self) -> impl Iterator<Item = Rival> {
        Rival::WORDS.into_iter().map(|(rival, _)| rival).filter(move |rival| self.has(*rival))
    }
}

/// `collapse fork`
impl fmt::Display for Rivals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<&str> = self.each().map(Rival::word).collect();
        f.write_str(&words.join(" "))
    }
}

/// What a `storm` step did and what was seen that should not be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Storm {
    /// How long it took, in microseconds.
    pub micros: u64,
    /// How many processors there were for it.
    pub cpus: u32,
    /// How often the slowest writer went round.
    pub rounds: u64,
    /// What each rival did.
    pub rivals: Vec<Went>,
    /// The first looks that found what they should not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sightings: Vec<Sighting>,
    /// How many more there were.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What one rival did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Went {
    /// Who.
    pub rival: Rival,
    /// How many rounds were done.
    pub rounds: u64,
    /// How many the kernel refused.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub refused: u64,
    /// The error number of the last refusal, or 0.
    #[serde(default, skip_serializing_if = "is_no_error")]
    pub errno: i32,
}

fn is_no_error(errno: &i32) -> bool {
    *errno == 0
}

/// `collapse 31 times (5 refused: EAGAIN)`
impl fmt::Display for Went {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} times", self.rival.word(), self.rounds)?;
        match self.refused {
            0 => Ok(()),
            refused => write!(f, " ({refused} refused: {})", crate::errno::name(self.errno)),
        }
    }
}

/// `204 rounds of writing on 2 processors beside collapse 31 times, fork 12 times`
impl fmt::Display for Storm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rivals: Vec<String> = self.rivals.iter().map(Went::to_string).collect();
        let s = if self.cpus == 1 { "" } else { "s" };
        write!(f, "{} rounds of writing on {} processor{s} beside {}", self.rounds, self.cpus, rivals.join(", "))
    }
}

/// Who looked, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Eye {
    /// The word's own writer, before its next write, or after the last.
    Writer,
    /// A child of the `fork` rival, first.
    Snapshot,
    /// The same child, of what it had seen first.
    Again,
    /// The `gup` rival.
    Gup,
    /// The `pin` rival: through its pin, what the writers wrote.
    Pin,
    /// The `pin` rival: by the CPU, what it had written through its pin.
    Unpinned,
    /// A writer whose store did not fault, while the page was read-only from before it to after it.
    Protected,
    /// Anyone, of a word that nobody writes.
    Rest,
}

/// A look that found something else than was surely written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    /// Who looked.
    pub eye: Eye,
    /// In which page.
    pub page: u32,
    /// At which byte of it.
    pub offset: u32,
    /// The fewest counts that the word may have held.
    pub least: u32,
    /// The most.
    pub most: u32,
    /// The count that it held; absent if it was no count of this word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// The word itself, as in `0x1f`.
    pub word: String,
}

impl Sighting {
    /// Was it what it should be, after all?
    pub fn is_right(&self) -> bool {
        let counted = !matches!(self.eye, Eye::Protected | Eye::Rest);
        counted && self.count.is_some_and(|count| (self.least..=self.most).contains(&count))
    }
}
