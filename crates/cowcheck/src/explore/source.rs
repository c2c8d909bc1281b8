//! Which scenario is next.

use std::collections::BTreeMap;

use cowcheck_explore::mutate::mutate;
use cowcheck_explore::random::Random;
use cowcheck_explore::signature::signature;
use cowcheck_model::scenario::Scenario;
use cowcheck_model::text;
use cowcheck_model::verdict::Kind;

use super::ledger::next_in;
use super::order::{Scenarios, Shard, Subject};
use crate::executor::pool::{fits, kernel_name};
use crate::known::{Bug, Known};
use crate::provide::machine::{Machine, Migrate};
use crate::provide::needs::{Needs, Unmet};

/// The next scenarios, to be run in one go.
#[derive(Debug, Default)]
pub struct Batch {
    /// Names and texts.
    pub scenarios: Vec<(String, String)>,
    /// How many of them have a number of their own.
    pub numbered: u64,
    /// The number behind the last.
    pub below: u64,
    /// Not run, by reason.
    pub skipped: BTreeMap<String, u64>,
    /// Hugetlb pages that one of them takes: bytes of a page, and how many.
    pub hugetlb: Option<(u64, u64)>,
}

/// Gives scenarios: those with a number in order, and between them changed ones.
pub struct Source {
    scenarios: Scenarios,
    shard: Shard,
    next: u64,
    /// No more with this number or a later one.
    end: Option<u64>,
    /// Changed scenarios so far.
    mutants: u64,
    seed: u64,
    guided: bool,
    /// What they are made of: name and scenario.
    corpus: Vec<(String, Scenario)>,
    /// Made, but not given.
    held: Option<(String, Scenario, bool)>,
}

/// How many scenarios are taken from a corpus of before, the last ones.
const MOST_CORPUS: usize = 20_000;

/// What a campaign runs on.
pub struct Ground<'a> {
    pub(super) machine: &'a Machine,
    pub(super) workers: usize,
    /// Bugs of this kernel by which a process may never end.
    hanging: Vec<Bug>,
}

impl<'a> Ground<'a> {
    /// This machine, with so many workers.
    pub fn new(machine: &'a Machine, workers: usize, known: &Known) -> Ground<'a> {
        Ground { machine, workers, hanging: known.hanging(&kernel_name()) }
    }

    /// Why a campaign does not run the scenario here, which has these needs.
    pub fn unmet(&self, scenario: &Scenario, needs: &Needs) -> Option<Unmet> {
        if needs.swapoff && self.workers > 1 {
            return Some(Unmet {
                reason: "swap that other workers use at the same time stays in use".to_owned(),
                remedy: "--jobs 1, or a guest with one processor".to_owned(),
            });
        }
        if needs.migrate && self.machine.migrate == Migrate::ByCompaction {
            // It would take a third of the time, and few pages are ever moved.
            return Some(Unmet {
                reason: "pages can be moved by compacting all memory only, which is left to the checks".to_owned(),
                remedy: "a machine with two NUMA nodes, as guests have".to_owned(),
            });
        }
        if let Some(unmet) = needs.unmet(self.machine) {
            return Some(unmet);
        }
        // Each would take its whole time limit, again and again, and show what is known.
        let id = signature(Kind::Timeout.word(), scenario);
        let bug = self.hanging.iter().find(|bug| bug.is_about(&id))?;
        Some(Unmet {
            reason: format!("by a known bug of this kernel it might never end: {}", bug.named()),
            remedy: "a kernel without the bug".to_owned(),
        })
    }
}

impl Source {
    /// Begins with number `below`.
    pub fn new(subject: &Subject, guided: bool, shard: Shard, below: u64, end: Option<u64>) -> Source {
        let scenarios = subject.scenarios();
        let guided = guided && subject.exhaustive.is_none();
        let next = next_in(shard, below);
        Source { scenarios, shard, next, end, mutants: 0, seed: subject.seed, guided, corpus: vec![], held: None }
    }

    /// How many there are of this shard, if they end.
    pub fn total(&self) -> Option<u64> {
        let all = match (self.scenarios.total(), self.end) {
            (Some(total), Some(end)) => Some(total.min(end)),
            (total, end) => total.or(end),
        };
        all.map(|all| all.saturating_sub(self.shard.index).div_ceil(self.shard.of))
    }

    /// The number that is next.
    pub fn next_number(&self) -> u64 {
        self.next
    }

    /// A scenario that reached something new. `mutants` were made before it.
    pub fn learn(&mut self, name: &str, text: &str) {
        if let (true, Ok(scenario)) = (self.guided && self.corpus.len() < MOST_CORPUS, text::parse(text)) {
            self.corpus.push((name.to_owned(), scenario));
        }
    }

    /// Goes on after so many changed scenarios.
    pub fn after_mutants(&mut self, mutants: u64) {
        self.mutants = mutants;
    }

    fn one(&mut self) -> Option<(String, Scenario, bool)> {
        if self.guided && !self.corpus.is_empty() {
            let mut random = Random::of(!self.seed, self.mutants ^ self.next << 32);
            if random.chance(1, 2) {
                // Of those of late every second one, because they are nearer to what is not known.
                let recent = self.corpus.len().saturating_sub(64);
                let from = if random.chance(1, 2) { recent } else { 0 };
                let (name, parent) = random.pick(&self.corpus[from..])?;
                let root = name.split('~').next().unwrap_or(name);
                let mutant = (format!("{root}~{}", self.mutants), mutate(parent, &mut random), false);
                self.mutants += 1;
                return Some(mutant);
            }
        }
        if self.end.is_some_and(|end| self.next >= end) {
            return None;
        }
        let number = self.next;
        let scenario = self.scenarios.scenario(number)?;
        self.next = next_in(self.shard, number + 1);
        Some((number.to_string(), scenario, true))
    }

    /// As many as `most`; fewer where the next ones are not to be had, or need another kind of hugetlb page.
    pub fn batch(&mut self, most: usize, ground: &Ground<'_>, free: &BTreeMap<u64, u64>) -> Option<Batch> {
        let mut batch = Batch::default();
        // Scenarios that cannot be run cost little, but not nothing.
        for _ in 0..20 * most {
            if batch.scenarios.len() >= most {
                break;
            }
            let held = self.held.take();
            let Some((name, scenario, numbered)) = held.or_else(|| self.one()) else { break };
            let needs = Needs::of(&scenario, ground.machine.page_size);
            if let Some(unmet) = ground.unmet(&scenario, &needs) {
                let remedy =
                    if unmet.remedy.is_empty() { String::new() } else { format!(" (remedy: {})", unmet.remedy) };
                *batch.skipped.entry(format!("{}{remedy}", unmet.reason)).or_default() += 1;
                continue;
            }
            let hugetlb = needs.hugetlb.map(|need| (need.size, need.pages));
            let most_pages = match (batch.hugetlb, hugetlb) {
                (Some((size, pages)), Some((other, more))) if size == other => Some((size, pages.max(more))),
                (Some(_), Some(_)) => {
                    self.held = Some((name, scenario, numbered));
                    break;
                }
                (one, other) => one.or(other),
            };
            if !fits(most_pages, free) {
                self.held = Some((name, scenario, numbered));
                break;
            }
            batch.hugetlb = most_pages;
            batch.numbered += u64::from(numbered);
            batch.scenarios.push((name, scenario.to_string()));
        }
        // What is held has a number that is not done.
        let held = self.held.as_ref().filter(|(_, _, numbered)| *numbered).and_then(|(name, ..)| name.parse().ok());
        batch.below = held.unwrap_or(self.next);
        (!batch.scenarios.is_empty() || !batch.skipped.is_empty()).then_some(batch)
    }
}
