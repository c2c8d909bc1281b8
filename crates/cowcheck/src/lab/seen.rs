//! What the checks saw on one kernel, collected as it comes.

use std::io;
use std::time::{Duration, Instant};

use cowcheck_model::contract::Rule;
use cowcheck_model::verdict::Kind;
use serde::{Deserialize, Serialize};

use crate::report::Sink;
use crate::report::event::{Event, Planned, Rate};

/// What one check came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// Its id.
    pub check: String,
    /// The verdict.
    pub verdict: Kind,
    /// The rules that were broken, each once, the first violation's first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
    /// One line that says why; empty for a pass.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The failure told step by step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explanation: Option<String>,
    /// How often it failed, where it did and was run again. A check that took its guest along has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// Its own wall time, in microseconds.
    pub micros: u64,
    /// Wall time until then since the kernel was booted, in seconds.
    pub at: f64,
}

/// What all of them came to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Ran {
    /// The kernel, as uname(2) has it; empty where none was up.
    pub kernel: String,
    /// In the order in which they ended.
    pub seen: Vec<Seen>,
    /// How many were begun.
    pub begun: usize,
    /// Why the rest was not run, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
    /// What the kernel or the guest said that a person should know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Wall time from the first boot to the end, in seconds.
    pub seconds: f64,
}

impl Ran {
    /// What was run afterwards on the same kernel.
    pub fn join(&mut self, mut later: Ran) {
        later.seen.iter_mut().for_each(|seen| seen.at += self.seconds);
        if self.kernel.is_empty() {
            self.kernel = later.kernel;
        }
        self.seen.append(&mut later.seen);
        self.notes.append(&mut later.notes);
        self.begun += later.begun;
        self.seconds += later.seconds;
        self.stopped = later.stopped;
    }

    /// What guests saw of which each had a share of the checks, in the order of the whole. It takes as long as all of them
    /// one after the other.
    pub fn whole(shares: Vec<Ran>) -> Ran {
        let mut whole = Ran::default();
        let mut seen = Vec::new();
        for (number, mut share) in shares.into_iter().enumerate() {
            seen.extend(share.seen.drain(..).enumerate().map(|(place, seen)| (place, number, seen)));
            let stopped = whole.stopped.take();
            whole.join(share);
            whole.stopped = stopped.or(whole.stopped);
        }
        seen.sort_by_key(|(place, number, _)| (*place, *number));
        whole.seen = seen.into_iter().map(|(.., seen)| seen).collect();
        whole
    }

    /// What this check came to, the last time.
    pub fn of(&self, check: &str) -> Option<&Seen> {
        self.seen.iter().rev().find(|seen| seen.check == check)
    }
}

impl Seen {
    /// Did it end so badly that nobody knows whether it would again? It took its guest along, or would not be told.
    pub fn is_lost(&self) -> bool {
        self.verdict.is_bad() && self.rate.is_none()
    }
}

/// The sink.
pub struct Collect<'a> {
    told: &'a dyn Fn(&Seen),
    limit: Duration,
    ran: Ran,
    plan: Vec<Planned>,
    began: Instant,
    /// When the last check began.
    check: Instant,
}

impl<'a> Collect<'a> {
    /// The kernel is booted now. `told` hears of each outcome; `limit` is the checks' time limit.
    pub fn new(limit: Duration, told: &'a dyn Fn(&Seen)) -> Collect<'a> {
        let now = Instant::now();
        Collect { told, limit, ran: Ran::default(), plan: Vec::new(), began: now, check: now }
    }

    /// All of it.
    pub fn finish(mut self) -> Ran {
        self.ran.seconds = self.began.elapsed().as_secs_f64();
        self.ran
    }
}

impl Sink for Collect<'_> {
    fn event(&mut self, event: Event<'_>) -> io::Result<()> {
        match event {
            Event::Start(start) => {
                self.ran.kernel.clone_from(&start.kernel);
                self.plan.clone_from(&start.plan);
            }
            Event::Note(text) => self.ran.notes.push(text.to_owned()),
            Event::Begin(_) => {
                self.ran.begun += 1;
                self.check = Instant::now();
            }
            Event::Outcome(outcome) => {
                let Some(planned) = self.plan.get(outcome.index) else { return Ok(()) };
                let mut rules = Vec::new();
                for violation in outcome.verdict.violations() {
                    if !rules.contains(&violation.rule) {
                        rules.push(violation.rule);
                    }
                }
                // The clock of a guest whose host is busy was seen to run ahead of ours.
                let (verdict, reason) = match outcome.verdict.kind() {
                    Kind::Timeout if outcome.again.is_some() && self.check.elapsed() < self.limit => (
                        Kind::Inconclusive,
                        "its guest's clock ran ahead: the time limit has not passed here".to_owned(),
                    ),
                    kind => (kind, outcome.verdict.reason()),
                };
                let seen = Seen {
                    check: planned.id.clone(),
                    verdict,
                    rules,
                    reason,
                    explanation: outcome.explanation.clone().filter(|_| outcome.verdict.kind().is_bad()),
                    rate: outcome.again,
                    micros: outcome.micros,
                    at: self.began.elapsed().as_secs_f64(),
                };
                (self.told)(&seen);
                self.ran.seen.push(seen);
            }
            Event::End { stopped, .. } => self.ran.stopped = stopped.map(str::to_owned),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::report::sample;

    #[test]
    fn shares_are_put_in_the_order_of_the_whole() {
        let share = |text: &str, stopped: Option<&str>| Ran {
            stopped: stopped.map(str::to_owned),
            ..crate::lab::judge::tests::ran(text)
        };
        let whole = Ran::whole(vec![share("a:pass c:pass", Some("a panic")), share("b:pass d:pass e:pass", None)]);
        let checks: Vec<&str> = whole.seen.iter().map(|seen| seen.check.as_str()).collect();
        assert_eq!(checks, ["a", "b", "c", "d", "e"]);
        assert_eq!(whole.stopped.as_deref(), Some("a panic"), "wherever it was");
    }

    #[test]
    fn a_run_is_collected() {
        let lost = Cell::new(0);
        let count = |seen: &Seen| lost.set(lost.get() + usize::from(seen.is_lost()));
        let mut collect = Collect::new(Duration::ZERO, &count);
        sample::play(&mut collect);
        assert_eq!(lost.get(), 3, "nobody has run them again");
        let ran = collect.finish();
        assert_eq!((ran.seen.len(), ran.stopped.as_deref()), (8, None));
        let failed = ran.seen.iter().find(|seen| seen.verdict == Kind::Fail).unwrap();
        assert_eq!(failed.rules, [Rule::Isolation], "each once");
        assert!(!failed.reason.is_empty());
        let back: Ran = serde_json::from_str(&serde_json::to_string(&ran).unwrap()).unwrap();
        assert_eq!(back.seen.len(), ran.seen.len());
    }
}
