//! Private mappings of a file in memory whose pages are a THP: what the kernel collapses in place today
//! (`try_collapse_pte_mapped_thp()`), without a copy. Pages that were written are private copies: the kernel must keep them
//! and may refuse.
//!
//! Ids are `collapse/shmem-COPIES/WHAT`: which pages are private copies when the collapse comes, and what happens besides.

use super::pages::Pages;

/// Which pages are private copies.
pub(super) struct Copies {
    /// In the id.
    name: &'static str,
    is_copy: fn(page: u32, pages: u32) -> bool,
}

const COPIES: [Copies; 8] = [
    Copies { name: "none", is_copy: |_, _| false },
    Copies { name: "first", is_copy: |page, _| page == 0 },
    Copies { name: "middle", is_copy: |page, pages| page == pages / 2 - 1 },
    Copies { name: "lower", is_copy: |page, pages| page < pages / 2 },
    Copies { name: "upper", is_copy: |page, pages| page >= pages / 2 },
    Copies { name: "every-other", is_copy: |page, _| page % 2 == 0 },
    Copies { name: "all-but-one", is_copy: |page, pages| page != pages / 2 - 1 },
    Copies { name: "all", is_copy: |_, _| true },
];

/// What happens besides.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    /// Parent and child write after it.
    Writes,
    /// A child shares the copies when it comes, and collapses, too.
    Fork,
    /// The file is written after it.
    File,
    /// A fixed buffer of some pages, which makes copies of them, before it.
    Uring,
    /// A read-only long-term pin of some pages, which makes copies of them, before it.
    ReadOnlyPin,
    /// A pipe with all pages, before it.
    Splice,
    /// Split and collapsed again.
    Again,
    /// A process collapses the memory of its parent.
    ByProcess,
    /// It happens while others write, fork and read.
    Storm,
}

const WHAT: [(What, &str); 9] = [
    (What::Writes, "writes"),
    (What::Fork, "fork"),
    (What::File, "file-writes"),
    (What::Uring, "uring"),
    (What::ReadOnlyPin, "ro-pin"),
    (What::Splice, "splice"),
    (What::Again, "again"),
    (What::ByProcess, "by-process"),
    (What::Storm, "storm+collapse+fork+gup"),
];

/// A cell.
pub(super) struct Cell {
    copies: &'static Copies,
    what: What,
    word: &'static str,
}

/// Every cell, in the order of the catalogue.
pub(super) fn all() -> Vec<Cell> {
    let of = |copies| WHAT.map(|(what, word)| Cell { copies, what, word });
    let is_worth_it =
        |cell: &Cell| cell.what != What::Storm || ["none", "lower", "every-other"].contains(&cell.copies.name);
    COPIES.iter().flat_map(of).filter(is_worth_it).collect()
}

impl Cell {
    /// The part of its id that stands where a pattern of sharing stands elsewhere.
    pub(super) fn kind(&self) -> String {
        format!("shmem-{}", self.copies.name)
    }

    /// The last part of its id.
    pub(super) fn name(&self) -> String {
        self.word.to_owned()
    }

    /// Words to find it by.
    pub(super) fn tags(&self) -> Vec<&'static str> {
        let more = match self.what {
            What::Uring => Some("io_uring"),
            What::ReadOnlyPin => Some("gup"),
            What::Splice => Some("vmsplice"),
            What::Storm => Some("storm"),
            _ => None,
        };
        ["collapse", "shmem"].into_iter().chain(more).collect()
    }

    /// Its steps, on memory of `pages` pages.
    pub(super) fn lines(&self, pages: u32) -> Vec<String> {
        let copies = Pages::of(pages, |page| (self.copies.is_copy)(page, pages));
        let others = Pages::of(pages, |_| true).without(&copies);
        let some = Pages::of(pages, |page| (pages / 2 - 4..pages / 2 + 4).contains(&page));
        let mut lines: Vec<String> = Vec::new();
        let mut say = |line: &str| lines.push(line.to_owned());
        let on = |who: &str, what: &str, which: &Pages| match which.is_empty() {
            true => String::new(),
            false => format!("{who} {what} {}", which.text(pages)),
        };
        say("A mprotect page 1 ro # a mapping of its own: the others cannot be mapped by a PMD");
        say("A touch all");
        say("A mprotect page 1 rw");
        say(&on("A", "write", &copies));
        say("A require pte-mapped all");
        match self.what {
            What::Fork | What::ByProcess => say("A fork B"),
            What::Uring => say(&on("A", "pin rw p0", &some)),
            What::ReadOnlyPin => say(&on("A", "pin ro p0", &some)),
            What::Splice => say("A splice p0 all"),
            _ => {}
        }
        match self.what {
            What::ByProcess => say("B collapse all of A"),
            What::Storm => {
                // What was never written is certain; writing it makes copies in the middle of it.
                say("A storm all collapse fork gup");
            }
            _ => say("A collapse all # in place, or not at all where there are copies"),
        }
        match self.what {
            What::Again => {
                say("A mprotect page 1 ro");
                say("A touch all");
                say("A mprotect page 1 rw");
                say("A collapse all");
            }
            What::Fork => say("B collapse all"),
            What::File => say(&on("A", "write backing", &others)),
            _ => {}
        }
        if !matches!(self.what, What::Fork | What::ByProcess) {
            say("A fork B");
        }
        say("A read all");
        say("B read all");
        if matches!(self.what, What::Uring | What::ReadOnlyPin) {
            say("A read via p0");
        }
        if self.what == What::File {
            say("A write backing all");
            say(&on("A", "read", &copies));
            say(&on("B", "read", &copies));
        }
        say("A write all");
        say("B read all");
        if self.what == What::Uring {
            say("A read via p0");
            say(&on("A", "write via p0", &some));
        }
        say("B write lower");
        say("A read all");
        say("B read all");
        if matches!(self.what, What::ReadOnlyPin | What::Splice) {
            say("A read via p0");
        }
        say("A read backing all");
        lines.retain(|line| !line.is_empty());
        lines
    }
}
