//! What differs between two records of runs.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use cowcheck_model::verdict::Kind;
use serde::Serialize;

use super::results::{Results, Row, Source};
use crate::report::event::Counts;

/// The version of the JSON form of a comparison.
const VERSION: u32 = 1;

/// By what a check of one side is found on the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MatchedBy {
    /// The id: both sides are of this program.
    Id,
    /// What cow.c calls it.
    Description,
    /// All names on the way to it: neither side is of this program, and the innermost names alone are
    /// not unique.
    Path,
}

impl MatchedBy {
    fn choose(a: &Results, b: &Results) -> MatchedBy {
        let foreign = !a.source.has_ids() && !b.source.has_ids();
        match () {
            () if a.source.has_ids() && b.source.has_ids() => MatchedBy::Id,
            () if foreign && !(unique(a) && unique(b)) => MatchedBy::Path,
            () => MatchedBy::Description,
        }
    }

    fn name(self, row: &Row) -> Option<&str> {
        match self {
            MatchedBy::Id => row.id.as_deref(),
            MatchedBy::Description => row.description.as_deref(),
            MatchedBy::Path => Some(&row.key),
        }
    }
}

fn unique(results: &Results) -> bool {
    let mut names: Vec<(Option<&str>, u32)> =
        results.rows.iter().map(|row| (row.description.as_deref(), row.repeat)).collect();
    names.sort_unstable();
    names.windows(2).all(|pair| pair[0] != pair[1])
}

/// One side of the comparison.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Side {
    /// The file.
    pub name: String,
    /// Its format.
    pub source: Source,
    /// How the words of that format became verdicts.
    pub words: &'static str,
    /// The kernel that ran it, where the file says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// How many checks came to each verdict.
    pub counts: Counts,
    /// Is it known that results are missing?
    pub truncated: bool,
    /// What a person should know of the file.
    pub notes: Vec<String>,
}

impl Side {
    fn of(results: &Results) -> Side {
        Side {
            name: results.name.clone(),
            source: results.source,
            words: results.source.words(),
            kernel: results.kernel.clone(),
            counts: results.counts(),
            truncated: results.truncated,
            notes: results.notes.clone(),
        }
    }
}

/// What a check came to on one side.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Compared {
    /// The verdict.
    pub verdict: Kind,
    /// Why; empty for a pass, or where the file does not say.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

impl Compared {
    fn of(row: &Row) -> Compared {
        Compared { verdict: row.verdict, reason: row.reason.clone() }
    }
}

/// A check that both sides have, with verdicts that are not the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The check: its id where one side has it.
    pub name: String,
    /// What cow.c calls it, where that is not the name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Which repeat, from 1.
    pub repeat: u32,
    /// What the first side says.
    pub a: Compared,
    /// What the second side says.
    pub b: Compared,
}

/// Checks that only one side has and that are alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Group {
    /// What they have in common.
    pub group: String,
    /// Their names.
    pub checks: Vec<String>,
}

/// Two records of runs, side by side. Its `Display` is the report for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// The version of this form.
    #[serde(rename = "cowcheck_comparison")]
    pub version: u32,
    /// The first side.
    pub a: Side,
    /// The second side.
    pub b: Side,
    /// By what the checks were matched.
    pub matched_by: MatchedBy,
    /// How many checks both sides have.
    pub matched: usize,
    /// How many of these have the same verdict on both sides.
    pub same: usize,
    /// Those that were tested on a side at least, with different verdicts.
    pub changed: Vec<Change>,
    /// Those that neither side tested, though one calls it skip and the other inconclusive. No
    /// difference.
    pub explained: Vec<Change>,
    /// What only the first side has, though the second could.
    pub only_a: Vec<Group>,
    /// What only the second side has, though the first could.
    pub only_b: Vec<Group>,
    /// What the first side has and the second cannot have: checks of ours that cow.c does not know. No
    /// difference.
    pub beyond_a: Vec<Group>,
    /// The same of the second side.
    pub beyond_b: Vec<Group>,
}

impl Comparison {
    /// Is there a check that changed, or that one side lacks?
    pub fn differs(&self) -> bool {
        !(self.changed.is_empty() && self.only_a.is_empty() && self.only_b.is_empty())
    }
}

/// Sets two records side by side.
pub fn compare(a: &Results, b: &Results) -> Comparison {
    let by = MatchedBy::choose(a, b);
    let of_a = Named::of(a, by);
    let mut of_b = Named::of(b, by);
    let mut found = Comparison {
        version: VERSION,
        a: Side::of(a),
        b: Side::of(b),
        matched_by: by,
        matched: 0,
        same: 0,
        changed: Vec::new(),
        explained: Vec::new(),
        only_a: Vec::new(),
        only_b: Vec::new(),
        beyond_a: grouped(of_a.beyond),
        beyond_b: grouped(std::mem::take(&mut of_b.beyond)),
    };
    let mut only_a = Vec::new();
    let mut only_b = Vec::new();
    for name in &of_a.order {
        let rows = of_a.rows.get(name).map_or(&[][..], Vec::as_slice);
        let others = of_b.rows.remove(name).unwrap_or_default();
        for pair in pairs(rows, &others) {
            match pair {
                (Some(row), Some(other)) => found.set_side_by_side(row, other),
                (row, other) => {
                    only_a.extend(row);
                    only_b.extend(other);
                }
            }
        }
    }
    only_b.extend(of_b.order.iter().filter_map(|name| of_b.rows.get(name)).flatten());
    found.only_a = grouped(only_a);
    found.only_b = grouped(only_b);
    found
}

impl Comparison {
    fn set_side_by_side(&mut self, row: &Row, other: &Row) {
        self.matched += 1;
        if row.verdict == other.verdict {
            self.same += 1;
            return;
        }
        let id = row.id.as_ref().or(other.id.as_ref());
        let description = row.description.as_ref().or(other.description.as_ref());
        let change = Change {
            name: id.unwrap_or(&row.key).clone(),
            description: description.filter(|_| id.is_some()).cloned(),
            repeat: row.repeat.max(other.repeat),
            a: Compared::of(row),
            b: Compared::of(other),
        };
        let untested = |kind| matches!(kind, Kind::Skip | Kind::Inconclusive);
        if untested(row.verdict) && untested(other.verdict) {
            self.explained.push(change);
        } else {
            self.changed.push(change);
        }
    }
}

/// The rows of a file by the name that is matched.
struct Named<'a> {
    /// The names in the order in which they first come.
    order: Vec<&'a str>,
    /// For each name the repeats, ascending.
    rows: BTreeMap<&'a str, Vec<&'a Row>>,
    /// Rows that have no such name.
    beyond: Vec<&'a Row>,
}

impl<'a> Named<'a> {
    fn of(results: &'a Results, by: MatchedBy) -> Self {
        let mut named = Named { order: Vec::new(), rows: BTreeMap::new(), beyond: Vec::new() };
        for row in &results.rows {
            match by.name(row) {
                None => named.beyond.push(row),
                Some(name) => {
                    let rows = named.rows.entry(name).or_default();
                    if rows.is_empty() {
                        named.order.push(name);
                    }
                    rows.push(row);
                }
            }
        }
        named.rows.values_mut().for_each(|rows| rows.sort_by_key(|row| row.repeat));
        named
    }
}

/// A check of one side, of the other, or of both.
type Pair<'a> = (Option<&'a Row>, Option<&'a Row>);

/// The repeats of one check, matched by their number; a check that ran once is set beside every
/// repeat of the other side.
fn pairs<'a>(rows: &[&'a Row], others: &[&'a Row]) -> Vec<Pair<'a>> {
    match (rows, others) {
        ([row], [_, ..]) => return others.iter().map(|other| (Some(*row), Some(*other))).collect(),
        ([_, ..], [other]) => return rows.iter().map(|row| (Some(*row), Some(*other))).collect(),
        _ => {}
    }
    let (mut rows, mut others) = (rows.iter().copied().peekable(), others.iter().copied().peekable());
    let mut pairs = Vec::new();
    loop {
        let order = match (rows.peek(), others.peek()) {
            (None, None) => return pairs,
            (Some(row), Some(other)) => row.repeat.cmp(&other.repeat),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
        };
        let row = if order.is_le() { rows.next() } else { None };
        let other = if order.is_ge() { others.next() } else { None };
        pairs.push((row, other));
    }
}

/// By what they have in common, in the order in which it first comes.
fn grouped(rows: Vec<&Row>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    for row in rows {
        let name = row.group();
        let index = *known.entry(name).or_insert_with_key(|name| {
            groups.push(Group { group: name.clone(), checks: Vec::new() });
            groups.len() - 1
        });
        let repeat = if row.repeat > 1 { format!(" (repeat {})", row.repeat) } else { String::new() };
        groups[index].checks.push(format!("{}{repeat}", row.key));
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::parse;
    use crate::report::Sink;
    use crate::report::json::Json;
    use crate::report::kselftest::Kselftest;
    use crate::report::ktap::Ktap;
    use crate::report::sample;

    fn results(text: &str, name: &str) -> Results {
        parse(text.as_bytes(), name).unwrap()
    }

    fn written<'a, S: Sink>(out: &'a mut Vec<u8>, sink: impl FnOnce(&'a mut Vec<u8>) -> S) {
        sample::play(&mut sink(out));
    }

    fn ours() -> Results {
        let mut out = Vec::new();
        written(&mut out, Json::new);
        results(&String::from_utf8(out).unwrap(), "ours.jsonl")
    }

    fn names(changes: &[Change]) -> Vec<(&str, Kind, Kind)> {
        changes.iter().map(|change| (change.name.as_str(), change.a.verdict, change.b.verdict)).collect()
    }

    fn count(groups: &[Group]) -> usize {
        groups.iter().map(|group| group.checks.len()).sum()
    }

    /// The checks of cow.c in the sample, with other results for some, one missing and one more.
    const PEER: &str = "TAP version 13\n1..6\n\
        # [RUN] Basic COW after fork() ... with base page\nok 1 Basic COW after fork() ... with base page\n\
        # [RUN] Basic COW after fork() ... with swapped out base page\nok 2 Basic COW after fork() ... with swapped out base page\n\
        # [RUN] Basic COW after fork() when collapsing before fork()\nok 3 Basic COW after fork() when collapsing before fork()\n\
        # [RUN] Basic COW ... with memfd\n# memfd_create() failed\nok 4 # SKIP Basic COW ... with memfd\n\
        # [RUN] R/O longterm GUP pin ... with memfd\n# gup_test not available\nok 5 # SKIP R/O longterm GUP pin ... with memfd\n\
        # [RUN] R/O longterm GUP pin ... with tmpfile\nok 6 R/O longterm GUP pin ... with tmpfile\n";

    #[test]
    fn ours_against_the_peer_is_matched_by_description() {
        let found = compare(&ours(), &results(PEER, "cow.tap"));
        assert_eq!((found.matched_by, found.matched, found.same), (MatchedBy::Description, 5, 2));
        assert_eq!(
            names(&found.changed),
            [("cow/collapse-all/thp", Kind::Fail, Kind::Pass), ("cow/fork-write/base-swapped", Kind::Skip, Kind::Pass),]
        );
        assert_eq!(names(&found.explained), [("cow/file-write/memfd", Kind::Inconclusive, Kind::Skip)]);
        assert_eq!(found.only_a, [Group { group: "cow/vmsplice".into(), checks: vec!["cow/vmsplice/hugetlb".into()] }]);
        let tmpfile = "R/O longterm GUP pin ... with tmpfile".to_owned();
        assert_eq!(found.only_b, [Group { group: "R/O longterm GUP pin".into(), checks: vec![tmpfile] }]);
        assert_eq!((count(&found.beyond_a), count(&found.beyond_b)), (2, 0));
        assert!(found.differs());
        insta::assert_snapshot!("text", found.to_string());
        insta::assert_snapshot!("json", serde_json::to_string_pretty(&found).unwrap());
    }

    #[test]
    fn the_other_way_round_gives_the_same_differences() {
        let found = compare(&results(PEER, "cow.tap"), &ours());
        assert_eq!(found.changed.len(), 2);
        assert_eq!((count(&found.only_a), count(&found.only_b), count(&found.beyond_b)), (1, 1, 2));
    }

    #[test]
    fn the_formats_of_one_run_do_not_differ() {
        let mut ktap = Vec::new();
        written(&mut ktap, Ktap::new);
        let found = compare(&ours(), &results(&String::from_utf8(ktap).unwrap(), "x.ktap"));
        assert_eq!((found.matched_by, found.matched, found.same), (MatchedBy::Id, 8, 8));
        assert!(!found.differs());
        let mut tap = Vec::new();
        written(&mut tap, Kselftest::new);
        let found = compare(&ours(), &results(&String::from_utf8(tap).unwrap(), "x.tap"));
        assert_eq!((found.matched, found.same, found.explained.len()), (6, 5, 1));
        assert!(!found.differs(), "{found}");
    }

    fn repeated(verdicts: &[(u32, &str)]) -> Results {
        let mut text = r#"{"type":"start","cowcheck_results":1,"kernel":"6.1","planned":0}"#.to_owned();
        for (repeat, verdict) in verdicts {
            text += &format!("\n{{\"type\":\"check\",\"id\":\"a/b/c\",\"repeat\":{repeat},\"verdict\":\"{verdict}\"}}");
        }
        results(&format!("{text}\n"), "x")
    }

    #[test]
    fn repeats_are_matched_by_their_number() {
        let found = compare(
            &repeated(&[(3, "pass"), (1, "pass"), (2, "crash")]),
            &repeated(&[(1, "pass"), (3, "timeout"), (4, "pass")]),
        );
        assert_eq!((found.matched, found.same), (2, 1));
        assert_eq!((found.changed[0].repeat, found.changed[0].b.verdict), (3, Kind::Timeout));
        assert_eq!(found.only_a[0].checks, ["a/b/c (repeat 2)"]);
        assert_eq!(found.only_b[0].checks, ["a/b/c (repeat 4)"]);
    }

    #[test]
    fn what_broke_is_told_before_what_was_not_tested() {
        let sides = [&[(1, "skip"), (2, "pass")], &[(1, "pass"), (2, "crash")]].map(|side| repeated(side));
        let text = compare(&sides[0], &sides[1]).to_string();
        assert!(text.find("1 pass -> crash") < text.find("1 skip -> pass"), "{text}");
        assert!(text.contains("1 pass -> crash") && text.contains("      a/b/c (repeat 2)\n"), "{text}");
    }

    #[test]
    fn one_run_is_set_beside_every_repeat() {
        let found = compare(&repeated(&[(1, "pass")]), &repeated(&[(1, "pass"), (2, "crash")]));
        assert_eq!((found.matched, found.same, found.changed[0].repeat), (2, 1, 2));
    }

    #[test]
    fn what_is_not_unique_is_matched_by_its_path() {
        let text = |second| format!("KTAP version 1\n1..2\n  1..1\n  ok 1 x\nok 1 a\n  1..1\n  {second} 1 x\nok 2 b\n");
        let found = compare(&results(&text("ok"), "1"), &results(&text("not ok"), "2"));
        assert_eq!((found.matched_by, names(&found.changed)), (MatchedBy::Path, vec![("b/x", Kind::Pass, Kind::Fail)]));
        // Wrapped by a runner, the same tests have longer paths but are the same tests.
        let inner: String = PEER.lines().map(|line| format!("# {line}\n")).collect();
        let wrapped = results(&format!("TAP version 13\n1..1\n{inner}ok 1 mm: cow\n"), "2");
        let found = compare(&results(PEER, "1"), &wrapped);
        assert_eq!((found.matched_by, found.matched, found.differs()), (MatchedBy::Description, 6, false));
    }
}
