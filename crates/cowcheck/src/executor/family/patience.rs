//! What is tried again, for the refusal may pass: collapse, page-out, pins.

use std::io;
use std::time::Duration;

use cowcheck_model::pages::Run;
use cowcheck_model::step::{Actor, Advice, Op, PinKind};
use cowcheck_model::trace::{Record, StepResult};
use cowcheck_sys::advice;

use super::{Member, done, errno};
use crate::executor::look::Place;
use crate::executor::page_state::Pagemap;
use crate::executor::pins::{self, Held, Refused};

/// How often a refusal that may pass is tried again, and how long is waited in between.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    pub(in crate::executor) tries: u32,
    pub(in crate::executor) pause: Duration,
}

impl Patience {
    /// 0.3 s in all: what is refused then leaves a check inconclusive.
    pub const FULL: Patience = Patience { tries: 60, pause: Duration::from_millis(5) };
    /// Once more: for whom a refusal is as good as another.
    pub const BRIEF: Patience = Patience { tries: 2, pause: Duration::from_micros(500) };
}

/// The same where the refusal is most likely due to a pin of the family's, which stays.
const TRIES_UNDER_PIN: u32 = 4;

/// EAGAIN, EBUSY, ENOMEM: what MADV_COLLAPSE returns where another try may succeed (madvise(2)).
const PASSING: [i32; 3] = [11, 16, 12];

pub(in crate::executor) fn passes(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|errno| PASSING.contains(&errno))
}

impl Member<'_> {
    /// How often what a pin would forbid is tried.
    fn tries(&self) -> u32 {
        let before = self.plan.scenario.steps.iter().take(self.turns.turn() - 1);
        let is_pinned = before.into_iter().any(|step| matches!(step.op, Op::Pin(..)));
        self.plan.patience.tries.min(if is_pinned { TRIES_UNDER_PIN } else { u32::MAX })
    }

    /// MADV_COLLAPSE, again while the refusal may pass.
    pub(super) fn collapse(&self, runs: &[Run], tries: &mut u32) -> StepResult {
        loop {
            let result = self.parts(runs, |area, offset, len| area.advise(offset, len, Advice::Collapse));
            match result {
                StepResult::Errno(errno) if PASSING.contains(&errno) && *tries < self.tries() => {
                    *tries += 1;
                    std::thread::sleep(self.plan.patience.pause);
                }
                result => return result,
            }
        }
    }

    /// The same of another actor's pages.
    pub(super) fn collapse_of(&self, owner: Actor, runs: &[Run], record: &mut Record) -> StepResult {
        let places = within(&self.turns.places(owner), runs, self.layout.page_size());
        let bytes: Vec<(usize, usize)> =
            places.iter().map(|place| (place.address, place.pages.count as usize * self.layout.page_size())).collect();
        let pid = self.turns.pid(owner);
        let result = loop {
            match done(advice::collapse_of(pid, &bytes)) {
                StepResult::Errno(errno) if PASSING.contains(&errno) && record.tries < self.tries() => {
                    record.tries += 1;
                    std::thread::sleep(self.plan.patience.pause);
                }
                result => break result,
            }
        };
        if self.plan.states && self.plan.look.is_none() {
            // What it did to the other's pages; only root may look, and what is not seen is not told.
            let frames = self.plan.frames;
            let seen = Pagemap::open_of(pid).and_then(|table| self.observe(&table, owner, &places, frames));
            record.states = seen.unwrap_or_default();
        }
        result
    }

    /// MADV_PAGEOUT, again until every page is out: it passes over pages that are on no LRU list yet.
    pub(super) fn page_out(&self, runs: &[Run], tries: &mut u32) -> StepResult {
        loop {
            let result = self.parts(runs, |area, offset, len| area.advise(offset, len, Advice::PageOut));
            let out = self.states(runs).is_ok_and(|states| states.iter().all(|seen| seen.state.swapped));
            if out || *tries >= self.tries() || !matches!(result, StepResult::Ok) {
                return result;
            }
            *tries += 1;
            std::thread::sleep(self.plan.patience.pause);
        }
    }

    /// Takes a pin, again while the refusal may pass: the kernel gives back what earlier fixed buffers
    /// had locked only some time after their ring is gone.
    pub(super) fn pin(&self, kind: PinKind, runs: &[Run], tries: &mut u32, held: &mut Option<Held>) -> StepResult {
        loop {
            match pins::take(kind, &self.layout, runs, self.plan.devices) {
                Ok(taken) => {
                    *held = Some(taken.held);
                    return taken.partial.map_or(StepResult::Ok, StepResult::Partial);
                }
                Err(Refused::Errno(error)) if passes(&error) && *tries < Patience::FULL.tries => {
                    *tries += 1;
                    std::thread::sleep(Patience::FULL.pause);
                }
                Err(Refused::Errno(error)) => return errno(&error),
                Err(Refused::NoDevice(why)) => return StepResult::Skipped(why),
            }
        }
    }
}

/// Those of the places that are of `runs`.
fn within(places: &[Place], runs: &[Run], page_size: usize) -> Vec<Place> {
    let of = |place: &Place, run: &Run| {
        let (first, end) = (run.first.max(place.pages.first), run.end().min(place.pages.end()));
        let before = first.saturating_sub(place.pages.first) as usize;
        (first < end)
            .then(|| Place { pages: Run { first, count: end - first }, address: place.address + before * page_size })
    };
    runs.iter().flat_map(|run| places.iter().filter_map(move |place| of(place, run))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_cut_to_the_pages_that_are_meant() {
        let place = |first, count, address| Place { pages: Run { first, count }, address };
        let places = [place(0, 4, 0x10000), place(4, 4, 0x90000)];
        let found = within(&places, &[Run { first: 1, count: 2 }, Run { first: 3, count: 3 }], 0x1000);
        assert_eq!(found, [place(1, 2, 0x11000), place(3, 1, 0x13000), place(4, 2, 0x90000)]);
        assert_eq!(within(&places, &[Run { first: 8, count: 2 }], 0x1000), []);
    }
}
