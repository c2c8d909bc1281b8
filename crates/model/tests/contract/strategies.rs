//! Random scenarios.

use cowcheck_model::contract::World;
use cowcheck_model::memory::{Memory, MemoryKind};
use cowcheck_model::pages::{Range, Run};
use cowcheck_model::scenario::Scenario;
use cowcheck_model::stamp::{Holds, Writer};
use cowcheck_model::step::{Access, Actor, Advice, Op, Pin, PinKind, Prot, State, Step, Treatment};
use cowcheck_model::storm::{Rival, Rivals};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::reference::PAGE;

/// How many pages the memory of [`valid`] scenarios has.
const PAGES: u32 = 8;

fn of_words<T: Copy + std::fmt::Debug + 'static>(words: &[(T, &'static str)]) -> impl Strategy<Value = T> + use<T> {
    select(words.iter().map(|(value, _)| *value).collect::<Vec<_>>())
}

fn actor(among: usize) -> impl Strategy<Value = Actor> {
    (0..among).prop_map(|index| Actor::new(index).unwrap())
}

fn pin(among: usize) -> impl Strategy<Value = Pin> {
    (0..among).prop_map(|index| Pin::new(index).unwrap())
}

fn range(pages: u32) -> impl Strategy<Value = Range> {
    let runs = vec((0..4u32, 1..5u32), 1..4).prop_map(move |gaps| {
        let mut first = 0;
        let mut runs = Vec::new();
        for (gap, count) in gaps {
            let run = Run { first: first + gap, count };
            if run.end() > pages {
                break;
            }
            first = run.end();
            runs.push(run);
        }
        if runs.is_empty() { Range::All } else { Range::Pages(runs) }
    });
    let named = select(vec![
        Range::All,
        Range::Lower,
        Range::Upper,
        Range::First,
        Range::Last,
        Range::Rest,
        Range::Even,
        Range::Odd,
    ]);
    prop_oneof![3 => Just(Range::All), 3 => named, 2 => runs, 1 => (0..pages).prop_map(Range::page)]
}

/// One or more.
fn rivals() -> impl Strategy<Value = Rivals> {
    (1..1u8 << Rival::WORDS.len()).prop_map(|bits| {
        let chosen = Rival::WORDS.into_iter().enumerate().filter(|(at, _)| bits >> at & 1 == 1);
        chosen.fold(Rivals::default(), |rivals, (_, (rival, _))| rivals.with(rival).unwrap())
    })
}

fn op(actors: usize, pins: usize, pages: u32) -> impl Strategy<Value = Op> {
    let range = || range(pages);
    let kind = of_words(&PinKind::WORDS);
    prop_oneof![
        8 => range().prop_map(Op::Write),
        2 => range().prop_map(Op::Poke),
        8 => range().prop_map(Op::Read),
        1 => range().prop_map(Op::Touch),
        1 => range().prop_map(Op::ReadBacking),
        1 => range().prop_map(Op::WriteBacking),
        2 => (of_words(&Access::WORDS), range()).prop_map(|(access, range)| Op::Probe(access, range)),
        4 => actor(actors).prop_map(Op::Fork),
        1 => Just(Op::Exit),
        1 => (range(), of_words(&Prot::WORDS)).prop_map(|(range, prot)| Op::Mprotect(range, prot)),
        9 => (of_words(&Advice::WORDS), range()).prop_map(|(advice, range)| Op::Advise(advice, range)),
        2 => range().prop_map(|range| Op::Advise(Advice::Collapse, range)),
        1 => (range(), actor(actors)).prop_map(|(range, owner)| Op::CollapseOf(range, owner)),
        1 => range().prop_map(Op::Khugepaged),
        2 => (range(), rivals()).prop_map(|(range, rivals)| Op::Storm(range, rivals)),
        3 => (of_words(&Treatment::WORDS), range()).prop_map(|(treatment, range)| Op::Treat(treatment, range)),
        2 => range().prop_map(|range| Op::Treat(Treatment::UffdWp, range)),
        1 => range().prop_map(|range| Op::Advise(Advice::PageOut, range)),
        1 => range().prop_map(|range| Op::Advise(Advice::WipeOnFork, range)),
        1 => range().prop_map(|range| Op::Advise(Advice::Guard, range)),
        1 => prop_oneof![Just(Op::Reclaim), Just(Op::Swapoff)],
        2 => Just(Op::Ksm),
        1 => range().prop_map(Op::Munmap),
        1 => range().prop_map(Op::Mremap),
        1 => Just(Op::ClearSoftDirty),
        4 => (kind, pin(pins), range()).prop_map(|(kind, pin, range)| Op::Pin(kind, pin, range)),
        4 => pin(pins).prop_map(Op::ReadVia),
        3 => (pin(pins), range()).prop_map(|(pin, range)| Op::WriteVia(pin, range)),
        1 => pin(pins).prop_map(Op::Unpin),
        1 => (of_words(&State::WORDS), range()).prop_map(|(state, range)| Op::Require(state, range)),
    ]
}

/// A remark as the language can hold it: one line, no blanks at its ends.
fn note() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => Just(String::new()),
        1 => any::<String>().prop_map(|text| text.replace('\n', " ").trim().to_owned()),
        1 => select(vec!["#", "# #", "ü\u{2028}\u{1F404}", "a\rb", "\u{feff}", "memory anon 4K", "\"\\\u{0}"]).prop_map(str::to_owned),
    ]
}

/// Any scenario that has a text form, whether it can be done or not.
pub(crate) fn anything() -> impl Strategy<Value = Scenario> {
    let memory = (of_words(&MemoryKind::WORDS), any::<u64>(), 0..64u32, any::<u32>());
    let step = (actor(Actor::MAX), op(Actor::MAX, Pin::MAX, 1 << 19), prop::bool::weighted(0.2), note());
    let step = step.prop_map(|(actor, op, at_once, note)| Step { actor, op, at_once, note });
    let steps = vec(step, 0..12).prop_map(|mut steps| {
        // What comes first has nothing to be at once with.
        steps.iter_mut().take(1).for_each(|step| step.at_once = false);
        steps
    });
    (memory, vec(note(), 0..3), steps).prop_map(|((kind, size, shift, count), about, steps)| Scenario {
        about,
        memory: Memory { kind, size: size >> shift, count },
        steps,
    })
}

/// Which memory and which steps [`valid`] may use.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Freedom {
    /// Everything.
    Some,
    /// Only what leaves a correct kernel no choice in what a reader sees.
    None,
}

/// A scenario that can be done: random steps of which those that cannot are left out.
pub(crate) fn valid(freedom: Freedom) -> impl Strategy<Value = Scenario> {
    let step = (actor(3), op(3, 3, PAGES)).prop_map(|(actor, op)| Step::new(actor, op));
    let memory = of_words(&MemoryKind::WORDS).prop_map(|kind| Memory { kind, size: u64::from(PAGE), count: PAGES });
    (memory, vec(step, 4..90)).prop_map(move |(memory, steps)| {
        let mut world = World::new(memory, PAGE);
        let mut scenario = Scenario { about: vec![], memory, steps: vec![] };
        for step in steps {
            let chooses = match step.op {
                Op::Pin(kind, ..) => !kind.breaks_sharing(),
                Op::WriteBacking(_) | Op::Advise(Advice::Free, _) | Op::Touch(_) => true,
                // Of a page that is not there the mark may be kept or not.
                Op::Treat(Treatment::UffdWp, _) => true,
                _ => false,
            };
            if (chooses && freedom == Freedom::None) || world.check(&step).is_err() {
                continue;
            }
            world.apply(scenario.steps.len() as u32 + 1, &step, None);
            scenario.steps.push(step);
        }
        scenario
    })
}

/// Anything a page can hold.
pub(crate) fn holds() -> impl Strategy<Value = Holds> {
    let writer = prop_oneof![
        Just(Writer::Initial),
        (actor(Actor::MAX), any::<u32>()).prop_map(|(actor, step)| Writer::Step(actor, step))
    ];
    let whole = prop_oneof![
        Just(Holds::Zero),
        (writer, any::<u32>()).prop_map(|(writer, page)| Holds::Stamp { writer, page }),
        any::<u64>().prop_map(Holds::Foreign),
        any::<u64>().prop_map(Holds::Raw),
        any::<i32>().prop_map(Holds::Fault),
        Just(Holds::NoFault),
    ];
    prop_oneof![4 => whole.clone(), 1 => vec((any::<u32>(), whole), 1..=8).prop_map(Holds::Torn)]
}

/// A scenario that can be done in which steps happen at once, mostly those of one actor.
pub(crate) fn at_once() -> impl Strategy<Value = Scenario> {
    let kind = || of_words(&PinKind::WORDS);
    let often = prop_oneof![
        6 => range(PAGES).prop_map(Op::Write),
        3 => range(PAGES).prop_map(Op::Read),
        4 => actor(4).prop_map(Op::Fork),
        3 => (kind(), pin(3), range(PAGES)).prop_map(|(kind, pin, range)| Op::Pin(kind, pin, range)),
        2 => pin(3).prop_map(Op::ReadVia),
        2 => (pin(3), range(PAGES)).prop_map(|(pin, range)| Op::WriteVia(pin, range)),
        2 => range(PAGES).prop_map(|range| Op::Advise(Advice::DontNeed, range)),
        2 => range(PAGES).prop_map(|range| Op::Advise(Advice::Free, range)),
        3 => range(PAGES).prop_map(|range| Op::Advise(Advice::Collapse, range)),
        2 => (range(PAGES), of_words(&Prot::WORDS)).prop_map(|(range, prot)| Op::Mprotect(range, prot)),
        2 => op(4, 3, PAGES),
    ];
    let who = prop_oneof![3 => Just(Actor::A), 1 => actor(3)];
    let together = vec((who, often), 2..=3);
    let alone = (actor(3), op(3, 3, PAGES)).prop_map(|one| vec![one]);
    let memory = of_words(&MemoryKind::WORDS).prop_map(|kind| Memory { kind, size: u64::from(PAGE), count: PAGES });
    (memory, vec(prop_oneof![2 => alone, 3 => together], 3..24)).prop_map(|(memory, groups)| {
        let mut world = World::new(memory, PAGE);
        let mut scenario = Scenario { about: vec![], memory, steps: vec![] };
        for group in groups {
            let mut steps: Vec<Step> =
                group.into_iter().map(|(actor, op)| Step { at_once: true, ..Step::new(actor, op) }).collect();
            steps[0].at_once = false;
            if world.advance(scenario.steps.len() as u32 + 1, &steps).is_ok() {
                scenario.steps.extend(steps);
            }
        }
        let everyone: Vec<Actor> = world.alive().collect();
        for actor in everyone {
            let step = Step::new(actor, Op::Read(Range::All));
            if world.advance(scenario.steps.len() as u32 + 1, std::slice::from_ref(&step)).is_ok() {
                scenario.steps.push(step);
            }
        }
        scenario
    })
}
