//! The words of the language, as calls of C.
//!
//! Each file has some words, as sentences and as C, and gives `None` for any other. A new word needs two arms in one of
//! them and, where C has no call for it yet, a file in `c`.

mod access;
mod look;
mod mapping;
mod pins;
mod storm;
mod treat;

use cowcheck_model::pages::Range;
use cowcheck_model::step::{Op, Step};

pub(crate) use look::soft_dirty;

use crate::error::Error;
use crate::program::Program;
use crate::prose::range_text;

/// The statements of one step.
pub(crate) fn step(program: &mut Program<'_>, number: u32, step: &Step) -> Result<Vec<String>, Error> {
    if let Some(lines) = pins::step(program, step) {
        return lines.map_err(|why| Error::Impossible { step: number, text: step.to_string(), why });
    }
    access::step(program, step)
        .or_else(|| mapping::step(program, step))
        .or_else(|| treat::step(program, step))
        .or_else(|| look::step(program, step))
        .or_else(|| storm::step(program, step))
        .ok_or_else(|| Error::Untranslated { step: number, text: step.to_string() })
}

/// A step as a sentence without its full stop.
pub(crate) fn sentence(program: &Program<'_>, step: &Step) -> String {
    let pages = |range: &Range| range_text(range, program.world.pages());
    let done = access::sentence(program, &step.op, &pages)
        .or_else(|| mapping::sentence(&step.op, &pages))
        .or_else(|| treat::sentence(&step.op, &pages))
        .or_else(|| look::sentence(&step.op, &pages))
        .or_else(|| pins::sentence(&step.op, &pages))
        .or_else(|| storm::sentence(&step.op, &pages));
    let reaped = match step.op {
        Op::Exit => Some("exits and is reaped".to_owned()),
        _ => None,
    };
    format!("{} {}", step.actor, done.or(reaped).unwrap_or_else(|| format!("does `{}`", step.op)))
}
