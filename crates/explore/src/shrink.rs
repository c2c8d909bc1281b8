//! The fewest steps, the smallest range and the plainest memory that still show a finding.
//!
//! In the order of syzkaller's minimisation, the cheapest first: the tail, what shares no actor or pin with the rest,
//! ever smaller pieces down to single steps, then turns instead of steps at once, memory, ranges and kinds. Steps that cannot be done any more go
//! along with those that they depend on, so every scenario that is asked about can be run.

use std::collections::HashSet;

use cowcheck_model::scenario::Scenario;
use cowcheck_model::step::{Actor, Op, Pin, Step, groups};

use crate::PAGE;
use crate::draft::Draft;
use crate::simpler;

/// How often the passes are gone through; one that changes nothing is the last.
const ROUNDS: u32 = 5;

/// Does it show the finding?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Yes.
    Yes,
    /// No, as often as it was run.
    No,
    /// There is no more time to find out.
    Enough,
}

/// What is left of a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shrunk {
    /// The scenario.
    pub scenario: Scenario,
    /// How many others were asked about.
    pub asked: u32,
    /// Was there time for everything?
    pub finished: bool,
}

/// Shrinks a scenario that shows a finding in step `last` (from 1; 0 if it is not known). `ask` runs a smaller one and
/// tells whether it shows the same.
pub fn shrink(found: &Scenario, last: u32, ask: &mut dyn FnMut(&Scenario) -> Answer) -> Shrunk {
    let best = Scenario { about: vec![], ..found.clone() };
    let mut shrinker = Shrinker { best, ask, asked: 0, enough: false, known: HashSet::new() };
    if last > 0 {
        let candidate = shrinker.keeping(|number, _| number < last as usize);
        shrinker.attempt(candidate);
    }
    for _ in 0..ROUNDS {
        let before = shrinker.best.clone();
        shrinker.resources();
        shrinker.pieces();
        shrinker.turns();
        shrinker.memory();
        shrinker.arguments();
        if shrinker.enough || shrinker.best == before {
            break;
        }
    }
    // Names say nothing to a kernel: this needs no question.
    let renamed = renamed(&shrinker.best);
    if renamed.validate(PAGE).is_ok() && renamed.steps.len() == shrinker.best.steps.len() {
        shrinker.best = renamed;
    }
    Shrunk { scenario: shrinker.best, asked: shrinker.asked, finished: !shrinker.enough }
}

struct Shrinker<'a> {
    best: Scenario,
    ask: &'a mut dyn FnMut(&Scenario) -> Answer,
    asked: u32,
    enough: bool,
    /// What does not show it.
    known: HashSet<Scenario>,
}

impl Shrinker<'_> {
    /// Takes the candidate if it shows the finding.
    fn attempt(&mut self, candidate: Scenario) -> bool {
        let is_new = candidate != self.best && !candidate.steps.is_empty() && !self.known.contains(&candidate);
        if self.enough || !is_new || candidate.validate(PAGE).is_err() {
            return false;
        }
        self.asked += 1;
        match (self.ask)(&candidate) {
            Answer::Yes => {
                self.best = candidate;
                true
            }
            Answer::No => {
                self.known.insert(candidate);
                false
            }
            Answer::Enough => {
                self.enough = true;
                false
            }
        }
    }

    /// The best so far with the steps that `keep` (given their index) only, and without those that depend on others.
    fn keeping(&self, keep: impl Fn(usize, &Step) -> bool) -> Scenario {
        let mut draft = Draft::new(self.best.memory);
        draft.replay(&self.best.steps, |index, step| keep(index, step).then(|| step.clone()));
        draft.into_scenario()
    }

    /// All that has to do with one actor, or with one pin.
    fn resources(&mut self) {
        for actor in (1..Actor::MAX).rev().filter_map(Actor::new) {
            let candidate = self.keeping(|_, step| step.actor != actor && step.op != Op::Fork(actor));
            self.attempt(candidate);
        }
        for pin in (0..).map_while(Pin::new) {
            let candidate = self.keeping(|_, step| pin_of(&step.op) != Some(pin));
            self.attempt(candidate);
        }
    }

    /// Pieces of half the steps, a quarter, and so on down to single steps; the last ones first.
    fn pieces(&mut self) {
        let mut size = self.best.steps.len().div_ceil(2);
        while size > 0 && !self.enough {
            let mut end = self.best.steps.len();
            while end > 0 {
                let start = end.saturating_sub(size);
                let candidate = self.keeping(|index, _| !(start..end).contains(&index));
                self.attempt(candidate);
                end = start.min(self.best.steps.len());
            }
            size /= 2;
        }
    }

    /// Steps at once one after the other, in each order: is it a race at all?
    fn turns(&mut self) {
        let mut first = 0;
        while let Some(group) = self.best.steps.get(first..).and_then(|rest| Some(groups(rest).next()?.to_vec())) {
            for order in orders(group.len()) {
                let mut draft = Draft::new(self.best.memory);
                draft.replay(&self.best.steps[..first], |_, step| Some(step.clone()));
                for index in order {
                    draft.push(group[index].actor, group[index].op.clone());
                }
                draft.replay(&self.best.steps[first + group.len()..], |_, step| Some(step.clone()));
                if self.attempt(draft.into_scenario()) {
                    break;
                }
            }
            first += group.len();
        }
    }

    fn memory(&mut self) {
        for memory in simpler::memories(self.best.memory) {
            let candidate = simpler::on(&self.best, memory);
            if self.attempt(candidate) {
                break;
            }
        }
    }

    fn arguments(&mut self) {
        let pages = self.best.memory.pages(PAGE);
        for index in 0..self.best.steps.len() {
            let Some(step) = self.best.steps.get(index) else { break };
            for op in simpler::ops(&step.op, pages) {
                let mut candidate = self.best.clone();
                candidate.steps[index].op = op;
                if self.attempt(candidate) {
                    break;
                }
            }
        }
    }
}

/// Every order of so many things; none of one.
fn orders(count: usize) -> Vec<Vec<usize>> {
    let mut all = vec![vec![]];
    for next in 0..count {
        let put = |order: Vec<usize>| {
            (0..=order.len()).map(move |at| {
                let mut longer = order.clone();
                longer.insert(at, next);
                longer
            })
        };
        all = all.into_iter().flat_map(put).collect();
    }
    if count > 1 { all } else { vec![] }
}

fn pin_of(op: &Op) -> Option<Pin> {
    match op {
        Op::Pin(_, pin, _) | Op::ReadVia(pin) | Op::WriteVia(pin, _) | Op::Unpin(pin) => Some(*pin),
        _ => None,
    }
}

/// Actors and pins called by the first names, in the order in which they come.
fn renamed(scenario: &Scenario) -> Scenario {
    let forked = scenario.steps.iter().filter_map(|step| match step.op {
        Op::Fork(child) => Some(child),
        _ => None,
    });
    let actors: Vec<Actor> = std::iter::once(Actor::A).chain(forked).collect();
    let mut pins: Vec<Pin> = Vec::new();
    for pin in scenario.steps.iter().filter_map(|step| pin_of(&step.op)) {
        if !pins.contains(&pin) {
            pins.push(pin);
        }
    }
    let actor = |old: Actor| actors.iter().position(|actor| *actor == old).and_then(Actor::new).unwrap_or(old);
    let pin = |old: Pin| pins.iter().position(|pin| *pin == old).and_then(Pin::new).unwrap_or(old);
    let mut renamed = scenario.clone();
    for step in &mut renamed.steps {
        step.actor = actor(step.actor);
        match &mut step.op {
            Op::Fork(other) | Op::CollapseOf(_, other) => *other = actor(*other),
            Op::Pin(_, name, _) | Op::ReadVia(name) | Op::WriteVia(name, _) | Op::Unpin(name) => *name = pin(*name),
            _ => {}
        }
    }
    renamed
}
