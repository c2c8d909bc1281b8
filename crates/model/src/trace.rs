//! The record of one run: what each step came to and what every reader saw.
//!
//! A trace is one JSON object. `cowcheck_trace` is its format version; a newer one is refused by
//! name. Everything needed to judge it is inside, so it can be judged on any machine.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::errno;
use crate::pages::Run;
use crate::scenario::Scenario;
use crate::stamp::Holds;
use crate::step::Actor;
use crate::storm::Storm;

/// The version of the trace format that this program writes, and the newest that it reads.
pub const VERSION: u32 = 1;

/// The record of one run of one scenario.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trace {
    /// The format version.
    #[serde(rename = "cowcheck_trace")]
    pub version: u32,
    /// The scenario in its text form.
    #[serde(with = "scenario_text")]
    pub scenario: Scenario,
    /// The kernel that ran it, as uname(2) has it: release and version.
    pub kernel: String,
    /// Bytes of the base page on the machine that ran it.
    pub page_size: u32,
    /// Does that kernel track soft-dirty pages? Unknown is false.
    #[serde(default)]
    pub soft_dirty: bool,
    /// What happened, in order: one record for each step that was done.
    pub records: Vec<Record>,
    /// How it ended.
    pub end: End,
    /// New lines of the kernel log that tell of a bug, seen while the scenario ran.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kernel_log: Vec<String>,
    /// Hugetlb pages that were free before and are missing after the family is gone.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub hugetlb_missing: u64,
    /// Base pages of anonymous memory that the family had, that nobody maps any more, and that were not freed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub pages_lost: u64,
    /// Wall time of the run in microseconds.
    #[serde(default)]
    pub micros: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What one step came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The step's number, from 1.
    pub step: u32,
    /// How it ended.
    pub result: StepResult,
    /// How often it was tried; more than 1 where the kernel refused for a passing reason.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub tries: u32,
    /// What a reader saw, in runs of pages.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seen: Vec<Seen>,
    /// The state of pages after the step: of the actor's own, or with the helper module of everybody's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub states: Vec<Observed>,
    /// There was no room for the states.
    #[serde(default, skip_serializing_if = "is_false")]
    pub states_left_out: bool,
    /// What a `storm` step did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storm: Option<Storm>,
}

fn one() -> u32 {
    1
}

fn is_one(number: &u32) -> bool {
    *number == 1
}

impl Record {
    /// A step that was done and saw nothing.
    pub fn ok(step: u32) -> Record {
        Record {
            step,
            result: StepResult::Ok,
            tries: 1,
            seen: vec![],
            states: vec![],
            states_left_out: false,
            storm: None,
        }
    }
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepResult {
    /// It was done.
    Ok,
    /// It was done for the first so many pages only (a pipe that is full).
    Partial(u32),
    /// The kernel refused with this error number.
    Errno(i32),
    /// The access to this page raised this signal.
    Signal {
        /// The signal's number.
        signal: i32,
        /// The page that was accessed, where it lies in the memory.
        page: Option<u32>,
    },
    /// A `require` step found this instead.
    Unmet(String),
    /// A `require` step could not look, for this reason: the state is neither seen nor seen to be missing.
    Unobserved(String),
    /// It could not be tried, for this reason.
    Skipped(String),
}

impl fmt::Display for StepResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StepResult::Ok => f.write_str("ok"),
            StepResult::Partial(pages) => write!(f, "ok for {pages} pages"),
            StepResult::Errno(number) => write!(f, "refused: {}", errno::name(*number)),
            StepResult::Signal { signal, page: Some(page) } => {
                write!(f, "{} at page {page}", errno::signal_name(*signal))
            }
            StepResult::Signal { signal, page: None } => f.write_str(&errno::signal_name(*signal)),
            StepResult::Unmet(found) => write!(f, "not so: {found}"),
            StepResult::Unobserved(why) => write!(f, "not observed: {why}"),
            StepResult::Skipped(why) => write!(f, "not tried: {why}"),
        }
    }
}

/// A run of pages and what they hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Which pages, as in `0-511`.
    #[serde(with = "run_text")]
    pub pages: Run,
    /// What the first holds; a stamp's page number counts up along the run.
    pub holds: Holds,
}

/// The state of a run of pages in one actor's page table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// Whose page table.
    #[serde(with = "actor_text")]
    pub actor: Actor,
    /// Which pages.
    #[serde(with = "run_text")]
    pub pages: Run,
    /// What is known of each of them.
    #[serde(flatten)]
    pub state: PageState,
    /// The frame number of the first, counting up along the run; 0 where it is hidden (no root) or
    /// there is none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub pfn: u64,
    /// The first one's swap entry, counting up along the run: the number of the swap area from bit 56 on, the place in it
    /// below. Known with the helper module only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swap: Option<u64>,
    /// The first page's place in its folio, counting up along the run and from 0 in the next folio; 0 where the folio is
    /// not known.
    #[serde(default, skip_serializing_if = "is_head")]
    pub index: u32,
}

fn is_head(number: &u32) -> bool {
    *number == 0
}

impl Observed {
    /// Does `next`, of the page behind this run, only go on with it?
    pub fn is_continued_by(&self, next: &Observed) -> bool {
        let count = u64::from(self.pages.count);
        let counts_up = |from: Option<u64>, to: Option<u64>| to == from.map(|from| from.saturating_add(count));
        let per_folio = self.state.order.and_then(|order| 1u64.checked_shl(order)).unwrap_or(1);
        let index = (u64::from(self.index) + count) % per_folio;
        self.actor == next.actor
            && self.pages.end() == next.pages.first
            && self.state == next.state
            && next.pfn == if self.pfn == 0 { 0 } else { self.pfn.saturating_add(count) }
            && counts_up(self.swap, next.swap)
            && index == u64::from(next.index)
    }
}

/// What can be known of a page. The first group comes from /proc/PID/pagemap
/// (Documentation/admin-guide/mm/pagemap.rst), the second needs the helper module and is absent
/// without it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PageState {
    /// Bit 63: in memory.
    #[serde(skip_serializing_if = "is_false")]
    pub present: bool,
    /// Bit 62: a swap entry.
    #[serde(skip_serializing_if = "is_false")]
    pub swapped: bool,
    /// Bit 61: a page of a file, or shared anonymous.
    #[serde(skip_serializing_if = "is_false")]
    pub file: bool,
    /// Bit 56: mapped once. This is not PG_anon_exclusive.
    #[serde(skip_serializing_if = "is_false")]
    pub mapped_once: bool,
    /// Bit 55: soft-dirty.
    #[serde(skip_serializing_if = "is_false")]
    pub soft_dirty: bool,
    /// Bit 57: write-protected through userfaultfd.
    #[serde(skip_serializing_if = "is_false")]
    pub uffd_wp: bool,
    /// Bit 58: a guard region (Linux 6.15).
    #[serde(skip_serializing_if = "is_false")]
    pub guard: bool,
    /// Mapped by a PMD or larger leaf (PAGEMAP_SCAN's PAGE_IS_HUGE, or smaps).
    #[serde(skip_serializing_if = "is_false")]
    pub pmd: bool,
    /// PG_anon_exclusive of an anonymous page, on the head page where a PMD maps it or the folio is hugetlb; or the mark
    /// of a swap or migration entry. Absent for every other page, and on kernels before 5.19.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exclusive: Option<bool>,
    /// PG_anon_exclusive of a tail page itself, where a PMD maps it and the head's is what counts.
    #[serde(skip_serializing_if = "is_false")]
    pub tail_exclusive: bool,
    /// Writable in the page table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub writable: Option<bool>,
    /// Maybe pinned for DMA: true may be wrong, false is right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pinned: Option<bool>,
    /// Dirty in the page table.
    #[serde(skip_serializing_if = "is_false")]
    pub dirty: bool,
    /// The zero page, small or huge.
    #[serde(skip_serializing_if = "is_false")]
    pub zero: bool,
    /// A page of KSM's.
    #[serde(skip_serializing_if = "is_false")]
    pub ksm: bool,
    /// In the swap cache.
    #[serde(skip_serializing_if = "is_false")]
    pub swapcache: bool,
    /// A migration entry.
    #[serde(skip_serializing_if = "is_false")]
    pub migrating: bool,
    /// A marker, or another entry that is no page.
    #[serde(skip_serializing_if = "is_false")]
    pub special: bool,
    /// The order of the folio.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<u32>,
    /// How many page table entries map this page, larger ones included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mapcount: Option<u32>,
    /// References to the folio. Those that are on their way to or from a list count, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refcount: Option<u32>,
}

fn is_false(value: &bool) -> bool {
    !*value
}

/// The words a person reads: `present pmd soft-dirty`.
impl fmt::Display for PageState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = |value: Option<bool>, yes: &'static str, no: &'static str| match value {
            Some(true) => Some(yes),
            Some(false) => Some(no),
            None => None,
        };
        let words = [
            Some(if self.present { "present" } else { "not present" }),
            self.swapped.then_some("swapped"),
            self.file.then_some("file"),
            self.mapped_once.then_some("mapped-once"),
            self.soft_dirty.then_some("soft-dirty"),
            self.uffd_wp.then_some("uffd-wp"),
            self.guard.then_some("guard"),
            self.pmd.then_some("pmd"),
            known(self.exclusive, "exclusive", "not exclusive"),
            self.tail_exclusive.then_some("a mark on the tail"),
            known(self.writable, "writable", "write-protected"),
            known(self.pinned, "pinned", "not pinned"),
            self.dirty.then_some("dirty"),
            self.zero.then_some("zero page"),
            self.ksm.then_some("KSM"),
            self.swapcache.then_some("in the swap cache"),
            self.migrating.then_some("migrating"),
            self.special.then_some("a marker"),
        ];
        f.write_str(&words.into_iter().flatten().collect::<Vec<_>>().join(", "))?;
        let numbers = [
            self.order.filter(|order| *order > 0).map(|order| format!("order {order}")),
            self.mapcount.filter(|count| *count != 1).map(|count| format!("mapped {count} times")),
            self.refcount.map(|count| format!("{count} reference{}", if count == 1 { "" } else { "s" })),
        ];
        numbers.into_iter().flatten().try_for_each(|number| write!(f, ", {number}"))
    }
}

/// How the run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// Every step was done and the family is gone.
    Complete,
    /// A process of the family died without being asked to.
    Died {
        /// Who.
        #[serde(with = "actor_text")]
        actor: Actor,
        /// The step under way, from 1.
        step: u32,
        /// How, for a person to read.
        how: String,
        /// The signal that killed it, or 0.
        #[serde(default)]
        signal: i32,
    },
    /// The time limit passed.
    Timeout {
        /// Whose turn it was.
        #[serde(with = "actor_text")]
        actor: Actor,
        /// The step under way, from 1.
        step: u32,
        /// The limit, in milliseconds.
        limit_ms: u64,
        /// What the process was doing, for a person to read.
        state: String,
    },
    /// The executor could not run it at all.
    Failed(String),
}

mod run_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::pages::Run;
    use crate::text::page_list;

    pub(super) fn serialize<S: Serializer>(run: &Run, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(run)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Run, D::Error> {
        let text = String::deserialize(deserializer)?;
        match page_list(&text).as_deref() {
            Some([run]) => Ok(*run),
            _ => Err(D::Error::custom(format!("`{text}` is not a run of pages, as in 7 or 0-511"))),
        }
    }
}

pub(crate) mod actor_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::step::Actor;

    pub(crate) fn serialize<S: Serializer>(actor: &Actor, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(actor)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Actor, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut letters = text.chars();
        match (letters.next().and_then(Actor::from_letter), letters.next()) {
            (Some(actor), None) => Ok(actor),
            _ => Err(D::Error::custom(format!("`{text}` is not an actor, A to Z"))),
        }
    }
}

mod scenario_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::scenario::Scenario;

    pub(super) fn serialize<S: Serializer>(scenario: &Scenario, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(scenario)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Scenario, D::Error> {
        let text = String::deserialize(deserializer)?;
        crate::text::parse(&text).map_err(|error| D::Error::custom(error.in_file("scenario")))
    }
}

/// The longest text that is read as a trace, in bytes. Reading it takes five times as much memory.
const MAX_JSON: usize = 32 << 20;

/// The most pages that all records may tell of together: a trace of sixty steps on 1 GiB, with the
/// states of four actors, has as many.
pub const MAX_TOLD: u64 = 1 << 26;

/// Why a text is not a trace.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TraceError {
    /// The format version is not one we read.
    #[error("trace format {found}, expected {VERSION}: this cowcheck ({}) is too old to read it", env!("CARGO_PKG_VERSION"))]
    Newer {
        /// The version found.
        found: u64,
    },
    /// Not JSON, or not the JSON of a trace.
    #[error("{line}:{column}: expected a trace: {what}")]
    Malformed {
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
        /// What is wrong.
        what: String,
    },
    /// The text ends in the middle, and not even the scenario could be had from it.
    #[error("{line}:{column}: the text ends in the middle of a trace")]
    Truncated {
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
    },
    /// The scenario in it cannot be done.
    #[error("the scenario in it: {0}")]
    Scenario(String),
    /// The records do not fit the scenario, or there is too much of everything.
    #[error("the records in it: {0}")]
    Records(String),
}

impl Trace {
    /// Reads a trace from its JSON text and checks that its scenario can be done and that its
    /// records fit the scenario.
    pub fn from_json(text: &str) -> Result<Trace, TraceError> {
        #[derive(Deserialize)]
        struct Version {
            cowcheck_trace: u64,
        }
        if text.len() > MAX_JSON {
            return Err(TraceError::Records(format!("{} bytes, expected at most {MAX_JSON}", text.len())));
        }
        if let Ok(Version { cowcheck_trace }) = serde_json::from_str(text)
            && cowcheck_trace > u64::from(VERSION)
        {
            return Err(TraceError::Newer { found: cowcheck_trace });
        }
        let trace: Trace = serde_json::from_str(text).map_err(|error| {
            let (line, column) = (error.line().max(1), error.column().max(1));
            match error.is_eof() {
                true => TraceError::Truncated { line, column },
                false => TraceError::Malformed { line, column, what: error.to_string() },
            }
        })?;
        if !(512..=1 << 24).contains(&trace.page_size) {
            return Err(TraceError::Scenario(format!("page_size {}: expected 512 to 16777216", trace.page_size)));
        }
        trace.scenario.validate(trace.page_size).map_err(|error| TraceError::Scenario(error.to_string()))?;
        trace.check_records().map_err(TraceError::Records)?;
        Ok(trace)
    }

    /// Do the records belong to the scenario's steps and the memory's pages?
    fn check_records(&self) -> Result<(), String> {
        let pages = self.scenario.memory.pages(self.page_size);
        let mut told = 0;
        let mut before = 0;
        for record in &self.records {
            let step = record.step;
            if step <= before || self.scenario.step(step).is_none() {
                let steps = self.scenario.steps.len();
                return Err(format!("step {step}: expected one record a step, in order, of steps 1 to {steps}"));
            }
            before = step;
            let sightings = record.storm.iter().flat_map(|storm| &storm.sightings);
            if let Some(sighting) = sightings.into_iter().find(|sighting| sighting.page >= pages) {
                return Err(format!("step {step}, page {}: expected pages below {pages}", sighting.page));
            }
            let runs = record.seen.iter().map(|seen| seen.pages).chain(record.states.iter().map(|state| state.pages));
            for run in runs {
                if run.end() > pages {
                    return Err(format!("step {step}, pages {run}: expected pages below {pages}"));
                }
                told += u64::from(run.count);
            }
        }
        match told > MAX_TOLD {
            true => Err(format!("{told} pages in all records together, expected at most {MAX_TOLD}")),
            false => Ok(()),
        }
    }

    /// As one line of JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"))
    }
}
