//! A scenario in the making: what is in it can be done.

use cowcheck_model::contract::World;
use cowcheck_model::memory::Memory;
use cowcheck_model::pages::{Range, runs_of};
use cowcheck_model::scenario::Scenario;
use cowcheck_model::step::{Access, Actor, Advice, Op, Pin, Step, groups};

use crate::PAGE;

/// A scenario and the world after its last step.
#[derive(Debug, Clone)]
pub struct Draft {
    world: World,
    scenario: Scenario,
}

impl Draft {
    /// Without any step. The memory must be one of [`crate::menu`], or have passed [`Scenario::validate`].
    pub fn new(memory: Memory) -> Draft {
        Draft { world: World::new(memory, PAGE), scenario: Scenario { about: vec![], memory, steps: vec![] } }
    }

    /// What the contract knows after the steps so far.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// The steps so far.
    pub fn steps(&self) -> &[Step] {
        &self.scenario.steps
    }

    /// Adds a step if it can be done.
    pub fn push(&mut self, actor: Actor, op: Op) -> bool {
        self.push_all(vec![Step::new(actor, op)])
    }

    /// Adds steps that happen at once, if they can.
    pub fn push_all(&mut self, mut steps: Vec<Step>) -> bool {
        for (index, step) in steps.iter_mut().enumerate() {
            step.at_once = index > 0;
            step.note.clear();
        }
        let can = !steps.is_empty()
            && !steps.iter().any(|step| self.is_in_vain(&step.op))
            && self.world.advance(self.scenario.steps.len() as u32 + 1, &steps).is_ok();
        if can {
            self.scenario.steps.append(&mut steps);
        }
        can
    }

    /// Is there nothing that it could do? KSM goes through nothing then, and is waited for in vain.
    fn is_in_vain(&self, op: &Op) -> bool {
        let was_there = |wanted: fn(&Op) -> bool| self.scenario.steps.iter().any(|step| wanted(&step.op));
        match op {
            Op::Ksm => !was_there(|op| matches!(op, Op::Advise(Advice::Mergeable, _))),
            Op::Swapoff => !was_there(|op| matches!(op, Op::Advise(Advice::PageOut, _) | Op::Reclaim)),
            _ => false,
        }
    }

    /// Adds those of `steps`, each with its index, that can be done. What is left of steps at once is at once still.
    pub fn replay(&mut self, steps: &[Step], mut keep: impl FnMut(usize, &Step) -> Option<Step>) {
        let mut index = 0;
        for group in groups(steps) {
            let kept = (index..).zip(group).filter_map(|(index, step)| keep(index, step)).collect();
            self.push_all(kept);
            index += group.len();
        }
    }

    /// Adds a step on all pages, or on those that this access must not fault on.
    pub fn push_on_all(&mut self, actor: Actor, access: Access, op: fn(Range) -> Op) {
        if !self.push(actor, op(Range::All)) {
            let open = |page: &u32| !self.world.must_fault(actor, *page, access);
            let runs = runs_of((0..self.world.pages()).filter(open));
            self.push(actor, op(Range::Pages(runs)));
        }
    }

    /// In the end everyone reads everything, through pins, too: what no reader sees is not tested.
    pub fn finish(mut self) -> Scenario {
        self.read_all();
        self.scenario
    }

    fn read_all(&mut self) {
        for actor in self.alive() {
            self.push_on_all(actor, Access::Read, Op::Read);
        }
        for pin in (0..).map_while(Pin::new) {
            if let Some((owner, _)) = self.world.pin_owner(pin) {
                self.push(owner, Op::ReadVia(pin));
            }
        }
        self.push(Actor::A, Op::ReadBacking(Range::All));
    }

    fn alive(&self) -> Vec<Actor> {
        self.world.alive().collect()
    }

    /// What shows in contents what may have been seen in page tables and page structs only: for a scenario that ends with no
    /// read. Everyone writes, and everyone reads that: first A and B to every other page, for a write of one hides what the
    /// other's would have shown. Nothing where a step of the scenario cannot be done.
    pub fn shows_behind(scenario: &Scenario) -> Vec<Step> {
        let steps = scenario.steps.len();
        if Draft::unfinished(scenario).len() < steps {
            return vec![];
        }
        let mut draft = Draft::new(scenario.memory);
        draft.replay(&scenario.steps, |_, step| Some(step.clone()));
        if draft.steps().len() != steps {
            return vec![];
        }
        draft.read_all();
        let alive = draft.alive();
        if let ([first, second, ..], true) = (&alive[..], draft.world.pages() > 1) {
            draft.push(*first, Op::Write(Range::Even));
            draft.push(*second, Op::Write(Range::Odd));
            draft.read_all();
        }
        for actor in alive {
            draft.push_on_all(actor, Access::Write, Op::Write);
            draft.read_all();
        }
        draft.scenario.steps.split_off(steps)
    }

    /// The scenario as it is.
    pub fn into_scenario(self) -> Scenario {
        self.scenario
    }

    /// The steps without the reads at the end that [`Draft::finish`] adds.
    pub fn unfinished(scenario: &Scenario) -> &[Step] {
        let is_read =
            |step: &Step| !step.at_once && matches!(step.op, Op::Read(_) | Op::ReadVia(_) | Op::ReadBacking(_));
        let end = scenario.steps.iter().rposition(|step| !is_read(step)).map_or(0, |last| last + 1);
        &scenario.steps[..end]
    }
}
