//! The kill matrix: mutants × checks, as a value.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::cover::{Cover, cover};
use super::judge::{Fate, Fault, Reference, Standard};
use super::row::Row;

/// A kernel, and what it is like without a bug.
#[derive(Debug, Clone, Serialize)]
pub struct Ground {
    /// As it was asked for.
    pub on: String,
    /// As uname(2) has it.
    pub kernel: String,
    /// The distribution's package, where it came from one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
    /// The references that ran on it: the baseline and the controls.
    pub references: Vec<String>,
    /// How many checks can kill.
    pub fit: usize,
    /// How many test nothing here, the bug being absent.
    pub idle: usize,
    /// Checks that were left out, because they ended badly once and not again.
    pub unsteady: BTreeSet<String>,
    /// What must not be.
    pub faults: Vec<Fault>,
    /// The longest that the references took, in seconds.
    pub seconds: f64,
}

impl Ground {
    /// By its references.
    pub fn new(on: &str, package: Option<String>, references: &[Reference], standard: &Standard) -> Ground {
        let kernel = references.iter().map(|reference| reference.ran.kernel.as_str()).find(|kernel| !kernel.is_empty());
        Ground {
            on: on.to_owned(),
            kernel: kernel.unwrap_or_default().to_owned(),
            package,
            references: references.iter().map(|reference| reference.name.clone()).collect(),
            fit: standard.fit.len(),
            idle: standard.idle,
            unsteady: standard.unsteady.clone(),
            faults: standard.faults.clone(),
            seconds: standard.whole.as_secs_f64(),
        }
    }
}

/// The kill matrix.
#[derive(Debug, Clone, Serialize)]
pub struct KillMatrix {
    /// The version of this form.
    pub cowcheck_kills: u32,
    /// The version of the program.
    pub cowcheck: &'static str,
    /// The day, as in 2026-11-24.
    pub date: String,
    /// Was each mutant left at its first kill?
    pub fast: bool,
    /// Kernels.
    pub grounds: Vec<Ground>,
    /// Mutants, in the order of their names.
    pub rows: Vec<Row>,
    /// Checks that kill something: how many mutants.
    pub kills: BTreeMap<String, usize>,
    /// The fewest checks that kill all that is caught.
    pub cover: Cover,
    /// Checks that can kill and kill nothing. Says little if each mutant was left at its first kill.
    pub killed_nothing: Vec<String>,
    /// What could not be done.
    pub undone: Vec<String>,
    /// Wall time of it all, in seconds.
    pub seconds: f64,
}

/// The version of the form that [`KillMatrix`] is written in.
pub const VERSION: u32 = 1;

/// Mutants by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// A check kills it.
    pub caught: usize,
    /// None does, and that was argued.
    pub excused: usize,
    /// None does.
    pub missed: usize,
    /// It cannot be judged, or was not to its end.
    pub open: usize,
}

impl KillMatrix {
    /// Of these rows. `fit` has the checks that can kill on some kernel.
    pub fn new(fast: bool, grounds: Vec<Ground>, fit: &BTreeSet<String>, mut rows: Vec<Row>) -> KillMatrix {
        rows.sort_by(|a, b| (&a.mutant, &a.on).cmp(&(&b.mutant, &b.on)));
        let mut kills: BTreeMap<String, usize> = BTreeMap::new();
        for kill in rows.iter().flat_map(Row::kills) {
            *kills.entry(kill.check.clone()).or_default() += 1;
        }
        let killers: Vec<Vec<&str>> =
            rows.iter().map(|row| row.kills().iter().map(|kill| kill.check.as_str()).collect()).collect();
        let cover = cover(&killers);
        let killed_nothing = fit.iter().filter(|check| !kills.contains_key(*check)).cloned().collect();
        KillMatrix {
            cowcheck_kills: VERSION,
            cowcheck: env!("CARGO_PKG_VERSION"),
            date: crate::known::today(),
            fast,
            grounds,
            rows,
            kills,
            cover,
            killed_nothing,
            undone: Vec::new(),
            seconds: 0.0,
        }
    }

    /// How many there are of each.
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for row in &self.rows {
            let count = match &row.fate {
                Fate::Caught { .. } => &mut tally.caught,
                Fate::Missed if row.is_excused() => &mut tally.excused,
                Fate::Missed => &mut tally.missed,
                Fate::Unviable { .. } | Fate::Unfinished { .. } => &mut tally.open,
            };
            *count += 1;
        }
        tally
    }

    /// Faults of the kernels without a bug.
    pub fn faults(&self) -> impl Iterator<Item = (&Ground, &Fault)> {
        self.grounds.iter().flat_map(|ground| ground.faults.iter().map(move |fault| (ground, fault)))
    }

    /// The answer in a sentence.
    pub fn answer(&self) -> String {
        let Tally { caught, excused, missed, open } = self.tally();
        let mut parts = vec![format!("{caught} of {} caught", mutants(self.rows.len()))];
        let mut more = |count: usize, what: &str| {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        };
        more(missed, "missed");
        more(excused, "not to be seen by user space, as argued");
        more(open, "could not be judged");
        let broken: Vec<&str> = self.faults().filter_map(|(_, fault)| fault.check.as_deref()).collect();
        if let Some(first) = broken.first() {
            parts.push(format!("{} faults without a bug, {first} first", broken.len()));
        }
        if let Some((ground, fault)) = self.faults().find(|(_, fault)| fault.check.is_none()) {
            parts.push(format!("{} did not come to its end on {}", fault.reference, ground.on));
        }
        parts.join(", ") + "."
    }

    /// Rows that the peer was run on, and those in which it sees the bug.
    pub fn peer(&self) -> (usize, usize) {
        let ran = self.rows.iter().filter_map(|row| row.peer.as_ref());
        (ran.clone().count(), ran.filter(|peer| peer.sees()).count())
    }

    /// Is it all as it should be?
    pub fn is_whole(&self) -> bool {
        self.tally().open == 0 && self.undone.is_empty() && self.faults().next().is_none()
    }
}

/// `1 mutant`, `2 mutants`
pub fn mutants(count: usize) -> String {
    if count == 1 { "1 mutant".to_owned() } else { format!("{count} mutants") }
}

#[cfg(test)]
pub(super) mod sample {
    use super::super::judge::tests::{ran, reference};
    use super::super::judge::{Standard, fate};
    use super::super::row::{Peer, Row};
    use super::*;
    use cowcheck_lab::mutant::parse;

    fn row(name: &str, more: &str, seen: &str, standard: &Standard) -> Row {
        let breaks = if more.contains("unobservable") { "" } else { "breaks = [\"isolation\"]\n" };
        let text = format!(
            "title = \"{name} <is> wrong\"\narea = \"in-place\"\n{breaks}about = \"a\"\n{more}\n[in-place]\nbug = 1\n"
        );
        let mutant = parse(name, &text).unwrap();
        let ran = ran(seen);
        let mut row = Row::new(&mutant, "debian:7.2", fate(standard, &ran));
        row.checks = ran.seen.len();
        row.seconds = ran.seconds;
        row
    }

    /// Two that are caught, one that is missed, one that nobody can see, and one that does not boot.
    pub(crate) fn matrix() -> KillMatrix {
        let references = [reference("baseline", "cow/a/1:pass cow/b/1:pass cow/c/1:pass")];
        let standard = Standard::by(&references);
        let mut rows = vec![
            row("two", "like = \"CVE-1\"", "cow/a/1:pass cow/b/1:fail*2/2 cow/c/1:crash*2/3", &standard),
            row("one", "", "cow/a/1:pass cow/b/1:fail*2/2 cow/c/1:pass", &standard),
            row("three", "", "cow/a/1:pass cow/b/1:pass cow/c/1:fail*1/4", &standard),
            row("four", "unobservable = \"it | has no effect\"", "cow/a/1:pass cow/b/1:pass cow/c/1:pass", &standard),
        ];
        rows[0].peer = Some(Peer { failed: vec!["x".to_owned()], of: 700, end: None });
        rows[1].peer = Some(Peer { failed: vec![], of: 700, end: None });
        rows[2].unconfirmed = vec!["cow/c/1".to_owned()];
        let mut dead = rows[1].clone();
        dead.mutant = "dead".to_owned();
        dead.fate = Fate::Unviable { reason: "no boot: panic".to_owned() };
        rows.push(dead);
        let fit = standard.fit.iter().cloned().collect();
        let ground = Ground::new("debian:7.2", Some("linux-image 7.2.13-1".to_owned()), &references, &standard);
        let mut matrix = KillMatrix::new(false, vec![ground], &fit, rows);
        matrix.date = "2026-11-24".to_owned();
        matrix.seconds = 90.0;
        matrix
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_adds_up() {
        let matrix = sample::matrix();
        assert_eq!(matrix.tally(), Tally { caught: 2, excused: 1, missed: 1, open: 1 });
        assert_eq!(
            matrix.kills.iter().map(|(check, count)| (check.as_str(), *count)).collect::<Vec<_>>(),
            [("cow/b/1", 2), ("cow/c/1", 1)]
        );
        assert_eq!((matrix.cover.checks.as_slice(), matrix.cover.is_smallest), (&["cow/b/1".to_owned()][..], true));
        assert_eq!(matrix.killed_nothing, ["cow/a/1"]);
        assert_eq!(matrix.peer(), (3, 1));
        assert!(!matrix.is_whole());
        let told = "2 of 5 mutants caught, 1 missed, 1 not to be seen by user space, as argued, 1 could not be judged.";
        assert_eq!(matrix.answer(), told);
    }
}
