//! Who killed what: two sets of results, and nothing else.
//!
//! A check kills a mutant if it fails there, fails again when it is run alone, and passes on the kernels without the
//! bug. What those kernels fail, or cannot test, kills nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cowcheck_model::contract::Rule;
use cowcheck_model::verdict::Kind;
use serde::{Deserialize, Serialize};

use super::seen::{Ran, Seen};
use crate::report::event::Rate;

/// A kernel without a bug, and what the checks came to on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reference {
    /// `baseline`, or the name of a control.
    pub name: String,
    /// What the checks came to.
    pub ran: Ran,
}

/// Something that a kernel without a bug must not do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Which kernel.
    pub reference: String,
    /// The check; `None` where it did not even come to its checks.
    pub check: Option<String>,
    /// What it did.
    pub reason: String,
}

/// What the kernels without a bug say of the checks.
#[derive(Debug, Clone, Default)]
pub struct Standard {
    /// Checks that can kill, in the order of the catalogue.
    pub fit: Vec<String>,
    /// Checks that ended badly once and not again: they are left out.
    pub unsteady: BTreeSet<String>,
    /// Checks that no reference passes without being broken by one: they test nothing here.
    pub idle: usize,
    /// What must not be.
    pub faults: Vec<Fault>,
    /// The longest that a fit check took.
    pub slowest: Duration,
    /// All of them together, boots included.
    pub whole: Duration,
}

impl Standard {
    /// By these references.
    pub fn by(references: &[Reference]) -> Standard {
        let mut standard = Standard::default();
        let mut passed: BTreeMap<&str, bool> = BTreeMap::new();
        let mut order: Vec<&str> = Vec::new();
        for Reference { name, ran } in references {
            let fault = |check: Option<&str>, reason: String| Fault {
                reference: name.clone(),
                check: check.map(str::to_owned),
                reason,
            };
            if let Some(why) = &ran.stopped {
                standard.faults.push(fault(None, why.clone()));
            }
            standard.whole = standard.whole.max(Duration::from_secs_f64(ran.seconds));
            for seen in &ran.seen {
                let check = seen.check.as_str();
                let known = passed.entry(check).or_insert_with(|| {
                    order.push(check);
                    false
                });
                *known |= seen.verdict == Kind::Pass;
                match seen.verdict {
                    // Once is enough: the contract has no rule that may be broken now and then.
                    Kind::Fail => standard.faults.push(fault(Some(check), told(seen))),
                    Kind::Crash | Kind::Timeout if seen.rate.is_some_and(|rate| !rate.is_confirmed()) => {
                        standard.unsteady.insert(check.to_owned());
                    }
                    Kind::Crash | Kind::Timeout => standard.faults.push(fault(Some(check), told(seen))),
                    Kind::Pass => standard.slowest = standard.slowest.max(Duration::from_micros(seen.micros)),
                    _ => {}
                }
            }
        }
        let broken: BTreeSet<&str> =
            standard.faults.iter().filter_map(|fault| fault.check.as_deref()).collect::<BTreeSet<_>>();
        let is_fit = |check: &&str| passed[check] && !broken.contains(check) && !standard.unsteady.contains(*check);
        standard.fit = order.iter().copied().filter(is_fit).map(str::to_owned).collect();
        standard.idle = passed.values().filter(|passed| !**passed).count();
        standard
    }
}

/// A bad end in a line, with how often it was seen.
fn told(seen: &Seen) -> String {
    let rate = seen.rate.map(|rate| format!(" ({rate})")).unwrap_or_default();
    format!("{}{rate}: {}", seen.verdict.word(), seen.reason)
}

/// A check that kills a mutant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Kill {
    /// The check.
    pub check: String,
    /// [`Kind::Fail`], [`Kind::Crash`] or [`Kind::Timeout`].
    pub verdict: Kind,
    /// The rules that it saw broken; none where it crashed or hung.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
    /// How often it failed.
    pub rate: Rate,
    /// One line that says why.
    pub reason: String,
}

/// The kill that came first, with all that is known of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct First {
    /// Seconds from the boot, its confirmation included.
    pub seconds: f64,
    /// How many checks had been run, this one included.
    pub checks: usize,
    /// The failure told step by step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explanation: Option<String>,
}

/// What became of a mutant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fate", rename_all = "kebab-case")]
pub enum Fate {
    /// Checks kill it.
    Caught {
        /// All that do, as far as they were run; the first one first.
        kills: Vec<Kill>,
        /// The first one.
        first: First,
    },
    /// No check does, and all were run.
    Missed,
    /// It does not come to its checks, or dies without them.
    Unviable {
        /// How it ends.
        reason: String,
    },
    /// No check has killed it, and not all were run.
    Unfinished {
        /// Why not.
        reason: String,
    },
}

/// What became of the mutant by what was seen on it. What took its guest along must have been run again before.
pub fn fate(standard: &Standard, ran: &Ran) -> Fate {
    let fit: BTreeSet<&str> = standard.fit.iter().map(String::as_str).collect();
    let kills: Vec<(usize, Kill)> = ran
        .seen
        .iter()
        .enumerate()
        .filter(|(_, seen)| seen.verdict.is_bad() && fit.contains(seen.check.as_str()))
        .filter_map(|(at, seen)| {
            let rate = seen.rate.filter(|rate| rate.is_confirmed())?;
            let (check, verdict, rules, reason) =
                (seen.check.clone(), seen.verdict, seen.rules.clone(), seen.reason.clone());
            Some((at, Kill { check, verdict, rules, rate, reason }))
        })
        .collect();
    if let Some((at, _)) = kills.first() {
        let seen = &ran.seen[*at];
        let first = First { seconds: seen.at, checks: at + 1, explanation: seen.explanation.clone() };
        return Fate::Caught { kills: kills.into_iter().map(|(_, kill)| kill).collect(), first };
    }
    match &ran.stopped {
        Some(reason) if ran.begun == 0 => Fate::Unviable { reason: reason.clone() },
        Some(reason) => Fate::Unfinished { reason: reason.clone() },
        None => Fate::Missed,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// `"a:pass b:fail*2/2 c:crash"`: what checks came to, with how often it was seen.
    pub(crate) fn ran(text: &str) -> Ran {
        let seen = text.split_whitespace().enumerate().map(|(number, word)| {
            let (check, rest) = word.split_once(':').unwrap();
            let (verdict, rate) = rest.split_once('*').map_or((rest, None), |(verdict, rate)| (verdict, Some(rate)));
            let verdict = Kind::from_word(verdict).unwrap();
            let rate = rate.map(|rate| {
                let (failed, runs) = rate.split_once('/').unwrap();
                Rate { failed: failed.parse().unwrap(), runs: runs.parse().unwrap() }
            });
            let rules = if verdict == Kind::Fail { vec![Rule::Isolation] } else { vec![] };
            let reason = if verdict.is_bad() { format!("{check} went wrong") } else { String::new() };
            let explanation = verdict.is_bad().then(|| format!("{check}, step by step"));
            let at = number as f64 + 4.0;
            Seen { check: check.to_owned(), verdict, rules, reason, explanation, rate, micros: 50_000, at }
        });
        let seen: Vec<Seen> = seen.collect();
        let begun = seen.len();
        Ran { kernel: "7.2.0 #1".to_owned(), seen, begun, stopped: None, notes: vec![], seconds: 10.0 }
    }

    pub(crate) fn reference(name: &str, text: &str) -> Reference {
        Reference { name: name.to_owned(), ran: ran(text) }
    }

    fn standard(text: &str) -> Standard {
        Standard::by(&[reference("baseline", text)])
    }

    fn kills(fate: &Fate) -> Vec<&str> {
        match fate {
            Fate::Caught { kills, .. } => kills.iter().map(|kill| kill.check.as_str()).collect(),
            _ => vec![],
        }
    }

    #[test]
    fn a_check_kills_if_it_fails_there_again_and_passes_here() {
        let standard = standard("a:pass b:pass c:pass d:pass");
        let fate = fate(&standard, &ran("a:pass b:fail*2/2 c:crash*2/3 d:timeout*2/4"));
        assert_eq!(kills(&fate), ["b", "c", "d"]);
        let Fate::Caught { first, kills } = &fate else { panic!("{fate:?}") };
        assert_eq!((first.checks, first.seconds, kills[0].rate.to_string().as_str()), (2, 5.0, "2 of 2"));
        assert_eq!((kills[0].rules.as_slice(), kills[1].rules.len()), (&[Rule::Isolation][..], 0));
        assert_eq!(first.explanation.as_deref(), Some("b, step by step"));
    }

    #[test]
    fn what_did_not_fail_again_kills_nothing() {
        let standard = standard("a:pass b:pass");
        assert_eq!(fate(&standard, &ran("a:fail*1/4 b:crash")), Fate::Missed);
        // Xfail, skip and inconclusive are no kills either.
        assert_eq!(fate(&standard, &ran("a:xfail*2/2 b:inconclusive*2/2")), Fate::Missed);
    }

    #[test]
    fn what_does_not_pass_without_the_bug_kills_nothing() {
        let standard = standard("a:skip b:inconclusive c:xfail d:timeout*1/4 e:pass");
        assert_eq!((standard.fit.as_slice(), standard.idle), (&["e".to_owned()][..], 4));
        assert!(standard.faults.is_empty() && standard.unsteady.contains("d"));
        let fate = fate(&standard, &ran("a:fail*2/2 b:fail*2/2 c:fail*2/2 d:fail*2/2 e:pass unknown:fail*2/2"));
        assert_eq!(fate, Fate::Missed);
    }

    #[test]
    fn a_reference_that_fails_is_a_fault() {
        let all =
            [reference("baseline", "a:pass b:pass c:pass"), reference("correct", "a:fail*1/4 b:crash*2/2 c:pass")];
        let standard = Standard::by(&all);
        let told: Vec<_> =
            standard.faults.iter().map(|fault| (fault.reference.as_str(), fault.check.as_deref())).collect();
        assert_eq!(told, [("correct", Some("a")), ("correct", Some("b"))]);
        assert_eq!(standard.faults[0].reason, "fail (1 of 4): a went wrong");
        assert_eq!(standard.fit, ["c"], "and it is left out");
        let mut dead = reference("baseline", "");
        dead.ran.stopped = Some("no boot".to_owned());
        assert_eq!(Standard::by(&[dead]).faults[0].check, None);
    }

    #[test]
    fn one_reference_that_tests_it_is_enough() {
        // The stock kernel refuses the collapse; the correct form does it.
        let all = [reference("baseline", "a:inconclusive b:pass"), reference("correct", "b:inconclusive a:pass")];
        assert_eq!(Standard::by(&all).fit, ["a", "b"]);
    }

    #[test]
    fn what_does_not_come_to_its_checks_is_unviable() {
        let standard = standard("a:pass b:pass");
        let mut dead = ran("");
        dead.stopped = Some("no boot: panic".to_owned());
        assert_eq!(fate(&standard, &dead), Fate::Unviable { reason: "no boot: panic".to_owned() });
        let mut late = ran("a:pass");
        late.stopped = Some("interrupted".to_owned());
        assert_eq!(fate(&standard, &late), Fate::Unfinished { reason: "interrupted".to_owned() });
        let mut early = ran("a:fail*2/2");
        early.stopped = Some("a check failed, and --fail-fast was given".to_owned());
        assert_eq!(kills(&fate(&standard, &early)), ["a"]);
    }
}
