//! Every rule of the contract: a trace that breaks it, and the freedom beside it that must pass.

use cowcheck_model::contract::Rule;
use cowcheck_model::trace::{PageState, StepResult};

use crate::doctor::{Doctor, fails, good, inconclusive, passes};

const ANON: &str = "anon 4K x8";
const FORK: &str = "A write all;A fork B;A write lower;B read all;B write upper;A read all";

mod isolation {
    use super::*;

    #[test]
    fn a_child_never_sees_its_parents_later_write() {
        let found = fails(&good(ANON, FORK).saw(4, "2-3", "A@3 of page 2"), Rule::Isolation, 4, "2-3");
        assert_eq!((found.seen.as_str(), found.allowed.as_str()), ("A@3 of page 2", "A@1 (`A write all`)"));
        assert!(found.sentence.contains("A wrote that after the fork in step 2"), "{}", found.sentence);
    }

    #[test]
    fn a_parent_never_sees_its_childs_write() {
        let found = fails(&good(ANON, FORK).saw(6, "7", "B@5 of page 7"), Rule::Isolation, 6, "7");
        assert!(found.sentence.contains("B wrote that after the fork in step 2"), "{}", found.sentence);
    }

    #[test]
    fn the_fork_that_is_named_is_the_one_that_parted_them() {
        let steps = "A write all;A fork B;B write all;A fork C;C read all;B fork D;A write all;D read all";
        let found = fails(&good(ANON, steps).saw(5, "0", "B@3 of page 0"), Rule::Isolation, 5, "0");
        assert!(found.sentence.contains("B wrote that after the fork in step 2"), "{}", found.sentence);
        let found = fails(&good(ANON, steps).saw(8, "0", "A@7 of page 0"), Rule::Isolation, 8, "0");
        assert!(found.sentence.contains("A wrote that after the fork in step 2"), "{}", found.sentence);
    }

    #[test]
    fn siblings_never_see_each_other() {
        let steps = "A write all;A fork B;A fork C;B write all;C read all";
        fails(&good(ANON, steps).saw(5, "0", "B@4 of page 0"), Rule::Isolation, 5, "0");
    }

    #[test]
    fn no_pin_nor_pipe_shows_another_actors_write() {
        for pin in ["pin rw", "pin ro", "pin ro fast", "splice"] {
            let steps = format!("A write all;A {pin} p0 all;A fork B;B write all;A read via p0");
            let trace = good(ANON, &steps);
            fails(&trace.saw(5, "1", "B@4 of page 1"), Rule::Isolation, 5, "1");
        }
    }

    #[test]
    fn a_pipe_of_the_child_never_shows_the_parents_later_write() {
        // CVE-2020-29374.
        let steps = "A write all;A fork B;B splice p0 all;B munmap all;A write all;B read via p0";
        let trace = good(ANON, steps);
        fails(&trace.saw(6, "0", "A@5 of page 0"), Rule::Isolation, 6, "0");
    }

    #[test]
    fn a_forced_write_is_a_write_of_the_actor() {
        // CVE-2016-5195, CVE-2022-2590.
        let steps = "A write all;A mprotect all ro;A fork B;B poke lower;A read all;B read all";
        let found = fails(&good(ANON, steps).saw(5, "2", "B@4 of page 2"), Rule::Isolation, 5, "2");
        assert!(found.sentence.contains("B wrote that after the fork in step 3"), "{}", found.sentence);
        fails(&good(ANON, steps).saw(6, "2", "A@1 of page 2"), Rule::Integrity, 6, "2");
        let steps = "A mprotect all none;A poke all;A read backing all";
        fails(&good("memfd 32K", steps).saw(3, "1", "A@2 of page 1"), Rule::Isolation, 3, "1");
        // Its soft-dirty bit may be set or not.
        let steps = "A write all;A clear-soft-dirty;A poke all";
        passes(&good(ANON, steps).state(3, 'A', 0, |seen| seen.state.soft_dirty = false));
    }

    #[test]
    fn what_reclaim_took_away_is_shared_as_before() {
        let steps = "A write all;A fork B;A reclaim;A write upper;B read all";
        fails(&good(ANON, steps).saw(5, "4", "A@4 of page 4"), Rule::Isolation, 5, "4");
        fails(&good(ANON, steps).saw(5, "0", "zero"), Rule::Integrity, 5, "0");
        // What was freed may be gone, or not.
        let steps = "A write all;A free all;A reclaim;A read all";
        passes(&good(ANON, steps).saw(4, "0-3", "zero"));
    }

    #[test]
    fn no_private_write_reaches_the_backing() {
        for memory in ["memfd 32K", "tmpfile 32K", "zero 4K x8", "huge-zero 32K", "memfd-hugetlb 32K"] {
            let trace = good(memory, "A write all;A read backing all");
            fails(&trace.saw(2, "3", "A@1 of page 3"), Rule::Isolation, 2, "3");
        }
    }

    #[test]
    fn a_leak_is_a_leak_even_from_another_page() {
        fails(&good(ANON, FORK).saw(6, "1", "B@5 of page 7"), Rule::Isolation, 6, "1");
    }

    #[test]
    fn a_leak_into_a_part_of_the_page_is_a_leak() {
        let torn = "torn 0:A@1 of page 2;2048:A@3 of page 2";
        let found = fails(&good(ANON, FORK).saw(4, "2", torn), Rule::Isolation, 4, "2");
        assert!(found.sentence.contains("the page is torn"), "{}", found.sentence);
    }

    #[test]
    fn a_wiped_child_that_sees_a_later_write_leaks() {
        let trace = good(ANON, "A write all;A wipeonfork all;A fork B;A write all;B read all");
        fails(&trace.saw(5, "0", "A@4 of page 0"), Rule::Isolation, 5, "0");
    }
}

mod pin_coherence {
    use super::*;

    #[test]
    fn a_pin_shows_what_the_cpu_wrote() {
        for pin in ["pin rw", "pin ro", "pin ro fast"] {
            let trace = good(ANON, &format!("A write all;A {pin} p0 lower;A fork B;A write all;A read via p0"));
            let found = fails(&trace.saw(5, "0-3", "A@1 of page 0"), Rule::PinCoherence, 5, "0-3");
            assert!(found.sentence.contains("no longer show the same memory"), "{}", found.sentence);
        }
    }

    #[test]
    fn the_cpu_sees_what_was_written_through_the_pin() {
        let trace = good(ANON, "A write all;A pin rw p0 all;A write via p0 even;A read all");
        let found = fails(&trace.saw(4, "2", "A@1 of page 2"), Rule::PinCoherence, 4, "2");
        assert!(found.sentence.contains("did not reach the page tables of A"), "{}", found.sentence);
    }

    #[test]
    fn another_pin_on_the_page_sees_it_too() {
        let trace = good(ANON, "A write all;A pin rw p0 all;A pin ro p1 all;A write via p0 all;A read via p1");
        fails(&trace.saw(5, "0", "A@1 of page 0"), Rule::PinCoherence, 5, "0");
    }

    #[test]
    fn a_pin_on_memory_never_written_follows_too() {
        for memory in ["zero 4K x8", "memfd 32K", ANON] {
            let trace = good(memory, "A touch all;A pin ro p0 all;A write all;A read via p0");
            let before = if memory.starts_with("memfd") { "initial of page 0" } else { "zero" };
            fails(&trace.saw(4, "0", before), Rule::PinCoherence, 4, "0");
        }
    }

    #[test]
    fn what_was_given_up_stays_as_it_was_in_the_pin() {
        for give_up in ["munmap", "dontneed"] {
            let trace = good(ANON, &format!("A write all;A pin rw p0 all;A {give_up} lower;A read via p0"));
            let found = fails(&trace.saw(4, "1", "zero"), Rule::PinCoherence, 4, "1");
            assert!(found.sentence.contains("did not keep its last content"), "{}", found.sentence);
        }
    }

    #[test]
    fn after_dontneed_the_pin_is_another_page() {
        let steps =
            "A write all;A pin rw p0 all;A dontneed all;A write all;A read via p0;A write via p0 all;A read all";
        fails(&good(ANON, steps).saw(5, "0", "A@4 of page 0"), Rule::PinCoherence, 5, "0");
        fails(&good(ANON, steps).saw(7, "0", "A@6 of page 0"), Rule::Integrity, 7, "0");
    }

    #[test]
    fn pins_on_the_same_page_that_was_given_up_stay_together() {
        // Both hold the same page; no page table maps it.
        for give_up in ["munmap", "dontneed", "free"] {
            good(
                ANON,
                &format!(
                    "A write all;A pin rw p0 all;A pin rw p1 all;A {give_up} all;A write via p0 all;A read via p1"
                ),
            );
        }
    }

    #[test]
    fn a_short_pin_of_an_anonymous_page_is_like_a_long_one() {
        for pin in ["pin short ro", "pin short ro fast", "pin short rw", "pin rw fast"] {
            let trace = good(ANON, &format!("A write all;A fork B;A {pin} p0 all;A write all;A read via p0"));
            fails(&trace.clone().saw(5, "3", "A@1 of page 3"), Rule::PinCoherence, 5, "3");
            fails(&trace.state(4, 'A', 3, |page| page.state.pinned = Some(false)), Rule::PinCoherence, 4, "3");
        }
    }

    #[test]
    fn a_short_read_only_pin_of_the_files_page_may_stay_behind() {
        for memory in ["zero 4K x8", "memfd 32K", ANON] {
            let before = if memory.starts_with("memfd") { "initial of page 0" } else { "zero" };
            let trace = good(memory, "A touch all;A pin short ro p0 all;A write all;A read via p0");
            for holds in [before, "A@3 of page 0"] {
                passes(&trace.clone().saw(4, "0-7", holds));
            }
            fails(&trace.saw(4, "2", "A@3 of page 0"), Rule::Integrity, 4, "2");
            // What is written to through it is the owner's own.
            let trace = good(memory, "A touch all;A pin short rw p0 all;A write all;A read via p0;A write via p0 all");
            fails(&trace.saw(4, "0-7", before), Rule::PinCoherence, 4, "0-7");
        }
    }

    #[test]
    fn no_short_pin_shows_another_actors_write() {
        let steps = "A touch all;A pin short ro p0 all;A fork B;B write all;A read via p0";
        fails(&good("memfd 32K", steps).saw(5, "1", "B@4 of page 1"), Rule::Isolation, 5, "1");
    }

    #[test]
    fn a_pipe_may_follow_its_owner_or_not() {
        let steps = "A write all;A splice p0 all;A write all;A read via p0";
        let trace = good(ANON, steps);
        for holds in ["A@1 of page 0", "A@3 of page 0"] {
            passes(&trace.clone().saw(4, "0-7", holds));
        }
        fails(&trace.clone().saw(4, "5", "zero"), Rule::Integrity, 4, "5");
        let torn = "torn 0:A@1 of page 5;2048:A@3 of page 5";
        fails(&trace.saw(4, "5", torn), Rule::Integrity, 4, "5");
    }

    #[test]
    fn a_pipe_does_not_follow_what_was_discarded() {
        let steps = "A write all;A splice p0 all;A dontneed all;A write all;A read via p0";
        let trace = good(ANON, steps);
        fails(&trace.saw(5, "0", "A@4 of page 0"), Rule::Integrity, 5, "0");
    }

    #[test]
    fn a_splice_may_take_fewer_pages() {
        let trace = good(ANON, "A write all;A splice p0 all;A read via p0");
        let fewer = trace.with(|trace| {
            trace.record(2).result = StepResult::Partial(3);
            trace.record(3).seen[0].pages.count = 3;
        });
        passes(&fewer);
        fails(&fewer.saw(3, "2", "zero"), Rule::Integrity, 3, "2");
    }
}

mod integrity {
    use super::*;

    const COLLAPSE: &str = "A write all;A write odd;A collapse all;A read all";

    #[test]
    fn a_page_keeps_its_content() {
        let why = |holds: &str, why: &str| {
            let found = fails(&good(ANON, COLLAPSE).saw(4, "3", holds), Rule::Integrity, 4, "3");
            assert!(found.sentence.contains(why), "{}", found.sentence);
            assert!(found.seen.starts_with(holds.split(' ').next().unwrap()), "{}", found.seen);
        };
        why("zero", "the page lost its content");
        why("A@1 of page 3", "the page shows old content");
        why("A@2 of page 5", "that belongs to page 5, not to page 3");
        why("foreign 0x10007", "no step of this scenario wrote that");
        why("raw 0xff", "no step of this scenario wrote that");
        why("initial of page 3", "the page lost its content");
        why("torn 0:A@2 of page 3;8:raw 0x1", "the page is torn; no step");
        why("torn 0:A@2 of page 3;4088:zero", "the page is torn; the page lost");
        why("torn 0:zero;2048:A@2 of page 3", "the page is torn; the page lost");
    }

    #[test]
    fn pages_that_changed_places_are_two_violations() {
        let trace = good(ANON, COLLAPSE).saw(4, "1", "A@2 of page 3").saw(4, "3", "A@2 of page 1");
        let verdict = cowcheck_model::checker::judge(&trace);
        let pages: Vec<_> = verdict.violations().iter().map(|each| each.pages.as_str()).collect();
        assert_eq!(pages, ["1", "3"]);
    }

    #[test]
    fn a_hole_shows_no_old_content() {
        for give_up in ["dontneed", "free"] {
            let trace = good(ANON, &format!("A write all;A {give_up} all;A write even;A read even"));
            fails(&trace.saw(4, "4", "A@1 of page 4"), Rule::Integrity, 4, "4");
        }
        let trace = good(ANON, "A write all;A dontneed all;A read all");
        let found = fails(&trace.saw(3, "4", "A@1 of page 4"), Rule::Integrity, 3, "4");
        assert!(found.sentence.contains("the page shows old content"), "{}", found.sentence);
    }

    #[test]
    fn freed_memory_shows_old_content_until_it_shows_zeroes() {
        let trace = good(ANON, "A write all;A free all;A read all;A read all");
        let (old, zero) = ("A@1 of page 0", "zero");
        passes(&trace.clone().saw(3, "0-7", old).saw(4, "0-7", old));
        passes(&trace.clone().saw(3, "0-7", old).saw(4, "0-7", zero));
        passes(&trace.clone().saw(3, "0-7", zero).saw(4, "0-7", zero));
        fails(&trace.clone().saw(3, "0-7", zero).saw(4, "0-7", old), Rule::Integrity, 4, "0-7");
        fails(&trace.saw(3, "0-7", "A@2 of page 0").saw(4, "0-7", zero), Rule::Integrity, 3, "0-7");
    }

    #[test]
    fn what_is_written_after_free_stays() {
        let trace = good(ANON, "A write all;A free all;A write lower;A read lower");
        fails(&trace.saw(4, "0", "zero"), Rule::Integrity, 4, "0");
    }

    #[test]
    fn a_private_mapping_may_follow_its_file_until_it_has_a_copy() {
        let trace = good("memfd 32K", "A write lower;A write backing all;A read all");
        let (old, new) = ("initial of page 4", "A@2 of page 4");
        passes(&trace.clone().saw(3, "4-7", old));
        passes(&trace.clone().saw(3, "4-7", new));
        let found = fails(&trace.clone().saw(3, "0", "A@2 of page 0"), Rule::Integrity, 3, "0");
        assert!(found.sentence.contains("private copy"), "{}", found.sentence);
        fails(&trace.clone().saw(3, "0", "initial of page 0"), Rule::Integrity, 3, "0");
        fails(&trace.saw(3, "4", "zero"), Rule::Integrity, 3, "4");
    }

    #[test]
    fn a_discarded_private_copy_shows_the_file_as_it_is_now() {
        let trace = good("tmpfile 32K", "A write backing all;A write all;A dontneed all;A read all");
        fails(&trace.clone().saw(4, "0", "A@2 of page 0"), Rule::Integrity, 4, "0");
        fails(&trace.saw(4, "0", "initial of page 0"), Rule::Integrity, 4, "0");
    }

    #[test]
    fn a_file_that_shows_an_older_write_lost_the_later_one() {
        // Not a leak: nobody wrote that privately.
        let trace = good("memfd 32K", "A write backing all;A write backing all;A read backing all");
        let found = fails(&trace.saw(3, "0", "A@1 of page 0"), Rule::Integrity, 3, "0");
        assert!(!found.sentence.contains("private write"), "{}", found.sentence);
    }

    #[test]
    fn a_pipe_of_the_files_page_shows_the_file() {
        for give_up in ["munmap", "write", "dontneed"] {
            let steps = format!("A splice p0 all;A {give_up} all;A write backing all;A read via p0");
            let trace = good("memfd 32K", &steps);
            passes(&trace.clone().saw(4, "0", "initial of page 0"));
            passes(&trace.saw(4, "0", "A@3 of page 0"));
        }
    }

    #[test]
    fn a_pipe_of_a_private_copy_does_not_show_the_file() {
        let steps = "A write all;A splice p0 all;A write backing all;A read via p0";
        let trace = good("memfd 32K", steps);
        fails(&trace.saw(4, "0", "A@3 of page 0"), Rule::Integrity, 4, "0");
    }

    #[test]
    fn a_probe_that_writes_makes_a_private_copy() {
        let trace = good("memfd 32K", "A probe write all;A write backing all;A read all");
        fails(&trace.saw(3, "0", "A@2 of page 0"), Rule::Integrity, 3, "0");
    }

    #[test]
    fn a_signal_on_mapped_memory_is_a_lost_page() {
        let segv = |trace: &mut cowcheck_model::trace::Trace| {
            trace.record(4).result = StepResult::Signal { signal: 11, page: Some(3) };
        };
        let found = fails(&good(ANON, COLLAPSE).with(segv), Rule::Integrity, 4, "3");
        assert_eq!(found.seen, "SIGSEGV");
    }

    #[test]
    fn what_was_read_before_the_signal_is_judged() {
        let trace = good("hugetlb 32K", "A write all;A fork B;A write all;B read all").with(|trace| {
            trace.record(4).result = StepResult::Signal { signal: 7, page: Some(4) };
            trace.record(4).seen[0].pages.count = 4;
        });
        assert_inconclusive(trace.clone());
        fails(&trace.saw(4, "1", "A@3 of page 1"), Rule::Isolation, 4, "1");
    }

    #[test]
    fn a_hugetlb_page_that_needs_no_copy_is_there_to_be_read() {
        let bus = |trace: &mut cowcheck_model::trace::Trace| {
            trace.record(3).result = StepResult::Signal { signal: 7, page: Some(0) };
        };
        // Seen on Linux 6.18 with pages of 1 GiB: fork() had not given the child the mapping.
        fails(&good("hugetlb 32K", "A write all;A fork B;B read all").with(bus), Rule::Integrity, 3, "0");
        // The same where the read is the first access: a page must be found for it.
        assert_inconclusive(good("hugetlb 32K", "A touch page 1;A fork B;B read page 0").with(bus));
    }

    #[test]
    fn a_hugetlb_page_may_be_taken_for_another_actors_copy() {
        // Where a write finds no free page for its copy, the kernel unmaps the page from the others.
        for write in ["write all", "probe write all", "pin rw p0 all"] {
            let trace = good("hugetlb 32K", &format!("A write all;A fork B;A {write};B read all"));
            assert_inconclusive(trace.with(|trace| {
                trace.record(4).result = StepResult::Signal { signal: 7, page: Some(0) };
            }));
        }
    }

    #[track_caller]
    fn assert_inconclusive(trace: cowcheck_model::trace::Trace) {
        assert!(inconclusive(&trace).contains("no hugetlb page was free"));
    }
}

mod markers {
    use super::*;

    #[test]
    fn a_dontfork_page_is_not_in_the_child() {
        let trace = good(ANON, "A write all;A dontfork lower;A fork B;B probe read all");
        let found = fails(&trace.saw(4, "1-2", "no fault"), Rule::Markers, 4, "1-2");
        assert_eq!((found.seen.as_str(), found.allowed.as_str()), ("no fault", "a fault"));
    }

    #[test]
    fn dofork_takes_dontfork_back() {
        let trace = good(ANON, "A write all;A dontfork all;A dofork upper;A fork B;B probe read all");
        fails(&trace.saw(5, "7", "fault SIGSEGV (11)"), Rule::Markers, 5, "7");
    }

    #[test]
    fn a_protected_page_faults() {
        let steps =
            "A write all;A mprotect lower ro;A mprotect page 7 none;A collapse all;A probe write all;A probe read all";
        fails(&good(ANON, steps).saw(5, "3", "no fault"), Rule::Markers, 5, "3");
        fails(&good(ANON, steps).saw(5, "4", "fault SIGSEGV (11)"), Rule::Markers, 5, "4");
        fails(&good(ANON, steps).saw(6, "7", "no fault"), Rule::Markers, 6, "7");
        fails(&good(ANON, steps).saw(6, "3", "fault SIGSEGV (11)"), Rule::Markers, 6, "3");
    }

    #[test]
    fn an_unmapped_page_faults() {
        let trace = good(ANON, "A write all;A munmap page 2;A fork B;B probe read all");
        fails(&trace.saw(4, "2", "no fault"), Rule::Markers, 4, "2");
    }

    #[test]
    fn wipeonfork_wipes() {
        let trace = good(ANON, "A write all;A wipeonfork upper;A fork B;B read all;B write all;B read all");
        let found = fails(&trace.clone().saw(4, "4-7", "A@1 of page 4"), Rule::Markers, 4, "4-7");
        assert!(found.sentence.contains("MADV_WIPEONFORK"), "{}", found.sentence);
        fails(&trace.saw(6, "4", "A@1 of page 4"), Rule::Integrity, 6, "4");
    }

    #[test]
    fn a_written_page_is_soft_dirty() {
        let steps = "A write all;A clear-soft-dirty;A write lower;A collapse all;A fork B;B touch all";
        let trace = good(ANON, steps);
        for (step, actor) in [(3, 'A'), (4, 'A'), (5, 'B'), (6, 'B')] {
            let clean = trace.clone().state(step, actor, 2, |state| state.state.soft_dirty = false);
            fails(&clean, Rule::Markers, step, "2");
        }
        passes(&trace.clone().state(4, 'A', 6, |state| state.state.soft_dirty = true));
        passes(&trace.clone().state(4, 'A', 6, |state| state.state.soft_dirty = false));
        // What is pinned stays writable, and is not tracked; what a pipe holds is.
        let under = |pin: &str| {
            let steps = format!("A write all;A {pin} p0 first;A clear-soft-dirty;A write all");
            good(ANON, &steps).state(4, 'A', 2, |state| state.state.soft_dirty = false)
        };
        passes(&under("pin rw"));
        fails(&under("splice"), Rule::Markers, 4, "2");
        // Without the feature the bit says nothing.
        let clean = trace.state(4, 'A', 2, |state| state.state.soft_dirty = false);
        passes(&clean.with(|trace| trace.soft_dirty = false));
    }

    #[test]
    fn a_mapping_that_was_never_cleared_is_dirty_as_a_whole() {
        let trace = good(ANON, "A write all;A fork B;B clear-soft-dirty;B write all;A write all");
        passes(&trace.clone().state(5, 'A', 2, |state| state.state.soft_dirty = false));
        fails(&trace.state(5, 'B', 2, |state| state.state.soft_dirty = false), Rule::Markers, 5, "2");
    }

    #[test]
    fn soft_dirty_says_nothing_of_what_was_discarded_or_is_hugetlb() {
        for give_up in ["dontneed", "free"] {
            passes(&good(ANON, &format!("A write all;A {give_up} all;A touch all")).with(|trace| {
                trace.record(3).states.iter_mut().for_each(|state| state.state.soft_dirty = false);
            }));
        }
        let trace = good("hugetlb 32K", "A write all").state(1, 'A', 0, |state| state.state.soft_dirty = false);
        passes(&trace);
    }

    #[test]
    fn a_probe_that_writes_is_a_write_for_soft_dirty() {
        let trace = good(ANON, "A write all;A clear-soft-dirty;A probe write lower");
        fails(&trace.state(3, 'A', 0, |state| state.state.soft_dirty = false), Rule::Markers, 3, "0");
    }

    #[test]
    fn a_probe_must_tell_of_every_page() {
        // One page told twice is not two pages told once.
        let trace = good(ANON, "A write all;A probe read pages 0-1").with(|trace| {
            let first = trace.record(2).seen[0].clone();
            trace.record(2).seen = vec![first.clone(), first];
            trace.record(2).seen.iter_mut().for_each(|seen| seen.pages.count = 1);
        });
        assert!(inconclusive(&trace).contains("does not say what page 1"));
    }
}

mod exclusivity {
    use super::*;

    const SHARED: &str = "A write all;A fork B;A pin ro p0 lower;B read all";

    #[test]
    fn a_writable_page_is_exclusive() {
        let trace = good(ANON, SHARED);
        let found = fails(
            &trace.clone().state(2, 'A', 6, |page| page.state.exclusive = Some(false)),
            Rule::Exclusivity,
            2,
            "6",
        );
        assert!(found.sentence.contains("writable in the page table, but not marked exclusive"), "{}", found.sentence);
        // Write-protected, it is simply shared; and without the helper module nothing is known.
        passes(&trace.clone().state(2, 'A', 6, |page| {
            page.state.exclusive = Some(false);
            page.state.writable = Some(false);
        }));
        passes(&trace.state(2, 'A', 6, |page| page.state.exclusive = None));
    }

    #[test]
    fn a_pinned_page_is_exclusive() {
        let trace = good(ANON, SHARED).state(3, 'A', 2, |page| {
            page.state.exclusive = Some(false);
            page.state.writable = Some(false);
        });
        let found = fails(&trace, Rule::Exclusivity, 3, "2");
        assert!(found.sentence.contains("under the pin p0"), "{}", found.sentence);
    }

    #[test]
    fn an_exclusive_page_is_mapped_by_one_process() {
        let trace = good(ANON, SHARED).with(|trace| {
            let states = &mut trace.record(4).states;
            let frame = states[1].pfn;
            let of_b =
                states.iter_mut().find(|state| state.actor.to_string() == "B" && state.pages.first == 1).unwrap();
            of_b.state.exclusive = Some(false);
            of_b.state.writable = Some(false);
            of_b.pfn = frame;
        });
        let found = fails(&trace, Rule::Exclusivity, 4, "1");
        assert!(found.sentence.ends_with("is marked exclusive, but B maps the same frame"), "{}", found.sentence);
    }

    #[test]
    fn frames_that_only_touch_are_not_shared() {
        let trace = good(ANON, SHARED).with(|trace| {
            let states = &mut trace.record(4).states;
            states.truncate(1);
            states.push(states[0].clone());
            states[0].pages.count = 8;
            states[0].pfn = 100;
            states[1].actor = cowcheck_model::step::Actor::new(1).unwrap();
            states[1].pfn = 108;
            states[1].state.exclusive = None;
        });
        passes(&trace.clone());
        let found = fails(&trace.with(|trace| trace.record(4).states[1].pfn = 107), Rule::Exclusivity, 4, "7");
        let expected = "after step 4 (`B read all`) page 7 of A (frame 0x6b) is marked exclusive, but page 0 of B maps \
                        the same frame";
        assert_eq!(found.sentence, expected);
    }

    #[test]
    fn it_is_mapped_once_even_if_nobody_in_the_family_is_the_other() {
        let trace = good(ANON, SHARED).state(4, 'B', 3, |page| page.state.mapcount = Some(2));
        let found = fails(&trace, Rule::Exclusivity, 4, "3");
        assert!(found.sentence.ends_with("is marked exclusive, but mapped 2 times"), "{}", found.sentence);
        passes(&good(ANON, SHARED).state(4, 'B', 3, |page| page.state.mapcount = None));
    }

    #[test]
    fn a_swap_entry_marked_exclusive_is_one_processs() {
        let swapped = |trace: cowcheck_model::trace::Trace, actor, marked| {
            trace.state(4, actor, 5, |page| {
                page.state =
                    PageState { swapped: true, soft_dirty: true, exclusive: Some(marked), ..PageState::default() };
                (page.pfn, page.swap) = (0, Some(0x177));
            })
        };
        let trace = swapped(swapped(good(ANON, SHARED), 'A', false), 'B', true);
        let found = fails(&trace, Rule::Exclusivity, 4, "5");
        let expected = "after step 4 (`B read all`) page 5 of B is marked exclusive, but A has the same swap entry";
        assert_eq!(found.sentence, expected);
        // Shared by both, it has no mark; and another place is another entry.
        passes(&swapped(swapped(good(ANON, SHARED), 'A', false), 'B', false));
        passes(&trace.state(4, 'A', 5, |page| page.swap = Some(0x77)));
    }

    #[test]
    fn no_tail_of_what_a_pmd_maps_has_a_mark() {
        let trace = good(ANON, SHARED).state(1, 'A', 7, |page| {
            page.state.pmd = true;
            page.state.tail_exclusive = true;
        });
        let found = fails(&trace, Rule::Exclusivity, 1, "7");
        assert!(found.sentence.contains("page 7 of A (frame 0x8) is mapped by a PMD"), "{}", found.sentence);
    }

    #[test]
    fn pages_of_the_file_and_the_zero_page_are_nobodys() {
        let shared = |page: &mut cowcheck_model::trace::Observed| {
            page.state.exclusive = None;
            page.state.mapcount = Some(9);
            page.state.pinned = Some(false);
        };
        let file = good("memfd 32K", "A write all;A fork B").state(2, 'A', 0, shared);
        let file = file.state(2, 'A', 0, |page| page.state.file = true);
        let found = fails(&file, Rule::Exclusivity, 2, "0");
        assert!(found.sentence.contains("is writable in the page table, but the file's own"), "{}", found.sentence);
        passes(&file.state(2, 'A', 0, |page| page.state.writable = Some(false)));
        let zero = good("zero 4K x8", "A touch all;A probe write all").state(2, 'A', 0, shared);
        let zero = zero.state(2, 'A', 0, |page| page.state.zero = true);
        fails(&zero, Rule::Exclusivity, 2, "0");
        passes(&zero.state(2, 'A', 0, |page| page.state.writable = Some(false)));
        // On a kernel without marks.
        passes(&good(ANON, SHARED).state(4, 'A', 7, |page| page.state.exclusive = None));
    }

    #[test]
    fn what_is_on_its_way_is_not_judged() {
        passes(&good(ANON, SHARED).state(3, 'A', 2, |page| {
            page.state = PageState { migrating: true, exclusive: Some(false), ..PageState::default() };
            page.pfn = 0;
        }));
    }

    #[test]
    fn what_goes_on_is_told_once() {
        let trace = good(ANON, "A write all;A touch all;A touch all;A touch all");
        let wrong = |page: &mut cowcheck_model::trace::Observed| page.state.exclusive = Some(false);
        let trace = (2..5).fold(trace, |trace, page| trace.state(2, 'A', page, wrong).state(3, 'A', page, wrong));
        fails(&trace, Rule::Exclusivity, 2, "2-4");
    }

    #[test]
    fn only_the_pages_under_the_pin_are_told() {
        let trace = good(ANON, "A write all;A fork B;A pin ro p0 pages 2-3,6;B read all").with(|trace| {
            let states = &mut trace.record(4).states;
            states.retain(|state| state.actor.to_string() == "A");
            states.truncate(1);
            states[0].pages.count = 8;
            states[0].state.exclusive = Some(false);
            states[0].state.writable = Some(false);
            states[0].state.pinned = Some(true);
        });
        let found = fails(&trace, Rule::Exclusivity, 4, "2-3");
        assert!(found.sentence.contains("pages 2-3 of A (frame 0x3) are under the pin p0"), "{}", found.sentence);
        let trace = trace.state(4, 'A', 0, |page| {
            page.state.exclusive = None;
            page.state.pinned = Some(false);
        });
        let found = fails(&trace, Rule::PinCoherence, 4, "2-3");
        assert!(found.sentence.ends_with("are not pinned: p0 holds another page than the page table shows"));
    }
}

mod nothing_left_behind {
    use super::*;

    #[test]
    fn a_warning_of_the_kernel_is_a_failure() {
        let trace = good(ANON, FORK).with(|trace| trace.kernel_log.push("WARNING: mm/memory.c:1".to_owned()));
        let found = fails(&trace, Rule::NothingLeftBehind, 0, "");
        assert!(found.sentence.contains("WARNING: mm/memory.c:1"), "{}", found.sentence);
    }

    #[test]
    fn a_lost_hugetlb_page_is_a_failure() {
        let trace = good("hugetlb 32K", FORK).with(|trace| trace.hugetlb_missing = 2);
        assert_eq!(fails(&trace, Rule::NothingLeftBehind, 0, "").seen, "2 pages missing");
    }

    #[test]
    fn a_page_that_nobody_maps_and_that_is_not_freed_is_a_failure() {
        let trace = good("thp 64K", FORK).with(|trace| trace.pages_lost = 16);
        assert_eq!(fails(&trace, Rule::NothingLeftBehind, 0, "").seen, "16 pages lost");
    }
}
