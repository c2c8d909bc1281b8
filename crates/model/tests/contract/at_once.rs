//! Steps at once: every result of some order passes, every other fails by its rule.

use cowcheck_model::contract::Rule;
use cowcheck_model::text::{HEADER, parse, parse_valid};
use cowcheck_model::trace::StepResult;

use crate::doctor::{Doctor, fails, good, inconclusive, passes, scenario};
use crate::reference::PAGE;

const ANON: &str = "anon 4K x8";
const FORK: &str = "A write all;A write lower;| A fork B;A read all;B read all;A write all;B read all;A read all";

#[test]
fn a_child_may_see_a_page_old_or_new_or_torn_between_them() {
    let old = || good(ANON, FORK).saw(5, "0-3", "A@1 of page 0").saw(7, "0-3", "A@1 of page 0");
    passes(&old());
    let torn = "torn 0:A@2 of page 1;512:A@1 of page 1;1024:A@2 of page 1";
    passes(&old().saw(5, "1", torn).saw(7, "1", torn));
    passes(&good(ANON, FORK).saw(5, "1", "A@1 of page 1").saw(7, "1", "A@1 of page 1"));
}

#[test]
fn a_child_never_sees_what_was_written_later() {
    let found = fails(&good(ANON, FORK).saw(7, "2", "A@6 of page 2"), Rule::Isolation, 7, "2");
    assert!(found.sentence.contains("A wrote that after the fork in step 3"), "{}", found.sentence);
    let torn = "torn 0:A@2 of page 2;2048:A@6 of page 2";
    fails(&good(ANON, FORK).saw(7, "2", torn), Rule::Isolation, 7, "2");
}

#[test]
fn what_a_child_saw_first_it_sees_for_good() {
    fails(&good(ANON, FORK).saw(5, "2", "A@1 of page 2"), Rule::Integrity, 7, "2");
    fails(&good(ANON, FORK).saw(7, "2", "A@1 of page 2"), Rule::Integrity, 7, "2");
}

#[test]
fn a_page_never_has_a_third_value() {
    for (holds, pages) in [("zero", "1"), ("A@2 of page 0", "1"), ("torn 0:A@2 of page 1;8:zero", "1")] {
        fails(&good(ANON, FORK).saw(5, pages, holds), Rule::Integrity, 5, pages);
    }
    // Beside the pages that were written nothing is open.
    fails(&good(ANON, FORK).saw(5, "5", "torn 0:A@1 of page 5;8:zero"), Rule::Integrity, 5, "5");
}

#[test]
fn a_writer_keeps_what_it_wrote() {
    fails(&good(ANON, FORK).saw(4, "2", "A@1 of page 2"), Rule::Integrity, 4, "2");
    let torn = "torn 0:A@2 of page 2;4088:A@1 of page 2";
    fails(&good(ANON, FORK).saw(4, "2", torn), Rule::Integrity, 4, "2");
    for rival in ["collapse all", "pageout all", "split all", "migrate all", "pin rw p0 all", "poke upper"] {
        let steps = format!("A write all;A write lower;| A {rival};A read all");
        fails(&good(ANON, &steps).saw(4, "2", "A@1 of page 2"), Rule::Integrity, 4, "2");
    }
}

#[test]
fn a_reader_sees_what_was_or_what_is_written() {
    let steps = "A write all;A read all;| A write lower;| A pageout all;A read all";
    for holds in ["A@1 of page 3", "A@3 of page 3", "torn 0:A@1 of page 3;8:A@3 of page 3"] {
        passes(&good(ANON, steps).saw(2, "3", holds));
    }
    fails(&good(ANON, steps).saw(2, "3", "zero"), Rule::Integrity, 2, "3");
    fails(&good(ANON, steps).saw(2, "5", "A@3 of page 5"), Rule::Integrity, 2, "5");
}

#[test]
fn what_another_process_writes_at_once_is_not_seen() {
    let steps = "A write all;A fork B;B write all;| A read all;| A collapse all;A read all";
    fails(&good(ANON, steps).saw(4, "3", "B@3 of page 3"), Rule::Isolation, 4, "3");
    fails(&good(ANON, steps).saw(6, "3", "B@3 of page 3"), Rule::Isolation, 6, "3");
}

#[test]
fn a_pin_that_is_taken_during_a_fork_is_coherent() {
    for pin in ["pin rw p0 all", "pin ro p0 all", "pin ro fast p0 all"] {
        let steps = format!("A write all;A fork B;| A {pin};A write all;A read via p0;B read all");
        fails(&good(ANON, &steps).saw(5, "2", "A@1 of page 2"), Rule::PinCoherence, 5, "2");
        fails(&good(ANON, &steps).saw(6, "2", "A@4 of page 2"), Rule::Isolation, 6, "2");
    }
}

#[test]
fn a_pin_of_what_is_dropped_at_once_holds_either_page() {
    let steps = "A write all;A pin rw p0 all;| A dontneed lower;A write all;A read via p0";
    for holds in ["A@1 of page 2", "A@4 of page 2", "zero"] {
        passes(&good(ANON, steps).saw(5, "2", holds));
    }
    fails(&good(ANON, steps).saw(5, "5", "A@1 of page 5"), Rule::PinCoherence, 5, "5");
}

#[test]
fn what_is_dropped_at_once_is_gone_or_new() {
    let steps = "A write all;A write all;| A dontneed lower;A read all;A read all";
    let zero = || good(ANON, steps).saw(4, "1", "zero").saw(5, "1", "zero");
    passes(&zero());
    passes(&good(ANON, steps).saw(4, "1", "A@2 of page 1").saw(5, "1", "A@2 of page 1"));
    fails(&good(ANON, steps).saw(4, "1", "A@1 of page 1"), Rule::Integrity, 4, "1");
    fails(&zero().saw(5, "1", "A@2 of page 1"), Rule::Integrity, 5, "1");
}

#[test]
fn an_access_may_fault_where_protection_changes_at_once_and_nowhere_else() {
    let steps = "A write all;A write all;| A mprotect lower ro;A read all";
    let hit = |page| {
        good(ANON, steps).with(|trace| {
            trace.record(2).result = StepResult::Signal { signal: 11, page: Some(page) };
        })
    };
    // What the writer came to before, and what it did not.
    passes(&hit(1));
    passes(&hit(1).saw(4, "1-7", "A@1 of page 1"));
    passes(&hit(1).saw(4, "1", "torn 0:A@2 of page 1;64:A@1 of page 1").saw(4, "2-7", "A@1 of page 2"));
    fails(&hit(1).saw(4, "2", "zero"), Rule::Integrity, 4, "2");
    fails(&hit(6), Rule::Integrity, 2, "6");
    // One that did not fault was done.
    fails(&good(ANON, steps).saw(4, "1", "A@1 of page 1"), Rule::Integrity, 4, "1");
    let pin = "A write all;A pin rw p0 all;| A mprotect lower ro;A read all";
    passes(&good(ANON, pin).with(|trace| trace.record(2).result = StepResult::Errno(14)));
}

#[test]
fn what_nobody_knows_the_end_of_ends_the_judgement() {
    let steps = "A write all;A write lower;| A dontneed lower;A read all";
    let trace = good(ANON, steps).with(|trace| trace.record(3).result = StepResult::Errno(12));
    assert!(inconclusive(&trace).contains("step 3, `A dontneed lower`: refused: ENOMEM"));
    let refused = good(ANON, "A write all;A write lower;| A collapse all;A read all");
    passes(&refused.with(|trace| trace.record(3).result = StepResult::Errno(11)));
    let lost = good(ANON, FORK).with(|trace| drop(trace.records.drain(2..)));
    assert!(inconclusive(&lost).contains("no record of step 3"));
    let no_fork = good(ANON, FORK).with(|trace| {
        trace.record(3).result = StepResult::Errno(12);
        for step in [5, 7] {
            trace.record(step).result = StepResult::Skipped("there is no B".into());
        }
    });
    assert!(inconclusive(&no_fork).contains("step 3, `A fork B`: refused: ENOMEM"));
}

#[track_caller]
fn refused(steps: &str, line: usize, expected: &str) {
    let text = format!("{HEADER}\nmemory {ANON}\n{}\n", steps.replace(';', "\n"));
    let error = parse_valid(&text, PAGE).expect_err("it should be refused");
    assert!(error.line == line && error.expected.starts_with(expected), "{error}");
}

#[test]
fn what_cannot_be_judged_is_refused() {
    refused("A write all;| A write lower", 4, "pages that no other step at once writes: `A write all` has page 0, too");
    refused("A pin rw p0 all;A write all;| A write via p0 first", 5, "pages that no other step at once writes");
    refused("A write all;| A munmap lower", 4, "a step that may be at once with others: write, poke, read");
    refused("A write all;| A reclaim", 4, "a step that may be at once with others");
    refused("A write all;| A storm all gup", 4, "a step that may be at once with others");
    refused("A write all;| A fork B;| A read all;| A collapse all", 6, "at most 3 steps at once");
    refused("A fork B;| A fork C", 4, "one fork by the same actor at once");
    refused("A pin rw p0 lower;| A pin rw p0 upper", 4, "one step with p0 at once");
    refused(
        "A fork B;A fork C;| B fork C",
        5,
        "steps that can be done in any order; behind the others, the name of a new actor",
    );
    refused("A fork B;| B read all", 4, "a step by an actor that is alive: B has not been forked");
    refused(
        "A mprotect all ro;| A fork B",
        4,
        "steps after which, in any order, everybody has the same pages, protection",
    );
    refused("A mprotect all ro;| A mprotect first rw", 4, "steps after which, in any order");
    refused("A mprotect all ro;A mprotect all rw;| A write all", 5, "pages that A may write: page 0 is protected");
    scenario(
        ANON,
        "A fork B;A write all;| B write all;| A fork C;A write even;| A write odd;A mprotect all none;| A pageout all",
    );
}

#[test]
fn a_bar_needs_a_step_above_it() {
    let error = |text: &str| parse(&format!("{HEADER}\nmemory {ANON}\n{text}\n")).unwrap_err().to_string();
    assert_eq!(
        error("| A write all"),
        "3:1: found `|`, expected a step that this one could be at once with, in the line above"
    );
    assert!(error("A write all\n|").contains("4:2: found the end of the line, expected an actor, A to Z"));
    assert!(error("A write all\n| A wrote all").contains("4:5: found `wrote`, expected `write` or another step"));
    assert!(error("A write all | A fork B").contains("3:13: found `|`, expected the end of the line"));
    let text = format!("{HEADER}\nmemory {ANON}\nA write all\n| A fork B                   # at once\n");
    assert_eq!(parse(&text).unwrap().to_string(), text);
    assert_eq!(parse(&text).unwrap().group(2), 1..3);
}
