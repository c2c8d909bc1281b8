//! A check: a scenario with a name.

use cowcheck_model::scenario::Scenario;

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
        }
    }
}
