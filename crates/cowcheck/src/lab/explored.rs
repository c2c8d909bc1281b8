//! What exploration comes to: how many mutants it finds without any check, and how soon.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::matrix::mutants;
use crate::explore::order::Subject;

/// One kernel that was explored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Explored {
    /// `baseline`, or the name of the control or mutant.
    pub name: String,
    /// What is wrong, in a line; nothing where nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Why user space cannot see it, where it cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unobservable: Option<String>,
    /// The kernel, as it was asked for.
    pub on: String,
    /// What was found.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// How many scenarios were run in all.
    pub scenarios: u64,
    /// How many were not run, by reason and remedy.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub skipped: BTreeMap<String, u64>,
    /// How long it was explored, in seconds, without the boot.
    pub seconds: f64,
    /// Findings that broke something once and never again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unconfirmed: Vec<String>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub enum Outcome {
    /// Something is wrong with this kernel.
    Found(Find),
    /// Nothing, in the time there was.
    Nothing,
    /// It was not explored to the end of its time, and nothing was found until then.
    Unfinished {
        /// Why.
        reason: String,
    },
}

/// The first finding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Find {
    /// `explore/RULE/MEMORY/STEP+STEP`.
    pub signature: String,
    /// Seconds of exploration until it was seen, without the runs that confirmed it.
    pub after_seconds: f64,
    /// Scenarios that were run by then, with those of the same batch.
    pub after_scenarios: u64,
    /// Runs that showed it again, and all that were made for that.
    pub rate: (u32, u32),
    /// What was seen, in a sentence.
    pub sentence: String,
    /// The scenario, as small as there was time for.
    pub scenario: String,
}

impl Find {
    /// The rule that was broken, or `crash`, `timeout`.
    pub fn rule(&self) -> &str {
        self.signature.split('/').nth(1).unwrap_or_default()
    }
}

impl Explored {
    /// In a word.
    pub fn word(&self) -> &'static str {
        match (&self.outcome, &self.title, &self.unobservable) {
            (Outcome::Found(_), None, _) => "FALSE ALARM",
            (Outcome::Found(_), ..) => "found",
            (Outcome::Nothing, None, _) => "nothing",
            (Outcome::Nothing, _, Some(_)) => "unobservable",
            (Outcome::Nothing, ..) => "not found",
            (Outcome::Unfinished { .. }, ..) => "unfinished",
        }
    }

    /// The rest of the sentence.
    pub fn told(&self) -> String {
        let mut more = match self.unconfirmed.as_slice() {
            [] => String::new(),
            all => format!("; once and not again: {}", all.join(", ")),
        };
        if let Some((reason, _)) = self.skipped.iter().max_by_key(|(_, count)| **count) {
            let _ = write!(more, "; {} not run, most of them: {reason}", self.left_out());
        }
        match &self.outcome {
            Outcome::Found(find) => {
                let (hits, runs) = find.rate;
                let (seconds, scenarios) = (find.after_seconds, counted(find.after_scenarios));
                format!("after {seconds:.1} s, {scenarios}: {} ({hits} of {runs})", find.signature)
            }
            Outcome::Nothing => format!("in {:.0} s, {}{more}", self.seconds, counted(self.scenarios)),
            Outcome::Unfinished { reason } => {
                format!("{reason}; {:.0} s, {}{more}", self.seconds, counted(self.scenarios))
            }
        }
    }

    /// How many scenarios were not run.
    fn left_out(&self) -> u64 {
        self.skipped.values().sum()
    }
}

fn counted(scenarios: u64) -> String {
    if scenarios == 1 { "1 scenario".to_owned() } else { format!("{scenarios} scenarios") }
}

/// All kernels that were explored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// The program's version.
    pub cowcheck: String,
    /// When, as YYYY-MM-DD.
    pub date: String,
    /// Which scenarios.
    pub subject: Subject,
    /// How long each was explored at most, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most_seconds: Option<f64>,
    /// Were scenarios that reached something new changed and run again?
    pub guided: bool,
    /// Kernels without a bug.
    pub references: Vec<Explored>,
    /// Mutants.
    pub mutants: Vec<Explored>,
    /// What could not be had.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub undone: Vec<String>,
}

impl Table {
    fn count(&self, word: &str) -> usize {
        self.mutants.iter().filter(|explored| explored.word() == word).count()
    }

    /// Kernels without a bug on which something was found.
    pub fn false_alarms(&self) -> usize {
        self.references.iter().filter(|explored| matches!(explored.outcome, Outcome::Found(_))).count()
    }

    /// Mutants that user space could see, and that were not found.
    pub fn missed(&self) -> usize {
        self.count("not found")
    }

    /// Was everything explored that was asked for?
    pub fn is_whole(&self) -> bool {
        let unfinished = |explored: &Explored| matches!(explored.outcome, Outcome::Unfinished { .. });
        self.undone.is_empty() && !self.references.iter().chain(&self.mutants).any(unfinished)
    }

    fn how(&self) -> String {
        let what = match self.subject.exhaustive {
            Some(most) => format!("by every sequence of up to {most} steps"),
            None if self.guided => "by random scenarios, guided".to_owned(),
            None => "by random scenarios, unguided".to_owned(),
        };
        let time = self.most_seconds.map(|seconds| format!(", {seconds:.0} s each")).unwrap_or_default();
        let on = if self.subject.on.is_empty() { String::new() } else { format!(" on {}", self.subject.on.join(", ")) };
        format!("{what}{on} (seed {}){time}", self.subject.seed)
    }

    /// The result in a sentence or two.
    pub fn answer(&self) -> String {
        let found = self.count("found");
        let of = self.mutants.len() - self.count("unobservable");
        let mut text = format!("{found} of {} found without any check, {}.", mutants(of), self.how());
        let unobservable = self.count("unobservable");
        if unobservable > 0 {
            let _ = write!(text, " {unobservable} more cannot be seen by user space, as is argued for each.");
        }
        let seconds: f64 = self.references.iter().map(|explored| explored.seconds).sum();
        let _ = match self.false_alarms() {
            0 => write!(text, " No false alarm in {seconds:.0} s on kernels without a bug."),
            1 => write!(text, " 1 false alarm."),
            more => write!(text, " {more} false alarms."),
        };
        text
    }
}

/// For people.
pub fn text(table: &Table) -> String {
    let mut out = String::new();
    let all = || table.references.iter().chain(&table.mutants);
    let width = all().map(|explored| explored.name.chars().count()).max().unwrap_or(0);
    for explored in all() {
        let _ =
            writeln!(out, "{:<12} {:<width$} on {}: {}", explored.word(), explored.name, explored.on, explored.told());
    }
    for undone in &table.undone {
        let _ = writeln!(out, "not done: {undone}");
    }
    let _ = writeln!(out, "{}", table.answer());
    out
}

/// For documentation.
pub fn markdown(table: &Table) -> String {
    let mut out = format!("{} of cowcheck {}. {}\n\n", table.date, table.cowcheck, table.answer());
    for explored in &table.references {
        let _ = writeln!(out, "- `{}` on {}: {} {}", explored.name, explored.on, explored.word(), explored.told());
    }
    out.push_str(
        "\n| mutant | what is wrong | on | after | scenarios | finding | again |\n|---|---|---|---|---|---|---|\n",
    );
    for explored in &table.mutants {
        let (after, scenarios, finding, again) = match &explored.outcome {
            Outcome::Found(find) => (
                format!("{:.1} s", find.after_seconds),
                find.after_scenarios.to_string(),
                format!("`{}`", find.signature),
                format!("{} of {}", find.rate.0, find.rate.1),
            ),
            _ => (
                format!("**{}** in {:.0} s", explored.word(), explored.seconds),
                match explored.left_out() {
                    0 => explored.scenarios.to_string(),
                    more => format!("{}, {more} not run", explored.scenarios),
                },
                explored.unconfirmed.iter().map(|one| format!("`{one}` once")).collect::<Vec<_>>().join(", "),
                String::new(),
            ),
        };
        let title = explored.title.as_deref().unwrap_or_default();
        let cells =
            [format!("`{}`", explored.name), cell(title), explored.on.clone(), after, scenarios, finding, again];
        let _ = writeln!(out, "| {} |", cells.join(" | "));
    }
    out
}

/// No end of the cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explored(name: &str, is_mutant: bool, outcome: Outcome) -> Explored {
        let title = is_mutant.then(|| format!("{name} is wrong"));
        let (on, unconfirmed, skipped) = ("debian:7.2".to_owned(), vec![], BTreeMap::new());
        let (name, unobservable) = (name.to_owned(), None);
        Explored { name, title, unobservable, on, outcome, scenarios: 120, skipped, seconds: 60.2, unconfirmed }
    }

    fn found() -> Outcome {
        Outcome::Found(Find {
            signature: "explore/isolation/thp/collapse+fork+read+write".to_owned(),
            after_seconds: 3.21,
            after_scenarios: 16,
            rate: (3, 3),
            sentence: "A saw what B wrote".to_owned(),
            scenario: String::new(),
        })
    }

    fn table() -> Table {
        let hidden = Explored { unobservable: Some("never".to_owned()), ..explored("hidden", true, Outcome::Nothing) };
        let once = Explored {
            unconfirmed: vec!["explore/integrity/anon/write".to_owned()],
            skipped: [("no swap (remedy: run with --provide)".to_owned(), 7), ("no KSM".to_owned(), 2)].into(),
            ..explored("missed", true, Outcome::Nothing)
        };
        Table {
            cowcheck: "VERSION".to_owned(),
            date: "2026-11-24".to_owned(),
            subject: Subject { seed: 0, exhaustive: None, at_once: false, on: vec![] },
            most_seconds: Some(60.0),
            guided: true,
            references: vec![explored("baseline", false, Outcome::Nothing)],
            mutants: vec![
                explored("caught", true, found()),
                once,
                hidden,
                explored("cut", true, Outcome::Unfinished { reason: "interrupted".to_owned() }),
            ],
            undone: vec!["the built kernel".to_owned()],
        }
    }

    #[test]
    fn a_table_is_told() {
        insta::assert_snapshot!(text(&table()));
    }

    #[test]
    fn a_table_is_written() {
        insta::assert_snapshot!(markdown(&table()));
    }

    #[test]
    fn what_is_found_without_a_bug_is_a_false_alarm() {
        let mut table = table();
        assert_eq!((table.false_alarms(), table.missed(), table.is_whole()), (0, 1, false));
        table.references.push(explored("in-place-correct", false, found()));
        assert_eq!(table.references[1].word(), "FALSE ALARM");
        assert!(table.answer().ends_with("1 false alarm."), "{}", table.answer());
    }
}
