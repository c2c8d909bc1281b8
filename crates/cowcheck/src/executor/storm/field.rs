//! What the threads of a storm share: the pages, what was written to them, and what was seen.

use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicU32, fence};
use std::time::{Duration, Instant};

use cowcheck_model::stamp::{Holds, Stamp};
use cowcheck_model::storm::{Eye, Sighting, WRITERS};
use cowcheck_model::trace::Seen;
use cowcheck_sys::board::Board;

use super::{Broken, Order};
use crate::executor::fault::Fault;
use crate::executor::layout::Layout;

/// The words of a page that are written: one for each writer, and one that is written through pins.
pub(super) const SLOTS: usize = WRITERS as usize + 1;
/// Which of them is written through pins.
pub(super) const PINNED: usize = WRITERS as usize;

/// How many sightings are kept.
const KEPT: usize = 16;

/// One count for each slot of a page.
pub(super) type Counts = [u32; SLOTS];

/// What was seen in a word that should not be there. A child can leave it on the board.
#[derive(Clone, Copy)]
pub(super) struct Odd {
    pub(super) eye: Eye,
    pub(super) index: usize,
    pub(super) offset: usize,
    pub(super) least: u32,
    pub(super) most: u32,
    pub(super) word: u64,
}

/// A turn of [`Fence`]: pages `first..end` of the field are read-only, from after the second step to before the third.
pub(super) struct Fence {
    /// Four steps to a turn.
    step: AtomicU32,
    first: AtomicU32,
    end: AtomicU32,
}

/// How a page stands to the fence.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Open,
    Closing,
    Closed,
}

impl Fence {
    /// The next step, of these pages.
    pub(super) fn go_on(&self, first: usize, end: usize) {
        self.first.store(first as u32, Relaxed);
        self.end.store(end as u32, Relaxed);
        self.step.fetch_add(1, SeqCst);
    }

    /// How page `index` stands, and in which step that was so.
    pub(super) fn standing(&self, index: usize) -> (u32, Standing) {
        let step = self.step.load(SeqCst);
        let inside = (self.first.load(Relaxed)..self.end.load(Relaxed)).contains(&(index as u32));
        match step % 4 {
            0 => (step, Standing::Open),
            _ if !inside => (step, Standing::Open),
            2 => (step, Standing::Closed),
            _ => (step, Standing::Closing),
        }
    }
}

pub(super) struct Field<'a> {
    pub(super) layout: &'a Layout,
    /// The number and the place of each page, in order.
    pub(super) pages: Vec<(u32, usize)>,
    pub(super) fence: Fence,
    pub(super) fault: Option<Fault>,
    pub(super) nonce: u16,
    /// What each page held before; `None` for zeroes.
    base: Vec<Option<Stamp>>,
    /// Counts that were surely written, by page and slot; the rounds of the writers; the word of a child.
    board: Board,
    stop: AtomicBool,
    found: Mutex<Found>,
}

#[derive(Default)]
struct Found {
    sightings: Vec<Sighting>,
    more: u64,
    signal: Option<(i32, u32)>,
}

impl<'a> Field<'a> {
    pub(super) fn new(order: &Order<'a>, seen: &[Seen]) -> Result<Field<'a>, Broken> {
        let pages: Vec<(u32, usize)> = order.layout.each(order.runs).collect();
        let mut base = Vec::with_capacity(pages.len());
        for (page, holds) in seen.iter().flat_map(|seen| {
            let first = seen.pages.first;
            seen.pages.pages().map(move |page| (page, seen.holds.at(page - first)))
        }) {
            base.push(match holds {
                Holds::Zero => None,
                Holds::Stamp { writer, page } => Some(Stamp { nonce: order.nonce, writer, page }),
                _ => return Err(Broken::NoBase(page)),
            });
        }
        if base.len() != pages.len() {
            return Err(Broken::NoBase(0));
        }
        let words = pages.len() * SLOTS + WRITERS as usize + CHILD_WORDS;
        let board = Board::new(words, 0).map_err(Broken::Error)?;
        let fence = Fence { step: AtomicU32::new(0), first: AtomicU32::new(0), end: AtomicU32::new(0) };
        let found = Mutex::new(Found::default());
        let (layout, fault, nonce) = (order.layout, order.fault, order.nonce);
        Ok(Field { layout, pages, fence, fault, nonce, base, board, stop: AtomicBool::new(false), found })
    }

    /// The byte of a slot in its page. Each has a cache line of its own.
    pub(super) fn offset(slot: usize) -> usize {
        40 + 512 * slot
    }

    /// The word that says: the `count`th of this slot of this page. Count 0 is what was there before.
    pub(super) fn word(&self, index: usize, slot: usize, count: u32) -> u64 {
        match count {
            0 => self.before(index, Self::offset(slot) / 8),
            _ => self.mark(index, slot) | u64::from(count),
        }
    }

    fn mark(&self, index: usize, slot: usize) -> u64 {
        u64::from(self.nonce ^ 0x5aa5) << 48 | (self.pages[index].0 as u64 & 0x3fff) << 34 | (slot as u64) << 32
    }

    fn before(&self, index: usize, word: usize) -> u64 {
        self.base[index].and_then(|stamp| stamp.words().nth(word)).unwrap_or(0)
    }

    /// The count that a word holds, if it is one of this slot of this page.
    fn count(&self, index: usize, slot: usize, word: u64) -> Option<u32> {
        if word == self.word(index, slot, 0) {
            return Some(0);
        }
        (word & !0xffff_ffff == self.mark(index, slot)).then_some(word as u32)
    }

    fn counter(&self, index: usize, slot: usize) -> &AtomicU32 {
        self.board.word(index * SLOTS + slot)
    }

    /// The counts of a page that were surely written by now.
    pub(super) fn written(&self, index: usize) -> Counts {
        fence(SeqCst);
        std::array::from_fn(|slot| self.counter(index, slot).load(Acquire))
    }

    /// The counts of a page that can have been written by now: each writer may be about to tell of one.
    pub(super) fn begun(&self, index: usize) -> Counts {
        self.written(index).map(|count| count + 1)
    }

    /// Count `count` was written.
    pub(super) fn wrote(&self, index: usize, slot: usize, count: u32) {
        self.counter(index, slot).store(count, Release);
    }

    /// Is `word` one of these counts of its slot? What is wrong if not.
    pub(super) fn check(&self, index: usize, slot: usize, word: u64, eye: Eye, least: u32, most: u32) -> Option<Odd> {
        let right = self.count(index, slot, word).is_some_and(|count| (least..=most).contains(&count));
        (!right).then_some(Odd { eye, index, offset: Self::offset(slot), least, most, word })
    }

    /// The same of a whole page, the words that nobody writes included.
    pub(super) fn odd(&self, index: usize, words: &[u64], eye: Eye, least: &Counts, most: &Counts) -> Option<Odd> {
        for slot in 0..SLOTS {
            let word = words.get(Self::offset(slot) / 8).copied().unwrap_or(0);
            if let odd @ Some(_) = self.check(index, slot, word, eye, least[slot], most[slot]) {
                return odd;
            }
        }
        self.rest(index, words)
    }

    /// A word that nobody writes and that is not as it was.
    fn rest(&self, index: usize, words: &[u64]) -> Option<Odd> {
        let is_written = |at: usize| (0..SLOTS).any(|slot| Self::offset(slot) == at * 8);
        let is_odd = |at: usize, is: u64, was: u64| is != was && !is_written(at);
        let mut all = words.iter().copied().enumerate();
        let changed = match self.base[index] {
            Some(stamp) => all.zip(stamp.words()).find(|((at, is), was)| is_odd(*at, *is, *was)).map(|(is, _)| is),
            None => all.find(|(at, is)| is_odd(*at, *is, 0)),
        };
        changed.map(|(at, word)| Odd { eye: Eye::Rest, index, offset: at * 8, least: 0, most: 0, word })
    }

    /// Keeps a sighting.
    pub(super) fn saw(&self, odd: Odd) {
        let Odd { eye, index, offset, least, most, word } = odd;
        let slot = (0..SLOTS).find(|slot| Self::offset(*slot) == offset);
        let count = slot.and_then(|slot| self.count(index, slot, word));
        let sighting = Sighting {
            eye,
            page: self.pages[index].0,
            offset: offset as u32,
            least,
            most,
            count,
            word: format!("{word:#x}"),
        };
        let Ok(mut found) = self.found.lock() else { return };
        match found.sightings.len() < KEPT {
            true => found.sightings.push(sighting),
            false => found.more += 1,
        }
    }

    /// An access to a page raised a signal that was not due: it is over.
    pub(super) fn was_hit(&self, index: usize, signal: i32) {
        if let Ok(mut found) = self.found.lock() {
            found.signal.get_or_insert((signal, self.pages[index].0));
        }
        self.stop();
    }

    pub(super) fn signal(&self) -> Option<(i32, u32)> {
        self.found.lock().ok().and_then(|found| found.signal)
    }

    pub(super) fn into_sightings(self) -> (Vec<Sighting>, u64) {
        let found = self.found.into_inner().unwrap_or_default();
        (found.sightings, found.more)
    }

    pub(super) fn stop(&self) {
        self.stop.store(true, Release);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Acquire)
    }

    fn round(&self, writer: u32) -> &AtomicU32 {
        self.board.word(self.pages.len() * SLOTS + writer as usize)
    }

    /// A writer came round.
    pub(super) fn came_round(&self, writer: u32) {
        self.round(writer).fetch_add(1, Release);
    }

    /// How often the slowest writer came round.
    pub(super) fn rounds(&self) -> u64 {
        (0..WRITERS).map(|writer| u64::from(self.round(writer).load(Acquire))).min().unwrap_or(0)
    }

    /// Waits until every writer came round once more, or a while.
    pub(super) fn wait_a_round(&self, limit: Duration) {
        let now =
            || -> [u32; WRITERS as usize] { std::array::from_fn(|writer| self.round(writer as u32).load(Acquire)) };
        let (before, began) = (now(), Instant::now());
        while !self.is_stopped()
            && began.elapsed() < limit
            && now().iter().zip(before).any(|(now, before)| now.wrapping_sub(before) < 2)
        {
            std::thread::sleep(Duration::from_micros(50));
        }
    }

    fn child_word(&self, at: usize) -> &AtomicU32 {
        self.board.word(self.pages.len() * SLOTS + WRITERS as usize + at)
    }

    /// A child leaves word.
    pub(super) fn leave(&self, word: ChildWord) {
        let words: [u32; CHILD_WORDS] = match word {
            ChildWord::Nothing => [0; CHILD_WORDS],
            ChildWord::Signal { signal, index } => [1, signal as u32, index as u32, 0, 0, 0, 0, 0],
            ChildWord::Odd(Odd { eye, index, offset, least, most, word }) => {
                let eye = match eye {
                    Eye::Snapshot => 2,
                    Eye::Again => 3,
                    _ => 4,
                };
                [eye, index as u32, offset as u32, least, most, word as u32, (word >> 32) as u32, 0]
            }
        };
        // The first says that the others are there.
        for at in (0..CHILD_WORDS).rev() {
            self.child_word(at).store(words[at], Release);
        }
    }

    /// What the last child left.
    pub(super) fn left(&self) -> ChildWord {
        let word = |at| self.child_word(at).load(Acquire);
        let odd = |eye| {
            ChildWord::Odd(Odd {
                eye,
                index: word(1) as usize,
                offset: word(2) as usize,
                least: word(3),
                most: word(4),
                word: u64::from(word(6)) << 32 | u64::from(word(5)),
            })
        };
        match word(0) {
            0 => ChildWord::Nothing,
            1 => ChildWord::Signal { signal: word(1) as i32, index: word(2) as usize },
            2 => odd(Eye::Snapshot),
            3 => odd(Eye::Again),
            _ => odd(Eye::Rest),
        }
    }
}

const CHILD_WORDS: usize = 8;

/// What a child has to tell.
pub(super) enum ChildWord {
    Nothing,
    Signal { signal: i32, index: usize },
    Odd(Odd),
}
