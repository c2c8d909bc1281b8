//! Properties of the model on random scenarios.

use cowcheck_model::checker::judge;
use cowcheck_model::explain::explain;
use cowcheck_model::scenario::Scenario;
use cowcheck_model::stamp::Holds;
use cowcheck_model::step::Step;
use cowcheck_model::text::{parse, parse_valid};
use cowcheck_model::trace::{Record, StepResult, Trace};
use cowcheck_model::verdict::{Kind, Verdict};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::reference::{Bug, Choices, PAGE, run, run_with};
use crate::strategies::{Freedom, anything, at_once, holds, valid};

fn cases(cases: u32) -> ProptestConfig {
    // Failures are printed shrunk; a file beside the sources would be written on read-only checkouts, too.
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(1000))]

    #[test]
    fn what_is_printed_is_what_was_read(scenario in anything()) {
        let text = scenario.to_string();
        let read = parse(&text).map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
        prop_assert_eq!(&read, &scenario);
        prop_assert_eq!(read.to_string(), text);
    }

    #[test]
    fn what_a_page_holds_is_read_back(holds in holds()) {
        prop_assert_eq!(holds.to_string().parse::<Holds>().unwrap(), holds);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in any::<String>()) {
        let _ = parse_valid(&text, PAGE);
        let _ = parse_valid(&format!("cowcheck scenario 1\nmemory anon 4K\n{text}"), PAGE);
        let _ = text.parse::<Holds>();
    }
}

proptest! {
    #![proptest_config(cases(2000))]

    #[test]
    fn a_correct_kernel_always_passes(scenario in valid(Freedom::Some), seed: u64) {
        prop_assert!(scenario.validate(PAGE).is_ok());
        let trace = run(&scenario, Choices::Random(seed));
        prop_assert_eq!(judge(&trace), Verdict::Pass, "{}", scenario);
    }

    #[test]
    fn a_correct_kernel_passes_whatever_the_order(scenario in at_once(), seed: u64) {
        prop_assert!(scenario.validate(PAGE).is_ok(), "{:?}\n{}", scenario.validate(PAGE), scenario);
        let trace = run(&scenario, Choices::Random(seed));
        // A pin that a change of protection came before was not taken, so what is done with it cannot be.
        let refused = |record: &Record| matches!(record.result, StepResult::Errno(_) | StepResult::Skipped(_));
        let verdict = judge(&trace);
        let is_right = verdict == Verdict::Pass
            || verdict.kind() == Kind::Inconclusive && trace.records.iter().any(refused);
        prop_assert!(is_right, "{}\n{}\n{:#?}", scenario, verdict.reason(), trace.records);
    }

    #[test]
    fn a_difference_that_a_reader_saw_always_fails(scenario in valid(Freedom::None), bug in 0..Bug::ALL.len()) {
        let bad = run_with(&scenario, Choices::Plain, Some(Bug::ALL[bug]));
        if saw_something_else(&run(&scenario, Choices::Plain), &bad) {
            prop_assert_eq!(judge(&bad).kind(), Kind::Fail, "{:?}\n{}\n{:#?}", Bug::ALL[bug], scenario, bad.records);
        }
    }

    #[test]
    fn a_trace_is_read_back(scenario in valid(Freedom::Some), seed: u64) {
        let trace = run(&scenario, Choices::Random(seed));
        let text = trace.to_json();
        let read = Trace::from_json(&text).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(read.to_json(), text);
        prop_assert_eq!(read, trace);
    }

    #[test]
    fn a_trace_with_anything_in_it_is_judged_and_explained(
        scenario in valid(Freedom::Some),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), holds(), 0..6u8), 1..4),
    ) {
        let mut trace = run(&scenario, Choices::Plain);
        prop_assume!(!trace.records.is_empty());
        for (at, holds, result) in changes {
            let at = at.index(trace.records.len());
            let record = &mut trace.records[at];
            if let Some(seen) = record.seen.first_mut() {
                seen.holds = holds;
            }
            record.result = match result {
                0 => StepResult::Errno(12),
                1 => StepResult::Signal { signal: 7, page: Some(0) },
                2 => StepResult::Partial(1),
                3 => StepResult::Unmet("no".to_owned()),
                _ => StepResult::Ok,
            };
        }
        let verdict = judge(&trace);
        prop_assert_eq!(verdict.kind() == Kind::Pass, verdict.reason().is_empty());
        prop_assert!(!explain(&trace, &verdict).is_empty());
    }
}

/// Did any reader see another thing?
fn saw_something_else(good: &Trace, bad: &Trace) -> bool {
    good.records.iter().zip(&bad.records).any(|(good, bad)| good.seen != bad.seen)
}

/// Every bug is found, and found often: a checker that passes everything does not get by.
#[test]
fn every_planted_bug_is_caught() {
    const SCENARIOS: usize = 8000;
    const ENOUGH: usize = 10;
    let mut runner = TestRunner::deterministic();
    let strategy = valid(Freedom::Some);
    let scenarios: Vec<Scenario> = (0..SCENARIOS).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect();
    for bug in Bug::ALL {
        let caught = |scenario: &&Scenario| judge(&run_with(scenario, Choices::Plain, Some(bug))).kind() == Kind::Fail;
        let caught = scenarios.iter().filter(caught).count();
        println!("{bug:?}: {caught} of {SCENARIOS}");
        assert!(caught >= ENOUGH, "{bug:?} was caught in {caught} of {SCENARIOS} random scenarios");
    }
}

/// The same of bugs that show where steps happen at once only: plain orders do not show them.
#[test]
fn every_planted_race_is_caught() {
    const SCENARIOS: u64 = 6000;
    const ENOUGH: usize = 10;
    let mut runner = TestRunner::deterministic();
    let strategy = at_once();
    let scenarios: Vec<(u64, Scenario)> =
        (0..SCENARIOS).map(|seed| (seed, strategy.new_tree(&mut runner).unwrap().current())).collect();
    for bug in Bug::RACES {
        let fails = |choices, scenario: &Scenario| judge(&run_with(scenario, choices, Some(bug))).kind() == Kind::Fail;
        let caught = scenarios.iter().filter(|(seed, scenario)| fails(Choices::Random(*seed), scenario)).count();
        println!("{bug:?}: {caught} of {SCENARIOS}");
        assert!(caught >= ENOUGH, "{bug:?} was caught in {caught} of {SCENARIOS} random scenarios");
        let in_turn = |scenario: &Scenario| {
            let steps = scenario.steps.iter().map(|step| Step { at_once: false, ..step.clone() }).collect();
            Scenario { steps, ..scenario.clone() }
        };
        let caught = scenarios.iter().filter(|(seed, scenario)| {
            let scenario = in_turn(scenario);
            scenario.validate(PAGE).is_ok() && fails(Choices::Random(*seed), &scenario)
        });
        assert_eq!(caught.count(), 0, "{bug:?} shows without a race");
    }
}
