//! Every sequence of up to K steps over a small menu.
//!
//! Sequences that differ in the names of actors or pins only are one: a new actor or pin has the next name. Mirrored
//! ranges are not taken for the same, because the kernel goes through pages in one direction and the head of a folio is
//! not like its tails. What is set up before (`A write all`) and read afterwards by everyone is not counted.

use cowcheck_model::memory::{Memory, MemoryKind};
use cowcheck_model::scenario::Scenario;
use cowcheck_model::step::{Actor, Op, Pin, Step};

use crate::draft::Draft;
use crate::prelude::steps;

/// The menu, written as if A did it: B stands for a new actor, p0 for a new pin or for one that there is. Several steps
/// in one line are one: what they lead to is what is wanted.
const MENU: [(&str, Where); 19] = [
    ("A write all", Where::Everywhere),
    ("A write lower", Where::Parts),
    ("A touch all", Where::Everywhere),
    ("A fork B", Where::Everywhere),
    ("A dontfork upper;A fork B;A dofork all", Where::Parts),
    ("A exit", Where::Everywhere),
    ("A mprotect first ro;A mprotect first rw", Where::Thp),
    ("A mprotect all ro;A mprotect all rw", Where::Everywhere),
    ("A collapse all", Where::Thp),
    ("A pageout all", Where::Swappable),
    ("A dontneed lower", Where::Parts),
    ("A munmap lower", Where::Parts),
    // Only a pipe or a pin has the pages then: what counts mappings takes them for another's own (CVE-2020-29374).
    ("A munmap all", Where::Everywhere),
    ("A mremap all", Where::Everywhere),
    ("A pin rw p0 all", Where::Everywhere),
    // Of a THP whose lower half is shared: a collapse in place must not take the mark from under it.
    ("A pin rw p0 upper", Where::Parts),
    ("A splice p0 all", Where::Everywhere),
    ("A write via p0 all", Where::Everywhere),
    ("A unpin p0", Where::Everywhere),
];

/// Where a step of the menu makes sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Where {
    Everywhere,
    /// Where there are several pages that can be told apart.
    Parts,
    Thp,
    /// Not where the kernel never swaps.
    Swappable,
}

/// The most actors and pins in one sequence.
const ACTORS: usize = 3;
const PINS: usize = 2;

/// The sequences, in order: each comes before those that go on with it.
#[derive(Debug, Clone)]
pub struct Sequences {
    most: u32,
    menu: Vec<Vec<Step>>,
    /// The sequence that came last, piece by piece, and which continuations of each piece have been.
    path: Vec<(Draft, usize)>,
}

impl Sequences {
    /// Of up to `most` steps on this memory.
    pub fn new(memory: Memory, most: u32) -> Sequences {
        let piece = memory.size / u64::from(crate::PAGE);
        let parts = if memory.kind.is_hugetlb() { memory.count > 1 } else { piece * u64::from(memory.count) > 1 };
        let has = |place: Where| match place {
            Where::Everywhere => true,
            Where::Parts => parts,
            Where::Thp => memory.kind == MemoryKind::Thp,
            Where::Swappable => !memory.kind.is_hugetlb(),
        };
        let menu = MENU.iter().filter(|(_, place)| has(*place)).map(|(text, _)| steps(text)).collect();
        let mut start = Draft::new(memory);
        start.push(Actor::A, Op::Write(cowcheck_model::pages::Range::All));
        Sequences { most, menu, path: vec![(start, 0)] }
    }

    /// How many there are: they are gone through, but not made.
    pub fn total(&self) -> u64 {
        let mut all = self.clone();
        let mut count = 0;
        while all.advance() {
            count += 1;
        }
        count
    }

    /// Goes to the next sequence, which is the end of the path then.
    fn advance(&mut self) -> bool {
        while let Some((draft, tried)) = self.path.last_mut() {
            let alive: Vec<Actor> = draft.world().alive().collect();
            let next = *tried;
            *tried += 1;
            let (actor, item) = (alive.get(next / self.menu.len()).copied(), &self.menu[next % self.menu.len()]);
            let Some(actor) = actor.filter(|_| self.path.len() as u32 <= self.most) else {
                self.path.pop();
                continue;
            };
            let Some((draft, _)) = self.path.last() else { return false };
            if let Some(longer) = with(draft, actor, item) {
                self.path.push((longer, 0));
                return true;
            }
        }
        false
    }
}

impl Iterator for Sequences {
    type Item = Scenario;

    fn next(&mut self) -> Option<Scenario> {
        self.advance().then(|| self.path.last().map(|(draft, _)| draft.clone().finish()))?
    }
}

/// The draft with an item of the menu done by this actor, if it can be.
fn with(draft: &Draft, actor: Actor, item: &[Step]) -> Option<Draft> {
    let mut longer = draft.clone();
    for step in item {
        let world = longer.world();
        let mine = || {
            let is_mine = |pin: &Pin| world.pin_owner(*pin).is_some_and(|(owner, _)| owner == actor);
            (0..).map_while(Pin::new).find(is_mine)
        };
        let op = match &step.op {
            Op::Fork(_) => {
                let next = (0..ACTORS).filter_map(Actor::new).find(|actor| !world.was_forked(*actor))?;
                Op::Fork(next)
            }
            Op::Pin(kind, _, range) => {
                let free = (0..PINS).filter_map(Pin::new).find(|pin| world.pin_owner(*pin).is_none())?;
                Op::Pin(*kind, free, range.clone())
            }
            Op::WriteVia(_, range) => Op::WriteVia(mine()?, range.clone()),
            Op::Unpin(_) => Op::Unpin(mine()?),
            op => op.clone(),
        };
        if !longer.push(actor, op) {
            return None;
        }
    }
    Some(longer)
}
