//! Several things at once: what was seen meanwhile, doctored, must fail by its rule.

use cowcheck_model::contract::Rule;
use cowcheck_model::storm::{Eye, Rival, Sighting, Storm};
use cowcheck_model::text::{HEADER, parse};
use cowcheck_model::trace::{StepResult, Trace};

use crate::doctor::{Doctor, fails, good, inconclusive, passes};

const STEPS: &str = "A write all;A fork B;A storm upper collapse fork gup pin mprotect;A read all;B read all";
const STORM: u32 = 3;

fn with(change: impl FnOnce(&mut Storm)) -> Trace {
    good("thp 32K", STEPS).with(|trace| change(trace.record(STORM).storm.as_mut().unwrap()))
}

fn sighting(eye: Eye, count: Option<u32>) -> Sighting {
    Sighting { eye, page: 5, offset: 40, least: 7, most: 9, count, word: "0x7".to_owned() }
}

fn saw(eye: Eye, count: Option<u32>) -> Trace {
    with(|storm| storm.sightings.push(sighting(eye, count)))
}

#[track_caller]
fn told(eye: Eye, count: Option<u32>, rule: Rule) -> String {
    fails(&saw(eye, count), rule, STORM, "5").sentence
}

#[test]
fn a_write_that_is_lost_is_told() {
    let sentence = told(Eye::Writer, Some(6), Rule::Integrity);
    assert_eq!(
        sentence,
        "in step 3, `A storm upper collapse fork gup pin mprotect`, A's writer of the word came back to it at byte 40 \
         of page 5 and saw count 6; a write was lost, or an old page shown; allowed: count 7 to 9"
    );
    told(Eye::Writer, None, Rule::Integrity);
}

#[test]
fn a_snapshot_that_is_wrong_or_changes_is_told() {
    told(Eye::Snapshot, Some(6), Rule::Integrity);
    told(Eye::Snapshot, Some(10), Rule::Isolation);
    assert!(told(Eye::Again, Some(10), Rule::Isolation).contains("its snapshot changed"));
    told(Eye::Again, Some(6), Rule::Integrity);
}

#[test]
fn a_stale_read_by_gup_is_told() {
    told(Eye::Gup, Some(6), Rule::Integrity);
    assert!(told(Eye::Gup, Some(10), Rule::Integrity).contains("not written yet"));
}

#[test]
fn a_pin_that_is_left_is_told() {
    told(Eye::Pin, Some(6), Rule::PinCoherence);
    told(Eye::Unpinned, Some(6), Rule::PinCoherence);
}

#[test]
fn a_write_to_a_protected_page_is_told() {
    let sentence = told(Eye::Protected, Some(8), Rule::Markers);
    assert!(sentence.contains("A wrote at byte 40 of page 5 and saw no fault"), "{sentence}");
}

#[test]
fn a_word_that_nobody_writes_must_stay() {
    assert!(told(Eye::Rest, None, Rule::Integrity).contains("0x7, which nobody wrote"));
}

#[test]
fn what_is_within_its_bounds_is_right() {
    for eye in [Eye::Writer, Eye::Snapshot, Eye::Again, Eye::Gup, Eye::Pin, Eye::Unpinned] {
        for count in [7, 8, 9] {
            passes(&saw(eye, Some(count)));
        }
    }
}

#[test]
fn what_was_there_before_and_after_is_judged_as_a_read_and_a_write() {
    fails(&good("thp 32K", STEPS).saw(STORM, "5", "zero"), Rule::Integrity, STORM, "5");
    let found = fails(&good("thp 32K", STEPS).saw(5, "6", "A@3 of page 6"), Rule::Isolation, 5, "6");
    assert!(found.sentence.contains("A wrote that after the fork in step 2"), "{}", found.sentence);
    fails(&good("thp 32K", STEPS).saw(4, "6", "A@1 of page 6"), Rule::Integrity, 4, "6");
}

#[test]
fn what_was_not_exercised_is_no_pass() {
    assert!(inconclusive(&with(|storm| storm.rounds = 1)).contains("the writers went round 1 times only"));
    let without = |rival| with(|storm| storm.rivals.retain(|went| went.rival != rival));
    assert!(inconclusive(&without(Rival::Fork)).contains("fork was not done once"));
    let refused = |rival| {
        with(|storm| {
            let went = storm.rivals.iter_mut().find(|went| went.rival == rival).unwrap();
            (went.rounds, went.refused, went.errno) = (0, 5, 11);
        })
    };
    assert!(inconclusive(&refused(Rival::Pin)).contains("pin was refused: EAGAIN"));
    // A kernel may refuse to collapse.
    passes(&refused(Rival::Collapse));
    let silent = good("thp 32K", STEPS).with(|trace| trace.record(STORM).storm = None);
    assert!(inconclusive(&silent).contains("does not say"));
    let skipped = good("thp 32K", "A write all;A storm all gup").with(|trace| {
        trace.record(2).result = StepResult::Skipped("no threads".to_owned());
    });
    assert!(inconclusive(&skipped).contains("no threads"));
}

#[test]
fn a_signal_in_it_is_told() {
    let hit = good("thp 32K", STEPS).with(|trace| {
        let record = trace.record(STORM);
        (record.storm, record.result) = (None, StepResult::Signal { signal: 11, page: Some(5) });
    });
    fails(&hit, Rule::Integrity, STORM, "5");
}

#[test]
fn a_record_of_it_is_read_back() {
    let trace = saw(Eye::Again, Some(6));
    assert_eq!(Trace::from_json(&trace.to_json()).unwrap(), trace);
    let far = with(|storm| storm.sightings.push(Sighting { page: 8, ..sighting(Eye::Gup, None) }));
    assert!(Trace::from_json(&far.to_json()).unwrap_err().to_string().contains("page 8: expected pages below 8"));
}

#[test]
fn it_takes_rivals_in_any_order_each_once() {
    let read = |line: &str| parse(&format!("{HEADER}\nmemory thp 2M\n{line}\n"));
    let storm = read("A storm pages 0-3,9 mprotect pin pageout split gup fork collapse").unwrap();
    assert_eq!(storm.steps[0].to_string(), "A storm pages 0-3,9 collapse fork gup split pageout pin mprotect");
    let error = |line: &str| read(line).unwrap_err().to_string();
    assert_eq!(
        error("A storm all"),
        "3:12: found the end of the line, expected collapse, fork, gup, split, pageout, pin or mprotect"
    );
    assert!(error("A storm all fork fork").contains("3:18: found `fork`, expected another of them"));
    assert!(error("A storm all frok").contains("expected `fork`, or another of"));
    let all = "A storm pages 0-3,9 mprotect pin pageout split gup fork collapse collapse";
    assert!(error(all).contains("found `collapse`"));
}

#[test]
fn others_pages_are_collapsed_by_name() {
    let read = |line: &str| parse(&format!("{HEADER}\nmemory thp 2M\n{line}\n"));
    assert_eq!(read("A collapse all of B").unwrap().steps[0].to_string(), "A collapse all of B");
    assert_eq!(read("A khugepaged upper").unwrap().steps[0].to_string(), "A khugepaged upper");
    assert!(read("A collapse all of").unwrap_err().to_string().contains("expected an actor"));
    assert!(read("A collapse all by B").unwrap_err().to_string().contains("expected the end of the line"));
}
