//! The contract of copy-on-write.
//!
//! | rule | what a kernel promises |
//! |---|---|
//! | isolation | What an actor writes after a fork is never seen by another actor, nor through another actor's pins or pipes. |
//! | pin coherence | A long-term pin and the page tables of its owner show the same memory, in both directions, until the owner unmaps or discards the range. After that the pin keeps its last content. |
//! | integrity | No page loses its content, gets another page's content, or shows old content. |
//! | markers | Protection bits, soft-dirty, MADV_DONTFORK and MADV_WIPEONFORK keep their meaning. |
//! | exclusivity | A page marked exclusive is mapped by one process only; a writable anonymous page is exclusive; so is a long-term pinned one. |
//! | nothing left behind | After the family is gone no page is lost and the kernel log has no new warning. |
//!
//! The [`World`] here is what the first four rules look like as a machine: it is told each step and
//! knows, for each page as each actor sees it, the *set* of contents that the rules allow. Where the
//! kernel may choose, the set has more than one member; a copy where a reuse was possible is never
//! told from a reuse.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use crate::memory::{Memory, MemoryKind};
use crate::pages::{Run, runs_of};
use crate::stamp::Writer;
use crate::step::{Access, Actor, Advice, Op, Pin, PinKind, Prot, Step};

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
                "a long-term pin and the page tables of its owner show the same memory until the owner unmaps or discards it"
            }
            Rule::Integrity => "no page loses its content, gets another page's content, or shows old content",
            Rule::Markers => "protection bits, soft-dirty, MADV_DONTFORK and MADV_WIPEONFORK keep their meaning",
            Rule::Exclusivity => {
                "a page marked exclusive is mapped by one process only, and writable or long-term pinned anonymous pages are exclusive"
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

/// A set of origins, by its number in [`Sets`]: pages come in hundreds of thousands, different sets
/// in dozens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SetId(u32);

#[derive(Debug, Clone, Default)]
struct Sets {
    table: Vec<Vec<Origin>>,
    known: HashMap<Vec<Origin>, SetId>,
}

impl Sets {
    fn id(&mut self, mut set: Vec<Origin>) -> SetId {
        set.sort_unstable();
        set.dedup();
        if let Some(id) = self.known.get(&set) {
            return *id;
        }
        let id = SetId(self.table.len() as u32);
        self.table.push(set.clone());
        self.known.insert(set, id);
        id
    }

    fn with(&mut self, set: SetId, other: SetId) -> SetId {
        if set == other {
            return set;
        }
        let mut both = self.get(set).to_vec();
        both.extend_from_slice(&self.table[other.0 as usize]);
        self.id(both)
    }

    fn get(&self, set: SetId) -> &[Origin] {
        &self.table[set.0 as usize]
    }
}

/// One page as one actor sees it.
#[derive(Debug, Clone, Copy)]
struct Cell {
    set: SetId,
    mapped: bool,
    prot: Prot,
    /// A private copy (or anonymous from the start); otherwise the backing shows through.
    own: bool,
    dont_fork: bool,
    wipe_on_fork: bool,
    /// Written since `clear-soft-dirty`: the soft-dirty bit must be set.
    dirty: bool,
}

#[derive(Debug, Clone)]
struct Space {
    cells: Vec<Cell>,
    parent: Option<(Actor, u32)>,
    alive: bool,
}

/// One page as a pin shows it.
#[derive(Debug, Clone, Copy)]
enum PinCell {
    /// The same as the owner's page.
    Coherent,
    /// One of a set; while `follows`, what the owner writes joins it.
    Loose { set: SetId, follows: bool },
}

#[derive(Debug, Clone)]
struct Pinned {
    owner: Actor,
    kind: PinKind,
    runs: Vec<Run>,
    cells: BTreeMap<u32, PinRun>,
}

/// Pages that behave alike, keyed by the first: a pin over 1 GiB stays small.
#[derive(Debug, Clone, Copy)]
struct PinRun {
    count: u32,
    cell: PinCell,
}

/// Everything the contract allows, at one point of a scenario.
#[derive(Debug, Clone)]
pub struct World {
    memory: Memory,
    page_size: u32,
    pages: u32,
    sets: Sets,
    backing: Vec<SetId>,
    spaces: BTreeMap<Actor, Space>,
    pins: BTreeMap<Pin, Pinned>,
}

impl World {
    /// Before the first step: A has mapped the memory and touched nothing.
    pub fn new(memory: Memory, page_size: u32) -> World {
        let pages = memory.pages(page_size);
        let mut sets = Sets::default();
        let initial = match memory.kind.has_file() {
            true => sets.id(vec![Origin::Written(Writer::Initial)]),
            false => sets.id(vec![Origin::Zero]),
        };
        let cell = Cell {
            set: initial,
            mapped: true,
            prot: Prot::Rw,
            own: !memory.kind.has_file(),
            dont_fork: false,
            wipe_on_fork: false,
            dirty: false,
        };
        let space = Space { cells: vec![cell; pages as usize], parent: None, alive: true };
        let backing = if memory.kind.has_backing() { vec![initial; pages as usize] } else { vec![] };
        World {
            memory,
            page_size,
            pages,
            sets,
            backing,
            spaces: BTreeMap::from([(Actor::A, space)]),
            pins: BTreeMap::new(),
        }
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
        self.spaces.iter().filter(|(_, space)| space.alive).map(|(actor, _)| *actor)
    }

    /// Can this step be done by that actor on those pages? The error says what would be right.
    pub fn check(&self, step: &Step) -> Result<(), String> {
        let actor = step.actor;
        let Some(space) = self.spaces.get(&actor) else {
            return Err(format!("a step by an actor that is alive: {actor} has not been forked"));
        };
        if !space.alive {
            return Err(format!("a step by an actor that is alive: {actor} has exited"));
        }
        if let Some(range) = step.op.range() {
            self.check_range(&step.op, range.runs(self.pages))?;
        }
        match &step.op {
            Op::Fork(child) if self.spaces.contains_key(child) => {
                Err(format!("the name of a new actor: {child} exists already"))
            }
            Op::Exit if actor == Actor::A => Err("a step by another actor: A is the last to exit, by itself".into()),
            Op::ReadBacking(_) | Op::WriteBacking(_) if self.backing.is_empty() => Err(format!(
                "memory with a backing (zero, huge-zero, memfd, tmpfile, memfd-hugetlb), not {}",
                self.memory
            )),
            Op::WriteBacking(_) if !self.memory.kind.has_file() => {
                Err(format!("memory with a file (memfd, tmpfile, memfd-hugetlb), not {}", self.memory))
            }
            Op::Advise(Advice::Free | Advice::WipeOnFork, _) if self.memory.kind.has_file() => {
                Err(format!("anonymous memory: the kernel refuses this advice on {}", self.memory))
            }
            Op::Pin(_, pin, _) if self.pins.contains_key(pin) => {
                Err(format!("the name of a new pin: {pin} exists already"))
            }
            Op::ReadVia(pin) | Op::WriteVia(pin, _) | Op::Unpin(pin) => self.check_pin(actor, *pin, &step.op),
            Op::Write(range) | Op::Pin(PinKind::ReadWrite, _, range) => {
                self.check_prot(actor, range.runs(self.pages), Prot::Rw)
            }
            Op::Read(range) | Op::Touch(range) | Op::Pin(_, _, range) => {
                self.check_prot(actor, range.runs(self.pages), Prot::Ro)
            }
            Op::Mprotect(range, _)
            | Op::Advise(_, range)
            | Op::Munmap(range)
            | Op::Mremap(range)
            | Op::Require(_, range) => self.check_prot(actor, range.runs(self.pages), Prot::None),
            _ => Ok(()),
        }
    }

    fn check_range(&self, op: &Op, runs: Vec<Run>) -> Result<(), String> {
        let Some(last) = runs.last() else { return Err("at least one page: the range is empty".into()) };
        if last.end() > self.pages {
            return Err(format!("pages below {}: the memory has {} pages", self.pages, self.pages));
        }
        let maps = matches!(op, Op::Mprotect(..) | Op::Advise(..) | Op::Munmap(_) | Op::Mremap(_));
        let huge = (self.memory.size / u64::from(self.page_size)) as u32;
        if maps
            && self.memory.kind.is_hugetlb()
            && runs.iter().any(|run| run.first % huge != 0 || run.count % huge != 0)
        {
            return Err(format!("whole hugetlb pages: multiples of {huge} pages"));
        }
        Ok(())
    }

    fn check_prot(&self, actor: Actor, runs: Vec<Run>, wanted: Prot) -> Result<(), String> {
        let Some(space) = self.spaces.get(&actor) else { return Ok(()) };
        for page in runs.iter().flat_map(|run| run.pages()) {
            let cell = &space.cells[page as usize];
            if !cell.mapped {
                return Err(format!("pages that {actor} has mapped: page {page} is not"));
            }
            if cell.prot < wanted {
                let access = if wanted == Prot::Rw { "write" } else { "read" };
                return Err(format!("pages that {actor} may {access}: page {page} is protected"));
            }
        }
        Ok(())
    }

    fn check_pin(&self, actor: Actor, pin: Pin, op: &Op) -> Result<(), String> {
        let Some(pinned) = self.pins.get(&pin) else { return Err(format!("a pin that was taken: {pin} was not")) };
        if pinned.owner != actor {
            return Err(format!("a step by {}, who took {pin}", pinned.owner));
        }
        if let Op::WriteVia(_, range) = op {
            if pinned.kind != PinKind::ReadWrite {
                return Err(format!("a read/write pin: {pin} is read-only"));
            }
            let outside =
                range.runs(self.pages).iter().flat_map(|run| run.pages()).find(|page| pinned.cell(*page).is_none());
            if let Some(page) = outside {
                return Err(format!("pages under {pin}: page {page} is not"));
            }
        }
        Ok(())
    }

    /// The pages of a range, as runs.
    pub fn runs(&self, range: &crate::pages::Range) -> Vec<Run> {
        range.runs(self.pages)
    }

    /// The pages that a pin holds, as runs, in the order it was asked for them.
    pub fn pinned(&self, pin: Pin) -> Vec<Run> {
        self.pins.get(&pin).map_or(vec![], |pinned| pinned.runs.clone())
    }

    /// The kind of a pin and who took it.
    pub fn pin_owner(&self, pin: Pin) -> Option<(Actor, PinKind)> {
        self.pins.get(&pin).map(|pinned| (pinned.owner, pinned.kind))
    }

    /// The long-term pins that are coherent with `actor`'s page `page` now.
    pub fn coherent_pins(&self, actor: Actor, page: u32) -> impl Iterator<Item = Pin> {
        self.pins
            .iter()
            .filter(move |(_, pinned)| pinned.owner == actor && matches!(pinned.cell(page), Some(PinCell::Coherent)))
            .map(|(pin, _)| *pin)
    }

    /// What `actor` may see in its page `page`; `None` where it has none.
    pub fn allowed(&self, actor: Actor, page: u32) -> Option<&[Origin]> {
        let cell = self.spaces.get(&actor)?.cells.get(page as usize)?;
        cell.mapped.then(|| self.sets.get(cell.set))
    }

    /// The same as a number that is equal for equal sets, to compare many pages quickly.
    pub fn allowed_id(&self, actor: Actor, page: u32) -> Option<SetId> {
        let cell = self.spaces.get(&actor)?.cells.get(page as usize)?;
        cell.mapped.then_some(cell.set)
    }

    /// What the backing may show in page `page`.
    pub fn backing_allowed_id(&self, page: u32) -> Option<SetId> {
        self.backing.get(page as usize).copied()
    }

    /// What may be seen in page `page` through `pin`.
    pub fn pin_allowed_id(&self, pin: Pin, page: u32) -> Option<SetId> {
        let pinned = self.pins.get(&pin)?;
        match pinned.cell(page)? {
            PinCell::Coherent => self.allowed_id(pinned.owner, page),
            PinCell::Loose { set, .. } => Some(set),
        }
    }

    /// The members of a set.
    pub fn origins(&self, set: SetId) -> &[Origin] {
        self.sets.get(set)
    }

    /// May this access to this page by this actor be refused with a signal? `true` where it must be.
    pub fn must_fault(&self, actor: Actor, page: u32, access: Access) -> bool {
        let Some(cell) = self.spaces.get(&actor).and_then(|space| space.cells.get(page as usize)) else { return true };
        let wanted = if access == Access::Write { Prot::Rw } else { Prot::Ro };
        !cell.mapped || cell.prot < wanted
    }

    /// Must the soft-dirty bit of this page be set? Unset is always a question, set never one: the
    /// kernel marks more than was written.
    pub fn must_be_soft_dirty(&self, actor: Actor, page: u32) -> bool {
        !self.memory.kind.is_hugetlb()
            && self
                .spaces
                .get(&actor)
                .and_then(|space| space.cells.get(page as usize))
                .is_some_and(|cell| cell.mapped && cell.dirty)
    }

    /// Would `observer` have written, or inherited by fork, what `writer` wrote in `step`?
    pub fn in_history(&self, observer: Actor, writer: Actor, step: u32) -> bool {
        if observer == writer {
            return true;
        }
        match self.spaces.get(&observer).and_then(|space| space.parent) {
            Some((parent, fork)) => step < fork && self.in_history(parent, writer, step),
            None => false,
        }
    }

    /// When `observer` was forked, and by whom.
    pub fn parent(&self, observer: Actor) -> Option<(Actor, u32)> {
        self.spaces.get(&observer).and_then(|space| space.parent)
    }

    /// Did `actor` inherit this page under MADV_WIPEONFORK, and has not written it since?
    pub fn is_wiped(&self, actor: Actor, page: u32) -> bool {
        let space = self.spaces.get(&actor);
        space
            .filter(|space| space.parent.is_some())
            .and_then(|space| space.cells.get(page as usize))
            .is_some_and(|cell| cell.wipe_on_fork && self.sets.get(cell.set) == [Origin::Zero])
    }

    /// A page whose content was open between old and gone (MADV_FREE) has been seen to be gone: it
    /// cannot come back.
    pub fn seen_zero(&mut self, actor: Actor, page: u32) {
        let zero = self.sets.id(vec![Origin::Zero]);
        if let Some(cell) = self.spaces.get_mut(&actor).and_then(|space| space.cells.get_mut(page as usize)) {
            if cell.own {
                cell.set = zero;
            }
        }
    }

    /// Step `number` has been done. For a pin, `transferred` is how many pages it really took, where
    /// that is fewer than asked for.
    pub fn apply(&mut self, number: u32, step: &Step, transferred: Option<u32>) {
        let actor = step.actor;
        let pages = |op: &Op| -> Vec<Run> { op.range().map_or(vec![], |range| range.runs(self.pages)) };
        let runs = pages(&step.op);
        match &step.op {
            Op::Write(_) => {
                let written = self.sets.id(vec![Origin::Written(Writer::Step(actor, number))]);
                self.each(actor, &runs, |cell| {
                    cell.set = written;
                    cell.own = true;
                    cell.dirty = true;
                });
                self.joins_pins(actor, &runs, written, None);
            }
            Op::WriteBacking(_) => {
                let written = self.sets.id(vec![Origin::Written(Writer::Step(actor, number))]);
                self.write_backing(&runs, written);
            }
            Op::WriteVia(pin, _) => self.write_via(number, actor, *pin, &runs),
            Op::Fork(child) => self.fork(number, actor, *child),
            Op::Exit => {
                self.detach_pins(actor, &[Run { first: 0, count: self.pages }], false);
                if let Some(space) = self.spaces.get_mut(&actor) {
                    space.alive = false;
                }
            }
            Op::Mprotect(_, prot) => self.each(actor, &runs, |cell| cell.prot = *prot),
            Op::Munmap(_) => {
                self.detach_pins(actor, &runs, false);
                self.each(actor, &runs, |cell| cell.mapped = false);
            }
            Op::Advise(advice, _) => self.advise(actor, *advice, &runs),
            Op::ClearSoftDirty => {
                if let Some(space) = self.spaces.get_mut(&actor) {
                    space.cells.iter_mut().for_each(|cell| cell.dirty = false);
                }
            }
            Op::Pin(kind, pin, _) => self.pin(actor, *kind, *pin, &runs, transferred),
            Op::Unpin(pin) => {
                self.pins.remove(pin);
            }
            Op::Read(_)
            | Op::Touch(_)
            | Op::ReadBacking(_)
            | Op::Probe(..)
            | Op::Mremap(_)
            | Op::ReadVia(_)
            | Op::Require(..) => {}
        }
    }

    fn each(&mut self, actor: Actor, runs: &[Run], change: impl Fn(&mut Cell)) {
        let Some(space) = self.spaces.get_mut(&actor) else { return };
        for run in runs {
            let end = (run.end() as usize).min(space.cells.len());
            space.cells[(run.first as usize).min(end)..end].iter_mut().for_each(&change);
        }
    }

    fn write_backing(&mut self, runs: &[Run], written: SetId) {
        for page in runs.iter().flat_map(|run| run.pages()) {
            let Some(backing) = self.backing.get_mut(page as usize) else { continue };
            *backing = written;
            // mmap(2): whether a private mapping shows later changes of the file is unspecified.
            for space in self.spaces.values_mut() {
                let cell = &mut space.cells[page as usize];
                if !cell.own {
                    cell.set = self.sets.with(cell.set, written);
                }
            }
            for pinned in self.pins.values_mut() {
                if let Some(PinCell::Loose { set, follows: true }) = pinned.cell(page) {
                    pinned.change(page, PinCell::Loose { set: self.sets.with(set, written), follows: true });
                }
            }
        }
    }

    fn write_via(&mut self, number: u32, actor: Actor, pin: Pin, runs: &[Run]) {
        let written = self.sets.id(vec![Origin::Written(Writer::Step(actor, number))]);
        for page in runs.iter().flat_map(|run| run.pages()) {
            let Some(cell) = self.pins.get(&pin).and_then(|pinned| pinned.cell(page)) else { continue };
            match cell {
                PinCell::Coherent => {
                    let run = [Run { first: page, count: 1 }];
                    // The soft-dirty bit follows page table writes only.
                    self.each(actor, &run, |cell| {
                        cell.set = written;
                        cell.own = true;
                    });
                    self.joins_pins(actor, &run, written, Some(pin));
                }
                PinCell::Loose { follows, .. } => {
                    if let Some(pinned) = self.pins.get_mut(&pin) {
                        pinned.change(page, PinCell::Loose { set: written, follows });
                    }
                    if follows {
                        let space = self.spaces.get_mut(&actor);
                        if let Some(cell) = space.and_then(|space| space.cells.get_mut(page as usize)) {
                            cell.set = self.sets.with(cell.set, written);
                        }
                    }
                }
            }
        }
    }

    fn fork(&mut self, number: u32, actor: Actor, child: Actor) {
        let zero = self.sets.id(vec![Origin::Zero]);
        let Some(mut space) = self.spaces.get(&actor).cloned() else { return };
        for cell in &mut space.cells {
            if cell.dont_fork {
                cell.mapped = false;
            }
            if cell.wipe_on_fork {
                cell.set = zero;
                cell.dirty = false;
            }
        }
        space.parent = Some((actor, number));
        self.spaces.insert(child, space);
    }

    fn advise(&mut self, actor: Actor, advice: Advice, runs: &[Run]) {
        let zero = self.sets.id(vec![Origin::Zero]);
        match advice {
            Advice::DontFork => self.each(actor, runs, |cell| cell.dont_fork = true),
            Advice::DoFork => self.each(actor, runs, |cell| cell.dont_fork = false),
            Advice::WipeOnFork => self.each(actor, runs, |cell| cell.wipe_on_fork = true),
            Advice::DontNeed => {
                self.detach_pins(actor, runs, false);
                let file = self.memory.kind.has_file();
                let Some(space) = self.spaces.get_mut(&actor) else { return };
                for page in runs.iter().flat_map(|run| run.pages()) {
                    let cell = &mut space.cells[page as usize];
                    cell.set = if file { self.backing[page as usize] } else { zero };
                    cell.own = !file;
                    cell.dirty = false;
                }
            }
            Advice::Free => {
                self.detach_pins(actor, runs, true);
                let Some(space) = self.spaces.get_mut(&actor) else { return };
                for page in runs.iter().flat_map(|run| run.pages()) {
                    let cell = &mut space.cells[page as usize];
                    cell.set = self.sets.with(cell.set, zero);
                    cell.dirty = false;
                }
            }
            Advice::HugePage | Advice::NoHugePage | Advice::PageOut | Advice::Collapse => {}
        }
    }

    fn pin(&mut self, owner: Actor, kind: PinKind, pin: Pin, runs: &[Run], transferred: Option<u32>) {
        let mut left = transferred.unwrap_or(u32::MAX);
        let mut taken = Vec::new();
        for run in runs {
            let count = run.count.min(left);
            left -= count;
            if count > 0 {
                taken.push(Run { count, ..*run });
            }
        }
        let mut pinned = Pinned { owner, kind, runs: taken, cells: BTreeMap::new() };
        for run in pinned.runs.clone() {
            if kind.is_longterm() {
                pinned.cells.insert(run.first, PinRun { count: run.count, cell: PinCell::Coherent });
                continue;
            }
            let sets: Vec<SetId> = run.pages().filter_map(|page| self.allowed_id(owner, page)).collect();
            let mut first = run.first;
            for same in sets.chunk_by(|a, b| a == b) {
                let cell = PinCell::Loose { set: same[0], follows: true };
                pinned.cells.insert(first, PinRun { count: same.len() as u32, cell });
                first += same.len() as u32;
            }
        }
        if kind == PinKind::ReadWrite {
            // FOLL_WRITE breaks COW: the pages are the owner's own from now on.
            self.each(owner, runs, |cell| cell.own = true);
        }
        self.pins.insert(pin, pinned);
    }

    /// `owner` wrote: pins that follow it may show that, too.
    fn joins_pins(&mut self, owner: Actor, runs: &[Run], written: SetId, but: Option<Pin>) {
        let World { pins, sets, .. } = self;
        for (_, pinned) in pins.iter_mut().filter(|(pin, pinned)| pinned.owner == owner && Some(**pin) != but) {
            for (page, cell) in pinned.overlap(runs) {
                if let PinCell::Loose { set, follows: true } = cell {
                    pinned.change(page, PinCell::Loose { set: sets.with(set, written), follows: true });
                }
            }
        }
    }

    /// `owner` gave the pages up: its pins keep what they have. `perhaps`: it may still have them.
    fn detach_pins(&mut self, owner: Actor, runs: &[Run], perhaps: bool) {
        let World { pins, spaces, .. } = self;
        let Some(space) = spaces.get(&owner) else { return };
        for pinned in pins.values_mut().filter(|pinned| pinned.owner == owner) {
            for (page, cell) in pinned.overlap(runs) {
                let cell = match cell {
                    PinCell::Coherent => PinCell::Loose { set: space.cells[page as usize].set, follows: perhaps },
                    PinCell::Loose { set, follows } => PinCell::Loose { set, follows: follows && perhaps },
                };
                pinned.change(page, cell);
            }
        }
    }

    /// Pages that `actor` has mapped.
    pub fn mapped(&self, actor: Actor) -> Vec<Run> {
        let Some(space) = self.spaces.get(&actor) else { return vec![] };
        runs_of((0..self.pages).filter(|page| space.cells[*page as usize].mapped))
    }

    /// Is the page anonymous: the actor's own, not the zero page nor the file's?
    pub fn is_own(&self, actor: Actor, page: u32) -> bool {
        let written = |set| self.sets.get(set).iter().all(|origin| *origin != Origin::Zero);
        let zero_page = matches!(self.memory.kind, MemoryKind::Zero | MemoryKind::HugeZero);
        self.spaces
            .get(&actor)
            .and_then(|space| space.cells.get(page as usize))
            .is_some_and(|cell| cell.mapped && cell.own && (!zero_page || written(cell.set)))
    }
}

impl Pinned {
    fn cell(&self, page: u32) -> Option<PinCell> {
        let (first, run) = self.cells.range(..=page).next_back()?;
        (page - first < run.count).then_some(run.cell)
    }

    /// Those pages of `runs` that the pin holds.
    fn overlap(&self, runs: &[Run]) -> Vec<(u32, PinCell)> {
        let pages = runs.iter().flat_map(|run| run.pages());
        pages.filter_map(|page| self.cell(page).map(|cell| (page, cell))).collect()
    }

    /// Changes one page, splitting its run.
    fn change(&mut self, page: u32, cell: PinCell) {
        let Some((&first, &run)) = self.cells.range(..=page).next_back() else { return };
        let before = page - first;
        if before >= run.count {
            return;
        }
        if before > 0 {
            self.cells.insert(first, PinRun { count: before, cell: run.cell });
        }
        let after = run.count - before - 1;
        if after > 0 {
            self.cells.insert(page + 1, PinRun { count: after, cell: run.cell });
        }
        self.cells.insert(page, PinRun { count: 1, cell });
    }
}
