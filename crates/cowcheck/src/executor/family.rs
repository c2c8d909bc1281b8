//! The actors: every one of them runs this code, from the step after the one that forked it.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::OnceLock;

use cowcheck_model::pages::{Run, runs_of};
use cowcheck_model::scenario::Scenario;
use cowcheck_model::stamp::{Stamp, Writer};
use cowcheck_model::step::{Actor, Advice, Op, Pin, State, Step};
use cowcheck_model::storm::Rivals;
use cowcheck_model::trace::{End, Observed, Record, Seen, StepResult};
use cowcheck_sys::area::Area;
use cowcheck_sys::process::{self, Fork};
use cowcheck_sys::uffd::Uffd;

use super::fault::Fault;
use super::frames;
use super::khugepaged::Khugepaged;
use super::layout::{Layout, Part};
use super::look::{Look, Place};
use super::page_state::{self, Pagemap};
use super::pins::Held;
use super::poke;
use super::reclaim;
use super::request::Devices;
use super::require;
use super::storm::{self, Broken};
use super::swapoff;
use super::treat;
use super::turns::Turns;

mod access;
mod at_once;
mod patience;

use access::Sight;
pub use patience::Patience;
pub(super) use patience::passes;

/// What a family is run with.
pub struct Plan<'a> {
    /// The steps.
    pub scenario: &'a Scenario,
    /// Bytes of a base page.
    pub page_size: u32,
    /// Record page states after every step?
    pub states: bool,
    /// With the numbers of their frames?
    pub frames: bool,
    /// How long a refusal of collapse or page-out is met with another try.
    pub patience: Patience,
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
    /// The first of the last steps at once that this actor took part in, or let pass.
    joined: u32,
    /// Records of its steps at once whose turn has not come yet.
    kept: Vec<Record>,
    pagemap: OnceLock<Pagemap>,
    /// Pages that a fork leaves out: a child has holes there.
    unforked: BTreeSet<u32>,
    /// The first step that is B's own has been seen.
    begun: bool,
}

/// The life of actor A in one run. Returns when the run is over. Its page table is opened when it is looked at first, and stays
/// open for the next run.
pub fn live<'a>(plan: &'a Plan<'a>, turns: &'a Turns, nonce: u16, pagemap: OnceLock<Pagemap>) -> OnceLock<Pagemap> {
    let memory = plan.scenario.memory;
    if let Err(why) = reclaim::join(plan) {
        turns.abort(End::Failed(why));
        return pagemap;
    }
    let layout = match Layout::new(memory, plan.page_size as usize, nonce) {
        Ok(layout) => layout,
        Err(error) => {
            turns.abort(End::Failed(error.to_string()));
            return pagemap;
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
        joined: 0,
        kept: Vec::new(),
        pagemap,
        unforked: BTreeSet::new(),
        begun: false,
    };
    a.note_places(Actor::A);
    a.walk();
    a.say_goodbye();
    a.pagemap
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
            self.take_part(self.plan.scenario.group(turn as u32));
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

    /// What a planted fault does to B at its first step.
    fn begin(&mut self) {
        if let (false, 1, Some(fault)) = (self.begun, self.me.index(), self.plan.fault) {
            suffer(fault);
        }
        self.begun = true;
    }

    fn turn(&mut self, number: u32, step: &Step) {
        if let Some(record) = self.told(number) {
            return self.turns.advance(self.plan.scenario, self.me, record);
        }
        self.begin();
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
                let of_another = matches!(op, Op::CollapseOf(..)) && !record.states.is_empty();
                if self.plan.states && (record.states.is_empty() || (self.plan.look.is_some() && !of_another)) {
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
            Ok(Fork::Child) => self.live_as(child, me),
            Ok(Fork::Parent(pid)) => {
                self.has_child(child, pid);
                if self.plan.states {
                    record.states = self.all_states();
                }
            }
            Err(error) => record.result = errno(&error),
        }
        self.turns.advance(self.plan.scenario, self.me, record);
    }

    /// A ring or a stack that this process maps must not get to where its parent has pages that it has not: that would
    /// pass for them.
    fn fill_holes(&mut self) {
        let runs = runs_of(std::mem::take(&mut self.unforked));
        for part in self.layout.parts(&runs) {
            // Where it fails the hole stays one.
            let _ = self.layout.area.unmap(part.offset, self.layout.len(&part));
        }
    }

    /// The child's side of a fork by the process `parent`.
    fn live_as(&mut self, child: Actor, parent: i32) {
        // An error leaves the worker's kill, which comes unless the worker itself is killed.
        let _ = process::die_without_worker(parent);
        // Without format!: every page of code that a new process comes by is a fault.
        process::call(&[b'c', b'o', b'w', b'-', b'A' + child.index() as u8]);
        self.me = child;
        self.children.clear();
        self.kept.clear();
        self.pagemap = OnceLock::new();
        self.uffd = None;
        self.begun = false;
        self.fill_holes();
        self.walk();
        self.say_goodbye();
    }

    fn has_child(&mut self, child: Actor, pid: i32) {
        self.turns.set_pid(child, pid);
        self.children.push((child, pid));
    }

    /// Notes for whoever looks where the pages of `actor` are: where this actor has its own.
    fn note_places(&self, actor: Actor) {
        if self.plan.look.is_some() || self.plan.scenario.has(|op| matches!(op, Op::CollapseOf(..))) {
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
        self.seen(&all, self.plan.frames).unwrap_or_default()
    }

    /// The states of some of this actor's own pages.
    fn states(&self, runs: &[Run]) -> io::Result<Vec<Observed>> {
        self.seen(runs, true)
    }

    fn seen(&self, runs: &[Run], frames: bool) -> io::Result<Vec<Observed>> {
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
        self.observe(pagemap, self.me, &self.places(runs), frames)
    }

    fn observe(&self, table: &Pagemap, of: Actor, places: &[Place], frames: bool) -> io::Result<Vec<Observed>> {
        page_state::observe(table, of, self.plan.scenario.memory, self.layout.page_size(), places, frames)
    }

    /// Does one operation.
    fn perform(&mut self, number: u32, op: &Op) -> Record {
        let mut record = Record::ok(number);
        let runs = op.range().map_or(vec![], |range| range.runs(self.layout.pages()));
        let stamp = |nonce, me| move |page| Stamp { nonce, writer: Writer::Step(me, number), page };
        let stamp = stamp(self.nonce, self.me);
        let result = match op {
            Op::Write(_) => self.write(number, &runs, stamp),
            Op::Poke(_) => poke::poke(&self.layout, &runs, stamp),
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
            Op::Reclaim => reclaim::reclaim(self.plan.devices),
            Op::Swapoff => swapoff::swapoff(self.plan.devices),
            Op::Ksm => treat::wait_for_ksm(),
            Op::Advise(advice, _) => self.advise(*advice, &runs),
            Op::CollapseOf(_, owner) => self.collapse_of(*owner, &runs, &mut record),
            Op::Khugepaged(_) => self.khugepaged(&runs),
            Op::Munmap(_) => self.parts(&runs, Area::unmap),
            Op::Mremap(_) => {
                let result = done(self.layout.remap(&runs));
                self.note_places(self.me);
                result
            }
            Op::ClearSoftDirty => done(std::fs::write("/proc/self/clear_refs", "4")),
            Op::Pin(kind, pin, _) => {
                let mut held = None;
                let result = self.pin(*kind, &runs, &mut record.tries, &mut held);
                self.held.extend(held.map(|held| (*pin, held)));
                result
            }
            Op::ReadVia(pin) => match self.held.get_mut(pin) {
                Some(held) => read_via(held, &self.layout, self.nonce, &mut record.seen),
                None => no_pin(*pin),
            },
            Op::WriteVia(pin, _) => match self.held.get_mut(pin) {
                Some(held) => done(held.write(&self.layout, &runs, stamp)),
                None => no_pin(*pin),
            },
            Op::Unpin(pin) => match self.held.remove(pin) {
                Some(_) => StepResult::Ok,
                None => no_pin(*pin),
            },
            Op::Require(state, _) => self.require(*state, &runs, &mut record.states),
            Op::Storm(_, rivals) => self.storm(number, &runs, *rivals, stamp, &mut record),
            Op::Fork(_) | Op::Exit => StepResult::Ok,
        };
        record.result = result;
        record
    }

    /// Lets it storm, and stamps the pages as a write would.
    fn storm(
        &self,
        number: u32,
        runs: &[Run],
        rivals: Rivals,
        stamp: impl Fn(u32) -> Stamp + Sync,
        record: &mut Record,
    ) -> StepResult {
        let (seen, result) = self.read(runs);
        record.seen = seen;
        if result != StepResult::Ok {
            return result;
        }
        let order = storm::Order { layout: &self.layout, runs, rivals, nonce: self.nonce, fault: self.plan.fault };
        match storm::run(&order, &record.seen) {
            Ok(storm) => {
                record.storm = Some(storm);
                self.write(number, runs, stamp)
            }
            Err(Broken::Error(error)) => errno(&error),
            Err(Broken::NoBase(page)) => StepResult::Skipped(format!("page {page} holds what no step wrote")),
            Err(Broken::Signal { signal, page }) => StepResult::Signal { signal, page: Some(page) },
        }
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

    fn advise(&mut self, advice: Advice, runs: &[Run]) -> StepResult {
        let result = self.parts(runs, |area, offset, len| area.advise(offset, len, advice));
        let pages = runs.iter().flat_map(|run| run.pages());
        match (advice, &result) {
            (Advice::DontFork, StepResult::Ok) => self.unforked.extend(pages),
            (Advice::DoFork, StepResult::Ok) => pages.for_each(|page| {
                self.unforked.remove(&page);
            }),
            _ => {}
        }
        result
    }

    /// Wakes khugepaged until it has been everywhere twice since, or the pages are mapped by PMDs.
    fn khugepaged(&self, runs: &[Run]) -> StepResult {
        let khugepaged = match Khugepaged::find() {
            Ok(khugepaged) => khugepaged,
            Err(error) => return StepResult::Skipped(format!("khugepaged cannot be woken: {error}")),
        };
        let memory = self.plan.scenario.memory;
        let is_mapped = || {
            let look = |states: &[Observed]| require::look(State::PmdMapped, memory, self.plan.page_size, states);
            self.states(runs).is_ok_and(|states| look(&states) == StepResult::Ok)
        };
        match khugepaged.wake(is_mapped) {
            Ok(()) => StepResult::Ok,
            Err(why) => StepResult::Skipped(why),
        }
    }
}

fn read_via(held: &mut Held, layout: &Layout, nonce: u16, seen: &mut Vec<Seen>) -> StepResult {
    let mut sight = Sight::new(nonce);
    let result = done(held.read(layout, |page, words| sight.page(page, words)));
    *seen = sight.seen;
    result
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
        Fault::WrongByte
        | Fault::LostWrite
        | Fault::SwappedPage
        | Fault::FalseMark
        | Fault::LostIncrement
        | Fault::LeakySnapshot
        | Fault::StaleRead
        | Fault::LostPinWrite
        | Fault::LostAtOnce
        | Fault::NotProtected => {}
    }
}
