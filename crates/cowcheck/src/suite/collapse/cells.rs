//! Which cells there are.
//!
//! * Every pattern with every pin and every writer: who writes through what is where an exclusive mark that
//!   is wrong shows.
//! * Every other pair of two dimensions, the rest as in [`Cell::PLAIN`]: the pattern `lower`, which is the mixed
//!   case; where a child collapses `all`, because a child has the whole range only then; for khugepaged `none`, because
//!   it leaves alone what is shared.
//! * Dangers that have a name: a mixed pattern under a fixed buffer, with every aftermath.
//!   (Every pattern is forked again and split by the pairs: no sub-page may stay exclusive that the child has.)
//!
//! Pairs with a plain rest, and not a pairwise covering array: a new word adds cells and changes the id of none.

use std::collections::HashSet;

use super::pages::Pages;
use super::patterns::{PATTERNS, Pattern};

/// How the kernel holds pages besides, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pin {
    None,
    /// A fixed buffer before the fork: its pages are copied for the child at once.
    UringBeforeFork,
    /// A fixed buffer after the fork: the reviewer's case.
    UringAfterFork,
    /// A fixed buffer after the collapse.
    UringAfterCollapse,
    /// A fixed buffer of the child.
    UringOfChild,
    /// A pipe.
    Splice,
    /// A pipe of the child.
    SpliceOfChild,
    /// A read-only long-term pin.
    ReadOnly,
}

/// What is in the range besides the sub-pages of the THP, of whoever collapses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Contents {
    Whole,
    /// Some sub-pages were written, so that shared ones are copies of their own.
    Copies,
    /// The other process has copies, so that some pages are shared no longer.
    OtherCopies,
    /// Holes by MADV_DONTNEED.
    Holes,
    /// MADV_FREE: there or not.
    Freed,
    /// Swapped out before the fork: exclusive and shared swap entries.
    Swapped,
    /// PROT_READ while it is collapsed.
    ReadOnly,
    /// Some pages are soft-dirty and others are not.
    SoftDirty,
    /// Holes that were read: the zero page.
    ZeroPage,
    /// Holes that were written: smaller folios.
    Refilled,
    /// The THP was moved by mremap().
    Moved,
    /// mlock(), before the fork.
    Locked,
    /// Pages that KSM has merged, of parent and child.
    Ksm,
    /// Write-protected by userfaultfd.
    UffdWp,
    /// Guard pages.
    Guard,
}

/// Who collapses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    Parent,
    Child,
    /// The child, of the parent's memory: process_madvise(2).
    ByProcess,
    /// khugepaged, of the parent's memory.
    ByKhugepaged,
}

/// Who writes then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writer {
    Parent,
    /// One page that is shared and one that is not.
    ParentPages,
    Child,
    ParentThenChild,
    ChildThenParent,
    /// Through the fixed buffer, before anyone else.
    Pin,
}

/// What comes after, to whoever collapsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aftermath {
    None,
    /// A part is mprotected for a moment.
    Split,
    Munmap,
    Mremap,
    Fork,
    Swap,
    CollapseAgain,
    /// The child exits.
    Exit,
    Unpin,
    /// Forked again, then both split it.
    ForkSplit,
    /// Split by debugfs.
    SplitFolio,
    Migrate,
    /// Write-protected as a whole by userfaultfd, then released page by page.
    UffdWp,
    /// A guard page is put into it.
    Guard,
}

const PINS: [Pin; 8] = [
    Pin::None,
    Pin::UringBeforeFork,
    Pin::UringAfterFork,
    Pin::UringAfterCollapse,
    Pin::UringOfChild,
    Pin::Splice,
    Pin::SpliceOfChild,
    Pin::ReadOnly,
];
const CONTENTS: [Contents; 15] = [
    Contents::Whole,
    Contents::Copies,
    Contents::OtherCopies,
    Contents::Holes,
    Contents::Freed,
    Contents::Swapped,
    Contents::ReadOnly,
    Contents::SoftDirty,
    Contents::ZeroPage,
    Contents::Refilled,
    Contents::Moved,
    Contents::Locked,
    Contents::Ksm,
    Contents::UffdWp,
    Contents::Guard,
];
const WHO: [Who; 4] = [Who::Parent, Who::Child, Who::ByProcess, Who::ByKhugepaged];
const WRITERS: [Writer; 6] =
    [Writer::Parent, Writer::ParentPages, Writer::Child, Writer::ParentThenChild, Writer::ChildThenParent, Writer::Pin];
const AFTERMATHS: [Aftermath; 14] = [
    Aftermath::None,
    Aftermath::Split,
    Aftermath::Munmap,
    Aftermath::Mremap,
    Aftermath::Fork,
    Aftermath::Swap,
    Aftermath::CollapseAgain,
    Aftermath::Exit,
    Aftermath::Unpin,
    Aftermath::ForkSplit,
    Aftermath::SplitFolio,
    Aftermath::Migrate,
    Aftermath::UffdWp,
    Aftermath::Guard,
];

/// One of each.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cell {
    pub(super) pattern: &'static Pattern,
    pub(super) pin: Pin,
    pub(super) writer: Writer,
    pub(super) contents: Contents,
    pub(super) who: Who,
    pub(super) aftermath: Aftermath,
}

impl Pin {
    /// Who takes it: the parent?
    pub(super) fn is_parents(self) -> bool {
        !matches!(self, Pin::UringOfChild | Pin::SpliceOfChild)
    }

    /// A fixed buffer?
    pub(super) fn writes(self) -> bool {
        matches!(self, Pin::UringBeforeFork | Pin::UringAfterFork | Pin::UringAfterCollapse | Pin::UringOfChild)
    }

    /// A pipe?
    pub(super) fn is_pipe(self) -> bool {
        matches!(self, Pin::Splice | Pin::SpliceOfChild)
    }

    fn word(self) -> &'static str {
        match self {
            Pin::None => "no-pin",
            Pin::UringBeforeFork => "uring-before-fork",
            Pin::UringAfterFork => "uring-after-fork",
            Pin::UringAfterCollapse => "uring-after-collapse",
            Pin::UringOfChild => "uring-of-child",
            Pin::Splice => "splice",
            Pin::SpliceOfChild => "splice-of-child",
            Pin::ReadOnly => "ro-pin",
        }
    }
}

/// The pages that [`Contents`] is about: of every pattern some that are shared and some that are not, the first
/// and the last among them.
pub(super) fn touched(pages: u32) -> Pages {
    Pages::of(pages, |page| {
        page == 0
            || (pages / 4..pages / 4 + 9).contains(&page)
            || page == pages / 2 - 1
            || (pages / 2 + 40..pages / 2 + 60).contains(&page)
            || page == pages - 1
    })
}

impl Cell {
    const PLAIN: Cell = Cell {
        pattern: &PATTERNS[2],
        pin: Pin::None,
        writer: Writer::Parent,
        contents: Contents::Whole,
        who: Who::Parent,
        aftermath: Aftermath::None,
    };

    /// The last part of its id.
    pub(super) fn name(&self) -> String {
        let writer = match self.writer {
            Writer::Parent => "parent-writes",
            Writer::ParentPages => "parent-writes-pages",
            Writer::Child => "child-writes",
            Writer::ParentThenChild => "parent-child-write",
            Writer::ChildThenParent => "child-parent-write",
            Writer::Pin => "pin-writes",
        };
        let contents = match self.contents {
            Contents::Whole => "",
            Contents::Copies => "copies",
            Contents::OtherCopies => "other-copies",
            Contents::Holes => "holes",
            Contents::Freed => "freed",
            Contents::Swapped => "swapped",
            Contents::ReadOnly => "read-only",
            Contents::SoftDirty => "soft-dirty",
            Contents::ZeroPage => "zero-page",
            Contents::Refilled => "refilled",
            Contents::Moved => "moved",
            Contents::Locked => "locked",
            Contents::Ksm => "ksm",
            Contents::UffdWp => "uffd-wp",
            Contents::Guard => "guard",
        };
        let who = match self.who {
            Who::Parent => "",
            Who::Child => "by-child",
            Who::ByProcess => "by-process",
            Who::ByKhugepaged => "by-khugepaged",
        };
        let aftermath = match self.aftermath {
            Aftermath::None => "",
            Aftermath::Split => "split",
            Aftermath::Munmap => "munmap",
            Aftermath::Mremap => "mremap",
            Aftermath::Fork => "fork",
            Aftermath::Swap => "swap",
            Aftermath::CollapseAgain => "again",
            Aftermath::Exit => "exit",
            Aftermath::Unpin => "unpin",
            Aftermath::ForkSplit => "fork-split",
            Aftermath::SplitFolio => "split-folio",
            Aftermath::Migrate => "migrate",
            Aftermath::UffdWp => "then-uffd-wp",
            Aftermath::Guard => "then-guard",
        };
        let words = [self.pin.word(), writer, contents, who, aftermath];
        words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join("+")
    }

    /// Words to find it by.
    pub(super) fn tags(&self) -> Vec<&'static str> {
        let pin = match self.pin {
            Pin::None => None,
            pin if pin.writes() => Some("io_uring"),
            pin if pin.is_pipe() => Some("vmsplice"),
            _ => Some("gup"),
        };
        let swapped = self.contents == Contents::Swapped || self.aftermath == Aftermath::Swap;
        [Some("collapse"), Some("thp"), pin, swapped.then_some("swap")].into_iter().flatten().collect()
    }

    /// Can it be done at all? The answer does not depend on the machine.
    fn is_possible(&self) -> bool {
        /// Patterns are alike at all sizes.
        const PAGES: u32 = 512;
        let child = self.pattern.child();
        let copied = self.pattern.of_child(PAGES).and(&touched(PAGES));
        (self.who != Who::Child || self.pattern.child_has_all(PAGES))
            && (self.who != Who::ByProcess || child.is_some())
            && (self.pin.is_parents() || child.is_some())
            && (self.writer != Writer::Pin || self.pin.writes())
            && (self.contents != Contents::OtherCopies || (child.is_some() && !copied.is_empty()))
            // What is pinned is neither swapped out nor merged.
            && (!matches!(self.contents, Contents::Swapped | Contents::Ksm) || self.pin != Pin::UringBeforeFork)
            // What is locked is not discarded.
            && (self.contents != Contents::Locked || self.aftermath != Aftermath::Guard)
            // KSM needs two pages with one content: the child writes what is there already.
            && (self.contents != Contents::Ksm || (child.is_some() && !copied.is_empty()))
            // A is the last to exit.
            && (self.aftermath != Aftermath::Exit || self.who != Who::Child)
            && (self.aftermath != Aftermath::Unpin || self.pin != Pin::None)
    }
}

/// Every cell, in the order of the catalogue.
pub(super) fn all() -> Vec<Cell> {
    let mut cells = Vec::new();
    for pattern in &PATTERNS {
        for pin in PINS {
            cells.extend(WRITERS.map(|writer| Cell { pattern, pin, writer, ..Cell::PLAIN }));
        }
    }
    cells.extend(pairs());
    for name in ["lower", "upper", "first", "all-but-one", "every-other"] {
        for pattern in PATTERNS.iter().filter(|pattern| pattern.name == name) {
            for pin in [Pin::UringAfterFork, Pin::UringAfterCollapse] {
                cells.extend(AFTERMATHS.map(|aftermath| Cell { pattern, pin, aftermath, ..Cell::PLAIN }));
            }
        }
    }
    let mut known = HashSet::new();
    cells.retain(|cell| cell.is_possible() && known.insert((cell.pattern.name, cell.name())));
    cells
}

/// Changes one dimension of a cell.
type Word = Box<dyn Fn(Cell) -> Cell>;

/// Every two words of two dimensions together.
fn pairs() -> Vec<Cell> {
    fn words<T: Copy + 'static>(all: impl IntoIterator<Item = T>, set: fn(&mut Cell, T)) -> Vec<Word> {
        let word = |value| -> Word {
            Box::new(move |mut cell| {
                set(&mut cell, value);
                cell
            })
        };
        all.into_iter().map(word).collect()
    }
    let by = |cell: &mut Cell, who| {
        cell.who = who;
        if cell.pattern.name == "lower" {
            cell.pattern = match who {
                Who::Parent | Who::ByProcess => cell.pattern,
                Who::Child => &PATTERNS[1],
                Who::ByKhugepaged => &PATTERNS[0],
            };
        }
    };
    let dimensions = [
        words(&PATTERNS, |cell, pattern| cell.pattern = pattern),
        words(PINS, |cell, pin| cell.pin = pin),
        words(WRITERS, |cell, writer| cell.writer = writer),
        words(CONTENTS, |cell, contents| cell.contents = contents),
        words(WHO, by),
        words(AFTERMATHS, |cell, aftermath| cell.aftermath = aftermath),
    ];
    let mut cells = Vec::new();
    for (index, first) in dimensions.iter().enumerate() {
        for second in &dimensions[index + 1..] {
            for one in first {
                cells.extend(second.iter().map(|other| other(one(Cell::PLAIN))));
            }
        }
    }
    cells
}
