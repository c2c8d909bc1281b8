//! What a trace comes to, where it is not simply a pass or a broken rule.

use cowcheck_model::checker::judge;
use cowcheck_model::contract::Rule;
use cowcheck_model::explain::explain;
use cowcheck_model::step::Actor;
use cowcheck_model::trace::{End, StepResult, Trace};
use cowcheck_model::verdict::{Kind, Verdict};

use crate::doctor::{Doctor, fails, good, inconclusive, passes};

const EINVAL: i32 = 22;
const ENOMEM: i32 = 12;
const REQUIRED: &str = "A write all;A collapse all;A require pmd-mapped all;A fork B;A write all;B read all";

fn thp(steps: &str) -> Trace {
    good("thp 32K", steps)
}

fn refused(step: u32, errno: i32) -> impl FnOnce(&mut Trace) {
    move |trace| trace.record(step).result = StepResult::Errno(errno)
}

fn unmet(step: u32) -> impl FnOnce(&mut Trace) {
    move |trace| trace.record(step).result = StepResult::Unmet("page 0 is mapped by a PTE".to_owned())
}

#[test]
fn an_unmet_requirement_tells_the_refusal_before_it() {
    let reason = inconclusive(&thp(REQUIRED).with(refused(2, EINVAL)).with(unmet(3)));
    assert_eq!(
        reason,
        "step 3, `A require pmd-mapped all`: page 0 is mapped by a PTE; step 2, `A collapse all`, was refused: EINVAL"
    );
}

#[test]
fn a_refused_collapse_that_nothing_requires_passes() {
    for advice in ["collapse", "pageout"] {
        let steps = format!("A write all;A {advice} all;A fork B;A write all;B read all");
        passes(&thp(&steps).with(refused(2, EINVAL)));
    }
}

#[test]
fn a_broken_rule_is_a_failure_even_where_the_set_up_was_not_reached() {
    fails(&thp(REQUIRED).with(unmet(3)).saw(6, "0", "A@5 of page 0"), Rule::Isolation, 6, "0");
    let dead = thp(REQUIRED).saw(6, "0", "A@5 of page 0").with(|trace| trace.end = End::Failed("no".to_owned()));
    fails(&dead, Rule::Isolation, 6, "0");
}

#[test]
fn any_other_refusal_is_inconclusive() {
    let trace = thp("A write all;A pin rw p0 all;A fork B;B read all");
    assert!(inconclusive(&trace.clone().with(refused(2, ENOMEM))).contains("`A pin rw p0 all`: refused: ENOMEM"));
    let fork = trace.with(refused(3, ENOMEM)).with(|trace| trace.records.truncate(3));
    assert!(inconclusive(&fork).starts_with("step 3, `A fork B`: refused: ENOMEM"));
    let skipped = StepResult::Skipped("no helper module".to_owned());
    let trace = thp("A write all;A pin ro p0 all").with(|trace| trace.record(2).result = skipped);
    assert!(inconclusive(&trace).contains("not tried: no helper module"));
}

#[test]
fn after_a_write_that_failed_half_way_nothing_is_judged() {
    // Pages 0 and 1 were written before the pool ran dry; the rest were not.
    let trace = good("hugetlb 32K", "A write all;A fork B;B write all;B read all").with(|trace| {
        trace.record(3).result = StepResult::Signal { signal: 7, page: Some(2) };
    });
    for holds in ["A@1 of page 0", "B@3 of page 0"] {
        assert!(inconclusive(&trace.clone().saw(4, "0-1", holds)).contains("no hugetlb page was free"));
    }
}

#[test]
fn after_a_change_of_the_mapping_that_failed_nothing_is_judged() {
    for op in ["dontneed all", "munmap upper", "mprotect lower ro", "dontfork all"] {
        let steps = format!("A write all;A {op};A fork B;B probe read all;A probe read all;A probe write lower");
        let trace = thp(&steps);
        for holds in ["no fault", "fault SIGSEGV (11)"] {
            let trace = trace.clone().saw(4, "0-7", holds).saw(5, "0-7", holds).saw(6, "0-3", holds);
            assert!(inconclusive(&trace.with(refused(2, ENOMEM))).contains("ENOMEM"), "{op}");
        }
    }
}

#[test]
fn a_sigbus_where_no_fault_was_due_is_not_a_marker() {
    let trace = good("hugetlb 32K", "A probe write all").saw(1, "3", "fault SIGBUS (7)");
    assert!(inconclusive(&trace).contains("no hugetlb page was free"));
}

#[test]
fn a_pin_of_fewer_pages_leaves_no_step_untold() {
    let trace = thp("A write all;A pin rw p0 all;A write via p0 all;A read lower");
    let trace = trace.with(|trace| trace.record(2).result = StepResult::Partial(4)).saw(4, "0-3", "A@1 of page 0");
    assert!(inconclusive(&trace).contains("step 3, `A write via p0 all`"));
}

#[test]
fn a_splice_of_nothing_tests_nothing() {
    let trace = thp("A write all;A splice p0 all;A read via p0").with(|trace| {
        trace.record(2).result = StepResult::Partial(0);
        trace.record(3).seen.clear();
    });
    assert!(inconclusive(&trace).contains("ok for 0 pages"));
}

#[test]
fn a_part_of_a_step_that_has_no_parts_is_inconclusive() {
    let trace = thp("A write all;A write all;A read all").with(|trace| trace.record(2).result = StepResult::Partial(2));
    for holds in ["A@1 of page 3", "A@2 of page 3"] {
        assert!(inconclusive(&trace.clone().saw(3, "3-7", holds)).contains("ok for 2 pages"));
    }
}

#[test]
fn the_end_is_told_with_its_step() {
    let actor = Actor::new(1).unwrap();
    let ends = [
        (
            End::Died { actor, step: 6, how: "killed".to_owned(), signal: 9 },
            Kind::Crash,
            "B died in step 6, `B read all`: killed; if nobody did it by hand, the kernel was out of memory",
        ),
        (
            End::Timeout { actor, step: 6, limit_ms: 2500, state: "D (disk sleep)".to_owned() },
            Kind::Timeout,
            "no end after 2.5 s; B was in step 6, `B read all`: D (disk sleep)",
        ),
        (End::Failed("no memory".to_owned()), Kind::Inconclusive, "no memory"),
    ];
    for (end, kind, reason) in ends {
        let trace = thp(REQUIRED).with(|trace| trace.end = end);
        let verdict = judge(&trace);
        assert_eq!((verdict.kind(), verdict.reason().as_str()), (kind, reason));
        let explained = explain(&trace, &verdict);
        assert!(explained.starts_with(&format!("{}: {reason}\n", kind.word())), "{explained}");
    }
}

#[test]
fn no_part_of_a_trace_can_be_left_out() {
    let whole = thp(REQUIRED);
    for step in 1..=6 {
        let cut = whole.clone().with(|trace| trace.records.truncate(step - 1));
        assert!(inconclusive(&cut).contains(&format!("no record of step {step}")));
        let hole = whole.clone().with(|trace| drop(trace.records.remove(step - 1)));
        assert!(inconclusive(&hole).contains(&format!("no record of step {step}")));
    }
    let silent = whole.clone().with(|trace| trace.record(6).seen.clear());
    assert!(inconclusive(&silent).contains("does not say what page 0 held"));
    let short = whole.with(|trace| trace.record(6).seen[0].pages.count = 7);
    assert!(inconclusive(&short).contains("does not say what page 7 held"));
}

#[test]
fn no_part_of_a_pin_can_be_left_out() {
    let trace = thp("A write all;A pin ro p0 lower;A read via p0").with(|trace| trace.record(3).seen.clear());
    assert!(inconclusive(&trace).contains("does not say what page 0 held"));
}

#[test]
fn a_failure_is_explained_step_by_step() {
    let trace = thp(REQUIRED).saw(6, "2-3", "A@5 of page 2").with(|trace| trace.record(2).tries = 3);
    let text = explain(&trace, &judge(&trace));
    for part in [
        "isolation broken: what an actor writes after a fork is never seen by another actor",
        "  in step 6 B read pages 2-3 through its mapping and saw A@5 (`A write all`): A wrote that after the fork in step 4, and B must never see it; allowed there: A@1 (`A write all`)",
        "    2  A collapse all               ok (try 3)",
        ">   6  B read all                   ok, saw 0-1: A@1 of page 0; 2-3: A@5 of page 2; 4-7: A@1 of page 4",
        "         B 2: present, soft-dirty, exclusive, writable, not pinned, frame 0xb",
        "    memory thp 32K",
    ] {
        assert!(text.contains(part), "{part}\nis missing in\n{text}");
    }
}

#[test]
fn a_pass_says_nothing() {
    assert_eq!(judge(&thp(REQUIRED)), Verdict::Pass);
    assert_eq!(Verdict::Pass.reason(), "");
}
