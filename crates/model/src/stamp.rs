//! What a write leaves in a page, and what a read finds there.
//!
//! A stamp names its write: the run of the executor, the actor, the step, the page. It is spread
//! over the page so that every word differs from every other and each alone gives the stamp back:
//! word `i` is `stamp + i * SPREAD`. A wrong byte therefore tells which write put it there, a page
//! in the wrong place which page it was, and a torn page where it is torn.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::errno;
use crate::step::Actor;

/// Odd, so that the 2^64 multiples all differ.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

const PAGE_BITS: u32 = 28;
const STEP_BITS: u32 = 15;
const ACTOR_BITS: u32 = 5;
/// The value of the actor field that stands for "nobody: there before the first step".
const NOBODY: u64 = (1 << ACTOR_BITS) - 1;

/// The largest step number that a stamp can carry.
pub const MAX_STEPS: usize = (1 << STEP_BITS) - 1;
/// The largest number of pages that a stamp can tell apart.
pub const MAX_PAGES: u32 = 1 << PAGE_BITS;

/// Who put a value into a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Writer {
    /// It was in the file before the first step.
    Initial,
    /// Step number `step` (from 1), done by `actor`.
    Step(Actor, u32),
}

/// `A@3`: what A wrote in step 3.
impl fmt::Display for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Writer::Initial => f.write_str("initial"),
            Writer::Step(actor, step) => write!(f, "{actor}@{step}"),
        }
    }
}

/// The 64 bits that [`Stamp::fill`] spreads over a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Tells this run from every other of the same executor, so that memory left over from an
    /// earlier run is recognised. Not 0.
    pub nonce: u16,
    /// Whose write it was.
    pub writer: Writer,
    /// Which page was written.
    pub page: u32,
}

impl Stamp {
    fn bits(self) -> u64 {
        let (actor, step) = match self.writer {
            Writer::Initial => (NOBODY, 0),
            Writer::Step(actor, step) => (actor.index() as u64, u64::from(step)),
        };
        (u64::from(self.nonce) << 48)
            | (actor << (STEP_BITS + PAGE_BITS))
            | ((step & ((1 << STEP_BITS) - 1)) << PAGE_BITS)
            | u64::from(self.page & (MAX_PAGES - 1))
    }

    fn from_bits(bits: u64) -> Option<Stamp> {
        let nonce = (bits >> 48) as u16;
        let step = (bits >> PAGE_BITS) as u32 & ((1 << STEP_BITS) - 1);
        let page = bits as u32 & (MAX_PAGES - 1);
        let writer = match (bits >> (STEP_BITS + PAGE_BITS)) & NOBODY {
            NOBODY if step == 0 => Writer::Initial,
            index => Writer::Step(Actor::new(index as usize)?, step),
        };
        (nonce != 0).then_some(Stamp { nonce, writer, page })
    }

    /// The words of a stamped page, and on without end.
    pub fn words(self) -> impl Iterator<Item = u64> {
        let first = self.bits();
        (0_u64..).map(move |i| first.wrapping_add(i.wrapping_mul(SPREAD)))
    }

    /// Stamps a page: all its words.
    pub fn fill(self, words: &mut [u64]) {
        let mut value = self.bits();
        for word in words {
            *word = value;
            value = value.wrapping_add(SPREAD);
        }
    }

    /// Does a page hold exactly what [`Stamp::fill`] left? Compares every word.
    pub fn fills(self, words: &[u64]) -> bool {
        spread(words, self.bits())
    }
}

/// Is word `i` equal to `first + i * SPREAD` for every `i`?
///
/// Does not stop at the first difference: nearly every page is as it should be, and of a loop without
/// a branch the compiler makes vector instructions.
fn spread(words: &[u64], first: u64) -> bool {
    let mut expected = first;
    let mut differences = 0;
    for word in words {
        differences |= word ^ expected;
        expected = expected.wrapping_add(SPREAD);
    }
    differences == 0
}

/// What a page holds, as found by reading all of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Holds {
    /// Zeroes only.
    Zero,
    /// One whole stamp of this run: what `writer` left in page `page`.
    Stamp {
        /// Whose write.
        writer: Writer,
        /// For which page; in a run of pages, for the run's first page, and the others follow.
        page: u32,
    },
    /// One whole stamp of another run of the same executor; its bits.
    Foreign(u64),
    /// Neither: the value of the first word.
    Raw(u64),
    /// Parts that differ: the byte offset at which each begins, and what it holds.
    Torn(Vec<(u32, Holds)>),
    /// Nothing was read: the access raised this signal.
    Fault(i32),
    /// A `probe` that raised no signal.
    NoFault,
}

/// How many parts of a torn page are told; the rest of the page is left out.
const MAX_PARTS: usize = 8;

impl Holds {
    /// Reads a whole page. `nonce` is that of the current run.
    pub fn observe(words: &[u64], nonce: u16) -> Holds {
        let Some(&first) = words.first() else { return Holds::Zero };
        if first == 0 && words.iter().fold(0, |all, word| all | word) == 0 {
            return Holds::Zero;
        }
        if spread(words, first) {
            return Self::of_bits(first, nonce);
        }
        let mut parts: Vec<(u32, Holds)> = Vec::new();
        for (i, &word) in words.iter().enumerate() {
            let part = match word {
                0 => Holds::Zero,
                _ => match Self::of_bits(word.wrapping_sub((i as u64).wrapping_mul(SPREAD)), nonce) {
                    stamp @ Holds::Stamp { .. } => stamp,
                    _ => Holds::Raw(word),
                },
            };
            let same = matches!((parts.last(), &part), (Some((_, last)), part) if last == part)
                || matches!((parts.last(), &part), (Some((_, Holds::Raw(_))), Holds::Raw(_)));
            if !same {
                if parts.len() == MAX_PARTS {
                    break;
                }
                parts.push((i as u32 * 8, part));
            }
        }
        match parts.as_slice() {
            [(_, only)] => only.clone(),
            _ => Holds::Torn(parts),
        }
    }

    fn of_bits(bits: u64, nonce: u16) -> Holds {
        match Stamp::from_bits(bits) {
            Some(stamp) if stamp.nonce == nonce => Holds::Stamp { writer: stamp.writer, page: stamp.page },
            Some(_) => Holds::Foreign(bits),
            None => Holds::Raw(bits),
        }
    }

    /// Does page `distance` pages further on continue a run of pages that begins with `self`?
    pub fn continued_by(&self, distance: u32, next: &Holds) -> bool {
        match (self, next) {
            (Holds::Stamp { writer, page }, Holds::Stamp { writer: w, page: p }) => {
                writer == w && page.checked_add(distance) == Some(*p)
            }
            (Holds::Torn(_) | Holds::Raw(_) | Holds::Foreign(_), _) => false,
            _ => self == next,
        }
    }

    /// What the page `distance` pages into a run that begins with `self` holds.
    pub fn at(&self, distance: u32) -> Holds {
        match self {
            Holds::Stamp { writer, page } => Holds::Stamp { writer: *writer, page: page.saturating_add(distance) },
            other => other.clone(),
        }
    }
}

/// `zero`, `A@3 of page 7`, `initial of page 0`, `foreign 0x...`, `raw 0x...`,
/// `torn 0:A@3 of page 7;2048:zero`, `fault SIGBUS (7)`, `no fault`
impl fmt::Display for Holds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Holds::Zero => f.write_str("zero"),
            Holds::Stamp { writer, page } => write!(f, "{writer} of page {page}"),
            Holds::Foreign(bits) => write!(f, "foreign {bits:#x}"),
            Holds::Raw(word) => write!(f, "raw {word:#x}"),
            Holds::Torn(parts) => {
                f.write_str("torn ")?;
                for (i, (offset, holds)) in parts.iter().enumerate() {
                    write!(f, "{}{offset}:{holds}", if i == 0 { "" } else { ";" })?;
                }
                Ok(())
            }
            Holds::Fault(signal) => write!(f, "fault {} ({signal})", errno::signal_name(*signal)),
            Holds::NoFault => f.write_str("no fault"),
        }
    }
}

/// A text that is not a [`Holds`].
#[derive(Debug, Clone, thiserror::Error)]
#[error(
    "`{0}` is not what a page can hold: expected zero, `A@STEP of page N`, `initial of page N`, foreign HEX, raw HEX, torn ..., fault SIGNAL (N) or no fault"
)]
pub struct NotHolds(String);

impl FromStr for Holds {
    type Err = NotHolds;

    fn from_str(text: &str) -> Result<Self, NotHolds> {
        parse_holds(text, true).ok_or_else(|| NotHolds(text.chars().take(80).collect()))
    }
}

fn parse_holds(text: &str, may_be_torn: bool) -> Option<Holds> {
    let hex = |text: &str| u64::from_str_radix(text.strip_prefix("0x")?, 16).ok();
    if let Some(parts) = text.strip_prefix("torn ").filter(|_| may_be_torn) {
        let parts: Option<Vec<_>> = Some(parts)
            .filter(|parts| parts.split(';').nth(MAX_PARTS).is_none())?
            .split(';')
            .map(|part| {
                let (offset, holds) = part.split_once(':')?;
                Some((offset.parse().ok()?, parse_holds(holds, false)?))
            })
            .collect();
        return parts.map(Holds::Torn);
    }
    if let Some((writer, page)) = text.split_once(" of page ") {
        let writer = match writer {
            "initial" => Writer::Initial,
            _ => {
                let (actor, step) = writer.split_once('@')?;
                let mut letters = actor.chars();
                let actor = Actor::from_letter(letters.next()?)?;
                letters.next().is_none().then_some(Writer::Step(actor, step.parse().ok()?))?
            }
        };
        return Some(Holds::Stamp { writer, page: page.parse().ok()? });
    }
    match text.split_once(' ') {
        None => (text == "zero").then_some(Holds::Zero),
        Some(("foreign", bits)) => hex(bits).map(Holds::Foreign),
        Some(("raw", word)) => hex(word).map(Holds::Raw),
        Some(("fault", signal)) => {
            let (_, number) = signal.split_once('(')?;
            number.strip_suffix(')')?.parse().ok().map(Holds::Fault)
        }
        Some(("no", "fault")) => Some(Holds::NoFault),
        _ => None,
    }
}

impl From<Holds> for String {
    fn from(holds: Holds) -> String {
        holds.to_string()
    }
}

impl TryFrom<String> for Holds {
    type Error = NotHolds;

    fn try_from(text: String) -> Result<Self, NotHolds> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp { nonce: 7, writer: Writer::Step(Actor::A, 3), page: 17 };

    fn page() -> Vec<u64> {
        let mut words = vec![0; 512];
        STAMP.fill(&mut words);
        words
    }

    #[test]
    fn a_stamp_is_read_back_whole() {
        let words = page();
        assert!(STAMP.fills(&words));
        assert!(STAMP.words().take(512).eq(words.iter().copied()));
        assert_eq!(Holds::observe(&words, 7), Holds::Stamp { writer: STAMP.writer, page: 17 });
        assert!(matches!(Holds::observe(&words, 8), Holds::Foreign(_)));
    }

    #[test]
    fn every_single_wrong_byte_is_seen() {
        for byte in 0..4096 {
            let mut words = page();
            words[byte / 8] ^= 1 << (8 * (byte % 8));
            assert!(!STAMP.fills(&words));
            assert!(matches!(Holds::observe(&words, 7), Holds::Torn(_)), "byte {byte}");
        }
    }

    #[test]
    fn a_torn_page_tells_both_writes() {
        let mut words = page();
        let other = Stamp { writer: Writer::Step(Actor::new(1).unwrap(), 5), ..STAMP };
        let mut theirs = vec![0; 512];
        other.fill(&mut theirs);
        words[256..].copy_from_slice(&theirs[256..]);
        let holds = Holds::observe(&words, 7);
        assert_eq!(holds.to_string(), "torn 0:A@3 of page 17;2048:B@5 of page 17");
        assert_eq!(holds.to_string().parse::<Holds>().unwrap(), holds);
    }

    #[test]
    fn a_page_of_one_byte_value_is_no_stamp() {
        assert!(matches!(Holds::observe(&[u64::MAX; 512], 7), Holds::Raw(_)));
        assert_eq!(Holds::observe(&[0; 512], 7), Holds::Zero);
    }
}
