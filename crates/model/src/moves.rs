//! What a `migrate` step did: told from the frames before and after, as for a collapse.

use std::fmt;

use crate::collapse::Frames;
use crate::errno;
use crate::step::{Op, Treatment};
use crate::trace::{StepResult, Trace};

/// One `migrate` step and what it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// The step's number, from 1.
    pub step: u32,
    /// What it did.
    pub how: How,
}

/// What a migration did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum How {
    /// So many of so many pages are in another frame.
    Moved(usize, usize),
    /// The kernel refused: the name of the error number.
    Refused(String),
    /// It cannot be told, for this reason.
    Unknown(String),
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            How::Moved(moved, of) => write!(f, "{moved} of {of} pages moved"),
            How::Refused(errno) => write!(f, "refused ({errno})"),
            How::Unknown(why) => write!(f, "unknown ({why})"),
        }
    }
}

/// What every `migrate` step of the trace did, in their order.
pub fn moves(trace: &Trace) -> Vec<Move> {
    let is_move = |op: &Op| matches!(op, Op::Treat(Treatment::Migrate, _));
    if !trace.scenario.steps.iter().any(|step| is_move(&step.op)) {
        return vec![];
    }
    let mut frames = Frames::default();
    let mut found = Vec::new();
    for record in &trace.records {
        let Some(step) = trace.scenario.step(record.step) else { continue };
        let range = step.op.range().filter(|_| is_move(&step.op));
        let pages = range.map_or(vec![], |range| range.runs(trace.scenario.memory.pages(trace.page_size)));
        let frame = |frames: &Frames, page| frames.of(step.actor, page).map(|(frame, _)| frame);
        let before: Vec<_> =
            pages.iter().flat_map(|run| run.pages()).filter_map(|page| Some((page, frame(&frames, page)?))).collect();
        frames.learn(&record.states);
        if range.is_none() {
            continue;
        }
        let both: Vec<_> = before.iter().filter_map(|(page, from)| Some((*from, frame(&frames, *page)?))).collect();
        let is_hidden = both.iter().any(|(from, to)| *from == 0 || *to == 0);
        let how = match &record.result {
            StepResult::Ok if trace.scenario.group(record.step).len() > 1 => {
                How::Unknown("other steps happened at once".to_owned())
            }
            StepResult::Ok if both.is_empty() || is_hidden => How::Unknown("no frame numbers".to_owned()),
            StepResult::Ok => How::Moved(both.iter().filter(|(from, to)| from != to).count(), both.len()),
            StepResult::Errno(number) => How::Refused(errno::name(*number)),
            other => How::Unknown(other.to_string()),
        };
        found.push(Move { step: record.step, how });
    }
    found
}
