//! Steps at once.
//!
//! Each is done by a thread of its actor: the first, or the one that forks, by the main thread, the others by threads
//! that are gone when the steps are over. All threads of all actors meet where the steps begin. What they came to is
//! told when the turn comes to each, so there is one writer of the log as ever, and whoever has the last turn looks at
//! the page tables when everyone is done.

use std::io;
use std::ops::Range;
use std::time::{Duration, Instant};

use cowcheck_model::pages::Run;
use cowcheck_model::stamp::{Stamp, Writer};
use cowcheck_model::step::{Actor, Advice, Op, Pin, Treatment, groups};
use cowcheck_model::trace::{End, Record, Seen, StepResult};
use cowcheck_sys::area::{Area, Fault as Signal};
use cowcheck_sys::beside::{Work, beside};
use cowcheck_sys::process::{self, Fork};

use super::super::fault::Fault;
use super::super::pins::Held;
use super::super::{poke, treat};
use super::{Member, Sight, done, errno, no_pin, read_via};

/// Half of the steps begin at once when all have met, the others up to so many microseconds later, as a power of 2: so
/// that a short step comes by all of a long one, which in an emulated guest takes some milliseconds.
const LATER: u32 = 12;

/// What one step came to: its record, and what it left of a pin.
type Came = (Record, Option<(Pin, Held)>);

/// What the main thread did.
enum Main {
    Forked(Actor, io::Result<Fork>),
    Did(Box<Came>),
}

impl Member<'_> {
    /// Does this actor's part of steps at once, once; the records are kept until their turn.
    pub(super) fn take_part(&mut self, group: Range<u32>) {
        if group.len() < 2 || self.joined >= group.start {
            return;
        }
        self.joined = group.start;
        let (scenario, actor) = (self.plan.scenario, self.me);
        let of_mine = |number| Some((number, &scenario.step(number).filter(|step| step.actor == actor)?.op));
        let mut mine: Vec<(u32, &Op)> = group.clone().filter_map(of_mine).collect();
        // A child is killed when the thread is gone that forked it (PR_SET_PDEATHSIG), so that is the main thread.
        let main = mine.iter().position(|(_, op)| matches!(op, Op::Fork(_))).unwrap_or(0);
        if mine.is_empty() {
            return;
        }
        self.begin();
        let main = mine.remove(main);
        if let (_, Op::Fork(child)) = main {
            self.note_places(*child);
        }
        let me = process::id();
        let all = self.meeting(group.end);
        let mut held = |op: &Op| match op {
            Op::ReadVia(pin) | Op::WriteVia(pin, _) | Op::Unpin(pin) => self.held.remove(pin),
            _ => None,
        };
        let with_pins: Vec<_> = mine.into_iter().map(|(number, op)| (number, op, held(op))).collect();
        let of_main = held(main.1);
        let this = &*self;
        let begin = |number| {
            this.turns.meet(all);
            this.wait_a_little(number);
        };
        let aside = with_pins.into_iter().map(|(number, op, held)| -> Work<'_, Came> {
            Box::new(move || {
                begin(number);
                this.aside(number, op, held)
            })
        });
        let numbers: Vec<u32> =
            group.filter(|number| *number != main.0).filter(|number| of_mine(*number).is_some()).collect();
        let came = beside(aside.collect(), || {
            begin(main.0);
            match main.1 {
                Op::Fork(child) => Main::Forked(*child, process::fork_beside()),
                op => Main::Did(Box::new(this.aside(main.0, op, of_main))),
            }
        });
        let (of_main, aside) = match came {
            Ok((Main::Forked(child, Ok(Fork::Child)), _)) => return self.live_as(child, me),
            Ok(came) => came,
            Err(error) => return self.turns.abort(End::Failed(format!("no thread could be made: {error}"))),
        };
        match of_main {
            Main::Forked(child, forked) => {
                let result = match forked {
                    Ok(Fork::Parent(pid)) => {
                        self.has_child(child, pid);
                        StepResult::Ok
                    }
                    Ok(Fork::Child) => StepResult::Ok,
                    Err(error) => errno(&error),
                };
                self.kept.push(Record { result, ..Record::ok(main.0) });
            }
            Main::Did(came) => self.keep(*came),
        }
        for (number, came) in numbers.into_iter().zip(aside) {
            let lost = || Record { result: StepResult::Skipped("its thread ended early".into()), ..Record::ok(number) };
            self.keep(came.unwrap_or_else(|| (lost(), None)));
        }
    }

    fn keep(&mut self, (record, held): Came) {
        self.held.extend(held);
        self.kept.push(record);
    }

    /// The record of one of its steps at once that is done, now that its turn has come. The last one tells the states of
    /// all pages.
    pub(super) fn told(&mut self, number: u32) -> Option<Record> {
        let at = self.kept.iter().position(|record| record.step == number)?;
        let mut record = self.kept.swap_remove(at);
        if self.plan.states && self.plan.scenario.group(number).end == number + 1 {
            record.states = self.all_states();
        }
        Some(record)
    }

    /// How many threads have met when those have that do the steps before step `end`.
    fn meeting(&self, end: u32) -> u32 {
        let before = &self.plan.scenario.steps[..end as usize - 1];
        groups(before).map(<[_]>::len).filter(|count| *count > 1).sum::<usize>() as u32
    }

    /// Another time in each run.
    fn wait_a_little(&self, number: u32) {
        let mut dice =
            fastrand::Rng::with_seed(u64::from(self.nonce) << 32 | u64::from(number) << 8 | self.me.index() as u64);
        let until = Instant::now();
        if dice.bool() {
            let most = 1_u64 << dice.u32(0..=LATER);
            let pause = Duration::from_micros(dice.u64(0..=most));
            while until.elapsed() < pause {
                std::hint::spin_loop();
            }
        }
    }

    /// Does one operation beside others. Memory is read and written a word at a time, because others may change it, or
    /// its protection, meanwhile.
    fn aside(&self, number: u32, op: &Op, mut held: Option<Held>) -> Came {
        let mut record = Record::ok(number);
        let runs = op.range().map_or(vec![], |range| range.runs(self.layout.pages()));
        let stamp = |page| Stamp { nonce: self.nonce, writer: Writer::Step(self.me, number), page };
        let mut pin = None;
        record.result = match op {
            Op::Write(_) => self.write_words(&runs, stamp),
            Op::Poke(_) => poke::poke(&self.layout, &runs, stamp),
            Op::Read(_) => self.read_words(&runs, &mut record.seen),
            Op::Touch(_) => self.accesses(&runs, Area::load),
            Op::Mprotect(_, prot) => self.parts(&runs, |area, offset, len| area.protect(offset, len, *prot)),
            Op::Advise(Advice::Collapse, _) => self.collapse(&runs, &mut record.tries),
            Op::Advise(Advice::PageOut, _) => self.page_out(&runs, &mut record.tries),
            Op::Advise(advice, _) => self.parts(&runs, |area, offset, len| area.advise(offset, len, *advice)),
            Op::Treat(treatment @ (Treatment::Split | Treatment::Migrate), _) => {
                treat::treat(*treatment, &self.layout, &runs, &mut None)
            }
            Op::CollapseOf(_, owner) => {
                let result = self.collapse_of(*owner, &runs, &mut record);
                // Nobody looks before all are done.
                record.states.clear();
                result
            }
            Op::Pin(kind, name, _) => {
                pin = Some(*name);
                self.pin(*kind, &runs, &mut record.tries, &mut held)
            }
            Op::ReadVia(name) | Op::WriteVia(name, _) | Op::Unpin(name) => match (&mut held, op) {
                (None, _) => no_pin(*name),
                (Some(held), Op::ReadVia(_)) => {
                    pin = Some(*name);
                    read_via(held, &self.layout, self.nonce, &mut record.seen)
                }
                (Some(held), Op::WriteVia(..)) => {
                    pin = Some(*name);
                    done(held.write(&self.layout, &runs, stamp))
                }
                (held, _) => {
                    *held = None;
                    StepResult::Ok
                }
            },
            _ => StepResult::Skipped("it cannot be at once with others".into()),
        };
        (record, pin.zip(held))
    }

    fn write_words(&self, runs: &[Run], stamp: impl Fn(u32) -> Stamp) -> StepResult {
        let (area, size) = (&self.layout.area, self.layout.page_size());
        let last = runs.last().map_or(0, |run| run.end() - 1);
        for (page, offset) in self.layout.each(runs) {
            let loses = self.plan.fault == Some(Fault::LostAtOnce) && page == last;
            let offsets = (offset..offset + size).step_by(size_of::<u64>());
            for (at, word) in offsets.zip(stamp(page).words()).take(size / size_of::<u64>() - usize::from(loses)) {
                if let Err(Signal(signal)) = area.put(at, word) {
                    return StepResult::Signal { signal, page: Some(page) };
                }
            }
        }
        StepResult::Ok
    }

    fn read_words(&self, runs: &[Run], seen: &mut Vec<Seen>) -> StepResult {
        let (area, size) = (&self.layout.area, self.layout.page_size());
        let mut words = vec![0; size / size_of::<u64>()];
        let mut sight = Sight::new(self.nonce);
        let mut result = StepResult::Ok;
        'pages: for (page, offset) in self.layout.each(runs) {
            for (word, at) in words.iter_mut().zip((offset..).step_by(size_of::<u64>())) {
                match area.get(at) {
                    Ok(found) => *word = found,
                    Err(Signal(signal)) => {
                        result = StepResult::Signal { signal, page: Some(page) };
                        break 'pages;
                    }
                }
            }
            sight.page(page, &words);
        }
        *seen = sight.seen;
        result
    }
}
