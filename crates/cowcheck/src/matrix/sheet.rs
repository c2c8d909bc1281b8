//! The matrix: kernels × checks.

use std::collections::HashMap;

use cowcheck_model::verdict::Kind;

use super::cell::{Cell, is_bad, is_tested};
use super::change::{self, Change};
use super::kernel::{Kernel, State};
use super::name::Name;
use super::run::Run;
use super::untested::{self, Untested};
use crate::report::event::Counts;

/// A check and what it came to on every kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Its id, or what another program calls it.
    pub id: String,
    /// The same taken apart.
    pub name: Name,
    /// What cow.c calls it, where that is not the id.
    pub description: Option<String>,
    /// What it came to on each kernel; nothing where it has no result.
    pub cells: Vec<Option<Cell>>,
}

impl Check {
    /// The verdict on a kernel, if there is one.
    pub fn verdict(&self, kernel: usize) -> Option<Kind> {
        self.cells[kernel].as_ref().map(|cell| cell.verdict)
    }
}

/// Kernels × checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matrix {
    /// What the report is called.
    pub title: String,
    /// The kernels, oldest first.
    pub kernels: Vec<Kernel>,
    /// The checks, in the order of the catalogue.
    pub checks: Vec<Check>,
    /// What differs between kernels and what is broken on all of them, what broke first.
    pub changes: Vec<Change>,
    /// What was not tested and why, the most frequent first.
    pub untested: Vec<Untested>,
}

impl Matrix {
    /// The runs side by side, in the order of the kernels' versions.
    pub fn new(title: impl Into<String>, runs: Vec<Run>) -> Matrix {
        let mut all: Vec<_> = runs.into_iter().map(|run| (Kernel::of(&run), run.checks)).collect();
        // Stable: kernels of one version stay in the order in which they were given.
        all.sort_by(|((a, _), _), ((b, _), _)| a.cmp(b));
        let (mut kernels, mut columns) = (Vec::new(), Vec::new());
        for ((_, kernel), checks) in all {
            kernels.push(kernel);
            columns.push(checks);
        }
        name_apart(&mut kernels);
        let mut ids: HashMap<String, String> = HashMap::new();
        for ran in columns.iter().flatten().filter(|ran| ran.ours) {
            if let Some(description) = &ran.description {
                ids.entry(description.clone()).or_insert_with(|| ran.id.clone());
            }
        }
        let mut checks: Vec<Check> = Vec::new();
        let mut known: HashMap<String, usize> = HashMap::new();
        for (column, ran) in columns.into_iter().enumerate() {
            for ran in ran {
                // What cow.c calls a check finds it among ours.
                let id = if ran.ours { ran.id } else { ids.get(&ran.id).cloned().unwrap_or(ran.id) };
                let at = *known.entry(id.clone()).or_insert_with(|| {
                    let name = Name::of(&id);
                    checks.push(Check { id, name, description: None, cells: vec![None; kernels.len()] });
                    checks.len() - 1
                });
                let check = &mut checks[at];
                if check.description.is_none() {
                    check.description = ran.description.filter(|description| *description != check.id);
                }
                match &mut check.cells[column] {
                    Some(cell) => cell.add(ran.cell),
                    empty => *empty = Some(ran.cell),
                }
            }
        }
        checks.sort_by_cached_key(|check| (check.name.place(), check.name.kind.clone(), check.name.memory.clone()));
        let ran = with_results(&kernels);
        let labels: Vec<&str> = ran.iter().map(|kernel| kernels[*kernel].label.as_str()).collect();
        let verdicts = |check: &Check| ran.iter().map(|kernel| check.verdict(*kernel)).collect();
        let changes = change::grouped(&labels, checks.iter().map(verdicts));
        let untested = untested::grouped(&checks, kernels.len());
        Matrix { title: title.into(), kernels, checks, changes, untested }
    }

    /// The kernels that have any result. The others have a state that says it all.
    pub fn columns(&self) -> Vec<usize> {
        with_results(&self.kernels)
    }

    /// Checks of one kind after the other: the kind, and its checks with their indices.
    pub fn kinds(&self) -> Vec<(&str, Vec<(usize, &Check)>)> {
        let mut kinds: Vec<(&str, Vec<(usize, &Check)>)> = Vec::new();
        for (index, check) in self.checks.iter().enumerate() {
            match kinds.last_mut() {
                Some((kind, checks)) if *kind == check.name.kind => checks.push((index, check)),
                _ => kinds.push((&check.name.kind, vec![(index, check)])),
            }
        }
        kinds
    }

    /// Checks by their kinds: the kind, and what it was done to in each.
    pub fn by_kind(&self, checks: &[usize]) -> Vec<(&str, Vec<&str>)> {
        let mut kinds: Vec<(&str, Vec<&str>)> = Vec::new();
        for check in checks.iter().map(|index| &self.checks[*index]) {
            let memory = Some(check.name.memory.as_str()).filter(|memory| !memory.is_empty());
            match kinds.last_mut() {
                Some((kind, memories)) if *kind == check.name.kind => memories.extend(memory),
                _ => kinds.push((&check.name.kind, memory.into_iter().collect())),
            }
        }
        kinds
    }

    /// How many of `checks` came to each verdict on a kernel, and how many have no result there.
    pub fn counts(checks: &[(usize, &Check)], kernel: usize) -> (Counts, usize) {
        let mut counts = Counts::default();
        let mut none = 0;
        for (_, check) in checks {
            match &check.cells[kernel] {
                Some(cell) => counts.add(cell.verdict),
                None => none += 1,
            }
        }
        (counts, none)
    }

    /// Was the contract broken anywhere, in a way that is not known?
    pub fn is_broken(&self) -> bool {
        self.kernels.iter().any(|kernel| kernel.counts.of(Kind::Fail) > 0)
    }

    /// Is anything missing: a run that did not come to its end, a check that gave no answer, a kernel
    /// that nothing is known of?
    pub fn is_incomplete(&self) -> bool {
        let of = |kernel: &Kernel, kind| kernel.counts.of(kind) > 0;
        let gap = |kernel: &Kernel| {
            kernel.state != State::Complete
                || kernel.tested() == 0
                || [Kind::Inconclusive, Kind::Timeout, Kind::Crash].into_iter().any(|kind| of(kernel, kind))
        };
        self.kernels.is_empty() || self.kernels.iter().any(gap)
    }

    /// The answer in one sentence.
    pub fn answer(&self) -> String {
        let all = self.kernels.len();
        let some = |wanted: &dyn Fn(&Kernel) -> bool| -> Vec<&Kernel> {
            self.kernels.iter().filter(|kernel| wanted(kernel)).collect()
        };
        let list = |kernels: &[&Kernel], count: &dyn Fn(&Kernel) -> usize| {
            let told =
                |kernel: &&Kernel| format!("{} ({})", kernel.label, crate::report::summary::checks(count(kernel)));
            kernels.iter().map(told).collect::<Vec<_>>().join(", ")
        };
        let names =
            |kernels: &[&Kernel]| kernels.iter().map(|kernel| kernel.label.as_str()).collect::<Vec<_>>().join(", ");
        let broken = some(&|kernel| kernel.counts.of(Kind::Fail) > 0);
        let tested = some(&|kernel| kernel.tested() > 0);
        let mut text = match () {
            () if tested.is_empty() => format!("Nothing is known of {}: no check ran", kernels(all)),
            () if broken.is_empty() => {
                format!("The contract was kept on {} of {} in all that ran", tested.len(), kernels(all))
            }
            () => format!(
                "The contract is broken on {} of {}: {}",
                broken.len(),
                kernels(all),
                list(&broken, &|kernel| kernel.counts.of(Kind::Fail))
            ),
        };
        let silent = |kernel: &Kernel| kernel.counts.of(Kind::Timeout) + kernel.counts.of(Kind::Crash);
        let mut say = |what: &str, told: String| {
            if !told.is_empty() {
                text += &format!("; {what} {told}");
            }
        };
        say("no answer (timeout or crash) on", list(&some(&|kernel| silent(kernel) > 0), &silent));
        say("cut off:", names(&some(&|kernel| matches!(kernel.state, State::CutOff(_)))));
        say("stopped:", names(&some(&|kernel| matches!(kernel.state, State::Stopped(_)))));
        say("not booted:", names(&some(&|kernel| matches!(kernel.state, State::NotBooted(_)))));
        text + "."
    }

    /// Does the check fail, time out or crash anywhere, or fail in a known way?
    pub fn needs_telling(check: &Check) -> bool {
        check.cells.iter().flatten().any(|cell| is_bad(cell.verdict) || cell.verdict == Kind::Xfail)
    }

    /// How many cells say something of a kernel.
    pub fn tested(&self) -> usize {
        self.checks.iter().flat_map(|check| check.cells.iter().flatten()).filter(|cell| is_tested(cell.verdict)).count()
    }
}

/// `1 kernel`, `2 kernels`.
pub(super) fn kernels(count: usize) -> String {
    format!("{count} kernel{}", if count == 1 { "" } else { "s" })
}

fn with_results(kernels: &[Kernel]) -> Vec<usize> {
    let has = |kernel: &Kernel| kernel.counts.total() > 0;
    kernels.iter().enumerate().filter(|(_, kernel)| has(kernel)).map(|(index, _)| index).collect()
}

/// The second and later kernels of one name get a number.
fn name_apart(kernels: &mut [Kernel]) {
    let mut used: HashMap<String, usize> = HashMap::new();
    for kernel in kernels {
        let count = used.entry(kernel.label.clone()).or_default();
        *count += 1;
        if *count > 1 {
            kernel.label = format!("{} ({count})", kernel.label);
        }
    }
}
