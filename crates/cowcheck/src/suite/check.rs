//! A check: a scenario with a name.

use cowcheck_model::contract::Rule;
use cowcheck_model::scenario::Scenario;
use cowcheck_model::verdict::Verdict;

/// A named check of the catalogue, or a user's own file.
#[derive(Debug, Clone)]
pub struct Check {
    /// Stable: neither outcome nor machine change it.
    pub id: String,
    /// The group, as in `cow`.
    pub group: &'static str,
    /// The kind within the group: what is done.
    pub kind: String,
    /// What it is done to, without the size: `base`, `thp-pte`, `hugetlb`.
    pub memory: &'static str,
    /// Bytes of one page of that memory.
    pub size: u64,
    /// The description that the kernel's own cow.c prints for the same cell.
    pub description: Option<String>,
    /// Words to find it by.
    pub tags: Vec<&'static str>,
    /// What it does.
    pub scenario: Scenario,
    /// The known bug that it runs into on every kernel so far.
    pub known: Option<&'static str>,
}

impl Check {
    /// A user's own scenario, from the file of this name.
    pub fn of_file(name: String, scenario: Scenario) -> Check {
        Check {
            id: name,
            group: "replay",
            kind: "replay".to_owned(),
            memory: scenario.memory.kind.word(),
            size: scenario.memory.size,
            description: None,
            tags: vec![],
            scenario,
            known: None,
        }
    }

    /// A failure that is known is an `xfail` that names the bug. The known bugs are leaks: anything
    /// else that is seen beside them is not known.
    pub fn weigh(&self, verdict: Verdict) -> Verdict {
        match (verdict, self.known) {
            (Verdict::Fail { violations }, Some(bug)) if violations.iter().all(|each| each.rule == Rule::Isolation) => {
                Verdict::Xfail { bug: bug.to_owned(), violations }
            }
            (verdict, _) => verdict,
        }
    }
}
