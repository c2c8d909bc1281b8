//! What a run comes to, for people: what ran, what did not and what would make it, and one sentence.

use std::collections::BTreeMap;

use cowcheck_model::verdict::{Kind, Verdict};

use super::collapses::Collapses;
use super::event::{Counts, Outcome, Planned};
use super::name::{line, with_repeat};

/// The sums of a run. No colour, no layout: sinks for people draw it.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    planned: usize,
    counts: Counts,
    broken: Vec<Broken>,
    skipped: BTreeMap<String, BTreeMap<String, usize>>,
    inconclusive: BTreeMap<String, usize>,
    bugs: BTreeMap<String, usize>,
    collapses: Collapses,
}

/// A check that failed, or ended without an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Its name, with the repeat.
    pub name: String,
    /// [`Kind::Fail`], [`Kind::Timeout`] or [`Kind::Crash`].
    pub kind: Kind,
    /// One line that says why.
    pub reason: String,
}

/// Skips that the same thing would cure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// How many.
    pub count: usize,
    /// What would make them run; empty if nothing on this machine would.
    pub remedy: String,
    /// Why they were skipped and how many for each, most first.
    pub reasons: Vec<(String, usize)>,
}

impl Summary {
    /// Nothing has run of `planned` checks.
    pub fn new(planned: usize) -> Self {
        Summary { planned, ..Self::default() }
    }

    /// Counts an outcome.
    pub fn add(&mut self, planned: &Planned, outcome: &Outcome) {
        let kind = outcome.verdict.kind();
        let reason = line(&outcome.verdict.reason());
        self.counts.add(kind);
        self.collapses.add(outcome.index, planned, &outcome.collapses);
        match &outcome.verdict {
            Verdict::Pass => {}
            Verdict::Fail { .. } | Verdict::Timeout { .. } | Verdict::Crash { .. } => {
                self.broken.push(Broken { name: with_repeat(&planned.id, planned.repeat), kind, reason });
            }
            Verdict::Xfail { .. } => *self.bugs.entry(reason).or_default() += 1,
            Verdict::Skip { remedy, .. } => {
                *self.skipped.entry(line(remedy)).or_default().entry(reason).or_default() += 1;
            }
            Verdict::Inconclusive { .. } => *self.inconclusive.entry(reason).or_default() += 1,
        }
    }

    /// How many checks came to each verdict.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// How many checks were planned.
    pub fn planned(&self) -> usize {
        self.planned
    }

    /// How many checks ran to a verdict that says something of the kernel, or died trying.
    pub fn ran(&self) -> usize {
        [Kind::Pass, Kind::Fail, Kind::Xfail, Kind::Timeout, Kind::Crash].map(|kind| self.counts.of(kind)).iter().sum()
    }

    /// How many checks have no outcome.
    pub fn not_run(&self) -> usize {
        self.planned.saturating_sub(self.counts.total())
    }

    /// Those that failed, timed out or crashed, in the order in which they ended.
    pub fn broken(&self) -> &[Broken] {
        &self.broken
    }

    /// The skips by what would cure them, most first.
    pub fn skipped(&self) -> Vec<Skipped> {
        let mut all: Vec<Skipped> = self
            .skipped
            .iter()
            .map(|(remedy, reasons)| Skipped {
                count: reasons.values().sum(),
                remedy: remedy.clone(),
                reasons: most_first(reasons),
            })
            .collect();
        all.sort_by_key(|skipped| std::cmp::Reverse(skipped.count));
        all
    }

    /// Why checks were inconclusive and how many for each reason, most first.
    pub fn inconclusive(&self) -> Vec<(String, usize)> {
        most_first(&self.inconclusive)
    }

    /// The known bugs that were seen and in how many checks, most first.
    pub fn bugs(&self) -> Vec<(String, usize)> {
        most_first(&self.bugs)
    }

    /// What the collapses did, as lines of a table.
    pub fn collapses(&self) -> Vec<String> {
        self.collapses.lines()
    }

    /// The answer in one sentence.
    pub fn answer(&self) -> String {
        let of = |kind| self.counts.of(kind);
        let ran = self.ran();
        let mut tail = Vec::new();
        let mut say = |count: usize, what: &str| {
            if count > 0 {
                tail.push(format!("{count} {what}"));
            }
        };
        say(of(Kind::Skip), "could not be run");
        say(of(Kind::Inconclusive), "tested nothing (inconclusive)");
        say(self.not_run(), "were not reached");
        let tail = if tail.is_empty() { String::new() } else { format!("; {}", tail.join(", ")) };
        if ran == 0 {
            return format!("Nothing is known of this kernel: none of {} ran{tail}.", checks(self.planned));
        }
        let head = match of(Kind::Fail) {
            0 => format!("kept the contract in {}", of(Kind::Pass)),
            fail => format!("broke the contract in {fail}"),
        };
        let mut text = format!("This kernel {head} of {} that ran", checks(ran));
        let xfail = of(Kind::Xfail);
        if xfail > 0 {
            text += &format!(", broke it in a way that is known in {xfail}");
        }
        let died = of(Kind::Timeout) + of(Kind::Crash);
        if died > 0 {
            text += &format!(", and gave no answer in {died} (timeout or crash)");
        }
        format!("{text}{tail}.")
    }
}

/// `1 check`, `2 checks`.
pub(crate) fn checks(count: usize) -> String {
    format!("{count} check{}", if count == 1 { "" } else { "s" })
}

fn most_first(counts: &BTreeMap<String, usize>) -> Vec<(String, usize)> {
    let mut all: Vec<(String, usize)> = counts.iter().map(|(text, count)| (text.clone(), *count)).collect();
    // Stable: equal counts stay in the order of their text.
    all.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    fn of(verdicts: &[Verdict], planned: usize) -> Summary {
        let mut summary = Summary::new(planned);
        for (index, verdict) in verdicts.iter().enumerate() {
            summary.add(&sample::start().plan[index % 8], &sample::outcome(index, verdict.clone()));
        }
        summary
    }

    #[test]
    fn the_answer_counts_what_ran_and_says_what_did_not() {
        let skip = || sample::skip("no swap", "x");
        let crash = || Verdict::Crash { reason: String::new() };
        let xfail = || Verdict::Xfail { bug: "b".into(), violations: vec![] };
        let says = |verdicts: &[Verdict], planned| of(verdicts, planned).answer();
        assert_eq!(
            says(&[Verdict::Pass, Verdict::Pass, skip()], 3),
            "This kernel kept the contract in 2 of 2 checks that ran; 1 could not be run."
        );
        assert_eq!(says(&[Verdict::Pass], 1), "This kernel kept the contract in 1 of 1 check that ran.");
        assert_eq!(
            says(&[Verdict::Pass, sample::fail(), xfail(), crash()], 6),
            "This kernel broke the contract in 1 of 4 checks that ran, broke it in a way that is known in 1, and gave no answer in 1 (timeout or crash); 2 were not reached."
        );
        assert_eq!(
            says(&[Verdict::Inconclusive { reason: String::new() }, skip()], 2),
            "Nothing is known of this kernel: none of 2 checks ran; 1 could not be run, 1 tested nothing (inconclusive)."
        );
    }

    #[test]
    fn skips_are_grouped_by_what_would_cure_them() {
        let summary = of(
            &[
                sample::skip("one NUMA node", ""),
                sample::skip("no swap", "cure"),
                sample::skip("no module", "cure"),
                sample::skip("no swap", "cure"),
            ],
            4,
        );
        let reasons = vec![("no swap".to_owned(), 2), ("no module".to_owned(), 1)];
        assert_eq!(
            summary.skipped(),
            [
                Skipped { count: 3, remedy: "cure".to_owned(), reasons },
                Skipped { count: 1, remedy: String::new(), reasons: vec![("one NUMA node".to_owned(), 1)] },
            ]
        );
    }
}
