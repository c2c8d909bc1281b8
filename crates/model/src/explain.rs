//! A failure, told the way a colleague would: what was broken, where, by whom, and how to see it
//! again.

use std::collections::HashMap;
use std::fmt::Write as _;

use crate::pages::Run;
use crate::trace::{Observed, Record, StepResult, Trace};
use crate::verdict::{Verdict, Violation};

/// How many violations are told in full; a broken huge page can give hundreds.
const MAX_TOLD: usize = 8;

/// The explanation of `verdict`, which was given to `trace`: the broken rules, every step with what
/// it came to, the page states around it, and the scenario as a file to replay.
pub fn explain(trace: &Trace, verdict: &Verdict) -> String {
    let mut text = String::new();
    let violations = verdict.violations();
    for violation in violations.iter().take(MAX_TOLD) {
        let _ = writeln!(text, "{} broken: {}", violation.rule, violation.rule.says());
        let _ = writeln!(text, "  {}", violation.sentence);
    }
    if violations.len() > MAX_TOLD {
        let _ = writeln!(text, "  and {} more like these", violations.len() - MAX_TOLD);
    }
    if violations.is_empty() && !verdict.reason().is_empty() {
        let _ = writeln!(text, "{}: {}", verdict.kind().word(), verdict.reason());
    }
    let _ = writeln!(text, "steps, on kernel {}:", trace.kernel);
    let records: HashMap<u32, &Record> = trace.records.iter().map(|record| (record.step, record)).collect();
    for (number, step) in trace.scenario.numbered() {
        let record = records.get(&number).copied();
        let broken = violations.iter().any(|violation| violation.step == number);
        let mark = if broken { '>' } else { ' ' };
        let came_to = record.map_or("not reached".to_owned(), came_to);
        let bar = if step.at_once { crate::text::AT_ONCE } else { " " };
        let line = format!("{mark} {number:>3} {bar}{:<28} {came_to}", step.to_string());
        let _ = writeln!(text, "{}", line.trim_end());
        if let (Some(record), true) = (record, broken) {
            for state in around(record, violations, number) {
                let _ = writeln!(text, "         {state}");
            }
        }
    }
    let _ = writeln!(text, "to see it again, put this into a file and run `cowcheck replay FILE`:");
    for line in trace.scenario.to_string().lines() {
        let _ = writeln!(text, "    {line}");
    }
    text
}

fn came_to(record: &Record) -> String {
    let mut text = record.result.to_string();
    if record.tries > 1 {
        let _ = write!(text, " (try {})", record.tries);
    }
    for (i, seen) in record.seen.iter().take(4).enumerate() {
        let _ = write!(text, "{} {}: {}", if i == 0 { ", saw" } else { ";" }, seen.pages, seen.holds);
    }
    if record.seen.len() > 4 {
        let _ = write!(text, "; and {} more runs", record.seen.len() - 4);
    }
    match &record.result {
        StepResult::Ok if record.seen.is_empty() && record.tries == 1 => String::new(),
        _ => text,
    }
}

/// The page states of a record that touch the pages of its violations.
fn around(record: &Record, violations: &[Violation], number: u32) -> Vec<String> {
    let touched: Vec<Run> = violations
        .iter()
        .filter(|violation| violation.step == number)
        .take(MAX_TOLD)
        .filter_map(|violation| crate::text::page_list(&violation.pages))
        .flatten()
        .collect();
    let touches =
        |state: &&Observed| touched.iter().any(|run| run.first < state.pages.end() && state.pages.first < run.end());
    let states = record.states.iter().filter(touches).take(6).map(|observed| {
        let frame = match observed.pfn {
            0 => String::new(),
            pfn => format!(", frame {pfn:#x}"),
        };
        format!("{} {}: {}{frame}", observed.actor, observed.pages, observed.state)
    });
    states.collect()
}
