//! Helpers: a scenario in one line, a trace with one thing changed, an expected verdict.

use cowcheck_model::checker::judge;
use cowcheck_model::contract::Rule;
use cowcheck_model::scenario::Scenario;
use cowcheck_model::stamp::Holds;
use cowcheck_model::text::{HEADER, page_list, parse_valid};
use cowcheck_model::trace::{Observed, Record, Trace};
use cowcheck_model::verdict::{Verdict, Violation};

use crate::reference::{Choices, PAGE, joined, run};

/// A scenario from its memory and its steps, separated by semicolons.
pub(crate) fn scenario(memory: &str, steps: &str) -> Scenario {
    let text = format!("{HEADER}\nmemory {memory}\n{}\n", steps.replace(';', "\n"));
    parse_valid(&text, PAGE).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// What a correct kernel leaves of it.
pub(crate) fn good(memory: &str, steps: &str) -> Trace {
    let trace = run(&scenario(memory, steps), Choices::Plain);
    assert_eq!(judge(&trace), Verdict::Pass, "before it is doctored: {trace:#?}");
    trace
}

pub(crate) trait Doctor {
    /// The record of a step.
    fn record(&mut self, step: u32) -> &mut Record;
    /// Lets `step` have seen `holds` in `pages`; a stamp's page counts up.
    fn saw(self, step: u32, pages: &str, holds: &str) -> Self;
    /// Changes the page state of `actor`'s page `page` after `step`.
    fn state(self, step: u32, actor: char, page: u32, change: impl Fn(&mut Observed)) -> Self;
    /// Changes anything.
    fn with(self, change: impl FnOnce(&mut Self)) -> Self;
}

impl Doctor for Trace {
    fn record(&mut self, step: u32) -> &mut Record {
        self.records.iter_mut().find(|record| record.step == step).unwrap()
    }

    fn saw(mut self, step: u32, pages: &str, holds: &str) -> Self {
        let holds: Holds = holds.parse().unwrap();
        let record = self.record(step);
        let mut each: Vec<(u32, Holds)> = record
            .seen
            .iter()
            .flat_map(|seen| seen.pages.pages().map(|page| (page, seen.holds.at(page - seen.pages.first))))
            .collect();
        for run in page_list(pages).unwrap() {
            for page in run.pages() {
                let (_, old) = each.iter_mut().find(|(of, _)| *of == page).unwrap();
                *old = holds.at(page - run.first);
            }
        }
        record.seen = joined(each);
        self
    }

    fn state(mut self, step: u32, actor: char, page: u32, change: impl Fn(&mut Observed)) -> Self {
        let is_it = |state: &&mut Observed| state.actor.to_string() == actor.to_string() && state.pages.first == page;
        change(self.record(step).states.iter_mut().find(is_it).unwrap());
        self
    }

    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }
}

/// Asserts that it fails by this rule alone, in this step, on these pages; returns the violation.
#[track_caller]
pub(crate) fn fails(trace: &Trace, rule: Rule, step: u32, pages: &str) -> Violation {
    let verdict = judge(trace);
    let found: Vec<_> = verdict.violations().iter().map(|each| (each.rule, each.step, each.pages.as_str())).collect();
    assert_eq!(found, [(rule, step, pages)], "{verdict:#?}");
    verdict.violations()[0].clone()
}

/// Asserts that it passes.
#[track_caller]
pub(crate) fn passes(trace: &Trace) {
    assert_eq!(judge(trace), Verdict::Pass);
}

/// Asserts that it is inconclusive; returns the reason.
#[track_caller]
pub(crate) fn inconclusive(trace: &Trace) -> String {
    match judge(trace) {
        Verdict::Inconclusive { reason } => reason,
        other => panic!("expected inconclusive: {other:#?}"),
    }
}
