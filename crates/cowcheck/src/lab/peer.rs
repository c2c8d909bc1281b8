//! The kernel's own cow.c beside us: what it sees of a bug.

use std::collections::BTreeMap;

use cowcheck_model::verdict::Kind;
use serde::{Deserialize, Serialize};

use super::row::Peer;
use crate::compare;

/// What it came to on one kernel.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// Its cells by their names.
    pub cells: BTreeMap<String, Kind>,
    /// Why it did not come to its end, if it did not.
    pub end: Option<String>,
    /// Wall time in seconds, the boot included.
    pub seconds: f64,
}

impl Told {
    /// What it printed, and how it ended.
    pub fn read(lines: &str, end: Option<String>, seconds: f64) -> Told {
        match compare::parse(lines.as_bytes(), "cow.c") {
            Ok(results) => {
                let cells = results.rows.into_iter().map(|row| (row.key, row.verdict)).collect();
                // A program that was cut off has no totals; the plan tells what is missing.
                let end = end.or_else(|| results.truncated.then(|| "it stopped before its last cell".to_owned()));
                Told { cells, end, seconds }
            }
            Err(error) => Told { cells: BTreeMap::new(), end: end.or_else(|| Some(error.to_string())), seconds },
        }
    }
}

/// What it sees of a bug, if this is what it came to without it and with it.
pub fn compared(references: &[Told], mutant: &Told) -> Option<Peer> {
    let (baseline, others) = references.split_first()?;
    if references.iter().any(|told| told.end.is_some()) {
        // It tells nothing where it does not even come to its end without a bug.
        return None;
    }
    let passes = |cell: &String| others.iter().all(|told| told.cells.get(cell) == Some(&Kind::Pass));
    let good = baseline.cells.iter().filter(|(cell, kind)| **kind == Kind::Pass && passes(cell));
    let good: Vec<&String> = good.map(|(cell, _)| cell).collect();
    let is_bad = |cell: &&&String| mutant.cells.get(**cell).is_some_and(|kind| kind.is_bad());
    let failed = good.iter().filter(is_bad).map(|cell| (*cell).clone()).collect();
    Some(Peer { failed, of: good.len(), end: mutant.end.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(lines: &str) -> Told {
        Told::read(&format!("TAP version 13\n1..3\n{lines}"), None, 1.0)
    }

    const GOOD: &str = "ok 1 a\nok 2 b\nnot ok 3 c\n";

    #[test]
    fn only_what_passes_without_the_bug_counts() {
        let peer = compared(&[told(GOOD)], &told("ok 1 a\nnot ok 2 b\nnot ok 3 c\n")).unwrap();
        assert_eq!((peer.failed.as_slice(), peer.of, peer.end), (&["b".to_owned()][..], 2, None));
        let fails_on_control = [told(GOOD), told("ok 1 a\nnot ok 2 b\nok 3 c\n")];
        let peer = compared(&fails_on_control, &told("ok 1 a\nnot ok 2 b\nnot ok 3 c\n")).unwrap();
        assert!(!peer.sees() && peer.of == 1);
    }

    #[test]
    fn one_that_stops_half_way_sees_something() {
        let peer = compared(&[told(GOOD)], &told("ok 1 a\n")).unwrap();
        assert!(peer.sees() && peer.failed.is_empty(), "{peer:?}");
        assert_eq!(compared(&[told("ok 1 a\n")], &told(GOOD)), None, "so it does without a bug");
        assert!(Told::read("", Some("panic".to_owned()), 1.0).end.is_some());
    }
}
