//! What a collapse did: told from the frames before and after.

use std::collections::HashMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::errno;
use crate::step::{Actor, Op};
use crate::trace::{Observed, Record, StepResult, Trace, actor_text};

/// One `collapse` step and what it did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collapse {
    /// The step's number, from 1.
    pub step: u32,
    /// Who did it.
    #[serde(with = "actor_text")]
    pub actor: Actor,
    /// What it did.
    #[serde(flatten)]
    pub how: How,
}

/// What a collapse did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "how", rename_all = "kebab-case")]
pub enum How {
    /// A frame is still where it was: the folio was kept. What is copied goes to a folio that was free, so
    /// it can have none of the frames from before.
    InPlace,
    /// No frame is where it was.
    Copied,
    /// A PMD mapped the range before.
    NothingToDo,
    /// khugepaged came by and did nothing.
    LeftAlone,
    /// The kernel refused.
    Refused {
        /// The name of the error number.
        errno: String,
    },
    /// It cannot be told.
    Unknown {
        /// Why.
        why: String,
    },
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            How::InPlace => f.write_str("in place"),
            How::Copied => f.write_str("copied"),
            How::NothingToDo => f.write_str("nothing to do"),
            How::LeftAlone => f.write_str("left alone"),
            How::Refused { errno } => write!(f, "refused ({errno})"),
            How::Unknown { why } => write!(f, "unknown ({why})"),
        }
    }
}

const NO_PMD: &str = "no PMD maps it afterwards";

/// A page of an actor: its frame, and whether a PMD maps it.
type Frame = (u64, bool);

/// The frames that the last look saw.
#[derive(Default)]
pub(crate) struct Frames(HashMap<(Actor, u32), Frame>);

impl Frames {
    /// The page's frame (0 where its number is hidden), and whether a PMD maps it.
    pub(crate) fn of(&self, actor: Actor, page: u32) -> Option<Frame> {
        self.0.get(&(actor, page)).copied()
    }

    /// Takes in what was seen after a step.
    pub(crate) fn learn(&mut self, states: &[Observed]) {
        for seen in states {
            for (index, page) in (0..).zip(seen.pages.pages()) {
                match seen.state.present {
                    true => {
                        let frame = if seen.pfn == 0 { 0 } else { seen.pfn.saturating_add(index) };
                        self.0.insert((seen.actor, page), (frame, seen.state.pmd));
                    }
                    false => {
                        self.0.remove(&(seen.actor, page));
                    }
                }
            }
        }
    }
}

/// What every `collapse` step of the trace did, in their order. Page states are compared with the last ones known of
/// that actor before the step.
pub fn collapses(trace: &Trace) -> Vec<Collapse> {
    // Most scenarios have none, and a page of a gigabyte has 262144 places to keep in mind.
    if !trace.scenario.steps.iter().any(|step| step.op.collapses(step.actor).is_some()) {
        return vec![];
    }
    let mut known = Frames::default();
    let mut found = Vec::new();
    for record in &trace.records {
        let Some(step) = trace.scenario.step(record.step) else { continue };
        if let Some((range, owner)) = step.op.collapses(step.actor) {
            let pages: Vec<u32> =
                range.runs(trace.scenario.memory.pages(trace.page_size)).iter().flat_map(|run| run.pages()).collect();
            let before: HashMap<u32, Frame> =
                pages.iter().filter_map(|page| Some((*page, known.of(owner, *page)?))).collect();
            let how = match how(record, owner, &pages, &before) {
                How::InPlace | How::Copied | How::NothingToDo if trace.scenario.group(record.step).len() > 1 => {
                    How::Unknown { why: "other steps happened at once".to_owned() }
                }
                How::Unknown { why } if why == NO_PMD && matches!(step.op, Op::Khugepaged(_)) => {
                    by_khugepaged(record, owner, &before)
                }
                how => how,
            };
            found.push(Collapse { step: record.step, actor: step.actor, how });
        }
        known.learn(&record.states);
    }
    found
}

/// No PMD maps the range: a frame that changed was copied, to a folio that is smaller (from Linux 7.2 on).
fn by_khugepaged(record: &Record, owner: Actor, before: &HashMap<u32, Frame>) -> How {
    let mut both = record.states.iter().filter(|seen| seen.actor == owner && seen.state.present).flat_map(|seen| {
        (0..).zip(seen.pages.pages()).filter_map(|(index, page)| {
            let after = if seen.pfn == 0 { 0 } else { seen.pfn.saturating_add(index) };
            Some((before.get(&page)?.0, after))
        })
    });
    let mut known = false;
    let changed = both.any(|(from, to)| {
        known |= from != 0 && to != 0;
        from != 0 && to != 0 && from != to
    });
    match (changed, known) {
        (true, _) => How::Copied,
        (false, true) => How::LeftAlone,
        (false, false) => How::Unknown { why: "no frame numbers".to_owned() },
    }
}

fn how(record: &Record, actor: Actor, pages: &[u32], before: &HashMap<u32, Frame>) -> How {
    let unknown = |why: &str| How::Unknown { why: why.to_owned() };
    match &record.result {
        StepResult::Ok => {}
        StepResult::Errno(number) => return How::Refused { errno: errno::name(*number) },
        other => return How::Unknown { why: other.to_string() },
    }
    let states = || record.states.iter().filter(|seen| seen.actor == actor);
    if states().next().is_none() {
        return unknown("no page states");
    }
    let after: HashMap<u32, Frame> = states()
        .filter(|seen| seen.state.present)
        .flat_map(|seen| {
            let frame = move |index| if seen.pfn == 0 { 0 } else { seen.pfn.saturating_add(index) };
            (0..).zip(seen.pages.pages()).map(move |(index, page)| (page, (frame(index), seen.state.pmd)))
        })
        .collect();
    if pages.iter().any(|page| after.get(page).is_none_or(|(_, pmd)| !pmd)) {
        return unknown(NO_PMD);
    }
    if pages.iter().all(|page| before.get(page).is_some_and(|(_, pmd)| *pmd)) {
        return How::NothingToDo;
    }
    let mut both = pages.iter().filter_map(|page| Some((before.get(page)?.0, after.get(page)?.0))).peekable();
    if both.peek().is_none() {
        return unknown("no page was there before");
    }
    let both: Vec<(u64, u64)> = both.collect();
    if both.iter().any(|(from, to)| *from == 0 || *to == 0) {
        return unknown("no frame numbers");
    }
    if both.iter().any(|(from, to)| from == to) { How::InPlace } else { How::Copied }
}
