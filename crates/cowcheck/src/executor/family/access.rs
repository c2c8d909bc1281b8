//! What an actor reads and writes: every word of every page, by as many threads as large memory is worth.

use cowcheck_model::pages::Run;
use cowcheck_model::stamp::{Holds, Stamp};
use cowcheck_model::step::{Access, Actor, Op};
use cowcheck_model::trace::{Seen, StepResult};
use cowcheck_sys::area::{Area, Fault as Signal};

use super::Member;
use crate::executor::fault::Fault;

impl Member<'_> {
    pub(super) fn accesses(&self, runs: &[Run], access: impl Fn(&Area, usize) -> Result<(), Signal>) -> StepResult {
        for (page, offset) in self.layout.each(runs) {
            if let Err(Signal(signal)) = access(&self.layout.area, offset) {
                return StepResult::Signal { signal, page: Some(page) };
            }
        }
        StepResult::Ok
    }

    pub(super) fn write(&self, number: u32, runs: &[Run], stamp: impl Fn(u32) -> Stamp + Sync) -> StepResult {
        let planted = self.plan.fault.filter(|fault| fault.is_in_write() && self.is_last_write(number));
        let last = runs.last().map_or(0, |run| run.end() - 1);
        let results = self.shared_out(runs, |runs| self.write_share(runs, planted, last, &stamp));
        results.into_iter().find(|result| *result != StepResult::Ok).unwrap_or(StepResult::Ok)
    }

    fn write_share(
        &self,
        runs: &[Run],
        planted: Option<Fault>,
        last: u32,
        stamp: &impl Fn(u32) -> Stamp,
    ) -> StepResult {
        let size = self.layout.page_size();
        for (page, offset) in self.layout.each(runs) {
            if page == last && planted == Some(Fault::LostWrite) {
                continue;
            }
            let area = &self.layout.area;
            let written = match planted {
                None if self.layout.is_large() => area.stream(offset, size, stamp(page).words()),
                _ => area.write(offset, size, |words| {
                    stamp(page).fill(words);
                    match planted {
                        Some(Fault::WrongByte) if page == last => words[words.len() - 1] ^= 1 << 56,
                        Some(Fault::SwappedPage) if last == 0 => words.rotate_left(size / 16),
                        Some(Fault::SwappedPage) if page == last => stamp(page - 1).fill(words),
                        _ => {}
                    }
                }),
            };
            if let Err(Signal(signal)) = written {
                return StepResult::Signal { signal, page: Some(page) };
            }
        }
        StepResult::Ok
    }

    /// Is this A's last write? That is the one its later reads look at.
    fn is_last_write(&self, number: u32) -> bool {
        let mut later = self.plan.scenario.numbered().filter(|(other, _)| *other > number);
        self.me == Actor::A && !later.any(|(_, step)| step.actor == Actor::A && matches!(step.op, Op::Write(_)))
    }

    pub(super) fn read(&self, runs: &[Run]) -> (Vec<Seen>, StepResult) {
        let mut all = Sight::new(self.nonce);
        for (seen, result) in self.shared_out(runs, |runs| self.read_share(runs)) {
            seen.into_iter().for_each(|seen| all.run(seen));
            if result != StepResult::Ok {
                return (all.seen, result);
            }
        }
        (all.seen, StepResult::Ok)
    }

    /// Large memory is gone through by as many threads as there are processors, each with its share.
    /// They are gone when this returns, so that a fork finds one thread.
    fn shared_out<T: Send>(&self, runs: &[Run], work: impl Fn(&[Run]) -> T + Sync) -> Vec<T> {
        if !self.layout.is_large() {
            return vec![work(runs)];
        }
        let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get().min(8));
        let shares = share(runs, threads as u32);
        std::thread::scope(|scope| {
            let started: Vec<_> = shares
                .iter()
                .map(|runs| std::thread::Builder::new().spawn_scoped(scope, || work(runs)).map_err(|_| runs))
                .collect();
            started
                .into_iter()
                .filter_map(|thread| match thread {
                    Ok(thread) => thread.join().ok(),
                    Err(runs) => Some(work(runs)),
                })
                .collect()
        })
    }

    fn read_share(&self, runs: &[Run]) -> (Vec<Seen>, StepResult) {
        let mut seen = Sight::new(self.nonce);
        for (page, offset) in self.layout.each(runs) {
            let read = self.layout.area.read(offset, self.layout.page_size(), |words| seen.page(page, words));
            if let Err(Signal(signal)) = read {
                return (seen.seen, StepResult::Signal { signal, page: Some(page) });
            }
        }
        (seen.seen, StepResult::Ok)
    }

    pub(super) fn read_backing(&self, runs: &[Run], seen: &mut Vec<Seen>) -> StepResult {
        let Some(backing) = &self.layout.backing else { return StepResult::Skipped("there is no backing".into()) };
        let size = self.layout.page_size();
        let mut sight = Sight::new(self.nonce);
        for page in runs.iter().flat_map(|run| run.pages()) {
            if let Err(Signal(signal)) = backing.read(page as usize * size, size, |words| sight.page(page, words)) {
                return StepResult::Signal { signal, page: Some(page) };
            }
        }
        *seen = sight.seen;
        StepResult::Ok
    }

    pub(super) fn write_backing(&self, runs: &[Run], stamp: impl Fn(u32) -> Stamp) -> StepResult {
        let Some(backing) = &self.layout.backing else { return StepResult::Skipped("there is no backing".into()) };
        let size = self.layout.page_size();
        for page in runs.iter().flat_map(|run| run.pages()) {
            if let Err(Signal(signal)) = backing.write(page as usize * size, size, |words| stamp(page).fill(words)) {
                return StepResult::Signal { signal, page: Some(page) };
            }
        }
        StepResult::Ok
    }

    pub(super) fn probe(&self, access: Access, runs: &[Run]) -> Vec<Seen> {
        let mut sight = Sight::new(self.nonce);
        for (page, offset) in self.layout.each(runs) {
            let tried = match access {
                Access::Read => self.layout.area.load(offset),
                Access::Write => self.layout.area.store(offset),
            };
            sight.holds(page, tried.map_or_else(|Signal(signal)| Holds::Fault(signal), |()| Holds::NoFault));
        }
        sight.seen
    }
}

/// What a reader has seen so far, in runs.
pub(super) struct Sight {
    nonce: u16,
    pub(super) seen: Vec<Seen>,
}

impl Sight {
    pub(super) fn new(nonce: u16) -> Self {
        Sight { nonce, seen: Vec::new() }
    }

    pub(super) fn page(&mut self, page: u32, words: &[u64]) {
        // Most pages go on where the last one left off; that is one comparison of all words.
        if let Some(Seen { pages, holds: Holds::Stamp { writer, page: first } }) = self.seen.last_mut() {
            let next = Stamp { nonce: self.nonce, writer: *writer, page: *first + pages.count };
            if pages.end() == page && next.fills(words) {
                pages.count += 1;
                return;
            }
        }
        self.holds(page, Holds::observe(words, self.nonce));
    }

    fn holds(&mut self, page: u32, holds: Holds) {
        self.run(Seen { pages: Run { first: page, count: 1 }, holds });
    }

    fn run(&mut self, next: Seen) {
        match self.seen.last_mut() {
            Some(last)
                if last.pages.end() == next.pages.first && last.holds.continued_by(last.pages.count, &next.holds) =>
            {
                last.pages.count += next.pages.count
            }
            _ => self.seen.push(next),
        }
    }
}

/// `runs` in `shares` parts of about the same number of pages.
fn share(runs: &[Run], shares: u32) -> Vec<Vec<Run>> {
    let pages: u32 = runs.iter().map(|run| run.count).sum();
    let each = pages.div_ceil(shares).max(1);
    let mut parts = vec![vec![]];
    let mut room = each;
    for run in runs {
        let mut rest = *run;
        while rest.count > 0 {
            if room == 0 {
                parts.push(vec![]);
                room = each;
            }
            let part = Run { first: rest.first, count: rest.count.min(room) };
            parts.last_mut().into_iter().for_each(|share| share.push(part));
            rest = Run { first: part.end(), count: rest.count - part.count };
            room -= part.count;
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_all_the_pages_in_order() {
        let runs = [Run { first: 3, count: 5 }, Run { first: 10, count: 1 }, Run { first: 20, count: 7 }];
        for shares in 1..15 {
            let parts = share(&runs, shares);
            assert!(parts.len() <= shares as usize);
            let all: Vec<u32> = parts.iter().flatten().flat_map(|run| run.pages()).collect();
            let wanted: Vec<u32> = runs.iter().flat_map(|run| run.pages()).collect();
            assert_eq!(all, wanted, "{shares} shares: {parts:?}");
        }
        assert_eq!(share(&[], 2), [vec![]]);
    }
}
