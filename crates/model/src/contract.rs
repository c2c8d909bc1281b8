//! The contract of copy-on-write.
//!
//! | rule | what a kernel promises |
//! |---|---|
//! | isolation | What an actor writes after a fork is never seen by another actor, nor through another actor's pins or pipes. |
//! | pin coherence | A pin and the page tables of its owner show the same memory, in both directions, until the owner unmaps or discards the range. After that the pin keeps its last content. (A short-term read-only pin of a page that is not anonymous need not follow.) |
//! | integrity | No page loses its content, gets another page's content, or shows old content. |
//! | markers | Protection bits, soft-dirty, userfaultfd write protection, guard pages, locked pages, MADV_DONTFORK and MADV_WIPEONFORK keep their meaning. |
//! | exclusivity | A page marked exclusive is mapped by one process only, and so is a swap entry; a writable page is anonymous and exclusive; a pinned anonymous page is exclusive; no tail of what a PMD maps has a mark. |
//! | nothing left behind | After the family is gone no page is lost and the kernel log has no new warning. |
//!
//! The [`World`] here is what the first four rules look like as a machine: it is told each step and
//! knows, for each page as each actor sees it, the *set* of contents that the rules allow. Where the
//! kernel may choose, the set has more than one member; a copy where a reuse was possible is never
//! told from a reuse. Of steps at once it knows what some order of them allows ([`AtOnce`]).

use std::fmt;

use crate::stamp::Writer;

mod at_once;
mod marks;
mod pins;
mod sets;
mod validity;
mod world;

pub use at_once::{AtOnce, Came, MOST_AT_ONCE, may_be_at_once};
pub use sets::SetId;
pub use world::World;

/// The rules, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// Rule 1.
    Isolation,
    /// Rule 2.
    PinCoherence,
    /// Rule 3.
    Integrity,
    /// Rule 4.
    Markers,
    /// Rule 5; needs page states with the exclusive mark.
    Exclusivity,
    /// Rule 6.
    NothingLeftBehind,
}

impl Rule {
    /// The rules in the order of the contract.
    pub const ALL: [Rule; 6] = [
        Rule::Isolation,
        Rule::PinCoherence,
        Rule::Integrity,
        Rule::Markers,
        Rule::Exclusivity,
        Rule::NothingLeftBehind,
    ];

    /// What the rule says, in one sentence.
    pub fn says(self) -> &'static str {
        match self {
            Rule::Isolation => {
                "what an actor writes after a fork is never seen by another actor, nor through another actor's pins or pipes, nor through the backing"
            }
            Rule::PinCoherence => {
                "a pin and the page tables of its owner show the same memory until the owner unmaps or discards it"
            }
            Rule::Integrity => "no page loses its content, gets another page's content, or shows old content",
            Rule::Markers => {
                "protection bits, soft-dirty, userfaultfd write protection, guard pages, locked pages, MADV_DONTFORK and MADV_WIPEONFORK keep their meaning"
            }
            Rule::Exclusivity => {
                "a page marked exclusive is mapped by one process only, and writable or pinned anonymous pages are exclusive"
            }
            Rule::NothingLeftBehind => "after the family is gone no page is lost and the kernel log has no new warning",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Rule::Isolation => "isolation",
            Rule::PinCoherence => "pin coherence",
            Rule::Integrity => "integrity",
            Rule::Markers => "markers",
            Rule::Exclusivity => "exclusivity",
            Rule::NothingLeftBehind => "nothing left behind",
        })
    }
}

/// A content that a page may have; the page itself is implied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// Zeroes: never written, or discarded.
    Zero,
    /// What this writer put there.
    Written(Writer),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Zero => f.write_str("zero"),
            Origin::Written(writer) => writer.fmt(f),
        }
    }
}
