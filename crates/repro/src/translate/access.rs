//! Reading and writing through mappings.

use cowcheck_model::pages::{Range, Run, runs_of};
use cowcheck_model::step::{Access, Actor, Op, Step};

use crate::helpers::{
    EXPECT_FAULT, EXPECT_NO_FAULT, Helper, MAY_FAULT, POKE_PAGES, READ_BACKING, READ_CLOSED, READ_PAGES, TOUCH_CLOSED,
    TOUCH_PAGES, WRITE_BACKING, WRITE_CLOSED, WRITE_PAGES,
};
use crate::program::Program;

pub(super) fn sentence(program: &Program<'_>, op: &Op, pages: &dyn Fn(&Range) -> String) -> Option<String> {
    let backing = if program.shape.file { "the file itself" } else { "another mapping of the zero page" };
    Some(match op {
        Op::Write(range) => format!("writes {}", pages(range)),
        Op::Read(range) => format!("reads {}", pages(range)),
        Op::Touch(range) => format!("reads a byte of {}, only to populate the page table", pages(range)),
        Op::ReadBacking(range) => format!("reads {} of {backing}", pages(range)),
        Op::WriteBacking(range) => format!("writes {} of {backing}", pages(range)),
        Op::Probe(Access::Read, range) => format!("tries to read {}", pages(range)),
        Op::Probe(Access::Write, range) => format!("tries to write to {}", pages(range)),
        _ => return None,
    })
}

pub(super) fn step(program: &mut Program<'_>, step: &Step) -> Option<Vec<String>> {
    let runs = step.op.range().map(|range| program.world.runs(range)).unwrap_or_default();
    Some(match &step.op {
        Op::Write(_) => {
            let (open, closed) = program.open_and_closed(&runs);
            let mut lines = calls(program, &WRITE_PAGES, "write_pages", &open);
            lines.extend(calls(program, &WRITE_CLOSED, "write_closed", &closed));
            lines
        }
        Op::Touch(_) => {
            let (open, closed) = program.open_and_closed(&runs);
            let mut lines = calls(program, &TOUCH_PAGES, "touch_pages", &open);
            lines.extend(calls(program, &TOUCH_CLOSED, "touch_closed", &closed));
            lines
        }
        Op::Poke(_) => calls(program, &POKE_PAGES, "poke_pages", &runs),
        Op::WriteBacking(_) => calls(program, &WRITE_BACKING, "write_backing", &runs),
        Op::Read(_) => {
            let (open, closed) = program.open_and_closed(&runs);
            let mut lines = vec![];
            for (helper, function, runs) in [(&READ_PAGES, "read_pages", &open), (&READ_CLOSED, "read_closed", &closed)]
            {
                if !runs.is_empty() {
                    program.add(helper);
                }
                let groups = program.by_set(runs, |page| program.world.allowed_id(step.actor, page));
                lines.extend(reads(program, function, groups));
            }
            lines
        }
        Op::ReadBacking(_) => {
            program.add(&READ_BACKING);
            let groups = program.by_set(&runs, |page| program.world.backing_allowed_id(page));
            reads(program, "read_backing", groups)
        }
        Op::Probe(access, _) => probe(program, step.actor, *access, &runs),
        _ => return None,
    })
}

/// A helper that takes pages, and no more.
fn calls(program: &mut Program<'_>, helper: &'static Helper, function: &str, runs: &[Run]) -> Vec<String> {
    if runs.is_empty() {
        return vec![];
    }
    program.add(helper);
    program.calls(runs, |first, count| format!("{function}({first}, {count});"))
}

fn reads(program: &mut Program<'_>, function: &str, groups: Vec<(String, Vec<Run>)>) -> Vec<String> {
    let call = |(set, runs): (String, Vec<Run>)| {
        program.calls(&runs, |first, count| format!("{function}({first}, {count}, {set});"))
    };
    groups.into_iter().flat_map(call).collect()
}

fn probe(program: &mut Program<'_>, actor: Actor, access: Access, runs: &[Run]) -> Vec<String> {
    let world = &program.world;
    let those =
        |fits: &dyn Fn(u32) -> bool| runs_of(runs.iter().flat_map(|run| run.pages()).filter(|page| fits(*page)));
    let (must, may) = (|page| world.must_fault(actor, page, access), |page| world.may_fault(actor, page, access));
    let faults = those(&must);
    let open = those(&|page| !must(page) && may(page));
    let others = those(&|page| !must(page) && !may(page));
    let word = if access == Access::Read { "READ" } else { "WRITE" };
    let mut lines = vec![];
    for (helper, function, runs) in [
        (&EXPECT_FAULT, "expect_fault", &faults),
        (&MAY_FAULT, "may_fault", &open),
        (&EXPECT_NO_FAULT, "expect_no_fault", &others),
    ] {
        if !runs.is_empty() {
            program.add(helper);
            lines.extend(program.calls(runs, |first, count| format!("{function}({word}, {first}, {count});")));
        }
    }
    // Where a store may have been done or not, nothing is known of it: that allows more.
    if access == Access::Write {
        others.iter().flat_map(|run| run.pages()).for_each(|page| program.world.stored(actor, page));
    }
    lines
}
