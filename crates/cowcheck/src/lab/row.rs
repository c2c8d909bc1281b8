//! A row of the kill matrix: one mutant on one kernel.

use cowcheck_lab::Mutant;
use cowcheck_model::contract::Rule;
use serde::{Deserialize, Serialize};

use super::judge::{Fate, Kill};

/// One mutant on one kernel, and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Its name.
    pub mutant: String,
    /// What is wrong, in a line.
    pub title: String,
    /// What of the kernel it is in.
    pub area: String,
    /// The commit or CVE that it is modelled on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub like: Option<String>,
    /// The rules by which it should be seen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub breaks: Vec<Rule>,
    /// Why user space cannot see it, where it cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unobservable: Option<String>,
    /// The kernel, as it was asked for.
    pub on: String,
    /// What became of it.
    #[serde(flatten)]
    pub fate: Fate,
    /// How many checks were run on it.
    pub checks: usize,
    /// Checks that test something without the bug and could not here: the set-up was not reached.
    pub untested: usize,
    /// Checks that failed and did not fail again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unconfirmed: Vec<String>,
    /// Wall time for all of it, in seconds.
    pub seconds: f64,
    /// What the kernel's own cow.c saw, where it was run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<Peer>,
}

/// What the kernel's own cow.c came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Its cells that fail here and pass without the bug.
    pub failed: Vec<String>,
    /// Its cells that pass without the bug.
    pub of: usize,
    /// Why it did not come to its end, if it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
}

impl Peer {
    /// Does it see the bug?
    pub fn sees(&self) -> bool {
        !self.failed.is_empty() || self.end.is_some()
    }

    /// `3 of 757`
    pub fn told(&self) -> String {
        match self.end {
            None => format!("{} of {}", self.failed.len(), self.of),
            Some(_) => format!("{} of {}, did not end", self.failed.len(), self.of),
        }
    }
}

impl Row {
    /// A row without what is found out by running it.
    pub fn new(mutant: &Mutant, on: &str, fate: Fate) -> Row {
        Row {
            mutant: mutant.name.clone(),
            title: mutant.title.clone(),
            area: mutant.area.to_string(),
            like: mutant.like.clone(),
            breaks: mutant.breaks.clone(),
            unobservable: mutant.unobservable.clone(),
            on: on.to_owned(),
            fate,
            checks: 0,
            untested: 0,
            unconfirmed: Vec::new(),
            seconds: 0.0,
            peer: None,
        }
    }

    /// The checks that kill it.
    pub fn kills(&self) -> &[Kill] {
        match &self.fate {
            Fate::Caught { kills, .. } => kills,
            _ => &[],
        }
    }

    /// Nothing sees it, and that is as it was argued.
    pub fn is_excused(&self) -> bool {
        self.fate == Fate::Missed && self.unobservable.is_some()
    }

    /// What became of it, in a word.
    pub fn word(&self) -> &'static str {
        match &self.fate {
            Fate::Caught { .. } => "caught",
            Fate::Missed if self.is_excused() => "unobservable",
            Fate::Missed => "missed",
            Fate::Unviable { .. } => "unviable",
            Fate::Unfinished { .. } => "unfinished",
        }
    }

    /// The rest of the sentence: by what, or why not.
    pub fn told(&self) -> String {
        match &self.fate {
            Fate::Caught { kills, first } => {
                let by = kills.first().map(|kill| format!("{}: {} ({})", kill.check, sort(kill), kill.rate));
                let more = if kills.len() > 1 { format!(", and {} more", kills.len() - 1) } else { String::new() };
                let checks = crate::report::summary::checks(first.checks);
                format!("by {}{more}, after {checks}, {:.1} s", by.unwrap_or_default(), first.seconds)
            }
            Fate::Missed => {
                let lost =
                    if self.untested == 0 { String::new() } else { format!(", {} tested nothing", self.untested) };
                let why = self.unobservable.as_ref().map(|why| format!("; as argued: {why}")).unwrap_or_default();
                format!("by all of {}{lost}{why}", crate::report::summary::checks(self.checks))
            }
            Fate::Unviable { reason } | Fate::Unfinished { reason } => reason.clone(),
        }
    }
}

/// By which rules, or how else.
pub fn sort(kill: &Kill) -> String {
    match kill.rules.as_slice() {
        [] => kill.verdict.word().to_owned(),
        rules => rules.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}
