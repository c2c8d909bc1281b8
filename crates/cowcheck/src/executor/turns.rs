//! Whose turn it is: the words that a family shares.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::time::{Duration, Instant};

use cowcheck_model::pages::Run;
use cowcheck_model::scenario::Scenario;
use cowcheck_model::step::{Actor, Op};
use cowcheck_model::trace::{End, MAX_TOLD, Observed, Record, StepResult};
use cowcheck_sys::board::{self, Board};
use cowcheck_sys::process::Exit;
use serde::{Deserialize, Serialize};
use std::io;

use super::look::Place;
use super::packed::{pack, unpack};

/// The step that is next, from 1; one more than there are when all are done.
const TURN: usize = 0;
/// Not 0: everyone goes home.
const ABORT: usize = 1;
/// Bytes of the log that are written.
const LOGGED: usize = 2;
/// What the worker sleeps on.
const WORKER: usize = 3;
/// Counts the runs of one family; A sleeps on it between two.
const RUN: usize = 4;
/// 1 while A is between two runs.
const RESTING: usize = 5;
/// Pages that the records tell of.
const TOLD: usize = 6;
/// Bytes of the records as a trace has them, as text.
const COST: usize = 7;
/// Threads that have come to where steps at once begin, of all such steps of the run so far.
const MET: usize = 8;
/// Process ids: 0 for an actor that does not exist yet.
const PIDS: usize = 9;
/// What each actor sleeps on.
const WAKE: usize = PIDS + Actor::MAX;
/// 1 for an actor that has exited and was reaped.
const GONE: usize = WAKE + Actor::MAX;
/// In how many places each actor's pages are.
const PLACES: usize = GONE + Actor::MAX;
/// From here on, the places: two words for the pages and two for the address.
const PLACE: usize = PLACES + Actor::MAX;
const PLACE_WORDS: usize = 4;
/// The most places of an actor that are noted: each moved page can be one.
const MOST_PLACES: usize = 1024;
const WORDS: usize = PLACE + Actor::MAX * MOST_PLACES * PLACE_WORDS;

/// Room for the records of one run, as text. A trace has the scenario and the kernel log beside them, and is read back up
/// to 32 MiB. In the log page states are packed, and take a sixth of that at most.
const LOG_BYTES: usize = 16 << 20;
/// What the state of a page costs as text that is like none of its neighbours.
const STATE_BYTES: usize = 250;
/// Of those, what is kept for the reason why a run ended.
const LAST_WORD: usize = 4 << 10;
/// Page states may fill so much of the room, of 4 parts, and tell of so many of the pages that a trace may tell of: the
/// rest is for what readers saw, which is never left out.
const STATES_SHARE: u64 = 3;

/// How long anyone sleeps before looking around: what a lost wake-up costs.
const LOOK_AROUND: Duration = Duration::from_millis(20);

/// How long whoever does one of several steps at once waits for the others. One that comes later does its own step alone.
const MEET: Duration = Duration::from_millis(20);
/// So often it looks for them before it gives its processor away: they may need it.
const SPINS: u32 = 4096;

/// An entry of the log: its text without page states, and these packed, each with its length before it.
#[derive(Debug, Serialize, Deserialize)]
pub enum Entry {
    /// A step was done.
    Record(Record),
    /// The run ended early.
    End(End),
}

/// The shared words and the log.
#[derive(Debug)]
pub struct Turns {
    board: Board,
}

impl Turns {
    /// Before the family exists.
    pub fn new() -> io::Result<Turns> {
        Turns::with_room(LOG_BYTES)
    }

    fn with_room(bytes: usize) -> io::Result<Turns> {
        Ok(Turns { board: Board::new(WORDS, bytes)? })
    }

    /// Makes ready for the first or the next run.
    pub fn reset(&self, a: i32) {
        for index in (0..PLACE).filter(|index| *index != RUN) {
            self.board.word(index).store(0, Relaxed);
        }
        self.set_pid(Actor::A, a);
        self.board.word(TURN).store(1, Release);
    }

    /// The step that is next, from 1.
    pub fn turn(&self) -> usize {
        self.board.word(TURN).load(Acquire) as usize
    }

    /// Has the run been given up?
    pub fn aborted(&self) -> bool {
        self.board.word(ABORT).load(Acquire) != 0
    }

    /// The process that is this actor; 0 if it was never forked.
    pub fn pid(&self, actor: Actor) -> i32 {
        self.board.word(PIDS + actor.index()).load(Acquire) as i32
    }

    /// Notes the process that is this actor.
    pub fn set_pid(&self, actor: Actor, pid: i32) {
        self.board.word(PIDS + actor.index()).store(pid as u32, Release);
    }

    /// Notes where the actor's pages are. Of more places than there is room for none is noted.
    pub fn set_places(&self, actor: Actor, places: impl ExactSizeIterator<Item = Place>) {
        let count = if places.len() > MOST_PLACES { 0 } else { places.len() };
        for (index, Place { pages, address }) in places.take(count).enumerate() {
            let words = [pages.first, pages.count, address as u32, (address as u64 >> 32) as u32];
            for (word, at) in words.into_iter().zip(place(actor, index)..) {
                self.board.word(at).store(word, Relaxed);
            }
        }
        self.board.word(PLACES + actor.index()).store(count as u32, Release);
    }

    /// Where the actor's pages are.
    pub fn places(&self, actor: Actor) -> Vec<Place> {
        let count = self.board.word(PLACES + actor.index()).load(Acquire) as usize;
        let word = |at| self.board.word(at).load(Relaxed);
        let of = |at| Place {
            pages: Run { first: word(at), count: word(at + 1) },
            address: (u64::from(word(at + 3)) << 32 | u64::from(word(at + 2))) as usize,
        };
        (0..count.min(MOST_PLACES)).map(|index| of(place(actor, index))).collect()
    }

    /// Notes that the actor is gone.
    pub fn set_gone(&self, actor: Actor) {
        self.board.word(GONE + actor.index()).store(1, Release);
    }

    /// Was it forked, and is it not known to be gone?
    pub fn lives(&self, actor: Actor) -> bool {
        self.pid(actor) != 0 && self.board.word(GONE + actor.index()).load(Acquire) == 0
    }

    /// The next step is done by its record, which `me` brings; whose it is next is woken. Steps of actors that do not
    /// exist are noted as not tried.
    pub fn advance(&self, scenario: &Scenario, me: Actor, record: Record) {
        let mut next = self.turn() + 1;
        self.note(record);
        while let Some(step) = scenario.steps.get(next - 1) {
            if self.lives(step.actor) {
                break;
            }
            let why = format!("there is no {}", step.actor);
            self.note(Record { result: StepResult::Skipped(why), ..Record::ok(next as u32) });
            next += 1;
        }
        self.board.word(TURN).store(next as u32, Release);
        match scenario.steps.get(next - 1) {
            Some(step) => {
                let group = scenario.group(next as u32).filter_map(|number| scenario.step(number));
                let others: BTreeSet<Actor> = group.map(|step| step.actor).filter(|actor| *actor != me).collect();
                others.into_iter().filter(|actor| self.lives(*actor)).for_each(|actor| self.wake(actor));
                if step.op == Op::Exit {
                    // Its parent reaps it, or the worker if the parent is gone.
                    self.wake_everyone();
                }
            }
            // The worker hears of it when A rests or ends.
            None => self.wake_family(),
        }
    }

    /// An actor is gone and was reaped. That is as it should be in its `exit` step and after the last
    /// step; anywhere else the run is over. `states` tells what the page states are without it.
    pub fn buried(&self, scenario: &Scenario, actor: Actor, exit: Exit, states: impl FnOnce() -> Vec<Observed>) {
        self.set_gone(actor);
        // Read after the death: it may have moved the turn on with its last breath.
        let turn = self.turn();
        match scenario.steps.get(turn - 1) {
            None => {}
            Some(step) if step.op == Op::Exit && step.actor == actor && exit == Exit::Code(0) => {
                self.advance(scenario, actor, Record { states: states(), ..Record::ok(turn as u32) });
            }
            Some(_) => self.abort(died(actor, turn as u32, exit)),
        }
    }

    /// Gives the run up, for this reason.
    pub fn abort(&self, end: End) {
        self.append(&frame(&Entry::End(end), &[]));
        self.board.word(ABORT).store(1, Release);
        self.wake_everyone();
    }

    /// Waits until so many threads have met since the run began, this one included, or a while: then they begin as nearly
    /// at once as they can.
    pub fn meet(&self, all: u32) {
        let (met, began) = (self.board.word(MET), Instant::now());
        met.fetch_add(1, AcqRel);
        let mut spins = 0_u32;
        while met.load(Acquire) < all && !self.aborted() {
            std::hint::spin_loop();
            spins += 1;
            if spins > SPINS {
                if began.elapsed() >= MEET {
                    return;
                }
                std::thread::yield_now();
            }
        }
    }

    fn wake(&self, actor: Actor) {
        let word = self.board.word(WAKE + actor.index());
        board::post(word, word.load(Relaxed).wrapping_add(1));
    }

    fn wake_family(&self) {
        (0..Actor::MAX).filter_map(Actor::new).filter(|actor| self.lives(*actor)).for_each(|actor| self.wake(actor));
    }

    fn wake_everyone(&self) {
        self.wake_family();
        self.wake_worker();
    }

    /// The state of an actor's sleep, to be read before looking at [`Turns::turn`].
    pub fn alarm(&self, actor: Actor) -> u32 {
        self.board.word(WAKE + actor.index()).load(Acquire)
    }

    /// Sleeps until woken since `alarm` was read, or a little while. Was it woken?
    pub fn sleep(&self, actor: Actor, alarm: u32) -> bool {
        board::wait(self.board.word(WAKE + actor.index()), alarm, LOOK_AROUND);
        self.alarm(actor) != alarm
    }

    /// The number of the current run, from 0.
    pub fn run(&self) -> u32 {
        self.board.word(RUN).load(Acquire)
    }

    /// Tells A to begin the next run.
    pub fn next_run(&self) {
        let word = self.board.word(RUN);
        board::post(word, word.load(Relaxed).wrapping_add(1));
    }

    /// A waits here for the next run.
    pub fn sleep_until_next_run(&self, run: u32) {
        board::wait(self.board.word(RUN), run, LOOK_AROUND);
    }

    /// Notes that A is (or is not) between two runs, and wakes the worker.
    pub fn rest(&self, resting: bool) {
        self.board.word(RESTING).store(u32::from(resting), Release);
        self.wake_worker();
    }

    /// Is A between two runs?
    pub fn resting(&self) -> bool {
        self.board.word(RESTING).load(Acquire) != 0
    }

    /// Wakes the worker.
    pub fn wake_worker(&self) {
        let word = self.board.word(WORKER);
        board::post(word, word.load(Relaxed).wrapping_add(1));
    }

    /// As [`Turns::alarm`], for the worker.
    pub fn worker_alarm(&self) -> u32 {
        self.board.word(WORKER).load(Acquire)
    }

    /// As [`Turns::sleep`], for the worker.
    pub fn worker_sleep(&self, alarm: u32, limit: Duration) {
        board::wait(self.board.word(WORKER), alarm, limit.min(LOOK_AROUND));
    }

    /// Appends a record. Where there is no room, its page states are left out; if that does not help,
    /// the run is given up, because a step without a record was not seen.
    fn note(&self, mut record: Record) {
        let step = record.step;
        let states = std::mem::take(&mut record.states);
        let seen = told(record.seen.iter().map(|seen| seen.pages));
        let mut count = seen + told(states.iter().map(|observed| observed.pages));
        let mut entry = Entry::Record(record);
        let mut bytes = frame(&entry, &states);
        let mut cost = bytes.len() + states.len() * STATE_BYTES;
        if let Entry::Record(record) = &mut entry
            && !states.is_empty()
            && !self.fits(cost, count, STATES_SHARE)
        {
            record.states_left_out = true;
            bytes = frame(&entry, &[]);
            (cost, count) = (bytes.len(), seen);
        }
        if self.fits(cost, count, 4) {
            for (word, more) in [(TOLD, count as u32), (COST, cost as u32)] {
                let word = self.board.word(word);
                word.store(word.load(Relaxed) + more, Relaxed);
            }
            self.append(&bytes);
        } else {
            let (room, most) = (self.board.capacity() >> 20, MAX_TOLD >> 20);
            let why = format!("what was seen up to step {step} takes more than {room} MiB, or {most} Mi pages");
            self.abort(End::Failed(why));
        }
    }

    /// Is there room for an entry that costs so many bytes and tells of so many pages, in so many of 4 parts?
    fn fits(&self, cost: usize, pages: u64, parts: u64) -> bool {
        let bytes = self.board.word(COST).load(Relaxed) as usize + cost + LAST_WORD;
        let told = u64::from(self.board.word(TOLD).load(Relaxed)) + pages;
        bytes as u64 * 4 <= self.board.capacity() as u64 * parts && told * 4 <= MAX_TOLD * parts
    }

    fn append(&self, entry: &[u8]) {
        let logged = self.board.word(LOGGED);
        let at = logged.load(Acquire) as usize;
        if self.board.put(at, entry) {
            logged.store((at + entry.len()) as u32, Release);
        }
    }

    /// The log so far, for [`entries`].
    pub fn log(&self) -> Vec<u8> {
        self.board.get(self.board.word(LOGGED).load(Acquire) as usize)
    }
}

/// The words of an actor's place.
fn place(actor: Actor, index: usize) -> usize {
    PLACE + (actor.index() * MOST_PLACES + index) * PLACE_WORDS
}

fn told(runs: impl Iterator<Item = Run>) -> u64 {
    runs.map(|run| u64::from(run.count)).sum()
}

/// An entry as the log has it.
fn frame(entry: &Entry, states: &[Observed]) -> Vec<u8> {
    const LENGTHS: usize = 8;
    let mut bytes = vec![0; LENGTHS];
    // Nothing in an entry can fail to be written.
    let _ = serde_json::to_writer(&mut bytes, entry);
    let text = bytes.len() - LENGTHS;
    pack(states, &mut bytes);
    let packed = bytes.len() - LENGTHS - text;
    for (at, length) in [(0, text), (4, packed)] {
        bytes[at..at + 4].copy_from_slice(&(length as u32).to_le_bytes());
    }
    bytes
}

/// What a log says, as far as it is whole: a dying process may leave its last entry half written.
pub fn entries(mut log: &[u8]) -> impl Iterator<Item = Entry> {
    std::iter::from_fn(move || {
        let mut part = |len: usize| {
            let (part, rest) = log.split_at_checked(len)?;
            log = rest;
            Some(part)
        };
        let mut length = || part(4)?.try_into().ok().map(|bytes| u32::from_le_bytes(bytes) as usize);
        let (text, packed) = (length()?, length()?);
        let (text, packed) = (part(text)?, part(packed)?);
        let mut entry = serde_json::from_slice(text).ok()?;
        if let Entry::Record(record) = &mut entry {
            record.states = unpack(packed)?;
        }
        Some(entry)
    })
}

/// The end of a run in which a process died.
pub fn died(actor: Actor, step: u32, exit: Exit) -> End {
    let (how, signal) = match exit {
        Exit::Code(code) => (format!("it exited with code {code}"), 0),
        Exit::Signal(signal) => (format!("killed by {}", cowcheck_model::errno::signal_name(signal)), signal),
    };
    End::Died { actor, step, how, signal }
}

#[cfg(test)]
mod tests {
    use cowcheck_model::pages::Run;
    use cowcheck_model::trace::{Observed, PageState};

    use super::*;

    fn record(step: u32, states: u32, why: usize) -> Record {
        let state = |first| Observed {
            actor: Actor::A,
            pages: Run { first, count: 1 },
            state: PageState::default(),
            pfn: u64::from(first),
            swap: None,
            index: 0,
        };
        let result = StepResult::Skipped("x".repeat(why));
        Record { states: (0..states).map(state).collect(), result, ..Record::ok(step) }
    }

    #[test]
    fn states_that_do_not_fit_are_left_out() {
        let turns = Turns::with_room(LAST_WORD + 1000).unwrap();
        turns.note(record(1, 100, 1));
        let log = turns.log();
        let found: Vec<Entry> = entries(&log).collect();
        let [Entry::Record(record)] = &found[..] else { panic!("{found:?}") };
        assert!(record.states.is_empty() && record.states_left_out);
        assert!(!turns.aborted());
    }

    #[test]
    fn states_leave_room_for_what_is_seen() {
        let turns = Turns::with_room(1 << 20).unwrap();
        (1..=200).for_each(|step| turns.note(record(step, 200, 1)));
        turns.note(record(201, 0, 200 << 10));
        assert!(!turns.aborted());
        let log = turns.log();
        let left_out = entries(&log).filter(|entry| matches!(entry, Entry::Record(record) if record.states_left_out));
        assert!((10..200).contains(&left_out.count()), "{} bytes", log.len());
    }

    #[test]
    fn no_trace_tells_of_more_pages_than_are_read() {
        let turns = Turns::with_room(1 << 20).unwrap();
        let huge = |step| {
            let mut huge = record(step, 1, 1);
            huge.states[0].pages.count = 1 << 18;
            huge
        };
        (1..=1000).for_each(|step| turns.note(huge(step)));
        assert!(!turns.aborted());
        let log = turns.log();
        let told: u64 = entries(&log)
            .filter_map(|entry| match entry {
                Entry::Record(record) => Some(super::told(record.states.iter().map(|state| state.pages))),
                Entry::End(_) => None,
            })
            .sum();
        assert_eq!(told, MAX_TOLD / 4 * STATES_SHARE);
    }

    #[test]
    fn places_are_noted() {
        let turns = Turns::with_room(LAST_WORD).unwrap();
        let place = |first: u32| Place { pages: Run { first, count: 1 }, address: (1 << 40) + first as usize };
        let b = Actor::new(1).unwrap();
        turns.set_places(b, (0..1024).map(place));
        assert_eq!(turns.places(b), (0..1024).map(place).collect::<Vec<_>>());
        assert_eq!(turns.places(Actor::A), []);
        turns.set_places(b, (0..1025).map(place));
        assert_eq!(turns.places(b), []);
    }

    #[test]
    fn a_record_that_does_not_fit_ends_the_run_with_the_reason() {
        let turns = Turns::with_room(LAST_WORD + 1000).unwrap();
        turns.note(record(1, 0, 1));
        turns.note(record(2, 0, 2000));
        let log = turns.log();
        let found: Vec<Entry> = entries(&log).collect();
        let [Entry::Record(_), Entry::End(End::Failed(why))] = &found[..] else { panic!("{found:?}") };
        assert!(why.contains("up to step 2 takes more than"), "{why}");
        assert!(turns.aborted());
    }
}
