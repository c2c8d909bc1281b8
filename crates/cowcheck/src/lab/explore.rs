//! Explores the lab's kernels: first those without a bug, then the mutants, each until something is found.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use cowcheck_lab::Mutant;

use super::explored::{Explored, Find, Outcome, Table};
use super::store::{Line, Store, key};
use super::trial::{Family, Trial, file_name};
use super::view::View;
use crate::explore::campaign::Order;
use crate::explore::finding::Finding;
use crate::explore::guests::{self, Desk};
use crate::explore::ledger::Ledger;
use crate::explore::news::News;
use crate::explore::order::Shard;
use crate::explore::store as campaign;
use crate::vm::fleet;
use crate::vm::guest::Patience;
use crate::vm::load::Load;
use crate::vm::qemu::Machine;
use crate::vm::session::{CONSOLES, Spec};

/// How to explore them.
pub struct Exploration<'a> {
    /// QEMU.
    pub qemu: &'a Path,
    /// The guests' first process: this program.
    pub init: &'a [u8],
    /// Where the guests' files go.
    pub directory: &'a Path,
    /// The machine of each guest.
    pub machine: Machine,
    /// What each guest explores.
    pub order: Order,
    /// How many guests run side by side.
    pub width: usize,
    /// Is it to end?
    pub interrupted: &'a AtomicBool,
    /// Where results go as they come.
    pub store: Option<&'a Store>,
}

/// One to be explored: the mutant, if it is one.
type One<'f> = (&'f Family, &'f Trial, Option<&'f Mutant>);

impl Exploration<'_> {
    /// Explores them all. Where something is found without a bug, no mutant is explored.
    pub fn run(&self, families: &[Family], view: &mut View) -> io::Result<Table> {
        let references: Vec<One<'_>> = families
            .iter()
            .flat_map(|family| family.references.iter().map(move |trial| (family, trial, None)))
            .collect();
        let mutants: Vec<One<'_>> = families
            .iter()
            .flat_map(|family| family.mutants.iter().map(move |(mutant, trial)| (family, trial, Some(mutant))))
            .collect();
        let mut table = Table {
            cowcheck: env!("CARGO_PKG_VERSION").to_owned(),
            date: crate::known::today(),
            subject: self.order.subject.clone(),
            most_seconds: self.order.time_ms.map(|time| time as f64 / 1e3),
            guided: self.order.guided,
            references: self.each("without a bug", &references, false, view)?,
            mutants: vec![],
            undone: vec![],
        };
        let is_blind = table.false_alarms() > 0;
        table.mutants = self.each("mutants", &mutants, is_blind, view)?;
        view.end();
        Ok(table)
    }

    fn each(&self, what: &str, all: &[One<'_>], is_blind: bool, view: &mut View) -> io::Result<Vec<Explored>> {
        view.begin(what, all.len());
        let view = &*view;
        let done = fleet::each(all, self.width, |_, one| -> io::Result<Explored> {
            let explored = match is_blind {
                _ if self.is_interrupted() => unfinished(one, "interrupted"),
                true => unfinished(one, "not explored: something was found without a bug"),
                false => self.one(one)?,
            };
            view.done(&format!("{} {} on {}: {}", explored.word(), explored.name, explored.on, explored.told()));
            Ok(explored)
        });
        done.into_iter().collect()
    }

    fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    fn one(&self, one: &One<'_>) -> io::Result<Explored> {
        let (family, trial, mutant) = one;
        let key = self.key(trial)?;
        let known = self.store.and_then(|store| {
            store.known().iter().rev().find_map(|line| match line {
                Line::Explored { key: of, explored } if *of == key => Some(explored.as_ref().clone()),
                _ => None,
            })
        });
        if let Some(known) = known {
            return Ok(known);
        }
        let name = file_name(&trial.name, &family.on);
        let directory = self.directory.join(&name);
        let spec = Spec {
            subject: &trial.subject,
            machine: trial.machine(&self.machine),
            qemu: self.qemu,
            init: self.init,
            program: None,
            directory: &directory,
            patience: Patience::default(),
        };
        let mut watch = Watch::new(Ledger::new(self.order.subject.clone(), self.order.guided), mutant.is_some());
        let stopped = guests::run(&spec, self.order.clone(), self.interrupted, &mut watch)?;
        self.keep(&name, &directory, &watch.ledger)?;
        let explored = Explored {
            scenarios: watch.ledger.tally.ran(),
            skipped: watch.ledger.tally.skipped.clone(),
            seconds: watch.began.map_or(0.0, |began| began.elapsed().as_secs_f64()),
            unconfirmed: watch.unconfirmed(),
            outcome: match (watch.find, stopped) {
                (Some(find), _) => Outcome::Found(find),
                (None, Some(reason)) => Outcome::Unfinished { reason },
                (None, None) if watch.ledger.tally.ran() == 0 => {
                    Outcome::Unfinished { reason: "no scenario could be run".to_owned() }
                }
                (None, None) => Outcome::Nothing,
            },
            ..unfinished(one, "")
        };
        // What was cut short is explored again the next time.
        if let (Some(store), false) = (self.store, matches!(explored.outcome, Outcome::Unfinished { .. })) {
            store.add(&Line::Explored { key, explored: Box::new(explored.clone()) })?;
        }
        Ok(explored)
    }

    /// The campaign and the console are kept where results are; all else of a guest goes.
    fn keep(&self, name: &str, directory: &Path, ledger: &Ledger) -> io::Result<()> {
        if let Some(store) = self.store {
            let kept = store.directory().join(name);
            match fs::remove_dir_all(&kept) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            campaign::Store::create(&kept).and_then(|mut kept| kept.save(ledger)).map_err(io::Error::other)?;
            if let Ok(mut console) = File::open(directory.join(CONSOLES)) {
                io::copy(&mut console, &mut File::create(kept.join("console.log"))?)?;
            }
        }
        match fs::remove_dir_all(directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Of all that the result depends on.
    fn key(&self, trial: &Trial) -> io::Result<String> {
        if self.store.is_none() {
            return Ok(String::new());
        }
        let kernel = fs::read(&trial.subject.file)?;
        let module = |load: &Load| (load.name.clone(), load.parameters.clone(), load.data.clone());
        let modules = serde_json::to_vec(&trial.subject.modules.iter().map(module).collect::<Vec<_>>())?;
        let how = serde_json::to_vec(&(&self.order, self.machine.memory))?;
        Ok(key(&[&"explored", &self.init, &kernel, &modules, &trial.cmdline, &how]))
    }
}

fn unfinished((family, trial, mutant): &One<'_>, reason: &str) -> Explored {
    Explored {
        name: trial.name.clone(),
        title: mutant.map(|mutant| mutant.title.clone()),
        unobservable: mutant.and_then(|mutant| mutant.unobservable.clone()),
        on: family.on.clone(),
        outcome: Outcome::Unfinished { reason: reason.to_owned() },
        scenarios: 0,
        skipped: Default::default(),
        seconds: 0.0,
        unconfirmed: vec![],
    }
}

/// Takes in the news of one kernel until there is a finding.
struct Watch {
    ledger: Ledger,
    /// Does a finding have to show again? Without a bug none may be there at all.
    confirmed_only: bool,
    began: Option<Instant>,
    /// When each finding was seen first, by its scenario, in seconds.
    sights: BTreeMap<String, f64>,
    find: Option<Find>,
}

impl Watch {
    fn new(ledger: Ledger, confirmed_only: bool) -> Watch {
        Watch { ledger, confirmed_only, began: None, sights: BTreeMap::new(), find: None }
    }

    fn now(&self) -> f64 {
        self.began.map_or(0.0, |began| began.elapsed().as_secs_f64())
    }

    fn found(&mut self, finding: &Finding) {
        let is_one = if self.confirmed_only { finding.rate.0 > 0 } else { finding.counts() };
        if self.find.is_some() || finding.known.is_some() || !is_one {
            return;
        }
        let after_seconds = self.sights.get(&finding.name).copied().unwrap_or(self.now());
        self.find = Some(Find {
            signature: finding.signature.clone(),
            after_seconds,
            // Those that ran beside it were told when it had been seen.
            after_scenarios: self.ledger.tally.ran(),
            rate: finding.rate,
            sentence: finding.sentence.clone(),
            scenario: finding.scenario.clone(),
        });
    }

    fn unconfirmed(&self) -> Vec<String> {
        let is_one = |finding: &&Finding| finding.known.is_none() && finding.rate.0 == 0;
        self.ledger.findings.values().filter(is_one).map(|finding| finding.signature.clone()).collect()
    }
}

impl Desk for Watch {
    fn take(&mut self, news: News) -> io::Result<()> {
        self.ledger.take(Shard::WHOLE, &news);
        match &news {
            News::Start { .. } => drop(self.began.get_or_insert_with(Instant::now)),
            News::Pending(finding) => {
                let now = self.now();
                self.sights.entry(finding.name.clone()).or_insert(now);
            }
            News::Found(finding) => self.found(finding),
            News::Note(_) | News::Begin(_) | News::Ran(_) => {}
        }
        Ok(())
    }

    fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    fn has_enough(&self) -> bool {
        self.find.is_some()
    }
}
