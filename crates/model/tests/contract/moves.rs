//! What a migration did.

use cowcheck_model::moves::moves;
use cowcheck_model::trace::{StepResult, Trace};

use crate::doctor::{Doctor, good};

fn told(trace: &Trace) -> Vec<(u32, String)> {
    moves(trace).iter().map(|each| (each.step, each.how.to_string())).collect()
}

#[test]
fn frames_tell_what_moved() {
    let trace = good("anon 4K x8", "A write all;A migrate lower;A migrate all");
    assert_eq!(told(&trace), [(2, "0 of 4 pages moved".to_owned()), (3, "0 of 8 pages moved".to_owned())]);
    let moved = trace.clone().state(2, 'A', 1, |page| page.pfn = 77).state(3, 'A', 1, |page| page.pfn = 77);
    assert_eq!(told(&moved)[0].1, "1 of 4 pages moved");
    assert_eq!(told(&moved)[1].1, "0 of 8 pages moved");
    let refused = trace.clone().with(|trace| trace.record(2).result = StepResult::Errno(16));
    assert_eq!(told(&refused)[0].1, "refused (EBUSY)");
    let dark = trace.with(|trace| {
        let states = trace.records.iter_mut().flat_map(|record| &mut record.states);
        states.for_each(|seen| seen.pfn = 0);
    });
    assert_eq!(told(&dark)[0].1, "unknown (no frame numbers)");
}
