//! The steps of a scenario: who does what to which pages.
//!
//! This is the language, whole. One step is one line: an actor, a word, and what the word takes.
//!
//! | step | what the actor does |
//! |---|---|
//! | `write R` | stamps every byte of the pages R |
//! | `poke R` | the same through /proc/self/mem, which asks for no permission to write (FOLL_FORCE) |
//! | `read R` | reads every byte of R; the checker judges what was seen |
//! | `touch R` | reads one byte of each page of R, only to populate it |
//! | `read backing R`, `write backing R` | the same through the backing: the file, or another mapping of the zero page |
//! | `probe read R`, `probe write R` | tries one access to each page of R and notes whether it faults |
//! | `fork B` | forks the actor B |
//! | `exit` | exits and is reaped by its parent before the next step |
//! | `mprotect R none\|ro\|rw` | mprotect(2) |
//! | `dontfork R`, `dofork R`, `wipeonfork R`, `dontneed R`, `free R`, `hugepage R`, `nohugepage R`, `pageout R`, `collapse R`, `mergeable R` | madvise(2) with the advice of that name |
//! | `guard R`, `unguard R` | MADV_GUARD_INSTALL, MADV_GUARD_REMOVE: no access, the content is gone |
//! | `uffd-wp R`, `uffd-unwp R` | write protection by userfaultfd(2), for this actor only, and its end: a write gives SIGBUS |
//! | `mlock R`, `munlock R` | mlock(2), munlock(2) |
//! | `split R` | has the kernel split the folios, by debugfs |
//! | `migrate R` | moves the pages to another node, move_pages(2); where there is one node only, compacts memory |
//! | `reclaim` | has the kernel swap out what it can of the whole family, shared pages too: memory.reclaim of its cgroup |
//! | `swapoff` | takes cowcheck's own swap out of use, which brings all of it back in, and puts it to use again, swapoff(2) |
//! | `ksm` | waits until KSM has been through all mergeable memory |
//! | `collapse R of B` | MADV_COLLAPSE of B's pages R, process_madvise(2) |
//! | `khugepaged R` | wakes khugepaged until it has been everywhere twice, or R is mapped by PMDs |
//! | `munmap R` | munmap(2) |
//! | `mremap R` | moves the pages to another address, mremap(2) |
//! | `clear-soft-dirty` | writes 4 to /proc/self/clear_refs |
//! | `pin rw P R` | long-term read/write pin: an io_uring fixed buffer |
//! | `pin ro P R`, `pin ro fast P R`, `pin rw fast P R` | long-term pin, read-only or read/write, by GUP or by GUP-fast |
//! | `pin short ro P R`, `pin short rw fast P R` and so on | the same short-term: without FOLL_LONGTERM |
//! | `splice P R` | vmsplice(2) into a pipe |
//! | `read via P` | reads every byte through the pin (a pipe is drained) |
//! | `write via P R` | writes the pages R through a read/write pin |
//! | `unpin P` | releases the pin |
//! | `storm R RIVAL...` | writes to R from two threads at once, while the rivals do their own: `collapse`, `fork`, `gup`, `split`, `pageout`, `pin`, `mprotect` ([`crate::storm`]); then stamps R |
//! | `require S R` | observes R; if it is not in state S, the set-up was not reached |
//!
//! A line that begins with `|` is a step that happens at once with the step above it: `A write all` and below it
//! `| A fork B` are two threads of A, and `| B read all` is another process. At most three may be at once, of these:
//! `write`, `poke`, `read`, `touch`, `fork`, `mprotect`, `dontneed`, `free`, `collapse`, `pageout`, `split`, `migrate`, pins and
//! what is done with them.

use std::fmt;

use crate::pages::Range;
use crate::storm::Rivals;

/// A process of the family. `A` is the first; `fork` steps make the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Actor(u8);

impl Actor {
    /// The first process of the family.
    pub const A: Actor = Actor(0);
    /// How many actors there can be: A to Z.
    pub const MAX: usize = 26;

    /// Actor number `index`, 0 being A.
    pub fn new(index: usize) -> Option<Actor> {
        (index < Self::MAX).then_some(Actor(index as u8))
    }

    /// By its letter.
    pub fn from_letter(letter: char) -> Option<Actor> {
        letter.is_ascii_uppercase().then(|| Actor(letter as u8 - b'A'))
    }

    /// 0 for A.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", char::from(b'A' + self.0))
    }
}

/// The name of a pin: `p0` to `p9`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pin(u8);

impl Pin {
    /// How many pins there can be.
    pub const MAX: usize = 10;

    /// Pin number `index`.
    pub fn new(index: usize) -> Option<Pin> {
        (index < Self::MAX).then_some(Pin(index as u8))
    }

    /// 0 for `p0`.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}", self.0)
    }
}

/// How the kernel comes to hold the pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PinKind {
    /// FOLL_PIN, by the calls of Documentation/core-api/pin_user_pages.rst.
    Gup {
        /// Without FOLL_LONGTERM.
        short: bool,
        /// FOLL_WRITE. A long-term one that need not be fast is an io_uring fixed buffer.
        write: bool,
        /// Through `pin_user_pages_fast()`, else `pin_user_pages()`.
        fast: bool,
    },
    /// FOLL_GET by vmsplice(2): short-term by intention, held by a pipe in practice.
    Splice,
}

impl PinKind {
    /// `pin rw`
    pub const READ_WRITE: PinKind = PinKind::Gup { short: false, write: true, fast: false };
    /// `pin ro`
    pub const READ_ONLY: PinKind = PinKind::Gup { short: false, write: false, fast: false };
    /// `pin ro fast`
    pub const READ_ONLY_FAST: PinKind = PinKind::Gup { short: false, write: false, fast: true };

    /// Every kind with its words.
    pub const WORDS: [(PinKind, &'static str); 9] = [
        (PinKind::READ_WRITE, "pin rw"),
        (PinKind::READ_ONLY, "pin ro"),
        (PinKind::READ_ONLY_FAST, "pin ro fast"),
        (PinKind::Gup { short: false, write: true, fast: true }, "pin rw fast"),
        (PinKind::Gup { short: true, write: true, fast: false }, "pin short rw"),
        (PinKind::Gup { short: true, write: true, fast: true }, "pin short rw fast"),
        (PinKind::Gup { short: true, write: false, fast: false }, "pin short ro"),
        (PinKind::Gup { short: true, write: false, fast: true }, "pin short ro fast"),
        (PinKind::Splice, "splice"),
    ];

    /// As the language writes it.
    pub fn words(self) -> &'static str {
        word(&Self::WORDS, self)
    }

    /// Does it hold, before anything is written, a page that nobody shares with its owner, whatever the memory was?
    /// A short-term read-only pin takes the page of a file as it is.
    pub fn breaks_sharing(self) -> bool {
        matches!(self, PinKind::Gup { short: false, .. } | PinKind::Gup { write: true, .. })
    }

    /// Can it be written through?
    pub fn writes(self) -> bool {
        matches!(self, PinKind::Gup { write: true, .. })
    }
}

/// Protection of a mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Prot {
    /// PROT_NONE
    None,
    /// PROT_READ
    Ro,
    /// PROT_READ | PROT_WRITE
    Rw,
}

impl Prot {
    /// Every protection with its word.
    pub const WORDS: [(Prot, &'static str); 3] = [(Prot::None, "none"), (Prot::Ro, "ro"), (Prot::Rw, "rw")];
}

/// Advice to madvise(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Advice {
    /// MADV_DONTFORK
    DontFork,
    /// MADV_DOFORK
    DoFork,
    /// MADV_WIPEONFORK
    WipeOnFork,
    /// MADV_DONTNEED
    DontNeed,
    /// MADV_FREE
    Free,
    /// MADV_HUGEPAGE
    HugePage,
    /// MADV_NOHUGEPAGE
    NoHugePage,
    /// MADV_PAGEOUT (Linux 5.4)
    PageOut,
    /// MADV_COLLAPSE (Linux 6.1)
    Collapse,
    /// MADV_GUARD_INSTALL (Linux 6.13)
    Guard,
    /// MADV_GUARD_REMOVE (Linux 6.13)
    Unguard,
    /// MADV_MERGEABLE
    Mergeable,
}

impl Advice {
    /// Every advice with its word.
    pub const WORDS: [(Advice, &'static str); 12] = [
        (Advice::DontFork, "dontfork"),
        (Advice::DoFork, "dofork"),
        (Advice::WipeOnFork, "wipeonfork"),
        (Advice::DontNeed, "dontneed"),
        (Advice::Free, "free"),
        (Advice::HugePage, "hugepage"),
        (Advice::NoHugePage, "nohugepage"),
        (Advice::PageOut, "pageout"),
        (Advice::Collapse, "collapse"),
        (Advice::Guard, "guard"),
        (Advice::Unguard, "unguard"),
        (Advice::Mergeable, "mergeable"),
    ];
}

/// What else is done to some pages of an actor, by other calls than madvise(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Treatment {
    /// UFFDIO_WRITEPROTECT with UFFDIO_WRITEPROTECT_MODE_WP, under UFFD_FEATURE_SIGBUS (ioctl_userfaultfd(2)).
    UffdWp,
    /// UFFDIO_WRITEPROTECT without that mode.
    UffdUnwp,
    /// mlock(2)
    Mlock,
    /// munlock(2)
    Munlock,
    /// debugfs, split_huge_pages (Linux 5.13; Documentation/admin-guide/mm/transhuge.rst)
    Split,
    /// move_pages(2), or /proc/sys/vm/compact_memory
    Migrate,
}

impl Treatment {
    /// Every one with its word.
    pub const WORDS: [(Treatment, &'static str); 6] = [
        (Treatment::UffdWp, "uffd-wp"),
        (Treatment::UffdUnwp, "uffd-unwp"),
        (Treatment::Mlock, "mlock"),
        (Treatment::Munlock, "munlock"),
        (Treatment::Split, "split"),
        (Treatment::Migrate, "migrate"),
    ];
}

/// What a `require` step looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Every page is present in the page table.
    Populated,
    /// Every page is a swap entry.
    Swapped,
    /// Every page is mapped by a PMD (or larger) leaf entry.
    PmdMapped,
    /// Every page is present, none by a PMD.
    PteMapped,
    /// Every page is present and part of a folio of the memory's size, in order. Without root the
    /// frame numbers are hidden and only the presence can be observed.
    Folio,
    /// Every page is present and mapped more than once.
    Shared,
    /// Every page is present and marked exclusive (PG_anon_exclusive). Where the mark cannot be seen: mapped once.
    Exclusive,
    /// Every page is one of KSM's.
    Ksm,
    /// Every page is the zero page, small or huge.
    ZeroPage,
    /// Every page is pinned.
    Pinned,
}

impl State {
    /// Every state with its word.
    pub const WORDS: [(State, &'static str); 10] = [
        (State::Populated, "populated"),
        (State::Swapped, "swapped"),
        (State::PmdMapped, "pmd-mapped"),
        (State::PteMapped, "pte-mapped"),
        (State::Folio, "folio"),
        (State::Shared, "shared"),
        (State::Exclusive, "exclusive"),
        (State::Ksm, "ksm"),
        (State::ZeroPage, "zero-page"),
        (State::Pinned, "pinned"),
    ];
}

/// An access that `probe` tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Access {
    /// A load.
    Read,
    /// A store that leaves the content as it is.
    Write,
}

impl Access {
    /// Both with their words.
    pub const WORDS: [(Access, &'static str); 2] = [(Access::Read, "read"), (Access::Write, "write")];
}

/// The word for `value` in one of the WORDS tables of this module.
pub fn word<T: PartialEq + Copy>(words: &[(T, &'static str)], value: T) -> &'static str {
    words.iter().find(|(each, _)| *each == value).map_or("", |(_, word)| word)
}

/// One operation. The module's table says what each does.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Op {
    /// `write R`
    Write(Range),
    /// `poke R`
    Poke(Range),
    /// `read R`
    Read(Range),
    /// `touch R`
    Touch(Range),
    /// `read backing R`
    ReadBacking(Range),
    /// `write backing R`
    WriteBacking(Range),
    /// `probe read R`, `probe write R`
    Probe(Access, Range),
    /// `fork B`
    Fork(Actor),
    /// `exit`
    Exit,
    /// `mprotect R PROT`
    Mprotect(Range, Prot),
    /// `dontfork R` and the other advice words
    Advise(Advice, Range),
    /// `collapse R of B`
    CollapseOf(Range, Actor),
    /// `khugepaged R`
    Khugepaged(Range),
    /// `uffd-wp R` and the other words of [`Treatment`]
    Treat(Treatment, Range),
    /// `reclaim`
    Reclaim,
    /// `swapoff`
    Swapoff,
    /// `ksm`
    Ksm,
    /// `munmap R`
    Munmap(Range),
    /// `mremap R`
    Mremap(Range),
    /// `clear-soft-dirty`
    ClearSoftDirty,
    /// `pin rw P R`, `pin ro P R` and their like, `splice P R`
    Pin(PinKind, Pin, Range),
    /// `read via P`
    ReadVia(Pin),
    /// `write via P R`
    WriteVia(Pin, Range),
    /// `unpin P`
    Unpin(Pin),
    /// `require S R`
    Require(State, Range),
    /// `storm R RIVAL...`
    Storm(Range, Rivals),
}

/// The range of an operation, by reference as the operation itself is.
macro_rules! range_of {
    ($op:expr) => {
        match $op {
            Op::Write(range)
            | Op::Poke(range)
            | Op::Read(range)
            | Op::Touch(range)
            | Op::ReadBacking(range)
            | Op::WriteBacking(range)
            | Op::Probe(_, range)
            | Op::Mprotect(range, _)
            | Op::Advise(_, range)
            | Op::CollapseOf(range, _)
            | Op::Khugepaged(range)
            | Op::Treat(_, range)
            | Op::Munmap(range)
            | Op::Mremap(range)
            | Op::Pin(_, _, range)
            | Op::WriteVia(_, range)
            | Op::Require(_, range)
            | Op::Storm(range, _) => Some(range),
            Op::Fork(_)
            | Op::Exit
            | Op::ClearSoftDirty
            | Op::Reclaim
            | Op::Swapoff
            | Op::Ksm
            | Op::ReadVia(_)
            | Op::Unpin(_) => None,
        }
    };
}

impl Op {
    /// The pages it names, if it names any.
    pub fn range(&self) -> Option<&Range> {
        range_of!(self)
    }

    /// The same, to be changed.
    pub fn range_mut(&mut self) -> Option<&mut Range> {
        range_of!(self)
    }

    /// The pages that it collapses, and whose they are, where that is what it is about.
    pub fn collapses(&self, actor: Actor) -> Option<(&Range, Actor)> {
        match self {
            Op::Advise(Advice::Collapse, range) | Op::Khugepaged(range) => Some((range, actor)),
            Op::CollapseOf(range, owner) => Some((range, *owner)),
            _ => None,
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Op::Write(range) => write!(f, "write {range}"),
            Op::Poke(range) => write!(f, "poke {range}"),
            Op::Read(range) => write!(f, "read {range}"),
            Op::Touch(range) => write!(f, "touch {range}"),
            Op::ReadBacking(range) => write!(f, "read backing {range}"),
            Op::WriteBacking(range) => write!(f, "write backing {range}"),
            Op::Probe(access, range) => write!(f, "probe {} {range}", word(&Access::WORDS, *access)),
            Op::Fork(child) => write!(f, "fork {child}"),
            Op::Exit => f.write_str("exit"),
            Op::Mprotect(range, prot) => write!(f, "mprotect {range} {}", word(&Prot::WORDS, *prot)),
            Op::Advise(advice, range) => write!(f, "{} {range}", word(&Advice::WORDS, *advice)),
            Op::CollapseOf(range, owner) => write!(f, "collapse {range} of {owner}"),
            Op::Khugepaged(range) => write!(f, "khugepaged {range}"),
            Op::Treat(treatment, range) => write!(f, "{} {range}", word(&Treatment::WORDS, *treatment)),
            Op::Reclaim => f.write_str("reclaim"),
            Op::Swapoff => f.write_str("swapoff"),
            Op::Ksm => f.write_str("ksm"),
            Op::Munmap(range) => write!(f, "munmap {range}"),
            Op::Mremap(range) => write!(f, "mremap {range}"),
            Op::ClearSoftDirty => f.write_str("clear-soft-dirty"),
            Op::Pin(kind, pin, range) => write!(f, "{} {pin} {range}", kind.words()),
            Op::ReadVia(pin) => write!(f, "read via {pin}"),
            Op::WriteVia(pin, range) => write!(f, "write via {pin} {range}"),
            Op::Unpin(pin) => write!(f, "unpin {pin}"),
            Op::Require(state, range) => write!(f, "require {} {range}", word(&State::WORDS, *state)),
            Op::Storm(range, rivals) => write!(f, "storm {range} {rivals}"),
        }
    }
}

/// One step: an actor and its operation, with an optional remark for the reader.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Step {
    /// Who.
    pub actor: Actor,
    /// What.
    pub op: Op,
    /// At once with the step before, not after it.
    pub at_once: bool,
    /// The comment behind the step, or empty.
    pub note: String,
}

impl Step {
    /// A step after the one before, without a remark.
    pub fn new(actor: Actor, op: Op) -> Step {
        Step { actor, op, at_once: false, note: String::new() }
    }
}

/// Steps that happen at once, together; most are alone.
pub fn groups(steps: &[Step]) -> impl Iterator<Item = &[Step]> {
    steps.chunk_by(|_, next| next.at_once)
}

/// Without the remark, and without a word of what it is at once with.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.actor, self.op)
    }
}
