//! Another scenario, made of one that reached something new.

use cowcheck_model::contract::World;
use cowcheck_model::scenario::Scenario;
use cowcheck_model::step::{Actor, Step};

use crate::draft::Draft;
use crate::generate::{Mood, step};
use crate::menu::Choice;
use crate::random::Random;

/// The most changes at once.
const CHANGES: u32 = 3;

/// A step of the new scenario: an old one, or one to be chosen where it stands.
enum Part {
    Old(Step),
    New,
}

/// Makes it: steps are put in, left out, doubled, exchanged, given to another actor, or moved to other pages. What cannot
/// be done afterwards is left out.
pub fn mutate(parent: &Scenario, random: &mut Random) -> Scenario {
    let mut parts: Vec<Part> = Draft::unfinished(parent).iter().cloned().map(Part::Old).collect();
    let mut draft = Draft::new(parent.memory);
    for _ in 0..=random.below(CHANGES) {
        change(&mut parts, random, draft.world());
    }
    if parent.steps.iter().any(|step| step.at_once) && random.chance(1, 2) {
        let at = random.below(parts.len() as u32) as usize;
        if let Some(Part::Old(step)) = parts.get_mut(at) {
            step.at_once = !step.at_once;
        }
    }
    let mood = Mood::new(random, draft.world().pages());
    let mut together: Vec<Step> = vec![];
    for part in parts {
        match part {
            Part::Old(old) => {
                if !old.at_once {
                    put(&mut draft, &mut together);
                }
                together.push(old);
            }
            Part::New => {
                put(&mut draft, &mut together);
                step(&mut draft, random, &mood);
            }
        }
    }
    put(&mut draft, &mut together);
    draft.finish()
}

/// Steps at once, or those of them in turn that can be done so.
fn put(draft: &mut Draft, together: &mut Vec<Step>) {
    let steps = std::mem::take(together);
    if !draft.push_all(steps.clone()) && steps.len() > 1 {
        for step in steps {
            draft.push(step.actor, step.op);
        }
    }
}

fn change(parts: &mut Vec<Part>, random: &mut Random, world: &World) {
    let at = random.below(parts.len() as u32 + 1) as usize;
    let other = random.below(parts.len() as u32) as usize;
    match (random.below(8), parts.get_mut(at)) {
        (0, Some(_)) => {
            parts.remove(at);
        }
        (1, Some(Part::Old(step))) => {
            let step = step.clone();
            parts.insert(other, Part::Old(step));
        }
        (2, Some(_)) => parts.swap(at, other),
        (3, Some(Part::Old(step))) => {
            if let Some(actor) = Actor::new(random.below(3) as usize) {
                step.actor = actor;
            }
        }
        (4, Some(Part::Old(step))) => {
            if let Some(range) = step.op.range_mut() {
                *range = Choice { random, world, actor: Actor::A }.range();
            }
        }
        _ => parts.insert(at, Part::New),
    }
}
