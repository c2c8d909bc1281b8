//! What a guest is to do. It finds it in its initramfs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use cowcheck_model::text;
use serde::{Deserialize, Serialize};

use super::fault::Planted;
use crate::executor::fault::Fault;
use crate::explore::campaign::Order as Exploration;
use crate::known::Known;
use crate::suite::check::Check;
use crate::suite::select::{Selection, Unknown, select, unknown_id};
use crate::suite::{self, Sizes};

/// Where the order lies in the guest. Where there is none, a process 1 is no guest of ours.
pub const PLACE: &str = "/cowcheck/order.json";

/// The guest's order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// Modules, in the order in which they are loaded.
    pub modules: Vec<ModuleFile>,
    /// What is done then.
    pub task: Task,
}

/// A kernel module in the initramfs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleFile {
    /// Where it lies.
    pub path: PathBuf,
    /// Its parameters, as init_module(2) takes them.
    pub parameters: String,
    /// Nothing is done without it.
    pub required: bool,
}

/// What a guest is for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// Running checks.
    Checks(Box<Checks>),
    /// Running a program with everything set up that checks need. It lies in the initramfs.
    Program(Vec<String>),
    /// Exploring.
    Explore(Box<Exploration>),
    /// A prompt on the console.
    Shell,
}

/// Which checks, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Checks {
    /// Which.
    pub what: What,
    /// Only a part of them, where other guests take the rest.
    pub share: Option<Share>,
    /// How often each.
    pub repeat: u32,
    /// How many at once; one for each processor if not given.
    pub jobs: Option<usize>,
    /// The time limit of one run in milliseconds.
    pub limit_ms: u64,
    /// Stop at the first failure.
    pub fail_fast: bool,
    /// How often what failed is run again, alone, at most: until it has failed again.
    pub confirm: u32,
    /// Are the traces wanted?
    pub traces: bool,
    /// Only checks that cow.c has.
    pub peers_only: bool,
    /// A fault to plant in our own executor.
    pub fault: Option<Fault>,
    /// Failures that are known.
    pub known: Known,
    /// A fault of the guest's.
    pub guest_fault: Option<Planted>,
    /// Indices of the plan that have an outcome from an earlier guest.
    pub done: BTreeSet<usize>,
}

/// A part of the checks: every so many, so that each guest gets some of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Which part, from 0.
    pub number: usize,
    /// How many there are.
    pub of: usize,
}

/// Checks of the catalogue, or of files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// Of the catalogue.
    Selection(Selection),
    /// Ids of the catalogue, in the order in which they are run.
    Ids(Vec<String>),
    /// The name and the text of `.cow` files.
    Scenarios(Vec<(String, String)>),
}

impl Checks {
    /// The checks. Both ends ask this, so that the plan need not be sent.
    pub fn checks(&self, sizes: &Sizes) -> Result<Vec<Check>, Unknown> {
        let mut checks = match &self.what {
            What::Selection(selection) => select(suite::catalogue(sizes), selection)?,
            What::Ids(ids) => {
                let all = suite::catalogue(sizes);
                let by_id: BTreeMap<&str, &Check> = all.iter().map(|check| (check.id.as_str(), check)).collect();
                let find = |id: &String| {
                    let found = by_id.get(id.as_str()).map(|check| (*check).clone());
                    found.ok_or_else(|| Unknown(unknown_id(id, &all)))
                };
                ids.iter().map(find).collect::<Result<_, _>>()?
            }
            What::Scenarios(files) => {
                let read = |(name, text): &(String, String)| {
                    text::parse_valid(text, sizes.page as u32)
                        .map(|scenario| Check::of_file(name.clone(), scenario))
                        .map_err(|error| Unknown(error.in_file(name).to_string()))
                };
                files.iter().map(read).collect::<Result<_, _>>()?
            }
        };
        if self.peers_only {
            checks.retain(|check| check.description.is_some());
        }
        Ok(match self.share {
            Some(Share { number, of }) => checks.into_iter().skip(number).step_by(of.max(1)).collect(),
            None => checks,
        })
    }
}
