//! A kernel that keeps the promise of copy-on-write in the simplest way: it copies at once.
//!
//! Where the contract leaves a choice (MADV_FREE, a pipe, a refused collapse), [`Choices`] makes it: fork() may share
//! a page, too, which is copied or reused later. A [`Bug`] can be planted.

use std::collections::BTreeMap;

use cowcheck_model::memory::Memory;
use cowcheck_model::pages::Range;
use cowcheck_model::pages::Run;
use cowcheck_model::scenario::Scenario;
use cowcheck_model::stamp::{Holds, Writer};
use cowcheck_model::step::{Access, Actor, Advice, Op, Pin, PinKind, Prot, Step, Treatment, groups};
use cowcheck_model::storm::{Rivals, Storm, Went};
use cowcheck_model::trace::{End, Observed, PageState, Record, Seen, StepResult, Trace, VERSION};

pub(crate) const PAGE: u32 = 4096;
const SIGSEGV: i32 = 11;
const SIGBUS: i32 = 7;
const EAGAIN: i32 = 11;

/// What a correct kernel may do one way or another.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Choices {
    /// It does what was asked, at once, wherever it can.
    Plain,
    /// It tosses a coin (splitmix64 from this seed).
    Random(u64),
}

impl Choices {
    /// Shall it take the other way?
    fn toss(&mut self) -> bool {
        let Choices::Random(state) = self else { return false };
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = *state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ (bits >> 31)) & 1 == 1
    }
}

/// A planted bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    /// After fork, child and parent write to the same page.
    ForkShares,
    /// At fork the parent gets the copy and its pin keeps the page.
    ForkTakesPinnedPage,
    /// MADV_WIPEONFORK does nothing.
    WipeIgnored,
    /// MADV_DONTFORK does nothing.
    DontForkIgnored,
    /// mprotect() returns 0 and does nothing.
    ProtIgnored,
    /// MADV_DONTNEED drops one page too many.
    DontNeedTakesNeighbour,
    /// MADV_DONTNEED returns 0 and does nothing.
    DontNeedIgnored,
    /// A private write goes to the file, or into the zero page.
    WriteHitsBacking,
    /// A forced write goes to the page as it is mapped, whoever else has it.
    PokeBreaksNoCow,
    /// MADV_COLLAPSE loses the last page.
    CollapseZeroes,
    /// MADV_COLLAPSE exchanges the first two pages.
    CollapseSwaps,
    /// MADV_COLLAPSE tears the first page.
    CollapseTears,
    /// MADV_COLLAPSE copies a pinned page.
    CollapseCopiesPinned,
    /// MADV_COLLAPSE forgets the soft-dirty bits.
    CollapseCleans,
    /// Swap brings back what the page held one write earlier.
    SwapIsStale,
    /// munmap() clears a page that is pinned still.
    MunmapClearsPinned,
    /// A write through the pin goes to a copy.
    ViaWriteLost,
    /// fork() shares a page and leaves its mark set.
    ForkKeepsMark,
    /// fork() shares a page that a pin is on.
    ForkSharesPinned,
    /// fork() shares a page and leaves it writable.
    ForkKeepsWritable,
    /// fork() shares a swap entry and leaves its mark set.
    ForkKeepsSwapMark,
    /// MADV_COLLAPSE forgets what userfaultfd protects.
    CollapseUnprotects,
    /// Swap forgets it.
    SwapUnprotects,
    /// A child's pages are protected as its parent's are.
    ForkKeepsProtection,
    /// mremap() takes the protection along.
    MremapKeepsProtection,
    /// MADV_COLLAPSE puts zeroes where a guard page is.
    CollapseFillsGuards,
    /// A child has holes where its parent has guard pages.
    ForkDropsGuards,
    /// MADV_GUARD_INSTALL leaves the page in the page table.
    GuardKeepsPage,
    /// What is locked is swapped out.
    SwapsLocked,
    /// KSM merges two pages and leaves them writable.
    KsmKeepsWritable,
    /// KSM merges pages that are not the same.
    KsmMergesOthers,
    /// fork() leaves a page to both that is written to at the same time.
    ForkRacesWrite,
    /// MADV_COLLAPSE loses what is written to a page after it has begun.
    CollapseRacesWrite,
    /// At fork the parent gets the copy of a page that is pinned at the same time.
    PinRacesFork,
    /// A page that is dropped at the same time shows what it held before the last write.
    DontNeedRacesWrite,
}

impl Bug {
    pub(crate) const ALL: [Bug; 31] = [
        Bug::ForkShares,
        Bug::ForkTakesPinnedPage,
        Bug::WipeIgnored,
        Bug::DontForkIgnored,
        Bug::ProtIgnored,
        Bug::DontNeedTakesNeighbour,
        Bug::DontNeedIgnored,
        Bug::WriteHitsBacking,
        Bug::PokeBreaksNoCow,
        Bug::CollapseZeroes,
        Bug::CollapseSwaps,
        Bug::CollapseTears,
        Bug::CollapseCopiesPinned,
        Bug::CollapseCleans,
        Bug::SwapIsStale,
        Bug::MunmapClearsPinned,
        Bug::ViaWriteLost,
        Bug::ForkKeepsMark,
        Bug::ForkSharesPinned,
        Bug::ForkKeepsWritable,
        Bug::ForkKeepsSwapMark,
        Bug::CollapseUnprotects,
        Bug::SwapUnprotects,
        Bug::ForkKeepsProtection,
        Bug::MremapKeepsProtection,
        Bug::CollapseFillsGuards,
        Bug::ForkDropsGuards,
        Bug::GuardKeepsPage,
        Bug::SwapsLocked,
        Bug::KsmKeepsWritable,
        Bug::KsmMergesOthers,
    ];

    /// Those that show where steps happen at once only.
    pub(crate) const RACES: [Bug; 4] =
        [Bug::ForkRacesWrite, Bug::CollapseRacesWrite, Bug::PinRacesFork, Bug::DontNeedRacesWrite];
}

/// Where the bytes of a page are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The file, or the zero page.
    Backing,
    /// This frame of anonymous memory.
    Frame(usize),
}

#[derive(Debug, Clone)]
struct Pte {
    place: Place,
    mapped: bool,
    prot: Prot,
    dont_fork: bool,
    wipe_on_fork: bool,
    lazy_free: bool,
    soft_dirty: bool,
    swapped: bool,
    guard: bool,
    protected: bool,
    locked: bool,
    mergeable: bool,
}

#[derive(Debug, Clone)]
struct Frame {
    now: Holds,
    before: Holds,
    exclusive: bool,
}

struct Held {
    kind: PinKind,
    pages: Vec<(u32, Place)>,
}

/// The kernel under test.
pub(crate) struct Kernel {
    pages: u32,
    frames: Vec<Frame>,
    backing: Vec<Holds>,
    processes: BTreeMap<Actor, Vec<Pte>>,
    pins: BTreeMap<Pin, Held>,
    choices: Choices,
    bug: Option<Bug>,
    /// Which of the steps at once have begun.
    begun: Vec<bool>,
}

/// A part of a step at once with others.
enum Piece {
    /// All of it.
    Whole,
    /// What concerns a page.
    Page(u32),
    /// The lower (0) or upper (1) half of a page.
    Half(u32, u8),
}

/// What the halves of a page hold.
fn halves(holds: &Holds) -> (Holds, Holds) {
    match holds {
        Holds::Torn(parts) => (parts[0].1.clone(), parts[1].1.clone()),
        whole => (whole.clone(), whole.clone()),
    }
}

fn whole(low: Holds, high: Holds) -> Holds {
    if low == high { low } else { Holds::Torn(vec![(0, low), (PAGE / 2, high)]) }
}

/// What a correct kernel leaves of this scenario.
pub(crate) fn run(scenario: &Scenario, choices: Choices) -> Trace {
    run_with(scenario, choices, None)
}

/// The same with a bug.
pub(crate) fn run_with(scenario: &Scenario, choices: Choices, bug: Option<Bug>) -> Trace {
    let mut kernel = Kernel::new(scenario.memory, choices, bug);
    let mut records: Vec<Record> = vec![];
    for group in groups(&scenario.steps) {
        let number = records.len() as u32 + 1;
        match group {
            [step] => {
                let mut record = Record::ok(number);
                (record.result, record.seen) = kernel.step(number, step.actor, &step.op);
                record.storm = match &step.op {
                    Op::Storm(_, rivals) => Some(calm(*rivals)),
                    _ => None,
                };
                records.push(record);
            }
            steps => records.extend(kernel.at_once(number, steps)),
        }
        let states = kernel.states();
        records.last_mut().unwrap().states = states;
    }
    Trace {
        version: VERSION,
        scenario: scenario.clone(),
        kernel: "reference".to_owned(),
        page_size: PAGE,
        soft_dirty: true,
        records,
        end: End::Complete,
        kernel_log: vec![],
        hugetlb_missing: 0,
        pages_lost: 0,
        micros: 0,
    }
}

/// A storm in which all went well.
fn calm(rivals: Rivals) -> Storm {
    let went = |rival| Went { rival, rounds: 20, refused: 0, errno: 0 };
    let rivals = rivals.each().map(went).collect();
    Storm { micros: 1000, cpus: 2, rounds: 100, rivals, sightings: vec![], more: 0 }
}

impl Kernel {
    fn new(memory: Memory, choices: Choices, bug: Option<Bug>) -> Kernel {
        let pages = memory.pages(PAGE);
        let initial = |page| match memory.kind.has_file() {
            true => Holds::Stamp { writer: Writer::Initial, page },
            false => Holds::Zero,
        };
        let pte = Pte {
            place: Place::Backing,
            mapped: true,
            prot: Prot::Rw,
            dont_fork: false,
            wipe_on_fork: false,
            lazy_free: false,
            soft_dirty: false,
            swapped: false,
            guard: false,
            protected: false,
            locked: false,
            mergeable: false,
        };
        Kernel {
            pages,
            frames: vec![],
            backing: (0..pages).map(initial).collect(),
            processes: BTreeMap::from([(Actor::A, vec![pte; pages as usize])]),
            pins: BTreeMap::new(),
            choices,
            bug,
            begun: vec![],
        }
    }

    fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    fn pte(&mut self, actor: Actor, page: u32) -> &mut Pte {
        &mut self.processes.get_mut(&actor).unwrap()[page as usize]
    }

    fn at(&self, place: Place, page: u32) -> Holds {
        match place {
            Place::Backing => self.backing[page as usize].clone(),
            Place::Frame(frame) => self.frames[frame].now.clone(),
        }
    }

    fn new_frame(&mut self, now: Holds) -> Place {
        self.frames.push(Frame { now, before: Holds::Zero, exclusive: true });
        Place::Frame(self.frames.len() - 1)
    }

    /// By a pin, or by a pipe.
    fn is_held(&self, place: Place, pinned: bool) -> bool {
        let is_on = |held: &Held| held.pages.iter().any(|(_, at)| *at == place);
        self.pins.values().any(|held| (held.kind != PinKind::Splice) == pinned && is_on(held))
    }

    fn mappings(&self, place: Place) -> usize {
        self.processes.values().flatten().filter(|pte| pte.mapped && pte.place == place).count()
    }

    /// Gives `actor` a page of its own and returns it.
    fn own(&mut self, actor: Actor, page: u32) -> Place {
        let place = self.pte(actor, page).place;
        let is_own = match place {
            Place::Backing => false,
            Place::Frame(frame) if self.frames[frame].exclusive => true,
            Place::Frame(frame) => {
                let is_last = self.mappings(place) == 1 && !self.is_held(place, false);
                // It may copy the last one, too.
                self.frames[frame].exclusive = is_last && !self.choices.toss();
                self.frames[frame].exclusive
            }
        };
        if !is_own {
            let copy = self.at(place, page);
            self.pte(actor, page).place = self.new_frame(copy);
        }
        self.pte(actor, page).swapped = false;
        self.pte(actor, page).place
    }

    fn load(&mut self, actor: Actor, page: u32) -> Holds {
        let place = self.pte(actor, page).place;
        if self.pte(actor, page).lazy_free && !self.is_held(place, true) && self.choices.toss() {
            let was = self.pte(actor, page).clone();
            *self.pte(actor, page) = Pte { place: Place::Backing, lazy_free: false, protected: false, ..was };
        }
        let pte = self.pte(actor, page);
        pte.swapped = false;
        let place = pte.place;
        self.at(place, page)
    }

    fn put(&mut self, place: Place, page: u32, holds: Holds) {
        match place {
            Place::Backing => self.backing[page as usize] = holds,
            Place::Frame(frame) => {
                let before = std::mem::replace(&mut self.frames[frame].now, holds);
                self.frames[frame].before = before;
            }
        }
    }

    fn store(&mut self, actor: Actor, page: u32, holds: Holds) {
        if self.has(Bug::WriteHitsBacking) && self.pte(actor, page).place == Place::Backing {
            return self.put(Place::Backing, page, holds);
        }
        let mut place = self.own(actor, page);
        if self.is_held(place, false) && !self.is_held(place, true) && self.choices.toss() {
            // The pipe's reference makes the kernel copy; it need not.
            let copy = self.at(place, page);
            place = self.new_frame(copy);
        }
        self.put(place, page, holds);
        let pte = self.pte(actor, page);
        *pte = Pte { place, lazy_free: false, soft_dirty: true, ..pte.clone() };
    }

    fn step(&mut self, number: u32, actor: Actor, op: &Op) -> (StepResult, Vec<Seen>) {
        let pages: Vec<u32> =
            op.range().map_or(vec![], |range| range.runs(self.pages).iter().flat_map(|run| run.pages()).collect());
        let stamp = |page| Holds::Stamp { writer: Writer::Step(actor, number), page };
        let mut seen = Vec::new();
        match op {
            // It was refused.
            Op::ReadVia(pin) | Op::WriteVia(pin, _) | Op::Unpin(pin) if !self.pins.contains_key(pin) => {
                return (StepResult::Skipped(format!("{pin} was not taken")), vec![]);
            }
            Op::Write(_) => {
                for page in pages {
                    if self.pte(actor, page).protected {
                        return (StepResult::Signal { signal: SIGBUS, page: Some(page) }, vec![]);
                    }
                    self.store(actor, page, stamp(page));
                }
            }
            Op::Poke(_) => {
                for page in pages {
                    let (place, stamp) = (self.pte(actor, page).place, stamp(page));
                    match self.has(Bug::PokeBreaksNoCow) {
                        true => self.put(place, page, stamp),
                        false => self.store(actor, page, stamp),
                    }
                }
            }
            Op::Read(_) => seen = pages.iter().map(|page| (*page, self.load(actor, *page))).collect(),
            Op::ReadBacking(_) => seen = pages.iter().map(|page| (*page, self.at(Place::Backing, *page))).collect(),
            Op::WriteBacking(_) => pages.iter().for_each(|page| self.put(Place::Backing, *page, stamp(*page))),
            Op::Probe(access, _) => {
                seen = pages.iter().map(|page| (*page, self.probe(actor, *page, *access))).collect()
            }
            Op::Fork(child) => self.fork(actor, *child),
            Op::Exit => {
                self.processes.remove(&actor);
            }
            Op::Mprotect(_, prot) if !self.has(Bug::ProtIgnored) => {
                pages.iter().for_each(|page| self.pte(actor, *page).prot = *prot);
            }
            Op::Advise(advice, _) => return (self.advise(actor, *advice, &pages), vec![]),
            Op::Treat(treatment, _) => pages.iter().for_each(|page| self.treat(actor, *treatment, *page)),
            Op::Reclaim => self.reclaim(),
            Op::Swapoff => self.swapoff(),
            Op::Ksm => self.ksm(),
            Op::Mremap(_) if !self.has(Bug::MremapKeepsProtection) => {
                pages.iter().for_each(|page| self.pte(actor, *page).protected = false);
            }
            Op::Munmap(_) => pages.iter().for_each(|page| self.munmap(actor, *page)),
            Op::ClearSoftDirty => (0..self.pages).for_each(|page| self.pte(actor, page).soft_dirty = false),
            Op::Pin(kind, pin, _) => return (self.pin(actor, *kind, *pin, pages), vec![]),
            Op::ReadVia(pin) => {
                let held = &self.pins[pin];
                seen = held.pages.iter().map(|(page, place)| (*page, self.at(*place, *page))).collect();
                if held.kind == PinKind::Splice {
                    self.pins.get_mut(pin).unwrap().pages.clear();
                }
            }
            Op::WriteVia(pin, _) => pages.iter().for_each(|page| {
                let (_, place) = *self.pins[pin].pages.iter().find(|(of, _)| of == page).unwrap();
                let place = match self.has(Bug::ViaWriteLost) {
                    true => self.new_frame(Holds::Zero),
                    false => place,
                };
                self.put(place, *page, stamp(*page));
            }),
            Op::Unpin(pin) => {
                self.pins.remove(pin);
            }
            Op::Storm(..) => {
                seen = pages.iter().map(|page| (*page, self.load(actor, *page))).collect();
                pages.iter().for_each(|page| self.store(actor, *page, stamp(*page)));
            }
            Op::Mprotect(..)
            | Op::Touch(_)
            | Op::Mremap(_)
            | Op::Require(..)
            | Op::CollapseOf(..)
            | Op::Khugepaged(_) => {}
        }
        (StepResult::Ok, joined(seen))
    }

    /// Steps at once: whose piece is next is chance. A write is two pieces a page, a fork one, and so on.
    fn at_once(&mut self, first: u32, steps: &[Step]) -> Vec<Record> {
        let mut records: Vec<Record> = (first..).take(steps.len()).map(Record::ok).collect();
        let mut seen: Vec<Vec<(u32, Holds)>> = vec![vec![]; steps.len()];
        let mut pieces: Vec<Vec<Piece>> = steps.iter().map(|step| self.pieces(&step.op)).collect();
        self.begun = pieces.iter().map(|_| false).collect();
        loop {
            let left: Vec<usize> = (0..steps.len()).filter(|index| !pieces[*index].is_empty()).collect();
            let Some(first_left) = left.first() else { break };
            let mut index = *first_left;
            for other in &left[1..] {
                if self.choices.toss() {
                    index = *other;
                }
            }
            let piece = pieces[index].remove(0);
            let (number, Step { actor, op, .. }) = (records[index].step, &steps[index]);
            match self.piece(number, *actor, op, &piece, steps) {
                Ok(held) => seen[index].extend(held),
                Err(result) => {
                    records[index].result = result;
                    if !matches!(records[index].result, StepResult::Partial(_)) {
                        pieces[index].clear();
                    }
                }
            }
            self.begun[index] = true;
        }
        for (record, seen) in records.iter_mut().zip(seen) {
            record.seen = joined(seen);
        }
        records
    }

    fn pieces(&self, op: &Op) -> Vec<Piece> {
        let pages = op.range().map_or(vec![], |range| range.runs(self.pages));
        let pages = pages.iter().flat_map(|run| run.pages());
        match op {
            Op::Write(_) => pages.flat_map(|page| [Piece::Half(page, 0), Piece::Half(page, 1)]).collect(),
            Op::Fork(_) => std::iter::once(Piece::Whole).chain((0..self.pages).map(Piece::Page)).collect(),
            Op::Poke(_)
            | Op::Read(_)
            | Op::Touch(_)
            | Op::Mprotect(..)
            | Op::WriteVia(..)
            | Op::Advise(Advice::DontNeed | Advice::Free | Advice::PageOut, _) => pages.map(Piece::Page).collect(),
            _ => vec![Piece::Whole],
        }
    }

    /// Does a piece of a step; what it saw, or how the step ends there.
    fn piece(
        &mut self,
        number: u32,
        actor: Actor,
        op: &Op,
        piece: &Piece,
        beside: &[Step],
    ) -> Result<Vec<(u32, Holds)>, StepResult> {
        let writes = |page: u32| {
            let has = |step: &Step| match &step.op {
                Op::Write(range) => range.runs(self.pages).iter().any(|run| run.pages().contains(&page)),
                _ => false,
            };
            beside.iter().zip(&self.begun).any(|(step, begun)| step.actor == actor && has(step) && *begun)
        };
        let is_raced = match piece {
            Piece::Page(page) | Piece::Half(page, _) => writes(*page),
            Piece::Whole => false,
        };
        let needs = match op {
            Op::Write(_) => Some(Prot::Rw),
            Op::Pin(kind, ..) => Some(if kind.writes() { Prot::Rw } else { Prot::Ro }),
            Op::Read(_) | Op::Touch(_) => Some(Prot::Ro),
            _ => None,
        };
        if let (Some(needs), Piece::Page(page) | Piece::Half(page, _)) = (needs, piece)
            && self.pte(actor, *page).prot < needs
        {
            return Err(StepResult::Signal { signal: SIGSEGV, page: Some(*page) });
        }
        if let (Op::Pin(_, _, range), Some(needs)) = (op, needs) {
            let pages: Vec<u32> = range.runs(self.pages).iter().flat_map(|run| run.pages()).collect();
            if pages.iter().any(|page| self.pte(actor, *page).prot < needs) {
                return Err(StepResult::Errno(14));
            }
        }
        let of_page = |page: u32| {
            let mut op = op.clone();
            if let Some(range) = op.range_mut() {
                *range = Range::page(page);
            }
            op
        };
        let (result, seen) = match (op, piece) {
            (Op::Write(_), Piece::Half(page, half)) => {
                let stamp = Holds::Stamp { writer: Writer::Step(actor, number), page: *page };
                let collapses = |step: &Step| step.actor == actor && matches!(step.op, Op::Advise(Advice::Collapse, _));
                let is_lost = self.has(Bug::CollapseRacesWrite)
                    && *half == 1
                    && beside.iter().zip(&self.begun).any(|(step, begun)| collapses(step) && *begun);
                let place = self.pte(actor, *page).place;
                let (low, high) = halves(&self.at(place, *page));
                let holds = match half {
                    _ if is_lost => whole(low, high),
                    0 => whole(stamp, high),
                    _ => whole(low, stamp),
                };
                self.store(actor, *page, holds);
                (StepResult::Ok, vec![])
            }
            (Op::Fork(child), Piece::Whole) => {
                let table = self.processes[&actor].clone();
                self.processes.insert(*child, table);
                (StepResult::Ok, vec![])
            }
            (Op::Fork(child), Piece::Page(page)) => {
                let pins = beside.iter().any(|step| step.actor == actor && matches!(step.op, Op::Pin(..)));
                let (plain, race) = (self.bug, self.bug);
                self.bug = match race {
                    Some(Bug::ForkRacesWrite) if is_raced => Some(Bug::ForkShares),
                    Some(Bug::PinRacesFork) if pins => Some(Bug::ForkTakesPinnedPage),
                    other => other,
                };
                let mut pte = self.pte(actor, *page).clone();
                self.fork_page(actor, *page, &mut pte);
                *self.pte(*child, *page) = pte;
                self.bug = plain;
                (StepResult::Ok, vec![])
            }
            (Op::Advise(Advice::DontNeed, _), Piece::Page(page)) if is_raced && self.has(Bug::DontNeedRacesWrite) => {
                let place = self.pte(actor, *page).place;
                if let Place::Frame(frame) = place {
                    let before = self.frames[frame].before.clone();
                    self.store(actor, *page, halves(&before).1);
                }
                (StepResult::Ok, vec![])
            }
            (Op::Touch(_), Piece::Page(_)) => (StepResult::Ok, vec![]),
            (_, Piece::Page(page)) => self.step(number, actor, &of_page(*page)),
            _ => self.step(number, actor, op),
        };
        let seen = seen.into_iter().flat_map(|seen| {
            let holds = seen.holds.clone();
            seen.pages.pages().map(move |page| (page, holds.at(page - seen.pages.first)))
        });
        if result == StepResult::Ok { Ok(seen.collect()) } else { Err(result) }
    }

    fn probe(&mut self, actor: Actor, page: u32, access: Access) -> Holds {
        let pte = self.pte(actor, page);
        let wanted = if access == Access::Write { Prot::Rw } else { Prot::Ro };
        if !pte.mapped || pte.prot < wanted || pte.guard {
            return Holds::Fault(SIGSEGV);
        }
        if access == Access::Write && pte.protected {
            return Holds::Fault(SIGBUS);
        }
        if access == Access::Write {
            let holds = self.load(actor, page);
            self.store(actor, page, holds);
        }
        Holds::NoFault
    }

    fn fork(&mut self, actor: Actor, child: Actor) {
        let mut table = self.processes[&actor].clone();
        for (page, pte) in (0..).zip(&mut table) {
            self.fork_page(actor, page, pte);
        }
        self.processes.insert(child, table);
    }

    /// Makes the child's entry of what is the parent's.
    fn fork_page(&mut self, actor: Actor, page: u32, pte: &mut Pte) {
        pte.locked = false;
        pte.protected &= self.has(Bug::ForkKeepsProtection);
        pte.guard &= !pte.wipe_on_fork && !self.has(Bug::ForkDropsGuards);
        if pte.dont_fork && !self.has(Bug::DontForkIgnored) {
            pte.mapped = false;
            pte.place = Place::Backing;
            return;
        }
        if pte.wipe_on_fork && !self.has(Bug::WipeIgnored) {
            pte.place = Place::Backing;
            pte.soft_dirty = false;
            return;
        }
        if self.shares(pte) || pte.place == Place::Backing || self.has(Bug::ForkShares) {
            return;
        }
        let copy = self.at(pte.place, page);
        let copy = self.new_frame(copy);
        pte.place = match self.has(Bug::ForkTakesPinnedPage) {
            true => std::mem::replace(&mut self.pte(actor, page).place, copy),
            false => copy,
        };
    }

    /// Does fork() leave the page to both? Then it is not exclusive any more.
    fn shares(&mut self, pte: &Pte) -> bool {
        let Place::Frame(frame) = pte.place else { return false };
        let pinned = self.is_held(pte.place, true);
        let shares = match self.bug {
            Some(Bug::ForkKeepsMark | Bug::ForkKeepsWritable) => !pinned,
            Some(Bug::ForkKeepsSwapMark) => !pinned && pte.swapped,
            Some(Bug::ForkSharesPinned) => true,
            _ => !pinned && self.choices.toss(),
        };
        if shares {
            self.frames[frame].exclusive = matches!(self.bug, Some(Bug::ForkKeepsMark | Bug::ForkKeepsSwapMark));
        }
        shares
    }

    fn advise(&mut self, actor: Actor, advice: Advice, pages: &[u32]) -> StepResult {
        if advice == Advice::Collapse {
            return self.collapse(actor, pages);
        }
        for page in pages {
            let pte = self.pte(actor, *page);
            match advice {
                Advice::DontFork => pte.dont_fork = true,
                Advice::DoFork => pte.dont_fork = false,
                Advice::WipeOnFork => pte.wipe_on_fork = true,
                Advice::Free => pte.lazy_free = pte.place != Place::Backing,
                Advice::DontNeed => self.dont_need(actor, *page),
                Advice::PageOut => self.page_out(actor, *page),
                Advice::Guard => {
                    let pte = self.pte(actor, *page);
                    pte.guard = true;
                    if !self.has(Bug::GuardKeepsPage) {
                        self.dont_need(actor, *page);
                    }
                }
                Advice::Unguard => pte.guard = false,
                Advice::Mergeable => pte.mergeable = true,
                Advice::HugePage | Advice::NoHugePage | Advice::Collapse => {}
            }
            if advice == Advice::Free {
                self.pte(actor, *page).soft_dirty = false;
            }
        }
        let last = pages.last().filter(|last| *last + 1 < self.pages);
        if let (Advice::DontNeed, true, Some(last)) = (advice, self.has(Bug::DontNeedTakesNeighbour), last) {
            self.pte(actor, last + 1).place = Place::Backing;
        }
        StepResult::Ok
    }

    fn dont_need(&mut self, actor: Actor, page: u32) {
        if !self.has(Bug::DontNeedIgnored) {
            let pte = self.pte(actor, page);
            let was = pte.clone();
            *pte = Pte { place: Place::Backing, lazy_free: false, soft_dirty: false, protected: false, ..was };
        }
    }

    fn treat(&mut self, actor: Actor, treatment: Treatment, page: u32) {
        match treatment {
            Treatment::UffdWp => {
                // Where there is no page the mark may be kept or not.
                let is_there = self.pte(actor, page).place != Place::Backing;
                let pte = self.pte(actor, page);
                let keeps = (is_there && !pte.lazy_free) || self.choices.toss();
                self.pte(actor, page).protected = keeps;
            }
            Treatment::UffdUnwp => self.pte(actor, page).protected = false,
            Treatment::Mlock => {
                if self.pte(actor, page).prot == Prot::Rw {
                    self.load(actor, page);
                    self.own(actor, page);
                }
                let pte = self.pte(actor, page);
                *pte = Pte { locked: true, swapped: false, ..pte.clone() };
            }
            Treatment::Munlock => self.pte(actor, page).locked = false,
            Treatment::Split | Treatment::Migrate => {}
        }
    }

    /// Merges pages of one content, as far as nobody holds them.
    fn ksm(&mut self) {
        let mut first: Vec<(Holds, usize)> = vec![];
        let mergeable: Vec<(Actor, u32, usize)> = self
            .processes
            .iter()
            .flat_map(|(actor, table)| (0..).zip(table).map(|(page, pte)| (*actor, page, pte)))
            .filter(|(_, _, pte)| pte.mapped && pte.mergeable && !pte.swapped && !pte.lazy_free)
            .filter_map(|(actor, page, pte)| match pte.place {
                Place::Frame(frame) => Some((actor, page, frame)),
                Place::Backing => None,
            })
            .collect();
        for (actor, page, frame) in mergeable {
            let now = self.frames[frame].now.clone();
            if self.is_held(Place::Frame(frame), true) || self.is_held(Place::Frame(frame), false) {
                continue;
            }
            let same = |(holds, _): &&(Holds, usize)| *holds == now || self.has(Bug::KsmMergesOthers);
            match first.iter().find(same).map(|(_, to)| *to) {
                Some(to) if to != frame && !self.choices.toss() => {
                    self.frames[to].exclusive = self.has(Bug::KsmKeepsWritable);
                    self.pte(actor, page).place = Place::Frame(to);
                }
                Some(_) => {}
                None => first.push((now, frame)),
            }
        }
    }

    fn page_out(&mut self, actor: Actor, page: u32) {
        let place = self.pte(actor, page).place;
        let may_go = !self.pte(actor, page).locked || self.has(Bug::SwapsLocked);
        if place != Place::Backing && may_go && self.mappings(place) == 1 && !self.is_held(place, true) {
            let must = self.has(Bug::ForkKeepsSwapMark) || self.has(Bug::SwapsLocked);
            self.pte(actor, page).swapped = must || self.choices.toss();
        }
        if self.has(Bug::SwapUnprotects) {
            self.pte(actor, page).protected = false;
        }
        if let (true, Place::Frame(frame)) = (self.has(Bug::SwapIsStale), self.pte(actor, page).place) {
            let before = self.frames[frame].before.clone();
            let stale = self.new_frame(before);
            self.pte(actor, page).place = stale;
        }
    }

    /// Swaps out what it likes, from every process that has it.
    fn reclaim(&mut self) {
        for frame in 0..self.frames.len() {
            let place = Place::Frame(frame);
            let has = |pte: &&Pte| pte.mapped && pte.place == place;
            let is_locked = self.processes.values().flatten().filter(has).any(|pte| pte.locked || pte.lazy_free);
            if !is_locked && !self.is_held(place, true) && self.choices.toss() {
                let ptes = self.processes.values_mut().flatten();
                ptes.filter(|pte| pte.mapped && pte.place == place).for_each(|pte| pte.swapped = true);
            }
        }
    }

    /// Brings in what is swapped out, of every process.
    fn swapoff(&mut self) {
        self.processes.values_mut().flatten().for_each(|pte| pte.swapped = false);
    }

    fn munmap(&mut self, actor: Actor, page: u32) {
        let place = self.pte(actor, page).place;
        if self.has(Bug::MunmapClearsPinned) && place != Place::Backing {
            self.put(place, page, Holds::Zero);
        }
        let pte = self.pte(actor, page);
        *pte = Pte { place: Place::Backing, mapped: false, soft_dirty: false, ..pte.clone() };
    }

    fn collapse(&mut self, actor: Actor, pages: &[u32]) -> StepResult {
        let broken = matches!(
            self.bug,
            Some(
                Bug::CollapseZeroes
                    | Bug::CollapseSwaps
                    | Bug::CollapseTears
                    | Bug::CollapseCopiesPinned
                    | Bug::CollapseCleans
                    | Bug::CollapseUnprotects
                    | Bug::CollapseFillsGuards
            )
        );
        if !broken && self.choices.toss() {
            return StepResult::Errno(EAGAIN);
        }
        let copies: Vec<Holds> =
            pages.iter().map(|page| self.at(self.processes[&actor][*page as usize].place, *page)).collect();
        for (i, page) in pages.iter().enumerate() {
            match self.bug {
                Some(Bug::CollapseUnprotects) => self.pte(actor, *page).protected = false,
                Some(Bug::CollapseFillsGuards) => self.pte(actor, *page).guard = false,
                _ => {}
            }
            let place = self.pte(actor, *page).place;
            if place == Place::Backing {
                continue;
            }
            match self.bug {
                Some(Bug::CollapseZeroes) if i + 1 == pages.len() => self.put(place, *page, Holds::Zero),
                Some(Bug::CollapseSwaps) if i < 2 && pages.len() > 1 => self.put(place, *page, copies[1 - i].clone()),
                Some(Bug::CollapseTears) if i == 0 && copies[0] != Holds::Zero => {
                    self.put(place, *page, Holds::Torn(vec![(0, copies[0].clone()), (2048, Holds::Zero)]));
                }
                Some(Bug::CollapseCopiesPinned) => {
                    let copy = self.new_frame(copies[i].clone());
                    self.pte(actor, *page).place = copy;
                }
                Some(Bug::CollapseCleans) => self.pte(actor, *page).soft_dirty = false,
                _ => {}
            }
        }
        StepResult::Ok
    }

    fn pin(&mut self, actor: Actor, kind: PinKind, pin: Pin, mut pages: Vec<u32>) -> StepResult {
        let asked = pages.len();
        if kind == PinKind::Splice && asked > 1 && self.choices.toss() {
            pages.truncate(asked / 2);
        }
        let taken = pages.len();
        let place = |page| {
            let is_anonymous = self.pte(actor, page).place != Place::Backing;
            if kind.writes() {
                // It is as good as written: MADV_FREE is over.
                self.pte(actor, page).lazy_free = false;
            }
            match kind.breaks_sharing() || (kind != PinKind::Splice && is_anonymous) {
                true => (page, self.own(actor, page)),
                false => (page, self.pte(actor, page).place),
            }
        };
        let held = Held { kind, pages: pages.into_iter().map(place).collect() };
        self.pins.insert(pin, held);
        if taken < asked { StepResult::Partial(taken as u32) } else { StepResult::Ok }
    }

    /// The page tables of everybody, as the helper module would show them.
    fn states(&self) -> Vec<Observed> {
        let mut mappings = vec![0; self.frames.len()];
        for pte in self.processes.values().flatten().filter(|pte| pte.mapped) {
            if let Place::Frame(frame) = pte.place {
                mappings[frame] += 1;
            }
        }
        let page = |actor: &Actor, page: usize, pte: &Pte| {
            let frame = match pte.place {
                Place::Frame(frame) if pte.mapped => frame,
                _ => return None,
            };
            let exclusive = self.frames[frame].exclusive;
            let pages = Run { first: page as u32, count: 1 };
            let uffd_wp = pte.protected;
            let state =
                PageState { soft_dirty: pte.soft_dirty, uffd_wp, exclusive: Some(exclusive), ..PageState::default() };
            if pte.swapped {
                let state = PageState { swapped: true, ..state };
                return Some(Observed { actor: *actor, pages, state, pfn: 0, swap: Some(frame as u64), index: 0 });
            }
            let state = PageState {
                present: true,
                writable: Some(
                    pte.prot == Prot::Rw && !pte.protected && (exclusive || self.has(Bug::ForkKeepsWritable)),
                ),
                pinned: Some(self.is_held(pte.place, true)),
                mapcount: Some(mappings[frame]),
                order: Some(0),
                ..state
            };
            Some(Observed { actor: *actor, pages, state, pfn: frame as u64 + 1, swap: None, index: 0 })
        };
        self.processes
            .iter()
            .flat_map(|(actor, table)| table.iter().enumerate().map(move |(at, pte)| (actor, at, pte)))
            .filter_map(|(actor, at, pte)| page(actor, at, pte))
            .collect()
    }
}

/// Joins what single pages hold into runs, as the executor does.
pub(crate) fn joined(pages: Vec<(u32, Holds)>) -> Vec<Seen> {
    let mut all: Vec<Seen> = Vec::new();
    for (page, holds) in pages {
        match all.last_mut() {
            Some(last) if last.pages.end() == page && last.holds.continued_by(last.pages.count, &holds) => {
                last.pages.count += 1;
            }
            _ => all.push(Seen { pages: Run { first: page, count: 1 }, holds }),
        }
    }
    all
}
