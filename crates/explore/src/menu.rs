//! What there is to choose from: the steps and the memories, with weights.
//!
//! A word of the language that is new becomes part of every campaign by one line in [`STEPS`]. That changes what a seed
//! means, so the test that pins the scenarios of a seed wants its new number, too. Not there are `storm` and `khugepaged`,
//! which take as long as a hundred other scenarios, and `require`, which changes nothing.

use cowcheck_model::contract::World;
use cowcheck_model::memory::{Memory, MemoryKind};
use cowcheck_model::pages::{Range, Run};
use cowcheck_model::step::{Access, Actor, Advice, Op, Pin, PinKind, Prot, Treatment};

use crate::random::Random;

/// The most actors that are alive at once, and the most pins that are held.
const MOST_ALIVE: usize = 4;
const MOST_PINS: usize = 4;

/// Steps that a scenario has all or none of. Scenarios that leave things out go deeper into the rest (Groce and others,
/// "Swarm testing", ISSTA 2012), and one that needs what a machine lacks is lost as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// In every scenario.
    Always,
    /// Left out of every fourth scenario, each word by itself.
    Usual,
    /// Pins that want the helper module.
    Gup,
    /// Pins by io_uring.
    Fixed,
    /// Pipes.
    Pipe,
    /// What wants swap.
    Swap,
    /// What wants MADV_COLLAPSE.
    Collapse,
    /// What wants userfaultfd(2) with write protection.
    Uffd,
    /// Guard pages.
    Guard,
    /// What wants KSM, and waits for it.
    Ksm,
    /// What wants split_huge_pages in debugfs.
    Split,
    /// What wants another node, or compaction of all memory.
    Migrate,
    /// What wants a cgroup with memory.reclaim.
    Reclaim,
    /// What takes swap out of use that nobody else uses.
    Swapoff,
}

impl Group {
    /// Those that a scenario has all words of, or none.
    pub(crate) const WHOLE: [Group; 12] = [
        Group::Gup,
        Group::Fixed,
        Group::Pipe,
        Group::Swap,
        Group::Collapse,
        Group::Uffd,
        Group::Guard,
        Group::Ksm,
        Group::Split,
        Group::Migrate,
        Group::Reclaim,
        Group::Swapoff,
    ];

    /// How many of 8 scenarios have it.
    pub(crate) fn often(self) -> u32 {
        match self {
            Group::Always => 8,
            Group::Collapse => 7,
            Group::Usual | Group::Fixed => 6,
            Group::Pipe | Group::Swap | Group::Uffd => 4,
            Group::Split => 3,
            Group::Gup | Group::Guard | Group::Ksm | Group::Migrate | Group::Reclaim => 2,
            Group::Swapoff => 1,
        }
    }
}

/// A kind of step.
#[derive(Debug, Clone, Copy)]
pub struct Word {
    /// How the step begins in the language, behind the actor.
    pub word: &'static str,
    /// What it comes and goes with.
    pub group: Group,
    /// How likely it is, compared with others.
    pub weight: u32,
    /// Makes one; `None` where there is nothing to do it with.
    pub make: fn(&mut Choice<'_>) -> Option<Op>,
}

const fn word(word: &'static str, group: Group, weight: u32, make: fn(&mut Choice<'_>) -> Option<Op>) -> Word {
    Word { word, group, weight, make }
}

/// The steps.
pub const STEPS: &[Word] = &[
    word("write", Group::Always, 18, |at| Some(Op::Write(at.range()))),
    word("read", Group::Always, 7, |at| Some(Op::Read(at.range()))),
    word("touch", Group::Usual, 3, |at| Some(Op::Touch(at.range()))),
    word("read backing", Group::Usual, 1, |at| Some(Op::ReadBacking(at.range()))),
    word("write backing", Group::Usual, 4, |at| Some(Op::WriteBacking(at.range()))),
    word("probe read", Group::Usual, 1, |at| Some(Op::Probe(Access::Read, at.range()))),
    word("probe write", Group::Usual, 2, |at| Some(Op::Probe(Access::Write, at.range()))),
    word("fork", Group::Always, 8, |at| Some(Op::Fork(at.new_actor()?))),
    word("exit", Group::Usual, 4, |_| Some(Op::Exit)),
    word("mprotect", Group::Usual, 7, |at| {
        let prot = *at.random.weighted(&[Prot::Ro, Prot::Rw, Prot::None], |prot| [1, 4, 4][*prot as usize])?;
        Some(Op::Mprotect(at.range(), prot))
    }),
    word("dontfork", Group::Usual, 3, |at| Some(Op::Advise(Advice::DontFork, at.range()))),
    word("dofork", Group::Usual, 2, |at| Some(Op::Advise(Advice::DoFork, at.range()))),
    word("wipeonfork", Group::Usual, 1, |at| Some(Op::Advise(Advice::WipeOnFork, at.range()))),
    word("dontneed", Group::Usual, 4, |at| Some(Op::Advise(Advice::DontNeed, at.range()))),
    word("free", Group::Usual, 4, |at| Some(Op::Advise(Advice::Free, at.range()))),
    word("hugepage", Group::Usual, 1, |at| Some(Op::Advise(Advice::HugePage, at.range()))),
    word("nohugepage", Group::Usual, 1, |at| Some(Op::Advise(Advice::NoHugePage, at.range()))),
    word("poke", Group::Usual, 3, |at| Some(Op::Poke(at.range()))),
    word("reclaim", Group::Reclaim, 7, |_| Some(Op::Reclaim)),
    word("pageout", Group::Swap, 7, |at| Some(Op::Advise(Advice::PageOut, at.range()))),
    word("swapoff", Group::Swapoff, 7, |_| Some(Op::Swapoff)),
    word("collapse", Group::Collapse, 8, |at| Some(Op::Advise(Advice::Collapse, at.range_of_all()))),
    word("collapse of", Group::Collapse, 3, |at| Some(Op::CollapseOf(Range::All, at.another_with_pmds()?))),
    word("guard", Group::Guard, 7, |at| Some(Op::Advise(Advice::Guard, at.range()))),
    word("unguard", Group::Guard, 4, |at| Some(Op::Advise(Advice::Unguard, at.range()))),
    word("uffd-wp", Group::Uffd, 9, |at| Some(Op::Treat(Treatment::UffdWp, at.range()))),
    word("uffd-unwp", Group::Uffd, 4, |at| Some(Op::Treat(Treatment::UffdUnwp, at.range()))),
    word("mlock", Group::Usual, 2, |at| Some(Op::Treat(Treatment::Mlock, at.range()))),
    word("munlock", Group::Usual, 2, |at| Some(Op::Treat(Treatment::Munlock, at.range()))),
    word("split", Group::Split, 5, |at| Some(Op::Treat(Treatment::Split, at.range_of_all()))),
    word("migrate", Group::Migrate, 4, |at| Some(Op::Treat(Treatment::Migrate, at.range_of_all()))),
    word("mergeable", Group::Ksm, 4, |at| Some(Op::Advise(Advice::Mergeable, at.range_of_all()))),
    word("ksm", Group::Ksm, 2, |_| Some(Op::Ksm)),
    word("munmap", Group::Usual, 2, |at| Some(Op::Munmap(at.range()))),
    word("mremap", Group::Usual, 3, |at| Some(Op::Mremap(at.range()))),
    word("clear-soft-dirty", Group::Usual, 2, |_| Some(Op::ClearSoftDirty)),
    word("pin rw", Group::Fixed, 6, |at| at.pin(&[PinKind::READ_WRITE])),
    word("pin rw fast", Group::Gup, 2, |at| at.pin(&[PinKind::Gup { short: false, write: true, fast: true }])),
    word("pin ro", Group::Gup, 3, |at| at.pin(&[PinKind::READ_ONLY])),
    word("pin ro fast", Group::Gup, 3, |at| at.pin(&[PinKind::READ_ONLY_FAST])),
    word("pin short", Group::Gup, 3, |at| at.pin(&SHORT)),
    word("splice", Group::Pipe, 7, |at| at.pin(&[PinKind::Splice])),
    word("read via", Group::Always, 5, |at| Some(Op::ReadVia(at.my_pin(|_| true)?))),
    word("write via", Group::Always, 5, |at| Some(Op::WriteVia(at.my_pin(PinKind::writes)?, at.range()))),
    word("unpin", Group::Always, 2, |at| Some(Op::Unpin(at.my_pin(|_| true)?))),
];

/// All short-term pins.
const SHORT: [PinKind; 4] = [
    PinKind::Gup { short: true, write: true, fast: false },
    PinKind::Gup { short: true, write: true, fast: true },
    PinKind::Gup { short: true, write: false, fast: false },
    PinKind::Gup { short: true, write: false, fast: true },
];

const K: u64 = 1 << 10;
const M: u64 = 1 << 20;
/// What a PMD maps where base pages have 4 KiB.
const PMD: u64 = 2 * M;

/// The memories with their weights: kind, bytes of a piece, pieces. 1 GiB pages are left to who asks for them: one
/// scenario takes as long as thousands of others.
pub const MEMORIES: &[(u32, MemoryKind, u64, u32)] = &[
    (60, MemoryKind::Thp, 2 * M, 1),
    (4, MemoryKind::Thp, 512 * K, 1),
    (10, MemoryKind::Thp, 64 * K, 1),
    (4, MemoryKind::Thp, 32 * K, 1),
    (8, MemoryKind::Thp, 16 * K, 1),
    (6, MemoryKind::Anon, 4 * K, 1),
    (6, MemoryKind::Anon, 4 * K, 4),
    (8, MemoryKind::Anon, 4 * K, 16),
    (4, MemoryKind::Zero, 4 * K, 4),
    (4, MemoryKind::HugeZero, 2 * M, 1),
    (5, MemoryKind::Memfd, 16 * K, 1),
    (3, MemoryKind::Tmpfile, 16 * K, 1),
    (4, MemoryKind::Hugetlb, 2 * M, 1),
    (1, MemoryKind::Hugetlb, 2 * M, 2),
    (2, MemoryKind::MemfdHugetlb, 2 * M, 1),
    (4, MemoryKind::ShmemThp, 2 * M, 1),
];

/// One of [`MEMORIES`].
pub(crate) fn memory(random: &mut Random) -> Option<Memory> {
    let (_, kind, size, count) = *random.weighted(MEMORIES, |(weight, ..)| *weight)?;
    Some(Memory { kind, size, count })
}

/// The word that a step is an instance of: the longest that it begins with. `collapse R of B` has its pages in between.
pub fn word_of(op: &Op) -> Option<&'static Word> {
    let text = match op {
        Op::CollapseOf(..) => "collapse of".to_owned(),
        _ => op.to_string(),
    };
    let begins =
        |word: &&Word| text.strip_prefix(word.word).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '));
    STEPS.iter().filter(begins).max_by_key(|word| word.word.len())
}

/// Where a step is chosen: the world so far, and who is to do it.
pub struct Choice<'a> {
    /// Chance.
    pub random: &'a mut Random,
    /// What has happened so far.
    pub world: &'a World,
    /// Who does the step.
    pub actor: Actor,
}

/// Named ranges with their weights.
const RANGES: [(u32, Range); 8] = [
    (9, Range::All),
    (3, Range::Lower),
    (3, Range::Upper),
    (2, Range::First),
    (2, Range::Last),
    (1, Range::Rest),
    (1, Range::Even),
    (1, Range::Odd),
];

impl Choice<'_> {
    /// Some pages: mostly as the language names them, sometimes odd runs.
    pub fn range(&mut self) -> Range {
        let pages = self.world.pages();
        match self.random.below(8) {
            0 => Range::page(self.random.below(pages)),
            1 => Range::Pages(self.runs(pages)),
            _ => self.random.weighted(&RANGES, |(weight, _)| *weight).map_or(Range::All, |(_, range)| range.clone()),
        }
    }

    /// Mostly all pages.
    pub fn range_of_all(&mut self) -> Range {
        if self.random.chance(7, 8) { Range::All } else { self.range() }
    }

    /// One or two short runs at odd places.
    fn runs(&mut self, pages: u32) -> Vec<Run> {
        let mut runs = Vec::new();
        let mut from = 0;
        for _ in 0..=self.random.below(2) {
            if from >= pages {
                break;
            }
            let first = from + self.random.below((pages - from).min(1 + pages / 2));
            let count = 1 + self.random.below((pages - first).min(9));
            runs.push(Run { first, count });
            from = first + count + 1;
        }
        runs
    }

    /// An actor that was never there.
    fn new_actor(&mut self) -> Option<Actor> {
        if self.world.alive().count() >= MOST_ALIVE {
            return None;
        }
        // What exited keeps its name: a fork of one who is there is refused.
        let last = (0..).map_while(Actor::new).filter(|actor| self.world.was_forked(*actor)).last()?;
        Actor::new(last.index() + 1)
    }

    /// Another one that is alive, if PMDs can map the memory: all else is refused, and nothing is learnt.
    fn another_with_pmds(&mut self) -> Option<Actor> {
        let memory = self.world.memory();
        if memory.kind.is_hugetlb() || memory.size < PMD {
            return None;
        }
        let others: Vec<Actor> = self.world.alive().filter(|other| *other != self.actor).collect();
        self.random.pick(&others).copied()
    }

    fn pin(&mut self, kinds: &[PinKind]) -> Option<Op> {
        let free = (0..MOST_PINS).filter_map(Pin::new).find(|pin| self.world.pin_owner(*pin).is_none())?;
        Some(Op::Pin(*self.random.pick(kinds)?, free, self.range()))
    }

    fn my_pin(&mut self, fits: impl Fn(PinKind) -> bool) -> Option<Pin> {
        let mine =
            |pin: &Pin| self.world.pin_owner(*pin).is_some_and(|(owner, kind)| owner == self.actor && fits(kind));
        let mine: Vec<Pin> = (0..).map_while(Pin::new).filter(mine).collect();
        self.random.pick(&mine).copied()
    }
}
