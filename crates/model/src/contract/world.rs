//! What the rules allow, page by page, as a machine that is told each step.

use super::Origin;
use super::marks::Marks;
use super::pins::{PinCell, Pinned, first_of};
use super::sets::{SetId, Sets};
use crate::memory::Memory;
use crate::pages::{Range, Run, runs_of};
use crate::stamp::Writer;
use crate::step::{Access, Actor, Advice, Op, Pin, PinKind, Prot, Step};

/// One page as one actor sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cell {
    pub(super) set: SetId,
    pub(super) mapped: bool,
    pub(super) prot: Prot,
    /// A private copy (or anonymous from the start); otherwise the backing shows through.
    pub(super) own: bool,
    pub(super) marks: Marks,
    pub(super) dont_fork: bool,
    pub(super) wipe_on_fork: bool,
    /// Written since `clear-soft-dirty`: the soft-dirty bit must be set.
    pub(super) dirty: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Space {
    /// None once the actor has exited.
    pub(super) cells: Vec<Cell>,
    parent: Option<(Actor, u32)>,
    /// Did it, or who forked it before that, clear the soft-dirty bits? A new mapping counts as dirty as a whole, and
    /// what is in its page tables does not matter.
    cleared: bool,
    pub(super) alive: bool,
}

/// Everything the contract allows, at one point of a scenario.
#[derive(Debug, Clone)]
pub struct World {
    memory: Memory,
    pub(super) page_size: u32,
    pages: u32,
    pub(super) sets: Sets,
    backing: Vec<SetId>,
    /// By the actor's index.
    pub(super) spaces: Vec<Option<Space>>,
    /// By the pin's index.
    pub(super) pins: Vec<Option<Pinned>>,
    /// Has anything been pinned? What io_uring lets go of stays pinned for a while.
    was_pinned: bool,
}

impl World {
    /// Before the first step: A has mapped the memory and touched nothing.
    ///
    /// The memory must have passed [`crate::scenario::Scenario::validate`], which bounds its size.
    pub fn new(memory: Memory, page_size: u32) -> World {
        let pages = memory.pages(page_size);
        let mut sets = Sets::default();
        let initial = sets.only(match memory.kind.has_file() {
            true => Origin::Written(Writer::Initial),
            false => Origin::Zero,
        });
        let cell = Cell {
            set: initial,
            mapped: true,
            prot: Prot::Rw,
            own: !memory.kind.has_file(),
            marks: Marks::default(),
            dont_fork: false,
            wipe_on_fork: false,
            dirty: false,
        };
        let backing = if memory.kind.has_backing() { vec![initial; pages as usize] } else { vec![] };
        let mut spaces = vec![None; Actor::MAX];
        spaces[Actor::A.index()] =
            Some(Space { cells: vec![cell; pages as usize], parent: None, cleared: false, alive: true });
        World { memory, page_size, pages, sets, backing, spaces, pins: vec![None; Pin::MAX], was_pinned: false }
    }

    /// How many pages the memory has.
    pub fn pages(&self) -> u32 {
        self.pages
    }

    /// The memory.
    pub fn memory(&self) -> Memory {
        self.memory
    }

    /// The actors that are alive.
    pub fn alive(&self) -> impl Iterator<Item = Actor> {
        let all = (0..).map_while(Actor::new).zip(&self.spaces);
        all.filter(|(_, space)| space.as_ref().is_some_and(|space| space.alive)).map(|(actor, _)| actor)
    }

    /// Was this actor ever there? One that has exited keeps its name.
    pub fn was_forked(&self, actor: Actor) -> bool {
        self.space(actor).is_some()
    }

    pub(super) fn space(&self, actor: Actor) -> Option<&Space> {
        self.spaces[actor.index()].as_ref()
    }

    pub(super) fn cell(&self, actor: Actor, page: u32) -> Option<&Cell> {
        self.space(actor)?.cells.get(page as usize)
    }

    /// What is known of these pages, which there are.
    pub(super) fn cells(&self, actor: Actor, runs: &[Run]) -> impl Iterator<Item = (u32, &Cell)> {
        let all = self.space(actor).map_or(&[][..], |space| &space.cells);
        runs.iter().flat_map(|run| run.pages().zip(all.get(run.first as usize..).unwrap_or_default()))
    }

    fn cell_mut(&mut self, actor: Actor, page: u32) -> Option<&mut Cell> {
        self.spaces[actor.index()].as_mut()?.cells.get_mut(page as usize)
    }

    pub(super) fn held(&self, pin: Pin) -> Option<&Pinned> {
        self.pins[pin.index()].as_ref()
    }

    /// The pages of a range, as runs.
    pub fn runs(&self, range: &Range) -> Vec<Run> {
        range.runs(self.pages)
    }

    /// The pages that a pin holds, as runs, in the order it was asked for them. A pipe that was read
    /// holds none.
    pub fn pinned(&self, pin: Pin) -> Vec<Run> {
        self.held(pin).map_or(vec![], |pinned| pinned.runs.clone())
    }

    /// The kind of a pin and who took it.
    pub fn pin_owner(&self, pin: Pin) -> Option<(Actor, PinKind)> {
        self.held(pin).map(|pinned| (pinned.owner, pinned.kind))
    }

    /// Must the pin show the same as its owner's page `page` now?
    pub fn is_coherent(&self, pin: Pin, page: u32) -> bool {
        self.held(pin).is_some_and(|pinned| pinned.cell(page) == PinCell::Coherent)
    }

    /// The first of `actor`'s pages in `run` that a pin must be coherent with now, and those behind it, as far as the
    /// same pin goes.
    pub fn under_pin(&self, actor: Actor, run: Run) -> Option<(Run, Pin)> {
        let coherent = |(pin, pinned): (Pin, &Pinned)| {
            let cells = pinned.cells.get(..(run.end() as usize).min(pinned.cells.len()))?.get(run.first as usize..)?;
            let from = cells.iter().position(|cell| *cell == PinCell::Coherent)?;
            let count = cells[from..].iter().take_while(|cell| **cell == PinCell::Coherent).count();
            Some((Run { first: run.first + from as u32, count: count as u32 }, pin))
        };
        let held = (0..).map_while(Pin::new).filter_map(|pin| Some((pin, self.held(pin)?)));
        held.filter(|(_, pinned)| pinned.owner == actor).filter_map(coherent).min_by_key(|(run, _)| run.first)
    }

    /// What `actor` may see in its page `page`, in ascending order; `None` where it has none.
    pub fn allowed(&self, actor: Actor, page: u32) -> Option<&[Origin]> {
        self.allowed_id(actor, page).map(|set| self.sets.get(set))
    }

    /// The same as a number that is equal for equal sets, to compare many pages quickly.
    pub fn allowed_id(&self, actor: Actor, page: u32) -> Option<SetId> {
        self.cell(actor, page).filter(|cell| cell.mapped).map(|cell| cell.set)
    }

    /// What the backing may show in page `page`.
    pub fn backing_allowed_id(&self, page: u32) -> Option<SetId> {
        self.backing.get(page as usize).copied()
    }

    /// What may be seen in page `page` through `pin`.
    pub fn pin_allowed_id(&self, pin: Pin, page: u32) -> Option<SetId> {
        let pinned = self.held(pin)?;
        match pinned.cell(page) {
            PinCell::Absent => None,
            PinCell::Coherent => self.allowed_id(pinned.owner, page),
            PinCell::Loose { set, .. } => Some(set),
        }
    }

    /// The members of a set, in ascending order.
    pub fn origins(&self, set: SetId) -> &[Origin] {
        self.sets.get(set)
    }

    /// Must this access to this page by this actor be refused with a signal?
    pub fn must_fault(&self, actor: Actor, page: u32, access: Access) -> bool {
        let wanted = if access == Access::Write { Prot::Rw } else { Prot::Ro };
        let is_marked = self.is_guard(actor, page) || (access == Access::Write && self.is_write_protected(actor, page));
        is_marked || self.cell(actor, page).is_none_or(|cell| !cell.mapped || cell.prot < wanted)
    }

    /// Must the soft-dirty bit of this page be set? Unset is always a question, set never one: the
    /// kernel marks more than was written.
    pub fn must_be_soft_dirty(&self, actor: Actor, page: u32) -> bool {
        !self.memory.kind.is_hugetlb()
            && self.space(actor).is_some_and(|space| space.cleared)
            && self.cell(actor, page).is_some_and(|cell| cell.mapped && cell.dirty)
    }

    /// Would `observer` have written, or inherited by fork, what `writer` wrote in `step`?
    pub fn in_history(&self, observer: Actor, writer: Actor, step: u32) -> bool {
        if observer == writer {
            return true;
        }
        match self.parent(observer) {
            Some((parent, fork)) => step < fork && self.in_history(parent, writer, step),
            None => false,
        }
    }

    /// When `observer` was forked, and by whom.
    pub fn parent(&self, observer: Actor) -> Option<(Actor, u32)> {
        self.space(observer).and_then(|space| space.parent)
    }

    /// The fork after which `observer` no longer sees what `writer` writes.
    pub fn parted(&self, observer: Actor, writer: Actor) -> Option<u32> {
        // From an actor up to A: who, and the step in which the one below was forked off.
        let line = |from: Actor| {
            std::iter::successors(Some((from, None)), |(actor, _)| {
                self.parent(*actor).map(|(parent, fork)| (parent, Some(fork)))
            })
        };
        let (common, observers) = line(observer).find(|(actor, _)| line(writer).any(|(other, _)| other == *actor))?;
        let writers = line(writer).find(|(actor, _)| *actor == common).and_then(|(_, fork)| fork);
        // A writer that was forked off itself has been apart since then.
        writers.or(observers)
    }

    /// Did `actor` inherit this page under MADV_WIPEONFORK, and has not written it since?
    pub fn is_wiped(&self, actor: Actor, page: u32) -> bool {
        self.parent(actor).is_some()
            && self.cell(actor, page).is_some_and(|cell| cell.wipe_on_fork && self.origins(cell.set) == [Origin::Zero])
    }

    /// Pages that `actor` has mapped.
    pub fn mapped(&self, actor: Actor) -> Vec<Run> {
        runs_of((0..self.pages).filter(|page| self.cell(actor, *page).is_some_and(|cell| cell.mapped)))
    }

    /// Is the page anonymous: the actor's own, neither the file's nor the zero page? A page of zeroes
    /// may be the latter.
    fn is_own(&self, actor: Actor, page: u32) -> bool {
        self.cell(actor, page)
            .is_some_and(|cell| cell.mapped && cell.own && self.origins(cell.set).first() != Some(&Origin::Zero))
    }

    /// A page whose content was open between old and gone (MADV_FREE) has been seen to be gone: it
    /// cannot come back.
    pub fn seen_zero(&mut self, actor: Actor, page: u32) {
        let zero = self.sets.only(Origin::Zero);
        if let Some(cell) = self.cell_mut(actor, page).filter(|cell| cell.own) {
            cell.set = zero;
        }
    }

    /// May the words of a page that may hold any of this set be of different members?
    pub fn is_mixed(&self, set: SetId) -> bool {
        self.sets.is_mixed(set)
    }

    /// A page of which steps at once had left open what it holds was seen to hold this.
    pub fn seen_whole(&mut self, actor: Actor, page: u32, origin: Origin) {
        let set = self.allowed_id(actor, page).filter(|set| self.sets.is_decided(*set));
        let only = set.map(|_| self.sets.only(origin));
        if let (Some(cell), Some(only)) = (self.cell_mut(actor, page), only) {
            cell.set = only;
        }
    }

    /// A store that left the content as it was (`probe write`) did not fault: the page is a private
    /// copy now, and soft-dirty.
    pub fn stored(&mut self, actor: Actor, page: u32) {
        if let Some(cell) = self.cell_mut(actor, page) {
            cell.own = true;
            cell.dirty = true;
            cell.marks.unprotected();
        }
    }

    /// Step `number` has been done. For a pin, `transferred` is how many pages it really took, where
    /// that is fewer than asked for.
    pub fn apply(&mut self, number: u32, step: &Step, transferred: Option<u32>) {
        let actor = step.actor;
        let runs = step.op.range().map_or(vec![], |range| self.runs(range));
        let writer = Origin::Written(Writer::Step(actor, number));
        match &step.op {
            Op::Write(_) | Op::Storm(..) => {
                let written = self.sets.only(writer);
                self.each(actor, &runs, |cell| {
                    cell.set = written;
                    cell.own = true;
                    cell.dirty = true;
                });
                self.may_show(actor, &runs, written);
            }
            Op::Poke(_) => {
                let written = self.sets.only(writer);
                // The soft-dirty bit need not follow: it was not the process that wrote.
                self.each(actor, &runs, |cell| {
                    cell.set = written;
                    cell.own = true;
                });
                self.may_show(actor, &runs, written);
            }
            Op::WriteBacking(_) => {
                let written = self.sets.only(writer);
                self.write_backing(&runs, written);
            }
            Op::WriteVia(pin, _) => {
                let written = self.sets.only(writer);
                self.write_via(actor, *pin, &runs, written);
            }
            Op::Fork(child) => self.fork(number, actor, *child),
            Op::Exit => {
                self.detach_pins(actor, &[Run { first: 0, count: self.pages }], false);
                if let Some(space) = &mut self.spaces[actor.index()] {
                    space.alive = false;
                    space.cells = vec![];
                }
            }
            Op::Mprotect(_, prot) => self.each(actor, &runs, |cell| cell.prot = *prot),
            Op::Munmap(_) => {
                self.detach_pins(actor, &runs, false);
                self.each(actor, &runs, |cell| cell.mapped = false);
            }
            Op::Advise(advice, _) => self.advise(actor, *advice, &runs),
            Op::Treat(treatment, _) => self.treat(actor, *treatment, &runs),
            // A userfaultfd that wants no event of it loses what is moved (ioctl_userfaultfd(2)).
            Op::Mremap(_) => self.each(actor, &runs, |cell| cell.marks.unprotected()),
            Op::ClearSoftDirty => {
                let all = [Run { first: 0, count: self.pages }];
                self.each(actor, &all, |cell| cell.dirty = false);
                // What is pinned stays writable, so writes to it may not be seen, and a folio is pinned as a whole. "The whole
                // 'track page soft dirty' state doesn't work with pinned pages anyway" (9348b73c2e1b).
                let is_tracked = !self.was_pinned;
                if let Some(space) = &mut self.spaces[actor.index()] {
                    space.cleared = is_tracked;
                }
            }
            Op::Pin(kind, pin, _) => {
                self.was_pinned |= *kind != PinKind::Splice;
                self.pin(actor, *kind, *pin, &first_of(&runs, transferred));
            }
            Op::ReadVia(pin) => self.drain(*pin),
            Op::Unpin(pin) => self.pins[pin.index()] = None,
            Op::Read(_) | Op::Touch(_) | Op::ReadBacking(_) | Op::Probe(..) | Op::Ksm | Op::Require(..) => {}
            // They change no content.
            Op::CollapseOf(..) | Op::Khugepaged(_) | Op::Reclaim | Op::Swapoff => {}
        }
    }

    pub(super) fn each(&mut self, actor: Actor, runs: &[Run], change: impl Fn(&mut Cell)) {
        let Some(space) = &mut self.spaces[actor.index()] else { return };
        for run in runs {
            let end = (run.end() as usize).min(space.cells.len());
            space.cells[(run.first as usize).min(end)..end].iter_mut().for_each(&change);
        }
    }

    fn write_backing(&mut self, runs: &[Run], written: SetId) {
        let World { backing, spaces, pins, sets, .. } = self;
        let pages = || runs.iter().flat_map(|run| run.pages());
        for page in pages() {
            if let Some(set) = backing.get_mut(page as usize) {
                *set = written;
            }
        }
        // mmap(2): whether a private mapping shows later changes of the file is unspecified.
        for space in spaces.iter_mut().flatten() {
            for page in pages() {
                if let Some(cell) = space.cells.get_mut(page as usize).filter(|cell| !cell.own) {
                    cell.set = sets.with(cell.set, written);
                }
            }
        }
        for pinned in pins.iter_mut().flatten() {
            for (_, cell) in pinned.cells_mut(runs) {
                if let PinCell::Loose { backed: true, .. } = cell {
                    *cell = cell.joined(|set| sets.with(set, written));
                }
            }
        }
    }

    fn write_via(&mut self, actor: Actor, pin: Pin, runs: &[Run], written: SetId) {
        for page in runs.iter().flat_map(|run| run.pages()) {
            let run = [Run { first: page, count: 1 }];
            match self.held(pin).map_or(PinCell::Absent, |pinned| pinned.cell(page)) {
                PinCell::Absent => {}
                PinCell::Coherent => {
                    // The soft-dirty bit follows page table writes only.
                    self.each(actor, &run, |cell| {
                        cell.set = written;
                        cell.own = true;
                    });
                    self.may_show(actor, &run, written);
                }
                PinCell::Loose { follows, backed, .. } => {
                    self.write_loose(actor, pin, page, PinCell::Loose { set: written, follows, backed });
                }
            }
        }
    }

    /// Writes through a pin that may no longer hold its owner's page. Whatever else of the owner's
    /// left the page tables may be the same page still.
    fn write_loose(&mut self, owner: Actor, pin: Pin, page: u32, now: PinCell) {
        let PinCell::Loose { set: written, follows, .. } = now else { return };
        let World { pins, spaces, sets, .. } = self;
        for (index, pinned) in pins.iter_mut().enumerate() {
            let Some(pinned) = pinned.as_mut().filter(|pinned| pinned.owner == owner) else { continue };
            let Some(cell) = pinned.cells.get_mut(page as usize) else { continue };
            *cell = if index == pin.index() { now } else { cell.joined(|set| sets.with(set, written)) };
        }
        let space = spaces[owner.index()].as_mut().filter(|_| follows);
        if let Some(cell) = space.and_then(|space| space.cells.get_mut(page as usize)) {
            cell.set = sets.with(cell.set, written);
        }
    }

    fn fork(&mut self, number: u32, actor: Actor, child: Actor) {
        let zero = self.sets.only(Origin::Zero);
        let Some(mut space) = self.space(actor).cloned() else { return };
        for cell in &mut space.cells {
            cell.marks.inherited(cell.wipe_on_fork);
            if cell.dont_fork {
                cell.mapped = false;
            }
            if cell.wipe_on_fork {
                cell.set = zero;
                cell.dirty = false;
            }
        }
        space.parent = Some((actor, number));
        self.spaces[child.index()] = Some(space);
    }

    fn advise(&mut self, actor: Actor, advice: Advice, runs: &[Run]) {
        match advice {
            Advice::DontFork => self.each(actor, runs, |cell| cell.dont_fork = true),
            Advice::DoFork => self.each(actor, runs, |cell| cell.dont_fork = false),
            Advice::WipeOnFork => self.each(actor, runs, |cell| cell.wipe_on_fork = true),
            Advice::DontNeed | Advice::Free => self.discard(actor, runs, advice == Advice::Free),
            Advice::Guard => {
                self.discard(actor, runs, false);
                self.each(actor, runs, |cell| cell.marks.set(Marks::GUARD));
            }
            Advice::Unguard => self.each(actor, runs, |cell| cell.marks.clear(Marks::GUARD)),
            Advice::HugePage | Advice::NoHugePage | Advice::PageOut | Advice::Collapse | Advice::Mergeable => {}
        }
    }

    /// `perhaps`: the kernel may take the pages later, or never.
    fn discard(&mut self, actor: Actor, runs: &[Run], perhaps: bool) {
        self.detach_pins(actor, runs, perhaps);
        let zero = self.sets.only(Origin::Zero);
        let file = self.memory.kind.has_file();
        let World { spaces, backing, sets, .. } = self;
        let Some(space) = &mut spaces[actor.index()] else { return };
        for page in runs.iter().flat_map(|run| run.pages()) {
            let Some(cell) = space.cells.get_mut(page as usize) else { continue };
            let hole = backing.get(page as usize).filter(|_| file).copied().unwrap_or(zero);
            cell.set = if perhaps { sets.with(cell.set, hole) } else { hole };
            cell.own = !file;
            cell.dirty = false;
            cell.marks.discarded();
        }
    }

    fn pin(&mut self, owner: Actor, kind: PinKind, pin: Pin, runs: &[Run]) {
        if kind.writes() {
            // FOLL_WRITE breaks COW: the pages are the owner's own from now on.
            self.each(owner, runs, |cell| cell.own = true);
        }
        let end = runs.last().map_or(0, |run| run.end());
        let mut cells = vec![PinCell::Absent; end as usize];
        for page in runs.iter().flat_map(|run| run.pages()) {
            let Some(cell) = self.cell(owner, page) else { continue };
            // FOLL_PIN never shares an anonymous page, however short the pin is meant to be (gup_must_unshare() in the
            // kernel's mm/internal.h). What may be a page of a file or the zero page is unshared for FOLL_LONGTERM only.
            let stays = kind.breaks_sharing() || (kind != PinKind::Splice && self.is_own(owner, page));
            cells[page as usize] = match stays {
                true => PinCell::Coherent,
                false => PinCell::Loose { set: cell.set, follows: true, backed: !cell.own },
            };
        }
        self.pins[pin.index()] = Some(Pinned { owner, kind, runs: runs.to_vec(), cells });
    }

    /// A pipe that was read is empty; any other pin keeps its pages.
    pub(super) fn drain(&mut self, pin: Pin) {
        let pinned = self.pins[pin.index()].as_mut();
        if let Some(pinned) = pinned.filter(|pinned| pinned.kind == PinKind::Splice) {
            pinned.runs.clear();
            pinned.cells.clear();
        }
    }

    /// `owner` wrote: pins that follow it may show that, too.
    fn may_show(&mut self, owner: Actor, runs: &[Run], written: SetId) {
        let World { pins, sets, .. } = self;
        for pinned in pins.iter_mut().flatten().filter(|pinned| pinned.owner == owner) {
            for (_, cell) in pinned.cells_mut(runs) {
                if let PinCell::Loose { follows: true, .. } = cell {
                    *cell = cell.joined(|set| sets.with(set, written));
                }
            }
        }
    }

    /// `owner` gave the pages up: its pins keep what they have. `perhaps`: it may still have them.
    fn detach_pins(&mut self, owner: Actor, runs: &[Run], perhaps: bool) {
        let World { pins, spaces, .. } = self;
        let Some(space) = &spaces[owner.index()] else { return };
        for pinned in pins.iter_mut().flatten().filter(|pinned| pinned.owner == owner) {
            for (page, cell) in pinned.cells_mut(runs) {
                let Some(owners) = space.cells.get(page as usize) else { continue };
                *cell = match *cell {
                    PinCell::Absent => PinCell::Absent,
                    PinCell::Coherent => PinCell::Loose { set: owners.set, follows: perhaps, backed: !owners.own },
                    PinCell::Loose { set, follows, backed } => {
                        PinCell::Loose { set, follows: follows && perhaps, backed }
                    }
                };
            }
        }
    }
}
