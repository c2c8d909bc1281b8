//! The actors: every one of them runs this code, from the step after the one that forked it.

use std::collections::HashMap;
use std::io;
use std::sync::OnceLock;

use cowcheck_model::pages::Run;
use cowcheck_model::scenario::Scenario;
use cowcheck_model::stamp::{Holds, Stamp, Writer};
use cowcheck_model::step::{Access, Actor, Advice, Op, Pin, PinKind, State, Step};
use cowcheck_model::trace::{End, Observed, Record, Seen, StepResult};
use cowcheck_sys::area::{Area, Fault as Signal};
use cowcheck_sys::process::{self, Fork};
use cowcheck_sys::uffd::Uffd;
use std::time::Duration;

use super::fault::Fault;
use super::frames;
use super::layout::{Layout, Part};
use super::look::{Look, Place};
use super::page_state::{self, Pagemap};
use super::pins::{self, Held, Refused};
use super::request::Devices;
use super::require;
use super::treat;
use super::turns::Turns;

/// How often a refusal that may pass is tried again, and how long is waited in between: 0.3 s in all.
const TRIES: u32 = 60;
const PAUSE: Duration = Duration::from_millis(5);
/// The same where the refusal is most likely due to a pin of the family's, which stays.
const TRIES_UNDER_PIN: u32 = 4;

/// EAGAIN, EBUSY, ENOMEM: what MADV_COLLAPSE returns where another try may succeed (madvise(2)).
const PASSING: [i32; 3] = [11, 16, 12];

fn passes(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|errno| PASSING.contains(&errno))
}

/// What a family is run with.
pub struct Plan<'a> {
    /// The steps.
    pub scenario: &'a Scenario,
    /// Bytes of a base page.
    pub page_size: u32,
    /// Record page states after every step?
    pub states: bool,
    /// A fault to plant.
    pub fault: Option<Fault>,
    /// What takes pins.
    pub devices: &'a Devices,
    /// Tells the page states of the whole family, where the helper module is there.
    pub look: Option<&'a Look>,
    /// The worker, which lives as long as anyone should.
    pub worker: i32,
}

impl Plan<'_> {
    /// The page states of everybody who lives, where they are asked for and can be had.
    pub fn family_states(&self, turns: &Turns) -> Vec<Observed> {
        self.look.filter(|_| self.states).map(|look| look.family(turns)).unwrap_or_default()
    }
}

/// One process of the family.
pub struct Member<'a> {
    plan: &'a Plan<'a>,
    turns: &'a Turns,
    me: Actor,
    nonce: u16,
    layout: Layout,
    held: HashMap<Pin, Held>,
    /// Made by the first step that needs one; a child has none.
    uffd: Option<Uffd>,
    children: Vec<(Actor, i32)>,
    pagemap: OnceLock<Pagemap>,
    /// The first step that is B's own has been seen.
    begun: bool,
}

/// The life of actor A in one run. Returns when the run is over.
pub fn live<'a>(plan: &'a Plan<'a>, turns: &'a Turns, nonce: u16) {
    let memory = plan.scenario.memory;
    let layout = match Layout::new(memory, plan.page_size as usize, nonce) {
        Ok(layout) => layout,
        Err(error) => {
            turns.abort(End::Failed(error.to_string()));
            return;
        }
    };
    let mut a = Member {
        plan,
        turns,
        me: Actor::A,
        nonce,
        layout,
        held: HashMap::new(),
        uffd: None,
        children: Vec::new(),
        pagemap: OnceLock::new(),
        begun: false,
    };
    a.note_places(Actor::A);
    a.walk();
    a.say_goodbye();
}

impl Member<'_> {
    /// Walks the steps, doing this actor's own.
    fn walk(&mut self) {
        loop {
            let alarm = self.turns.alarm(self.me);
            let turn = self.turns.turn();
            if self.turns.aborted() {
                return;
            }
            let Some(step) = self.plan.scenario.steps.get(turn - 1) else { return };
            if step.actor == self.me {
                self.turn(turn as u32, step);
            } else if !self.reap(step) {
                let woken = self.turns.sleep(self.me, alarm);
                if !woken && !process::alive(self.plan.worker) {
                    process::exit_now(1);
                }
            }
        }
    }

    /// Waits for this actor's children, so that nothing is left behind; the worker's time limit
    /// bounds it.
    fn say_goodbye(&mut self) {
        for (_, pid) in std::mem::take(&mut self.children) {
            if self.turns.aborted() {
                process::kill(pid);
            }
            let _ = process::wait(pid, true);
        }
        if self.me != Actor::A {
            process::exit_now(0);
        }
    }

    /// Looks after this actor's children. `true` if something happened and the turn is worth a look.
    fn reap(&mut self, step: &Step) -> bool {
        for index in 0..self.children.len() {
            let (child, pid) = self.children[index];
            let leaving = step.op == Op::Exit && step.actor == child;
            let Ok(Some(exit)) = process::wait(pid, leaving) else { continue };
            self.children.remove(index);
            self.turns.buried(self.plan.scenario, child, exit, || self.plan.family_states(self.turns));
            return true;
        }
        false
    }

    fn turn(&mut self, number: u32, step: &Step) {
        if let (false, 1, Some(fault)) = (self.begun, self.me.index(), self.plan.fault) {
            suffer(fault);
        }
        self.begun = true;
        match &step.op {
            Op::Exit => {
                // The parent writes the record when this process is gone.
                self.turns.wake_worker();
                // Children that it leaves behind go to the worker.
                process::exit_now(0);
            }
            Op::Fork(child) => self.fork(number, *child),
            op => {
                let mut record = self.perform(number, op);
                if self.plan.states && (record.states.is_empty() || self.plan.look.is_some()) {
                    record.states = self.all_states();
                }
                self.turns.advance(self.plan.scenario, self.me, record);
            }
        }
    }

    fn fork(&mut self, number: u32, child: Actor) {
        let mut record = Record::ok(number);
        let me = process::id();
        self.note_places(child);
        match process::fork() {
            Ok(Fork::Child) => {
                // An error leaves the worker's kill, which comes unless the worker itself is killed.
                let _ = process::die_without_worker(me);
                // Without format!: every page of code that a new process comes by is a fault.
                process::call(&[b'c', b'o', b'w', b'-', b'A' + child.index() as u8]);
                self.me = child;
                self.children.clear();
                self.pagemap = OnceLock::new();
                self.uffd = None;
                self.begun = false;
                self.walk();
                self.say_goodbye();
            }
            Ok(Fork::Parent(pid)) => {
                self.turns.set_pid(child, pid);
                self.children.push((child, pid));
                if self.plan.states {
                    record.states = self.all_states();
                }
            }
            Err(error) => record.result = errno(&error),
        }
        self.turns.advance(self.plan.scenario, self.me, record);
    }

    /// Notes for whoever looks where the pages of `actor` are: where this actor has its own.
    fn note_places(&self, actor: Actor) {
        if self.plan.look.is_some() {
            let all = self.places(&[Run { first: 0, count: self.layout.pages() }]);
            self.turns.set_places(actor, all.into_iter());
        }
    }

    fn places(&self, runs: &[Run]) -> Vec<Place> {
        let place = |part: &Part| Place { pages: part.pages, address: self.layout.area.address(part.offset) };
        self.layout.parts(runs).iter().map(place).collect()
    }

    fn all_states(&self) -> Vec<Observed> {
        if self.plan.look.is_some() {
            return self.plan.family_states(self.turns);
        }
        let all = [Run { first: 0, count: self.layout.pages() }];
        self.states(&all).unwrap_or_default()
    }

    /// The states of some of this actor's own pages.
    fn states(&self, runs: &[Run]) -> io::Result<Vec<Observed>> {
        if let Some(look) = self.plan.look {
            return look.of(self.me, 0, &self.places(runs));
        }
        let pagemap = match self.pagemap.get() {
            Some(pagemap) => pagemap,
            None => {
                let opened = Pagemap::open()?;
                self.pagemap.get_or_init(|| opened)
            }
        };
        page_state::observe(pagemap, self.me, &self.layout, self.plan.scenario.memory, runs)
    }

    /// Does one operation.
    fn perform(&mut self, number: u32, op: &Op) -> Record {
        let mut record = Record::ok(number);
        let runs = op.range().map_or(vec![], |range| range.runs(self.layout.pages()));
        let stamp = |nonce, me| move |page| Stamp { nonce, writer: Writer::Step(me, number), page };
        let stamp = stamp(self.nonce, self.me);
        let result = match op {
            Op::Write(_) => self.write(number, &runs, stamp),
            Op::Read(_) => {
                let (seen, result) = self.read(&runs);
                record.seen = seen;
                result
            }
            Op::Touch(_) => self.accesses(&runs, Area::load),
            Op::ReadBacking(_) => self.read_backing(&runs, &mut record.seen),
            Op::WriteBacking(_) => self.write_backing(&runs, stamp),
            Op::Probe(access, _) => {
                record.seen = self.probe(*access, &runs);
                StepResult::Ok
            }
            Op::Mprotect(_, prot) => self.parts(&runs, |area, offset, len| area.protect(offset, len, *prot)),
            Op::Advise(Advice::Collapse, _) => self.collapse(&runs, &mut record.tries),
            Op::Advise(Advice::PageOut, _) => self.page_out(&runs, &mut record.tries),
            Op::Treat(treatment, _) => treat::treat(*treatment, &self.layout, &runs, &mut self.uffd),
            Op::Ksm => treat::wait_for_ksm(),
            Op::Advise(advice, _) => self.parts(&runs, |area, offset, len| area.advise(offset, len, *advice)),
            Op::Munmap(_) => self.parts(&runs, Area::unmap),
            Op::Mremap(_) => {
                let result = done(self.layout.remap(&runs));
                self.note_places(self.me);
                result
            }
            Op::ClearSoftDirty => done(std::fs::write("/proc/self/clear_refs", "4")),
            Op::Pin(kind, pin, _) => self.pin(*kind, *pin, &runs, &mut record.tries),
            Op::ReadVia(pin) => self.read_via(*pin, &mut record.seen),
            Op::WriteVia(pin, _) => match self.held.get_mut(pin) {
                Some(held) => done(held.write(&self.layout, &runs, stamp)),
                None => no_pin(*pin),
            },
            Op::Unpin(pin) => match self.held.remove(pin) {
                Some(_) => StepResult::Ok,
                None => no_pin(*pin),
            },
            Op::Require(state, _) => self.require(*state, &runs, &mut record.states),
            Op::Fork(_) | Op::Exit => StepResult::Ok,
        };
        record.result = result;
        record
    }

    /// Is it so? What was seen goes into `states`.
    fn require(&self, state: State, runs: &[Run], states: &mut Vec<Observed>) -> StepResult {
        let by_frame = matches!(state, State::Shared | State::Exclusive | State::Ksm | State::ZeroPage);
        let seen = self.states(runs).and_then(|seen| match self.plan.look {
            None if by_frame => frames::told(seen),
            _ => Ok(seen),
        });
        match seen {
            Ok(seen) => {
                *states = seen;
                require::look(state, self.plan.scenario.memory, self.plan.page_size, states)
            }
            Err(error) => StepResult::Unmet(format!("the page table cannot be looked at: {error}")),
        }
    }

    fn parts(&self, runs: &[Run], call: impl Fn(&Area, usize, usize) -> io::Result<()>) -> StepResult {
        let parts = self.layout.parts(runs);
        done(parts.iter().try_for_each(|part| call(&self.layout.area, part.offset, self.layout.len(part))))
    }

    fn accesses(&self, runs: &[Run], access: impl Fn(&Area, usize) -> Result<(), Signal>) -> StepResult {
        for (page, offset) in self.layout.each(runs) {
            if let Err(Signal(signal)) = access(&self.layout.area, offset) {
                return StepResult::Signal { signal, page: Some(page) };
            }
        }
        StepResult::Ok
    }

    fn write(&self, number: u32, runs: &[Run], stamp: impl Fn(u32) -> Stamp + Sync) -> StepResult {
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

    fn read(&self, runs: &[Run]) -> (Vec<Seen>, StepResult) {
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

    fn read_backing(&self, runs: &[Run], seen: &mut Vec<Seen>) -> StepResult {
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

    fn write_backing(&self, runs: &[Run], stamp: impl Fn(u32) -> Stamp) -> StepResult {
        let Some(backing) = &self.layout.backing else { return StepResult::Skipped("there is no backing".into()) };
        let size = self.layout.page_size();
        for page in runs.iter().flat_map(|run| run.pages()) {
            if let Err(Signal(signal)) = backing.write(page as usize * size, size, |words| stamp(page).fill(words)) {
                return StepResult::Signal { signal, page: Some(page) };
            }
        }
        StepResult::Ok
    }

    fn probe(&self, access: Access, runs: &[Run]) -> Vec<Seen> {
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

    /// How often what a pin would forbid is tried.
    fn tries(&self) -> u32 {
        let before = self.plan.scenario.steps.iter().take(self.turns.turn() - 1);
        let is_pinned = before.into_iter().any(|step| matches!(step.op, Op::Pin(..)));
        if is_pinned { TRIES_UNDER_PIN } else { TRIES }
    }

    /// MADV_COLLAPSE, again while the refusal may pass.
    fn collapse(&self, runs: &[Run], tries: &mut u32) -> StepResult {
        loop {
            let result = self.parts(runs, |area, offset, len| area.advise(offset, len, Advice::Collapse));
            match result {
                StepResult::Errno(errno) if PASSING.contains(&errno) && *tries < self.tries() => {
                    *tries += 1;
                    std::thread::sleep(PAUSE);
                }
                result => return result,
            }
        }
    }

    /// MADV_PAGEOUT, again until every page is out: it passes over pages that are on no LRU list yet.
    fn page_out(&self, runs: &[Run], tries: &mut u32) -> StepResult {
        loop {
            let result = self.parts(runs, |area, offset, len| area.advise(offset, len, Advice::PageOut));
            let out = self.states(runs).is_ok_and(|states| states.iter().all(|seen| seen.state.swapped));
            if out || *tries >= self.tries() || !matches!(result, StepResult::Ok) {
                return result;
            }
            *tries += 1;
            std::thread::sleep(PAUSE);
        }
    }

    /// Takes a pin, again while the refusal may pass: the kernel gives back what earlier fixed buffers
    /// had locked only some time after their ring is gone.
    fn pin(&mut self, kind: PinKind, pin: Pin, runs: &[Run], tries: &mut u32) -> StepResult {
        loop {
            match pins::take(kind, &self.layout, runs, self.plan.devices) {
                Ok(taken) => {
                    self.held.insert(pin, taken.held);
                    return taken.partial.map_or(StepResult::Ok, StepResult::Partial);
                }
                Err(Refused::Errno(error)) if passes(&error) && *tries < TRIES => {
                    *tries += 1;
                    std::thread::sleep(PAUSE);
                }
                Err(Refused::Errno(error)) => return errno(&error),
                Err(Refused::NoDevice(why)) => return StepResult::Skipped(why),
            }
        }
    }

    fn read_via(&mut self, pin: Pin, seen: &mut Vec<Seen>) -> StepResult {
        let Some(held) = self.held.get_mut(&pin) else { return no_pin(pin) };
        let mut sight = Sight::new(self.nonce);
        let result = done(held.read(&self.layout, |page, words| sight.page(page, words)));
        *seen = sight.seen;
        result
    }
}

/// What a reader has seen so far, in runs.
struct Sight {
    nonce: u16,
    seen: Vec<Seen>,
}

impl Sight {
    fn new(nonce: u16) -> Self {
        Sight { nonce, seen: Vec::new() }
    }

    fn page(&mut self, page: u32, words: &[u64]) {
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

fn no_pin(pin: Pin) -> StepResult {
    StepResult::Skipped(format!("{pin} was not taken"))
}

/// A call's end as a step's.
pub(super) fn done(result: io::Result<()>) -> StepResult {
    result.map_or_else(|error| errno(&error), |()| StepResult::Ok)
}

fn errno(error: &io::Error) -> StepResult {
    error.raw_os_error().map_or_else(|| StepResult::Skipped(error.to_string()), StepResult::Errno)
}

/// What a planted fault does to B.
fn suffer(fault: Fault) {
    match fault {
        Fault::Die => process::kill(process::id()),
        Fault::Stop => process::send(process::id(), 19),
        Fault::Spin => loop {
            std::hint::spin_loop();
        },
        Fault::Crash => process::crash(),
        Fault::WrongByte | Fault::LostWrite | Fault::SwappedPage | Fault::FalseMark => {}
    }
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
