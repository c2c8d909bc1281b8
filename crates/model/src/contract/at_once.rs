//! Steps at once: what some order allows.
//!
//! The machine is run through every order of the steps, and what it comes to in each is joined page by page and actor
//! by actor: the kernel may order each page, and each word of a page, as it likes, so what is allowed is more than what
//! one order of whole steps leaves. Where orders differ in more than contents, the steps cannot be at once.

use super::pins::PinCell;
use super::sets::{SetId, Sets};
use super::world::{Cell, Space, World};
use crate::pages::Run;
use crate::step::{Advice, Op, Pin, Prot, Step, Treatment};

/// How many steps may happen at once. Every order of them is gone through.
pub const MOST_AT_ONCE: usize = 3;

/// On how many pages: each order keeps all of them for every actor.
const MOST_PAGES: u32 = 1 << 14;

/// How a step came out that happened at once with others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Came {
    /// It was done; a pin took so many pages, where that is fewer than asked for.
    Done(Option<u32>),
    /// It was not: the kernel refused, and nothing changed.
    NotDone,
    /// Nobody knows how far it came.
    Partly,
}

/// The world of steps at once.
#[derive(Debug, Clone)]
pub struct AtOnce {
    /// What a reader may see that is one of the steps.
    pub during: World,
    /// What is allowed when all of them are over.
    pub after: World,
}

/// Changes nothing that another step could see, so its place in the order does not matter.
fn only_looks(op: &Op) -> bool {
    matches!(op, Op::Read(_) | Op::Touch(_) | Op::ReadVia(_)) || changes_no_content(op)
}

fn changes_no_content(op: &Op) -> bool {
    matches!(
        op,
        Op::Advise(Advice::Collapse | Advice::PageOut, _)
            | Op::CollapseOf(..)
            | Op::Treat(Treatment::Split | Treatment::Migrate, _)
    )
}

/// May it be one of several steps at once? Nearly all else changes what is mapped where, or what is asked of pages
/// besides, so that the order would decide what the others are; `reclaim` goes on as long as others bring pages in.
pub fn may_be_at_once(op: &Op) -> bool {
    only_looks(op)
        || matches!(
            op,
            Op::Write(_)
                | Op::Poke(_)
                | Op::Fork(_)
                | Op::Mprotect(..)
                | Op::Advise(Advice::DontNeed | Advice::Free, _)
                | Op::Pin(..)
                | Op::WriteVia(..)
                | Op::Unpin(_)
        )
}

/// The protection that an access needs which is refused without it.
fn needs(op: &Op) -> Option<Prot> {
    match op {
        Op::Write(_) => Some(Prot::Rw),
        Op::Pin(kind, ..) if kind.writes() => Some(Prot::Rw),
        Op::Read(_) | Op::Touch(_) | Op::Pin(..) => Some(Prot::Ro),
        _ => None,
    }
}

fn pin_of(op: &Op) -> Option<Pin> {
    match op {
        Op::Pin(_, pin, _) | Op::ReadVia(pin) | Op::WriteVia(pin, _) | Op::Unpin(pin) => Some(*pin),
        _ => None,
    }
}

fn meet(one: &[Run], other: &[Run]) -> Option<u32> {
    let both = |a: &Run, b: &Run| a.first.max(b.first) < a.end().min(b.end());
    one.iter()
        .flat_map(|a| other.iter().map(move |b| (a, b)))
        .find(|(a, b)| both(a, b))
        .map(|(a, b)| a.first.max(b.first))
}

/// A search through all orders. All worlds share the sets, which are kept here and are only lent.
struct Orders<'a> {
    first: u32,
    steps: &'a [Step],
    came: &'a [Came],
    /// Which of them protection may refuse: they were not done in such an order.
    closed: Vec<bool>,
    sets: Sets,
    /// Every world on the way.
    during: Vec<World>,
    /// Every world at the end of an order.
    after: Vec<World>,
    /// Why an order cannot be: which step could not be done.
    refused: Option<(usize, String)>,
}

impl Orders<'_> {
    /// Goes on from `world`, in which the steps `done` (a bit each) have been done.
    fn go_on(&mut self, world: World, done: u32) {
        let left = (0..self.steps.len()).filter(|index| done >> index & 1 == 0);
        for index in left.clone() {
            let step = &self.steps[index];
            if self.came[index] == Came::Partly {
                self.go_on(world.clone(), done | 1 << index);
            }
            let mut next = world.clone();
            std::mem::swap(&mut next.sets, &mut self.sets);
            let checked = next.check(step);
            if checked.is_ok() {
                let transferred = if let Came::Done(transferred) = self.came[index] { transferred } else { None };
                next.apply(self.first + index as u32, step, transferred);
            }
            std::mem::swap(&mut next.sets, &mut self.sets);
            match checked {
                Ok(()) => self.go_on(next, done | 1 << index),
                Err(_) if self.closed[index] => {}
                Err(why) => self.refused = self.refused.take().or(Some((index, why))),
            }
        }
        if left.count() == 0 {
            self.after.push(world.clone());
        }
        self.during.push(world);
    }
}

impl World {
    /// These steps have been done, as if the kernel had done each as it should: one, or several at once. The error is
    /// which of them cannot be done, from 0, and what would be right. `number` is the first one's.
    pub fn advance(&mut self, number: u32, steps: &[Step]) -> Result<(), (usize, String)> {
        match steps {
            [step] => {
                self.check(step).map_err(|why| (0, why))?;
                self.apply(number, step, None);
            }
            _ => *self = self.race(number, steps)?.after,
        }
        Ok(())
    }

    /// What these steps at once may come to where the kernel refuses none of them, but an access that another of them
    /// closes. The first has this number; the error is as for [`World::advance`].
    pub fn race(&self, number: u32, steps: &[Step]) -> Result<AtOnce, (usize, String)> {
        self.check_at_once(steps)?;
        // That a pin may be refused is no reason to do without it.
        let may_end_early =
            |index: usize| !matches!(steps[index].op, Op::Pin(..)) && !self.is_closed(steps, index).is_empty();
        let came = |index| if may_end_early(index) { Came::Partly } else { Came::Done(None) };
        let came: Vec<Came> = (0..steps.len()).map(came).collect();
        self.at_once(number, steps, &came)
    }

    /// The pages that this one of the steps may find closed to it, because another of them changes the protection.
    pub fn is_closed(&self, steps: &[Step], index: usize) -> Vec<Run> {
        let step = &steps[index];
        let Some(wanted) = needs(&step.op) else { return vec![] };
        let closes =
            |other: &&Step| other.actor == step.actor && matches!(other.op, Op::Mprotect(_, prot) if prot < wanted);
        let ranges = steps.iter().filter(closes).filter_map(|other| other.op.range());
        let named = step.op.range().map_or(vec![], |range| self.runs(range));
        let runs = ranges.flat_map(|range| self.runs(range));
        runs.filter(|run| meet(&[*run], &named).is_some()).collect()
    }

    /// Can these steps be done at once, whatever the order? The error says which cannot, from 0, and what would be right.
    pub fn check_at_once(&self, steps: &[Step]) -> Result<(), (usize, String)> {
        if steps.len() > MOST_AT_ONCE {
            return Err((MOST_AT_ONCE, format!("at most {MOST_AT_ONCE} steps at once")));
        }
        if self.pages() > MOST_PAGES {
            return Err((1, format!("memory of at most {MOST_PAGES} pages for steps at once, not {}", self.pages())));
        }
        for (index, step) in steps.iter().enumerate() {
            let wrong = |why: String| Err((index, why));
            if !may_be_at_once(&step.op) {
                return wrong(
                    "a step that may be at once with others: write, poke, read, touch, fork, a pin or what is done with one, mprotect, dontneed, free, collapse, pageout, split or migrate".to_owned(),
                );
            }
            self.check(step).or_else(wrong)?;
            for before in &steps[..index] {
                self.check_beside(before, step).or_else(wrong)?;
            }
        }
        Ok(())
    }

    /// Can both be at once, as far as they concern the same?
    fn check_beside(&self, before: &Step, step: &Step) -> Result<(), String> {
        if let (Op::Fork(_), Op::Fork(_)) = (&before.op, &step.op)
            && before.actor == step.actor
        {
            return Err("one fork by the same actor at once: a thread that forks is its main thread".to_owned());
        }
        if let Some(pin) = pin_of(&step.op)
            && pin_of(&before.op) == Some(pin)
        {
            return Err(format!("one step with {pin} at once"));
        }
        let written = |step: &Step| match &step.op {
            Op::Write(range) | Op::Poke(range) | Op::WriteVia(_, range) => self.runs(range),
            _ => vec![],
        };
        match meet(&written(before), &written(step)) {
            Some(page) if before.actor == step.actor => Err(format!(
                "pages that no other step at once writes: `{before}` has page {page}, too (a storm has two writers)"
            )),
            _ => Ok(()),
        }
    }

    /// What these steps may have come to, of which the first has this number. The error is as for [`World::check_at_once`],
    /// which they must have passed as far as they were done.
    pub fn at_once(&self, first: u32, steps: &[Step], came: &[Came]) -> Result<AtOnce, (usize, String)> {
        if steps.len() > MOST_AT_ONCE {
            return Err((MOST_AT_ONCE, format!("at most {MOST_AT_ONCE} steps at once")));
        }
        let mut start = self.clone();
        let sets = std::mem::take(&mut start.sets);
        let closed = (0..steps.len()).map(|index| !self.is_closed(steps, index).is_empty()).collect();
        let mut orders = Orders { first, steps, came, closed, sets, during: vec![], after: vec![], refused: None };
        let skipped = |index: &usize| only_looks(&steps[*index].op) || came[*index] == Came::NotDone;
        let skipped = (0..steps.len()).filter(skipped).fold(0, |bits, index| bits | 1 << index);
        orders.go_on(start, skipped);
        let Orders { sets, during, after, refused, .. } = orders;
        if let Some((index, why)) = refused {
            return Err((index, format!("steps that can be done in any order; behind the others, {why}")));
        }
        let last = steps.len() - 1;
        if let [one, others @ ..] = after.as_slice()
            && !others.iter().all(|other| one.differs_in_content_only(other))
        {
            let why = "steps after which, in any order, everybody has the same pages, protection and marks";
            return Err((last, why.to_owned()));
        }
        let joined = |worlds: &[World], sets: Sets| -> Option<World> {
            let mut base = after.last()?.clone();
            base.sets = sets;
            base.join(worlds, self);
            Some(base)
        };
        let sets_during = sets.clone();
        match (joined(&during, sets_during), joined(&after, sets)) {
            (Some(during), Some(mut after)) => {
                for (step, came) in steps.iter().zip(came) {
                    if let (Op::ReadVia(pin), Came::Done(_)) = (&step.op, came) {
                        after.drain(*pin);
                    }
                }
                Ok(AtOnce { during, after })
            }
            _ => Err((last, "steps that can be done in some order".to_owned())),
        }
    }

    fn differs_in_content_only(&self, other: &World) -> bool {
        let same_cell = |(one, other): (&Cell, &Cell)| {
            let of = |cell: &Cell| (cell.mapped, cell.prot, cell.marks, cell.dont_fork, cell.wipe_on_fork);
            of(one) == of(other)
        };
        let same_space = |one: &Space, other: &Space| one.cells.iter().zip(&other.cells).all(same_cell);
        self.spaces.iter().zip(&other.spaces).all(|pair| match pair {
            (Some(one), Some(other)) => same_space(one, other),
            (None, None) => true,
            _ => false,
        })
    }

    /// Takes in what else may be: each of `worlds`, whose sets are this one's. `before` is what was, for what nothing
    /// changed stays as it is.
    fn join(&mut self, worlds: &[World], before: &World) {
        let mut joiner = Joiner { last: None };
        let World { spaces, pins, sets, .. } = self;
        for (index, pinned) in pins.iter_mut().enumerate() {
            let Some(pinned) = pinned else { continue };
            let all: Vec<&World> = worlds.iter().filter(|world| world.pins[index].is_some()).collect();
            let owner = pinned.owner;
            for (page, cell) in (0..).zip(&mut pinned.cells) {
                let held =
                    all.iter().map(|world| world.pins[index].as_ref().map_or(PinCell::Absent, |held| held.cell(page)));
                let held: Vec<PinCell> = held.collect();
                if held.iter().all(|other| other == cell) && before.held_cell(index, page) == Some(*cell) {
                    continue;
                }
                let (mut left, mut is_loose, mut now) = (vec![], false, (false, false));
                for (world, cell) in all.iter().zip(&held) {
                    let owners = world.cell(owner, page);
                    match (*cell, owners) {
                        (PinCell::Loose { set, follows, backed }, _) => {
                            is_loose = true;
                            now = (now.0 | follows, now.1 | backed);
                            left.push(set);
                        }
                        (PinCell::Coherent, Some(owners)) => {
                            now = (true, now.1 | !owners.own);
                            left.push(owners.set);
                        }
                        _ => {}
                    }
                }
                if is_loose {
                    *cell = PinCell::Loose { set: joiner.joined(sets, left), follows: now.0, backed: now.1 };
                }
            }
        }
        for (index, space) in spaces.iter_mut().enumerate() {
            let Some(space) = space else { continue };
            let others: Vec<&Space> = worlds.iter().filter_map(|world| world.spaces[index].as_ref()).collect();
            for (page, cell) in space.cells.iter_mut().enumerate() {
                let all = || others.iter().filter_map(|other| other.cells.get(page));
                cell.own = all().all(|other| other.own);
                cell.dirty = all().all(|other| other.dirty);
                let was = before.spaces[index].as_ref().and_then(|space| space.cells.get(page)).map(|cell| cell.set);
                if was != Some(cell.set) || all().any(|other| other.set != cell.set) {
                    cell.set = joiner.joined(sets, all().map(|other| other.set).collect());
                }
            }
        }
    }

    fn held_cell(&self, index: usize, page: u32) -> Option<PinCell> {
        self.pins[index].as_ref().map(|held| held.cell(page))
    }
}

/// Joins sets; neighbouring pages ask for the same.
struct Joiner {
    last: Option<(Vec<SetId>, SetId)>,
}

impl Joiner {
    fn joined(&mut self, sets: &mut Sets, mut left: Vec<SetId>) -> SetId {
        left.sort_unstable();
        left.dedup();
        if let Some((last, id)) = &self.last
            && *last == left
        {
            return *id;
        }
        let id = sets.raced(&left);
        self.last = Some((left, id));
        id
    }
}
