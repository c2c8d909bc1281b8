//! What a collapse did, told from doctored frames.

use cowcheck_model::collapse::{Collapse, How, collapses};
use cowcheck_model::step::Actor;
use cowcheck_model::trace::{Observed, StepResult, Trace};

use crate::doctor::{Doctor, good};

const PAGES: u32 = 8;

/// A's pages after step 2, the collapse, are as `change` makes them.
fn after(change: impl Fn(&mut Observed)) -> Trace {
    let trace = good("thp 32K", "A write all;A collapse all;A read all");
    (0..PAGES).fold(trace, |trace, page| trace.state(2, 'A', page, &change))
}

fn by_pmd(observed: &mut Observed) {
    observed.state.pmd = true;
}

fn copied(observed: &mut Observed) {
    by_pmd(observed);
    observed.pfn += 0x1000;
}

#[track_caller]
fn did(trace: &Trace) -> String {
    let [Collapse { step: 2, actor: Actor::A, how }] = &collapses(trace)[..] else {
        panic!("{:?}", collapses(trace));
    };
    how.to_string()
}

#[test]
fn frames_tell_in_place_from_copied() {
    assert_eq!(did(&after(by_pmd)), "in place");
    assert_eq!(did(&after(copied)), "copied");
    // Copies of some pages went into the folio, which was kept.
    let mixed = after(|observed| if observed.pages.first == 3 { by_pmd(observed) } else { copied(observed) });
    assert_eq!(did(&mixed), "in place");
    // A hole before: what is filled has no frame to be compared.
    let filled = after(copied).with(|trace| trace.record(1).states.retain(|seen| seen.pages.first != 5));
    assert_eq!(did(&filled), "copied");
}

#[test]
fn a_refusal_has_its_errno() {
    let refused = after(|_| ()).with(|trace| trace.record(2).result = StepResult::Errno(11));
    assert_eq!(did(&refused), "refused (EAGAIN)");
}

#[test]
fn what_cannot_be_told_is_unknown() {
    assert_eq!(did(&after(|_| ())), "unknown (no PMD maps it afterwards)");
    assert_eq!(did(&after(by_pmd).with(|trace| trace.record(2).states.clear())), "unknown (no page states)");
    let hidden = |observed: &mut Observed| {
        by_pmd(observed);
        observed.pfn = 0;
    };
    assert_eq!(did(&after(hidden)), "unknown (no frame numbers)");
    let new = after(by_pmd).with(|trace| trace.record(1).states.clear());
    assert_eq!(did(&new), "unknown (no page was there before)");
    let half = after(|observed| observed.state.pmd = observed.pages.first < PAGES / 2);
    assert_eq!(did(&half), "unknown (no PMD maps it afterwards)");
    let skipped = after(by_pmd).with(|trace| trace.record(2).result = StepResult::Skipped("there is no A".to_owned()));
    assert_eq!(did(&skipped), "unknown (not tried: there is no A)");
}

#[test]
fn what_a_pmd_mapped_before_is_nothing_to_do() {
    let trace = (0..PAGES).fold(after(by_pmd), |trace, page| trace.state(1, 'A', page, by_pmd));
    assert_eq!(did(&trace), "nothing to do");
}

#[test]
fn another_actors_frames_do_not_count() {
    let trace = good("thp 32K", "A write all;A fork B;B collapse all;B read all");
    let trace = (0..PAGES).fold(trace, |trace, page| trace.state(3, 'B', page, by_pmd));
    let [Collapse { step: 3, how: How::InPlace, .. }] = &collapses(&trace)[..] else { panic!() };
    // B's own page states are all there is, without the helper module; before the fork it had none.
    let alone = trace.with(|trace| trace.record(2).states.retain(|seen| seen.actor == Actor::A));
    let [Collapse { how: How::Unknown { .. }, .. }] = &collapses(&alone)[..] else { panic!() };
}

#[test]
fn who_collapses_need_not_be_who_has_the_pages() {
    let trace = good("thp 32K", "A write all;A fork B;A collapse all of B;B read all");
    let trace = (0..PAGES).fold(trace, |trace, page| trace.state(3, 'B', page, copied));
    let [Collapse { step: 3, actor: Actor::A, how: How::Copied }] = &collapses(&trace)[..] else {
        panic!("{:?}", collapses(&trace));
    };
    let refused = trace.with(|trace| trace.record(3).result = StepResult::Errno(1));
    assert_eq!(collapses(&refused)[0].how.to_string(), "refused (EPERM)");
}

#[test]
fn khugepaged_may_leave_it_alone() {
    let by_khugepaged = |change: &dyn Fn(&mut Observed)| {
        let trace = good("thp 32K", "A write all;A khugepaged all;A read all");
        did(&(0..PAGES).fold(trace, |trace, page| trace.state(2, 'A', page, change)))
    };
    assert_eq!(by_khugepaged(&|_| ()), "left alone");
    assert_eq!(by_khugepaged(&by_pmd), "in place");
    assert_eq!(by_khugepaged(&copied), "copied");
    // To THPs that are smaller.
    assert_eq!(by_khugepaged(&|observed| observed.pfn += 0x1000 * u64::from(observed.pages.first > 3)), "copied");
    assert_eq!(by_khugepaged(&|observed| observed.pfn = 0), "unknown (no frame numbers)");
}
