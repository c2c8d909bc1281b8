//! What a campaign tells, piece by piece.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::finding::Finding;

/// A piece of news.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum News {
    /// Something a person should know.
    Note(String),
    /// The kernel, as uname(2) has it, and how many scenarios there are, if they end.
    Start {
        /// Release and version.
        kernel: String,
        /// How many.
        total: Option<u64>,
    },
    /// These scenarios are being run: names and texts. Told where the kernel may not survive them.
    Begin(Vec<(String, String)>),
    /// Some scenarios were run.
    Ran(Box<Tally>),
    /// This was found and is being shrunk. Nothing is lost if that comes to no end.
    Pending(Box<Finding>),
    /// This was found.
    Found(Box<Finding>),
}

/// What some scenarios came to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    /// All scenarios of the shard below this number are done.
    pub below: u64,
    /// How many were run that have a number.
    pub numbered: u64,
    /// How many were run that were made of others.
    pub mutants: u64,
    /// By verdict.
    pub verdicts: BTreeMap<String, u64>,
    /// Not run, by reason and remedy.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub skipped: BTreeMap<String, u64>,
    /// By the reason why they tested nothing, or not everything.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inconclusive: BTreeMap<String, u64>,
    /// What was done to pages for the first time, and by which scenario.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub covered: BTreeMap<String, String>,
    /// Scenarios that reached something new: name and text.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub corpus: BTreeMap<String, String>,
    /// Time that passed, in microseconds.
    pub micros: u64,
}

/// Adds counts to counts.
fn add(to: &mut BTreeMap<String, u64>, from: &BTreeMap<String, u64>) {
    from.iter().for_each(|(key, count)| *to.entry(key.clone()).or_default() += count);
}

impl Tally {
    /// Both together, but for `below`, which is each shard's own.
    pub fn join(&mut self, other: &Tally) {
        self.numbered += other.numbered;
        self.mutants += other.mutants;
        self.micros += other.micros;
        add(&mut self.verdicts, &other.verdicts);
        add(&mut self.skipped, &other.skipped);
        add(&mut self.inconclusive, &other.inconclusive);
        for (key, name) in &other.covered {
            let first = self.covered.entry(key.clone()).or_insert_with(|| name.clone());
            if *name < *first {
                first.clone_from(name);
            }
        }
        self.corpus.extend(other.corpus.clone());
    }

    /// Scenarios that were run.
    pub fn ran(&self) -> u64 {
        self.numbered + self.mutants
    }
}
