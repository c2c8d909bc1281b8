//! Storms: writers, and what goes on beside them.

use cowcheck_model::pages::Range;
use cowcheck_model::step::{Op, Step};
use cowcheck_model::storm::Rival;

use crate::helpers::{
    Helper, READ_PAGES, STORM, STORM_COLLAPSE, STORM_FORK, STORM_GUP, STORM_PAGE_OUT, STORM_PIN, STORM_PROTECT,
    STORM_SPLIT, WRITE_PAGES,
};
use crate::program::Program;

/// How many pages the `pin` rival pins, each a buffer.
const PINNED: usize = 4;

/// Each rival's function.
fn rival(rival: Rival) -> (&'static Helper, &'static str) {
    match rival {
        Rival::Collapse => (&STORM_COLLAPSE, "collapse_in_storm"),
        Rival::Fork => (&STORM_FORK, "fork_in_storm"),
        Rival::Gup => (&STORM_GUP, "gup_in_storm"),
        Rival::Split => (&STORM_SPLIT, "split_in_storm"),
        Rival::Pageout => (&STORM_PAGE_OUT, "page_out_in_storm"),
        Rival::Pin => (&STORM_PIN, "pin_in_storm"),
        Rival::Mprotect => (&STORM_PROTECT, "protect_in_storm"),
    }
}

pub(super) fn sentence(op: &Op, pages: &dyn Fn(&Range) -> String) -> Option<String> {
    let Op::Storm(range, rivals) = op else { return None };
    Some(format!("has two threads write {} while others do: {rivals}. Then it writes them as ever", pages(range)))
}

pub(super) fn step(program: &mut Program<'_>, step: &Step) -> Option<Vec<String>> {
    let Op::Storm(range, rivals) = &step.op else { return None };
    let runs = program.world.runs(range);
    for helper in [&READ_PAGES, &STORM, &WRITE_PAGES] {
        program.add(helper);
    }
    let mut lines = vec![];
    // Their content is certain, so that everybody knows what was there before.
    for (set, runs) in program.by_set(&runs, |page| program.world.allowed_id(step.actor, page)) {
        lines.extend(program.calls(&runs, |first, count| format!("read_pages({first}, {count}, {set});")));
        lines.extend(program.calls(&runs, |first, count| format!("add_to_storm({first}, {count}, {set});")));
    }
    lines.push(format!("storm({}, (const struct rival[]) {{", rivals.each().count()));
    for each in rivals.each() {
        let (helper, function) = rival(each);
        program.add(helper);
        lines.push(format!("\t{{ \"{}\", {function} }},", each.word()));
        if each == Rival::Pin {
            program.buffers = program.buffers.max(PINNED);
        }
    }
    lines.push("});".to_owned());
    lines.extend(program.calls(&runs, |first, count| format!("write_pages({first}, {count});")));
    Some(lines)
}
