//! What an actor asked of its pages besides content and protection: userfaultfd write protection, guard pages, locks.

use super::Origin;
use super::world::{Cell, World};
use crate::pages::Run;
use crate::step::{Access, Actor, Prot, Treatment};

/// The marks of one page, as its owner set them. One byte: there is one for every page of every actor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Marks(u8);

impl Marks {
    /// MADV_GUARD_INSTALL.
    pub(super) const GUARD: Marks = Marks(1);
    /// mlock(2).
    pub(super) const LOCKED: Marks = Marks(2);
    /// Write-protected by userfaultfd.
    pub(super) const PROTECTED: Marks = Marks(4);
    /// The same, if there was a page: the kernel keeps no mark where there was none, or keeps it
    /// (UFFD_FEATURE_WP_UNPOPULATED; memory of files).
    pub(super) const PERHAPS_PROTECTED: Marks = Marks(8);
    /// Has been write-protected at any time, by whomever it is inherited from.
    pub(super) const ONCE_PROTECTED: Marks = Marks(16);

    pub(super) fn has(self, mark: Marks) -> bool {
        self.0 & mark.0 != 0
    }

    pub(super) fn set(&mut self, mark: Marks) {
        self.0 |= mark.0;
    }

    pub(super) fn clear(&mut self, mark: Marks) {
        self.0 &= !mark.0;
    }

    /// The page is gone or may be: with it its write protection, and where it is not known, nothing is.
    pub(super) fn discarded(&mut self) {
        if self.has(Marks::PROTECTED) {
            self.clear(Marks::PROTECTED);
            self.set(Marks::PERHAPS_PROTECTED);
        }
    }

    /// Nothing is left of the write protection.
    pub(super) fn unprotected(&mut self) {
        self.clear(Marks::PROTECTED);
        self.clear(Marks::PERHAPS_PROTECTED);
    }

    /// As a child has them: locks are not inherited (mlock(2)), nor is a userfaultfd that wants no event of the fork
    /// (ioctl_userfaultfd(2)). Guard pages are, save under MADV_WIPEONFORK (madvise(2)).
    pub(super) fn inherited(&mut self, wiped: bool) {
        self.clear(Marks::LOCKED);
        self.unprotected();
        if wiped {
            self.clear(Marks::GUARD);
        }
    }
}

impl World {
    fn has_mark(&self, actor: Actor, page: u32, mark: Marks) -> bool {
        self.cell(actor, page).is_some_and(|cell| cell.mapped && cell.marks.has(mark))
    }

    /// The first of the pages that has one of the marks.
    pub(super) fn marked(&self, actor: Actor, runs: &[Run], marks: &[Marks]) -> Option<u32> {
        let has = |cell: &Cell| cell.mapped && marks.iter().any(|mark| cell.marks.has(*mark));
        self.cells(actor, runs).find(|(_, cell)| has(cell)).map(|(page, _)| page)
    }

    /// Is it a guard page?
    pub fn is_guard(&self, actor: Actor, page: u32) -> bool {
        self.has_mark(actor, page, Marks::GUARD)
    }

    /// Is it locked?
    pub fn is_locked(&self, actor: Actor, page: u32) -> bool {
        self.has_mark(actor, page, Marks::LOCKED)
    }

    /// Must a write give SIGBUS, whatever the protection of the mapping?
    pub fn is_write_protected(&self, actor: Actor, page: u32) -> bool {
        self.has_mark(actor, page, Marks::PROTECTED)
    }

    /// Has it, or what it was inherited from, ever been write-protected by userfaultfd?
    pub fn was_write_protected(&self, actor: Actor, page: u32) -> bool {
        self.has_mark(actor, page, Marks::ONCE_PROTECTED)
    }

    /// May this access give a signal or not, as the kernel likes?
    pub fn may_fault(&self, actor: Actor, page: u32, access: Access) -> bool {
        access == Access::Write && self.has_mark(actor, page, Marks::PERHAPS_PROTECTED)
    }

    pub(super) fn treat(&mut self, actor: Actor, treatment: Treatment, runs: &[Run]) {
        match treatment {
            Treatment::UffdWp => self.protect(actor, runs),
            Treatment::UffdUnwp => self.each(actor, runs, |cell| cell.marks.unprotected()),
            Treatment::Mlock => self.each(actor, runs, |cell| {
                cell.marks.set(Marks::LOCKED);
                // The pages are brought in by write faults where they may be written.
                cell.own |= cell.prot == Prot::Rw;
            }),
            Treatment::Munlock => self.each(actor, runs, |cell| cell.marks.clear(Marks::LOCKED)),
            Treatment::Split | Treatment::Migrate => {}
        }
    }

    fn protect(&mut self, actor: Actor, runs: &[Run]) {
        for page in runs.iter().flat_map(|run| run.pages()) {
            let Some(cell) = self.cell(actor, page) else { continue };
            // What may be zeroes may be missing, unless a store brought it in.
            let is_filled = !self.origins(cell.set).contains(&Origin::Zero) || cell.dirty;
            let is_there = cell.own && !cell.marks.has(Marks::GUARD) && is_filled;
            let one = [Run { first: page, count: 1 }];
            self.each(actor, &one, |cell| {
                cell.marks.set(Marks::ONCE_PROTECTED);
                cell.marks.set(if is_there { Marks::PROTECTED } else { Marks::PERHAPS_PROTECTED });
            });
        }
    }
}
