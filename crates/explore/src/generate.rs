//! Scenario number N of a seed.

use cowcheck_model::contract::{MOST_AT_ONCE, may_be_at_once};
use cowcheck_model::memory::Memory;
use cowcheck_model::pages::Range;
use cowcheck_model::scenario::Scenario;
use cowcheck_model::step::{Access, Actor, Op, Step};

use crate::draft::Draft;
use crate::menu::{self, Choice, Group, STEPS, Word};
use crate::prelude::BEGINNINGS;
use crate::random::Random;

/// How many steps a scenario gets beside its beginning and the reads at its end.
const FEWEST: u32 = 3;
const MOST: u32 = 16;

/// The same on memory of more pages than this.
const MOST_ON_LARGE: u32 = 6;
const LARGE: u32 = 1 << 14;

/// KSM compares every page with every other: on more pages than this, waiting for it takes seconds in an emulated guest,
/// and shows no more.
const MOST_FOR_KSM: u32 = 16;

/// How often a choice that cannot be done is made again.
const TRIES: usize = 12;

/// Makes the scenarios of a seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generator {
    seed: u64,
    /// The memories to choose from, where they are not those of the menu.
    on: Vec<Memory>,
    at_once: bool,
}

impl Generator {
    /// Of this seed. With `on`, on these memories only; each must have passed [`Scenario::validate`].
    pub fn new(seed: u64, on: Vec<Memory>) -> Generator {
        Generator { seed, on, at_once: false }
    }

    /// The same with steps at once in every scenario. They are others than those without.
    pub fn at_once(self, at_once: bool) -> Generator {
        Generator { at_once, ..self }
    }

    /// Scenario `number`. It depends on the seed, the number and what was asked for, and on nothing else.
    pub fn scenario(&self, number: u64) -> Scenario {
        let mut random = Random::of(self.seed, number);
        let memory = match random.pick(&self.on) {
            Some(memory) => Some(*memory),
            None => menu::memory(&mut random),
        };
        // The menu is not empty.
        let mut draft = Draft::new(memory.unwrap_or(Memory::new(cowcheck_model::memory::MemoryKind::Anon, 4096)));
        let mood = Mood::new(&mut random, draft.world().pages());
        if random.chance(7, 8) {
            begin(&mut draft, &mut random, &mood);
        }
        // On large memory every step takes long, and the language allows so many visits to pages only.
        let most = if draft.world().pages() > LARGE { MOST_ON_LARGE } else { MOST };
        for _ in 0..FEWEST + random.below(most - FEWEST + 1) {
            match self.at_once && random.chance(1, 2) {
                true => together(&mut draft, &mut random, &mood),
                false => step(&mut draft, &mut random, &mood),
            }
        }
        if self.at_once && !draft.steps().iter().any(|step| step.at_once) {
            together(&mut draft, &mut random, &mood);
        }
        end(&mut draft, &mut random);
        draft.finish()
    }
}

/// Which words of the menu a scenario may use: a bit for each.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mood(u64);

impl Mood {
    /// One coin for each group, and one for each usual word. `pages`: how large the memory is.
    pub(crate) fn new(random: &mut Random, pages: u32) -> Mood {
        let may_be = |group: &Group| *group != Group::Ksm || pages <= MOST_FOR_KSM;
        let on = Group::WHOLE.into_iter().filter(|group| random.chance(group.often(), 8));
        let on: Vec<Group> = on.filter(may_be).collect();
        let mut words = 0;
        for (index, word) in STEPS.iter().enumerate() {
            let has = match word.group {
                Group::Always => true,
                Group::Usual => random.chance(Group::Usual.often(), 8),
                group => on.contains(&group),
            };
            words |= u64::from(has) << index;
        }
        Mood(words)
    }

    fn weight(self, index: usize, word: &Word) -> u32 {
        if self.0 >> index & 1 == 1 { word.weight } else { 0 }
    }

    /// May the beginning have this step? What needs nothing of the machine always.
    fn allows(self, op: &Op) -> bool {
        let Some(word) = menu::word_of(op) else { return true };
        let index = STEPS.iter().position(|other| other.word == word.word);
        matches!(word.group, Group::Always | Group::Usual) || index.is_some_and(|index| self.weight(index, word) > 0)
    }
}

fn begin(draft: &mut Draft, random: &mut Random, mood: &Mood) {
    for stage in BEGINNINGS.iter() {
        let Some((_, steps)) = random.weighted(stage, |(weight, _)| *weight) else { continue };
        if steps.iter().all(|step| mood.allows(&step.op)) {
            for step in steps {
                draft.push(step.actor, step.op.clone());
            }
        }
    }
}

/// Many a page that is shared, writable or marked when it should not be tells only who writes to it: in the end some of
/// those who are there write everything, or try to.
fn end(draft: &mut Draft, random: &mut Random) {
    let alive: Vec<Actor> = draft.world().alive().collect();
    for actor in alive {
        let (probes, writes) = (random.chance(1, 3), random.chance(1, 2));
        if probes {
            draft.push(actor, Op::Probe(Access::Write, Range::All));
        }
        if writes {
            draft.push_on_all(actor, Access::Write, Op::Write);
        }
    }
}

/// Adds one step, if one is found that can be done.
pub(crate) fn step(draft: &mut Draft, random: &mut Random, mood: &Mood) {
    for _ in 0..TRIES {
        let actor = someone(draft, random);
        if choose(draft, random, mood, actor).is_some_and(|op| draft.push(actor, op)) {
            return;
        }
    }
}

/// Adds steps at once, if some are found that can be.
fn together(draft: &mut Draft, random: &mut Random, mood: &Mood) {
    for _ in 0..TRIES * TRIES {
        let actor = someone(draft, random);
        let mut steps: Vec<Step> = vec![];
        for _ in 0..if random.chance(1, 4) { MOST_AT_ONCE } else { 2 } {
            // Threads of one process share more than a family does.
            let actor = if random.chance(1, 2) { actor } else { someone(draft, random) };
            let op = choose(draft, random, mood, actor).filter(may_be_at_once);
            steps.extend(op.map(|op| Step::new(actor, op)));
        }
        let reads = |step: &Step| matches!(step.op, Op::Read(_) | Op::Touch(_) | Op::ReadVia(_));
        if steps.len() > 1 && !steps.iter().all(reads) && draft.push_all(steps) {
            return;
        }
    }
}

/// Who is next: A as often as all others together, for it is the one that others come from.
fn someone(draft: &Draft, random: &mut Random) -> Actor {
    let alive: Vec<Actor> = draft.world().alive().collect();
    let actor = if random.chance(1, 2) { Some(&Actor::A) } else { random.pick(&alive) };
    actor.copied().unwrap_or(Actor::A)
}

/// Something that this actor could do.
fn choose(draft: &Draft, random: &mut Random, mood: &Mood, actor: Actor) -> Option<Op> {
    let words: Vec<(usize, &Word)> = STEPS.iter().enumerate().collect();
    let (_, word) = random.weighted(&words, |(index, word)| mood.weight(*index, word))?;
    (word.make)(&mut Choice { random, world: draft.world(), actor })
}
