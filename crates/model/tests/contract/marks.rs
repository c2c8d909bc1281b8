//! Userfaultfd write protection, guard pages, locks, KSM: a trace that breaks the rule, and the freedom beside it.

use cowcheck_model::contract::Rule;
use cowcheck_model::trace::{PageState, StepResult};

use crate::doctor::{Doctor, fails, good, inconclusive, passes, scenario};
use crate::reference::{Choices, run};

const ANON: &str = "anon 4K x8";

mod uffd_wp {
    use super::*;

    const STEPS: &str = "A write all;A uffd-wp lower;A collapse all;A probe write all;A probe read all";

    #[test]
    fn a_protected_page_faults_on_every_write_and_on_no_read() {
        let trace = good(ANON, STEPS);
        fails(&trace.clone().saw(4, "1-2", "no fault"), Rule::Markers, 4, "1-2");
        fails(&trace.clone().saw(4, "5", "fault SIGSEGV (11)"), Rule::Markers, 4, "5");
        fails(&trace.saw(5, "2", "fault SIGBUS (7)"), Rule::Markers, 5, "2");
    }

    #[test]
    fn the_mark_stays_in_the_page_table() {
        let trace = good(ANON, STEPS);
        let found = fails(&trace.clone().state(3, 'A', 2, |page| page.state.uffd_wp = false), Rule::Markers, 3, "2");
        assert!(found.sentence.contains("not write-protected, though userfaultfd was asked to"), "{}", found.sentence);
        // Linux before 5.14 tells of no page at all.
        let silent = trace.with(|trace| {
            let states = trace.records.iter_mut().flat_map(|record| &mut record.states);
            states.for_each(|seen| seen.state.uffd_wp = false);
        });
        passes(&silent);
    }

    #[test]
    fn it_ends_when_it_is_asked_to() {
        let steps = "A write all;A uffd-wp all;A uffd-unwp page 3;A probe write all;A uffd-unwp all;A write all";
        let trace = good(ANON, steps);
        let found = fails(&trace.clone().saw(4, "3", "fault SIGBUS (7)"), Rule::Markers, 4, "3");
        assert!(found.sentence.contains("as if userfaultfd protected it"), "{}", found.sentence);
        let stuck = StepResult::Signal { signal: 7, page: Some(2) };
        fails(&trace.with(|trace| trace.record(6).result = stuck), Rule::Markers, 6, "2");
    }

    #[test]
    fn a_child_does_not_inherit_it_and_a_move_loses_it() {
        let trace = good(ANON, "A write all;A uffd-wp all;A fork B;B probe write all;B write all;A probe write all");
        fails(&trace.saw(4, "0", "fault SIGBUS (7)"), Rule::Markers, 4, "0");
        let trace = good(ANON, "A write all;A uffd-wp all;A mremap upper;A probe write all");
        fails(&trace.clone().saw(4, "4", "fault SIGBUS (7)"), Rule::Markers, 4, "4");
        fails(&trace.saw(4, "3", "no fault"), Rule::Markers, 4, "3");
    }

    #[test]
    fn of_a_page_that_is_not_there_the_kernel_may_keep_the_mark_or_not() {
        for steps in ["A uffd-wp all;A probe write all", "A write all;A uffd-wp all;A dontneed all;A probe write all"] {
            let trace = run(&scenario(ANON, steps), Choices::Plain);
            let last = trace.records.len() as u32;
            passes(&trace.clone().saw(last, "0-7", "no fault"));
            passes(&trace.clone().saw(last, "0-7", "fault SIGBUS (7)"));
            fails(&trace.saw(last, "2", "fault SIGSEGV (11)"), Rule::Markers, last, "2");
        }
    }

    #[test]
    fn sigbus_on_a_page_that_never_was_protected_is_no_failure() {
        let trace = good(ANON, "A write all;A uffd-wp lower;A probe write all").saw(3, "7", "fault SIGBUS (7)");
        assert!(inconclusive(&trace).contains("SIGBUS"));
    }
}

mod guard {
    use super::*;

    const STEPS: &str = "A write all;A guard pages 2-3;A fork B;A collapse all;A probe read all;B probe write all;\
                         A unguard all;A read all";

    #[test]
    fn no_access_and_nothing_of_the_content() {
        let trace = good(ANON, STEPS);
        fails(&trace.clone().saw(5, "3", "no fault"), Rule::Markers, 5, "3");
        fails(&trace.clone().saw(6, "2-3", "no fault"), Rule::Markers, 6, "2-3");
        fails(&trace.clone().saw(5, "4", "fault SIGSEGV (11)"), Rule::Markers, 5, "4");
        let found = fails(&trace.saw(8, "2", "A@1 of page 2"), Rule::Integrity, 8, "2");
        assert!(found.sentence.contains("old content"), "{}", found.sentence);
    }

    #[test]
    fn it_is_not_in_the_page_table() {
        let trace = good(ANON, STEPS).with(|trace| {
            let mut there = trace.record(4).states[0].clone();
            (there.pages.first, there.pfn) = (2, 99);
            trace.record(4).states.push(there);
        });
        let found = fails(&trace, Rule::Markers, 4, "2");
        assert!(found.sentence.contains("there, though a guard page"), "{}", found.sentence);
    }

    #[test]
    fn a_wiped_child_has_none() {
        good(ANON, "A guard all;A wipeonfork all;A fork B;B read all;B write all;A probe read all");
    }
}

mod lock {
    use super::*;

    #[test]
    fn what_is_locked_is_not_swapped_out() {
        let trace = good(ANON, "A write all;A mlock lower;A fork B;A pageout all;A munlock all;A pageout all");
        let out = |page: &mut cowcheck_model::trace::Observed| {
            page.state = PageState { swapped: true, exclusive: Some(true), soft_dirty: true, ..PageState::default() };
            (page.pfn, page.swap) = (0, Some(7));
        };
        let found = fails(&trace.clone().state(4, 'A', 3, out), Rule::Markers, 4, "3");
        assert!(found.sentence.contains("swapped out, though locked"), "{}", found.sentence);
        // Not the upper half, not the child, not later, and not where it may be a migration entry.
        passes(&trace.clone().state(4, 'A', 4, out));
        passes(&trace.clone().state(4, 'B', 3, out));
        passes(&trace.clone().state(6, 'A', 3, out));
        passes(&trace.state(4, 'A', 3, |page| {
            out(page);
            page.swap = None;
        }));
    }
}

mod ksm {
    use super::*;

    #[test]
    fn what_was_merged_is_unshared_by_a_write() {
        let steps = "A write all;A mergeable all;A fork B;B probe write all;A ksm;A write lower;B read all;B write all;A read all";
        let trace = good(ANON, steps);
        fails(&trace.clone().saw(7, "1", "A@6 of page 1"), Rule::Isolation, 7, "1");
        fails(&trace.clone().saw(9, "5", "B@8 of page 5"), Rule::Isolation, 9, "5");
        fails(&trace.saw(7, "6", "A@1 of page 5"), Rule::Integrity, 7, "6");
    }
}

#[test]
fn a_requirement_that_could_not_be_looked_at_is_no_reason() {
    let trace = good(ANON, "A write all;A fork B;A require shared all;A write all;B read all");
    let dark = trace.with(|trace| trace.record(3).result = StepResult::Unobserved("no root".to_owned()));
    passes(&dark);
    let unmet = dark.with(|trace| trace.record(3).result = StepResult::Unmet("pages 0-7 are not".to_owned()));
    assert!(inconclusive(&unmet).contains("`A require shared all`: pages 0-7 are not"));
    // Of any other step it says that it was not done.
    let odd = unmet.with(|trace| {
        trace.record(3).result = StepResult::Ok;
        trace.record(4).result = StepResult::Unobserved("no".to_owned());
    });
    assert!(inconclusive(&odd).contains("not observed: no"));
}

#[test]
fn a_split_or_a_migration_may_be_refused() {
    let trace = good(ANON, "A write all;A fork B;A split all;A migrate all;A write all;B read all");
    let refused = trace.with(|trace| {
        trace.record(3).result = StepResult::Errno(22);
        trace.record(4).result = StepResult::Errno(16);
    });
    passes(&refused);
    fails(&refused.saw(6, "0", "A@5 of page 0"), Rule::Isolation, 6, "0");
}
