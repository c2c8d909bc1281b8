//! A scenario in the making: what is in it can be done.

use cowcheck_model::contract::World;
use cowcheck_model::memory::Memory;
use cowcheck_model::pages::{Range, runs_of};
use cowcheck_model::scenario::Scenario;
use cowcheck_model::step::{Access, Actor, Op, Pin, Step};

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
        let step = Step { actor, op, note: String::new() };
        if self.world.check(&step).is_err() {
            return false;
        }
        self.world.apply(self.scenario.steps.len() as u32 + 1, &step, None);
        self.scenario.steps.push(step);
        true
    }

    /// In the end everyone reads everything, through pins, too: what no reader sees is not tested.
    pub fn finish(mut self) -> Scenario {
        let alive: Vec<Actor> = self.world.alive().collect();
        for actor in &alive {
            if !self.push(*actor, Op::Read(Range::All)) {
                let readable = |page: &u32| !self.world.must_fault(*actor, *page, Access::Read);
                let runs = runs_of((0..self.world.pages()).filter(readable));
                self.push(*actor, Op::Read(Range::Pages(runs)));
            }
        }
        for pin in (0..).map_while(Pin::new) {
            if let Some((owner, _)) = self.world.pin_owner(pin) {
                self.push(owner, Op::ReadVia(pin));
            }
        }
        self.push(Actor::A, Op::ReadBacking(Range::All));
        self.scenario
    }

    /// The scenario as it is.
    pub fn into_scenario(self) -> Scenario {
        self.scenario
    }

    /// The steps without the reads at the end that [`Draft::finish`] adds.
    pub fn unfinished(scenario: &Scenario) -> &[Step] {
        let is_read = |step: &Step| matches!(step.op, Op::Read(_) | Op::ReadVia(_) | Op::ReadBacking(_));
        let end = scenario.steps.iter().rposition(|step| !is_read(step)).map_or(0, |last| last + 1);
        &scenario.steps[..end]
    }
}
