//! How many hugetlb pages a scenario takes.
//!
//! Unlike other memory, hugetlb pages come from a pool of fixed size, and a process that needs a copy
//! when the pool is empty gets SIGBUS, or takes the page away from its child. So a check must know in
//! advance. The rule, for each piece of the memory:
//!
//! - the mapping of A has a page from the start (it is reserved by mmap); the file behind it, too
//! - a write takes a page if the piece is shared with another actor, held by a pipe, of the file, or
//!   not there; so does a read or touch of anonymous memory that is not there
//! - a long-term pin, read-only or not, takes a page where a write would: it unshares
//! - fork takes a page for the child if the parent has a long-term pin on it
//! - a page is given back when nobody maps it and no pin or pipe holds it; a pipe outlives its maker
//!
//! The need is the most that is taken at any time. Where a kernel may reuse or copy, a copy is
//! assumed.

use std::collections::{BTreeMap, BTreeSet};

use cowcheck_model::pages::Range;
use cowcheck_model::scenario::Scenario;
use cowcheck_model::step::{Actor, Advice, Op, Pin, PinKind, Step};

/// A page of the pool, by a number of ours.
type Copy = u32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mapped {
    Own(Copy),
    File,
    Nothing,
}

#[derive(Debug, Clone, Copy)]
struct Hold {
    pin: Pin,
    kind: PinKind,
    owner: Actor,
    copy: Copy,
}

/// One piece of the memory.
#[derive(Debug, Default)]
struct Piece {
    by: BTreeMap<Actor, Mapped>,
    holds: Vec<Hold>,
    file: bool,
    /// A's page of a file mapping, reserved and not used yet.
    reserved: bool,
    dont_fork: bool,
    wipe_on_fork: bool,
    copies: Copy,
}

/// The most pages of the pool that are taken at any time.
pub fn pages_taken(scenario: &Scenario, page_size: u32) -> u64 {
    let memory = scenario.memory;
    let file = memory.kind.has_file();
    let mut pieces: Vec<Piece> = (0..memory.count).map(|_| Piece::new(file)).collect();
    let per_piece = (memory.size / u64::from(page_size.max(1))).max(1);
    let touched = |range: &Range| -> BTreeSet<usize> {
        let runs = range.runs(memory.pages(page_size));
        let piece = |page: u32| (u64::from(page) / per_piece) as usize;
        runs.iter().filter(|run| run.count > 0).flat_map(|run| piece(run.first)..=piece(run.end() - 1)).collect()
    };
    let total = |pieces: &[Piece]| pieces.iter().map(Piece::taken).sum::<u64>();
    let mut most = total(&pieces);
    for step in &scenario.steps {
        match step.op.range() {
            Some(range) => {
                for index in touched(range) {
                    if let Some(piece) = pieces.get_mut(index) {
                        piece.apply(step);
                    }
                }
            }
            None => pieces.iter_mut().for_each(|piece| piece.apply(step)),
        }
        most = most.max(total(&pieces));
    }
    most
}

impl Piece {
    fn new(file: bool) -> Piece {
        let mapped = if file { Mapped::File } else { Mapped::Own(0) };
        Piece { by: BTreeMap::from([(Actor::A, mapped)]), file, reserved: file, copies: 1, ..Piece::default() }
    }

    fn taken(&self) -> u64 {
        let mapped = self.by.values().filter_map(|mapped| match mapped {
            Mapped::Own(copy) => Some(*copy),
            Mapped::File | Mapped::Nothing => None,
        });
        let copies: BTreeSet<Copy> = mapped.chain(self.holds.iter().map(|hold| hold.copy)).collect();
        copies.len() as u64 + u64::from(self.file) + u64::from(self.reserved)
    }

    fn apply(&mut self, step: &Step) {
        let actor = step.actor;
        match &step.op {
            // A storm is not for hugetlb memory.
            Op::Write(_) | Op::Storm(..) | Op::Probe(..) => {
                self.own(actor);
            }
            Op::Read(_) | Op::Touch(_) => self.look(actor),
            Op::Fork(child) => self.fork(actor, *child),
            Op::Exit => {
                self.by.remove(&actor);
                self.holds.retain(|hold| hold.owner != actor || hold.kind == PinKind::Splice);
                self.reserved &= actor != Actor::A;
            }
            Op::Advise(Advice::DontNeed, _) => {
                self.by.insert(actor, Mapped::Nothing);
            }
            Op::Munmap(_) => {
                self.by.insert(actor, Mapped::Nothing);
                self.reserved &= actor != Actor::A;
            }
            // Whose fork it concerns is not told apart: without it a page more is taken, never less.
            Op::Advise(Advice::DontFork, _) if actor == Actor::A => self.dont_fork = true,
            Op::Advise(Advice::DoFork, _) => self.dont_fork = false,
            Op::Advise(Advice::WipeOnFork, _) if actor == Actor::A => self.wipe_on_fork = true,
            Op::Pin(kind, pin, _) => self.pin(actor, *kind, *pin),
            Op::Unpin(pin) => self.holds.retain(|hold| hold.pin != *pin),
            // Nor is a forced write.
            Op::Poke(_)
            | Op::ReadBacking(_)
            | Op::WriteBacking(_)
            | Op::Mprotect(..)
            | Op::Advise(..)
            | Op::CollapseOf(..)
            | Op::Khugepaged(_)
            | Op::Treat(..)
            | Op::Reclaim
            | Op::Swapoff
            | Op::Ksm
            | Op::Mremap(_)
            | Op::ClearSoftDirty
            | Op::ReadVia(_)
            | Op::WriteVia(..)
            | Op::Require(..) => {}
        }
    }

    fn mapped(&self, actor: Actor) -> Mapped {
        self.by.get(&actor).copied().unwrap_or(Mapped::Nothing)
    }

    /// A page that this actor may write to.
    fn own(&mut self, actor: Actor) -> Copy {
        if let Mapped::Own(copy) = self.mapped(actor) {
            let is_shared = self.by.iter().any(|(other, mapped)| *other != actor && *mapped == Mapped::Own(copy));
            let is_in_pipe = self.holds.iter().any(|hold| hold.copy == copy && hold.kind == PinKind::Splice);
            if !is_shared && !is_in_pipe {
                return copy;
            }
        }
        let copy = self.copies;
        self.copies += 1;
        self.by.insert(actor, Mapped::Own(copy));
        self.reserved &= actor != Actor::A;
        copy
    }

    fn look(&mut self, actor: Actor) {
        if self.mapped(actor) == Mapped::Nothing {
            if self.file {
                self.by.insert(actor, Mapped::File);
            } else {
                self.own(actor);
            }
        }
    }

    fn fork(&mut self, parent: Actor, child: Actor) {
        let mapped = match self.mapped(parent) {
            _ if self.dont_fork || self.wipe_on_fork => Mapped::Nothing,
            Mapped::Own(copy) if self.holds.iter().any(|hold| hold.copy == copy && hold.kind != PinKind::Splice) => {
                self.copies += 1;
                Mapped::Own(self.copies - 1)
            }
            mapped => mapped,
        };
        self.by.insert(child, mapped);
    }

    fn pin(&mut self, owner: Actor, kind: PinKind, pin: Pin) {
        if !kind.breaks_sharing() {
            self.look(owner);
        }
        let copy = match self.mapped(owner) {
            Mapped::Own(copy) if kind == PinKind::Splice => copy,
            Mapped::File | Mapped::Nothing if !kind.breaks_sharing() => return,
            _ => self.own(owner),
        };
        self.holds.push(Hold { pin, kind, owner, copy });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_pin_takes_a_page_of_its_own_where_there_is_an_anonymous_one() {
        let text = |pin| format!("memory memfd-hugetlb 2M; A touch all; {pin}; A read all");
        assert_eq!(taken(&text("A pin short ro p0 all")), taken(&text("A read all")));
        assert_eq!(taken(&text("A pin short rw p0 all")), taken(&text("A pin ro p0 all")));
        let text = |pin| format!("memory hugetlb 2M; A write all; A fork B; {pin}; B read all");
        assert_eq!(taken(&text("A pin short ro p0 all")), 2);
        assert_eq!(taken(&text("A splice p0 all")), 1);
    }

    fn taken(text: &str) -> u64 {
        let text = text.replace("; ", "\n");
        let scenario: Scenario =
            cowcheck_model::text::parse(&format!("{}\n{text}\n", cowcheck_model::text::HEADER)).unwrap();
        pages_taken(&scenario, 4096)
    }

    #[test]
    fn a_page_for_every_actor_that_writes() {
        assert_eq!(taken("memory hugetlb 2M; A write all"), 1);
        assert_eq!(taken("memory hugetlb 2M; A write all; A fork B; B read all"), 1);
        assert_eq!(taken("memory hugetlb 2M; A write all; A fork B; A write all; B write all"), 2);
        assert_eq!(
            taken("memory hugetlb 2M; A write all; A fork B; B fork C; A write all; B write all; C read all"),
            3
        );
        assert_eq!(taken("memory hugetlb 2M x3; A write all; A fork B; B write pages 0-511"), 4);
    }

    #[test]
    fn a_pin_unshares_and_makes_fork_copy() {
        assert_eq!(taken("memory hugetlb 2M; A write all; A pin rw p0 all; A fork B"), 2);
        assert_eq!(taken("memory hugetlb 2M; A write all; A fork B; A pin ro p0 all; A write all"), 2);
        assert_eq!(taken("memory hugetlb 2M; A write all; A pin rw p0 all; A dontneed all; A write all"), 2);
    }

    #[test]
    fn a_pipe_keeps_what_its_maker_has_left() {
        assert_eq!(taken("memory hugetlb 2M; A write all; A fork B; B splice p0 all; B munmap all; A write all"), 2);
        assert_eq!(taken("memory hugetlb 2M; A write all; A splice p0 all; A fork B; B exit; A write all"), 2);
    }

    #[test]
    fn the_file_has_pages_of_its_own() {
        assert_eq!(taken("memory memfd-hugetlb 2M; A read all"), 2);
        assert_eq!(taken("memory memfd-hugetlb 2M; A write all; A fork B; B write all"), 3);
        assert_eq!(taken("memory memfd-hugetlb 2M; A pin ro p0 all; A write all"), 2);
    }
}
