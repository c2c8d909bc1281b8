//! What a kernel's collapses did, by the pattern of sharing: a change of behaviour is seen where nothing is wrong.

use std::collections::BTreeMap;

use cowcheck_model::collapse::{Collapse, How};

use super::event::Planned;

/// The group whose kinds are patterns of sharing.
const GROUP: &str = "collapse";

/// A row of the table.
#[derive(Debug, Clone, Default)]
struct Row {
    /// The first check of the plan that is in it: rows stand in that order.
    first: usize,
    in_place: usize,
    copied: usize,
    unknown: usize,
    /// By error number.
    refused: BTreeMap<String, usize>,
}

/// The table. Of each check the first collapse counts: the one that its pattern is about.
#[derive(Debug, Clone, Default)]
pub struct Collapses(BTreeMap<String, Row>);

impl Collapses {
    /// Takes in what the collapses of a check did, the `index`th of the plan.
    pub fn add(&mut self, index: usize, planned: &Planned, collapses: &[Collapse]) {
        let Some(Collapse { how, .. }) = collapses.first().filter(|_| planned.group == GROUP) else { return };
        let row = self.0.entry(planned.kind.clone()).or_insert_with(|| Row { first: index, ..Row::default() });
        row.first = row.first.min(index);
        match how {
            How::InPlace => row.in_place += 1,
            How::Copied => row.copied += 1,
            How::Refused { errno } => *row.refused.entry(errno.clone()).or_default() += 1,
            How::LeftAlone => *row.refused.entry("left alone".to_owned()).or_default() += 1,
            How::NothingToDo | How::Unknown { .. } => row.unknown += 1,
        }
    }

    /// The lines of the table; none where nothing was collapsed.
    pub fn lines(&self) -> Vec<String> {
        if self.0.is_empty() {
            return vec![];
        }
        let mut rows: Vec<(&String, &Row)> = self.0.iter().collect();
        rows.sort_by_key(|(_, row)| row.first);
        let line = |name: &str, numbers: [&str; 3], refused: &str| {
            let [in_place, copied, unknown] = numbers;
            format!("{name:<22} {in_place:>8} {copied:>8} {unknown:>8}   {refused}").trim_end().to_owned()
        };
        let head = line("collapse, by sharing", ["in place", "copied", "unknown"], "refused");
        let rows = rows.into_iter().map(|(name, row)| {
            let numbers = [row.in_place, row.copied, row.unknown].map(|number| number.to_string());
            let refused: Vec<String> = row.refused.iter().map(|(errno, count)| format!("{count} {errno}")).collect();
            line(&format!("  {name}"), numbers.each_ref().map(String::as_str), &refused.join(", "))
        });
        std::iter::once(head).chain(rows).collect()
    }
}

#[cfg(test)]
mod tests {
    use cowcheck_model::step::Actor;

    use super::*;

    fn planned(group: &str, kind: &str) -> Planned {
        Planned {
            id: format!("{group}/{kind}/x"),
            group: group.to_owned(),
            kind: kind.to_owned(),
            memory: "thp-pte".to_owned(),
            size: 2 << 20,
            description: None,
            repeat: 1,
        }
    }

    #[test]
    fn the_first_collapse_of_each_check_counts() {
        let did = |how| Collapse { step: 8, actor: Actor::A, how };
        let mut table = Collapses::default();
        assert!(table.lines().is_empty());
        table.add(7, &planned("collapse", "all"), &[did(How::Refused { errno: "EAGAIN".to_owned() })]);
        table.add(3, &planned("collapse", "none"), &[did(How::Copied), did(How::InPlace)]);
        table.add(4, &planned("collapse", "none"), &[did(How::InPlace)]);
        table.add(5, &planned("collapse", "none"), &[]);
        table.add(0, &planned("cow", "fork-write"), &[did(How::Copied)]);
        let lines = table.lines();
        assert_eq!(lines[1], "  none                        1        1        0");
        assert_eq!(lines[2], "  all                         0        0        0   1 EAGAIN");
        assert_eq!(lines.len(), 3);
    }
}
