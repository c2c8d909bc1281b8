//! Steps at once: does some order allow what they saw?

use super::{Judge, Next, may_be_done_in_part, may_be_refused};
use crate::contract::Came;
use crate::step::{Op, Step};
use crate::trace::{Record, StepResult};

/// What an access gets that the protection of its mapping forbids.
const SIGSEGV: i32 = 11;

impl Judge<'_> {
    /// Steps at once, of which the first has this number, with a record of each. Page states are those of the last record:
    /// nobody looks before all are done.
    pub(super) fn at_once(&mut self, first: u32, steps: &[Step], records: &[&Record]) -> Next {
        let closed: Vec<_> = (0..steps.len()).map(|index| self.world.is_closed(steps, index)).collect();
        let mut came = Vec::with_capacity(steps.len());
        for (index, (step, record)) in steps.iter().zip(records).enumerate() {
            let number = first + index as u32;
            let is_closed =
                |page: Option<u32>| closed[index].iter().any(|run| page.is_none_or(|page| run.pages().contains(&page)));
            came.push(match &record.result {
                StepResult::Ok => Came::Done(None),
                StepResult::Partial(pages @ 1..) if matches!(step.op, Op::Pin(..)) => Came::Done(Some(*pages)),
                StepResult::Errno(_) if matches!(step.op, Op::Pin(..)) && is_closed(None) => Came::NotDone,
                StepResult::Errno(_) if may_be_refused(&step.op) => {
                    self.refused = Some(format!("step {number}, `{step}`, was {}", record.result));
                    Came::NotDone
                }
                StepResult::Signal { signal: SIGSEGV, page: page @ Some(_) } if is_closed(*page) => Came::Partly,
                StepResult::Signal { signal, page } => {
                    self.signal(number, step, *signal, *page);
                    Came::Partly
                }
                StepResult::Errno(_) | StepResult::Partial(_) if may_be_done_in_part(&step.op) => {
                    // Nobody knows what is right after it, nor beside it.
                    self.not_done(number, step, &record.result);
                    return Next::Stop;
                }
                other => {
                    self.not_done(number, step, other);
                    Came::NotDone
                }
            });
        }
        let worlds = self.check_done(steps, &came).and_then(|()| self.world.at_once(first, steps, &came));
        let worlds = match worlds {
            Ok(worlds) => worlds,
            Err((index, expected)) => {
                // It depends on a step that was not done; what the others did is not known either.
                if self.unreached.is_empty() {
                    let number = first + index as u32;
                    let step = steps.get(index).map(|step| format!(", `{step}`")).unwrap_or_default();
                    self.unreached.push(format!("step {number}{step}: expected {expected}"));
                }
                return Next::Stop;
            }
        };
        for (index, (step, record)) in steps.iter().zip(records).enumerate() {
            let end = match &record.result {
                StepResult::Ok => u32::MAX,
                StepResult::Signal { page, .. } => page.unwrap_or(0),
                _ => continue,
            };
            // What one of them saw says nothing of what another may: it may have looked earlier.
            self.world = worlds.during.clone();
            self.saw(first + index as u32, step, record, end);
        }
        self.world = worlds.after;
        if let (Some(step), Some(record)) = (steps.last(), records.last()) {
            self.states(first + steps.len() as u32 - 1, step, &record.states);
        }
        Next::GoOn
    }

    /// Could those that were done be done?
    fn check_done(&self, steps: &[Step], came: &[Came]) -> Result<(), (usize, String)> {
        let done: Vec<(usize, &Step)> =
            steps.iter().enumerate().filter(|(index, _)| came[*index] != Came::NotDone).collect();
        let only: Vec<Step> = done.iter().map(|(_, step)| (*step).clone()).collect();
        self.world.check_at_once(&only).map_err(|(at, why)| (done.get(at).map_or(0, |(index, _)| *index), why))
    }
}
