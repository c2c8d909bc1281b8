//! All that is known of a campaign.

use std::collections::BTreeMap;

use cowcheck_explore::coverage::{GOALS, goal_key};
use serde::{Deserialize, Serialize};

use super::finding::Finding;
use super::news::{News, Tally};
use super::order::{Shard, Subject};

/// The version of the format. A newer one is refused by name.
pub const VERSION: u32 = 1;

/// A campaign so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ledger {
    /// The format version.
    #[serde(rename = "cowcheck_campaign")]
    pub version: u32,
    /// Which scenarios.
    pub subject: Subject,
    /// For each shard that was worked on: all its scenarios below this number are done.
    pub below: BTreeMap<Shard, u64>,
    /// Are scenarios that reached something new changed and run again?
    pub guided: bool,
    /// The kernels, as uname(2) has them.
    pub kernels: Vec<String>,
    /// What was run. Kept in files of their own: what was covered, the corpus.
    pub tally: Tally,
    /// By signature; in files of their own.
    #[serde(skip)]
    pub findings: BTreeMap<String, Finding>,
    /// Found and not shrunk yet, by name; in files of their own.
    #[serde(skip)]
    pub pending: BTreeMap<String, Finding>,
}

impl Ledger {
    /// Before the first scenario.
    pub fn new(subject: Subject, guided: bool) -> Ledger {
        Ledger {
            version: VERSION,
            subject,
            below: BTreeMap::new(),
            guided,
            kernels: vec![],
            tally: Tally::default(),
            findings: BTreeMap::new(),
            pending: BTreeMap::new(),
        }
    }

    /// Takes in news of a shard.
    pub fn take(&mut self, shard: Shard, news: &News) {
        match news {
            News::Note(_) | News::Begin(_) => {}
            News::Start { kernel, .. } => {
                if !self.kernels.contains(kernel) {
                    self.kernels.push(kernel.clone());
                }
            }
            News::Ran(tally) => {
                self.tally.join(tally);
                let below = self.below.entry(shard).or_default();
                *below = (*below).max(tally.below);
            }
            News::Pending(finding) => drop(self.pending.insert(finding.name.clone(), (**finding).clone())),
            News::Found(finding) => {
                self.pending.remove(&finding.name);
                self.find((**finding).clone());
            }
        }
    }

    fn find(&mut self, finding: Finding) {
        match self.findings.get_mut(&finding.signature) {
            Some(first) => first.join(finding),
            None => drop(self.findings.insert(finding.signature.clone(), finding)),
        }
    }

    /// Takes in another campaign about the same scenarios. The error says why it is about others.
    pub fn merge(&mut self, other: Ledger) -> Result<(), String> {
        if (&other.subject, other.guided) != (&self.subject, self.guided) {
            return Err(
                "it is about other scenarios: seed, --exhaustive, --on and --unguided must be the same".to_owned()
            );
        }
        if let Some(shard) = other.below.keys().find(|shard| self.below.contains_key(shard)) {
            return Err(format!("both have shard {shard}: its scenarios would count twice"));
        }
        if let (Some(ours), Some(theirs)) = (self.below.keys().next(), other.below.keys().next())
            && ours.of != theirs.of
        {
            return Err(format!("shards of {} and of {} overlap", ours.of, theirs.of));
        }
        self.below.extend(other.below);
        self.tally.join(&other.tally);
        for kernel in other.kernels.into_iter().filter(|kernel| !self.kernels.contains(kernel)).collect::<Vec<_>>() {
            self.kernels.push(kernel);
        }
        other.findings.into_values().for_each(|finding| self.find(finding));
        self.pending.extend(other.pending);
        self.unite_shards();
        Ok(())
    }

    /// All shards of a whole are the whole.
    fn unite_shards(&mut self) {
        let Some(of) = self.below.keys().next().map(|shard| shard.of) else { return };
        if of > 1 && self.below.len() as u64 == of {
            // The first that is not done, of any shard.
            let below = self.below.iter().map(|(shard, below)| next_in(*shard, *below)).min().unwrap_or(0);
            self.below = BTreeMap::from([(Shard::WHOLE, below)]);
        }
    }

    /// What counts and is not known.
    pub fn new_findings(&self) -> impl Iterator<Item = &Finding> {
        self.findings.values().filter(|finding| finding.known.is_none() && finding.counts())
    }

    /// Goals that no scenario met.
    pub fn unreached(&self) -> Vec<&'static str> {
        let is_met = |name: &str| self.tally.covered.contains_key(&goal_key(name));
        GOALS.iter().map(|goal| goal.name).filter(|name| !is_met(name)).collect()
    }

    /// How many different transitions were seen.
    pub fn transitions(&self) -> usize {
        self.tally.covered.keys().filter(|key| !key.starts_with("goal: ")).count()
    }
}

/// The first number of the shard that is not below this one.
pub fn next_in(shard: Shard, below: u64) -> u64 {
    let of = shard.of.max(1);
    below + (shard.index + of - below % of) % of
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(shard: Shard, ran: u64, below: u64) -> Ledger {
        let mut ledger = Ledger::new(Subject { seed: 1, exhaustive: None, at_once: false, on: vec![] }, false);
        let tally = Tally { numbered: ran, below, ..Tally::default() };
        ledger.take(shard, &News::Ran(Box::new(tally)));
        ledger
    }

    #[test]
    fn shards_put_together_are_the_whole() {
        let mut first = ledger(Shard { index: 0, of: 2 }, 5, 10);
        assert!(first.merge(ledger(Shard { index: 0, of: 2 }, 5, 10)).unwrap_err().contains("both have shard 0/2"));
        assert!(first.merge(ledger(Shard { index: 1, of: 3 }, 5, 10)).unwrap_err().contains("overlap"));
        first.merge(ledger(Shard { index: 1, of: 2 }, 4, 9)).unwrap();
        assert_eq!(first, ledger(Shard::WHOLE, 9, 9));
        let mut other = ledger(Shard::WHOLE, 1, 1);
        other.subject.seed = 2;
        assert!(first.merge(other).unwrap_err().contains("other scenarios"));
    }

    #[test]
    fn numbers_go_round_the_shards() {
        let shard = Shard { index: 2, of: 5 };
        let next: Vec<u64> = (0..9).map(|below| next_in(shard, below)).collect();
        assert_eq!(next, [2, 2, 2, 7, 7, 7, 7, 7, 12]);
        assert_eq!(next_in(Shard::WHOLE, 7), 7);
    }
}
