//! What was found.

use cowcheck_explore::rate::Rate;
use cowcheck_explore::signature::signature;
use cowcheck_model::checker::judge;
use cowcheck_model::explain::explain;
use cowcheck_model::trace::Trace;
use cowcheck_model::verdict::{Kind, Verdict};
use serde::{Deserialize, Serialize};

use crate::executor::explore::{Smallest, Wrong};
use crate::known::Known;

/// A finding. Two with the same signature are one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// `explore/RULE/MEMORY/STEP+STEP`.
    pub signature: String,
    /// The known bug that it is, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known: Option<String>,
    /// What is wrong, in a sentence.
    pub sentence: String,
    /// The kernel.
    pub kernel: String,
    /// The scenario that showed it first, by name.
    pub name: String,
    /// How many scenarios showed it.
    pub times: u64,
    /// How often the scenario showed it when it was run again: hits and runs.
    pub rate: (u32, u32),
    /// How many smaller ones were tried.
    #[serde(default)]
    pub asked: u32,
    /// Was it shrunk to the end?
    #[serde(default)]
    pub shrunk: bool,
    /// The scenario as it was found.
    pub as_found: String,
    /// Shrunk.
    pub scenario: String,
    /// A trace that shows it; none where the kernel did not survive it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<Trace>,
    /// The failure told step by step.
    pub explanation: String,
}

impl Finding {
    /// As it was found.
    pub fn new(name: &str, trace: Trace, known: &Known) -> Option<Finding> {
        let text = trace.scenario.to_string();
        Finding::from(name, &text, trace, known)
    }

    fn from(name: &str, as_found: &str, trace: Trace, known: &Known) -> Option<Finding> {
        let verdict = judge(&trace);
        let wrong = Wrong::of(&verdict)?;
        let signature = signature(&wrong.to_string(), &trace.scenario);
        let weighed = known.weigh(&signature, &trace.kernel, verdict.clone());
        let known = match weighed {
            Verdict::Xfail { bug, .. } => Some(bug),
            _ => None,
        };
        Some(Finding {
            signature,
            known,
            sentence: verdict.reason(),
            kernel: trace.kernel.clone(),
            name: name.to_owned(),
            times: 1,
            rate: (0, 0),
            asked: 0,
            shrunk: false,
            as_found: as_found.to_owned(),
            scenario: trace.scenario.to_string(),
            explanation: explain(&trace, &verdict),
            trace: Some(trace),
        })
    }

    /// The same, made smaller.
    pub fn smaller(&self, smallest: Smallest, known: &Known) -> Option<Finding> {
        let Smallest { trace, rate, asked, finished } = smallest;
        let small = Finding::from(&self.name, &self.as_found, trace, known)?;
        Some(Finding { rate, asked, shrunk: finished, ..small })
    }

    /// A scenario that the kernel did not survive.
    pub fn fatal(
        name: &str,
        scenario: &cowcheck_model::scenario::Scenario,
        kernel: &str,
        verdict: &Verdict,
        console: &str,
    ) -> Finding {
        let text = scenario.to_string();
        Finding {
            signature: signature(verdict.kind().word(), scenario),
            known: None,
            sentence: verdict.reason(),
            kernel: kernel.to_owned(),
            name: name.to_owned(),
            times: 1,
            rate: (1, 1),
            asked: 0,
            shrunk: false,
            as_found: text.clone(),
            scenario: text,
            trace: None,
            explanation: format!("{}\n{console}", verdict.reason()),
        }
    }

    /// How often it shows.
    pub fn rate(&self) -> Rate {
        Rate { hits: self.rate.0, runs: self.rate.1 }
    }

    /// Does it count? A process that died once, or was slow once, and never again does not: a rule that was broken does
    /// however seldom that was.
    pub fn counts(&self) -> bool {
        let kind = self.trace.as_ref().map_or(Kind::Fail, |trace| judge(trace).kind());
        kind == Kind::Fail || self.rate.0 > 0
    }

    /// One more of the same: the plainer one stays, and both count.
    pub fn join(&mut self, other: Finding) {
        let times = self.times + other.times;
        let steps = |finding: &Finding| (!finding.shrunk, finding.scenario.lines().count(), finding.scenario.clone());
        let name = if by_number(&self.name) <= by_number(&other.name) { &self.name } else { &other.name }.clone();
        if steps(&other) < steps(self) {
            *self = other;
        }
        self.times = times;
        self.name = name;
    }
}

fn by_number(name: &str) -> (u64, &str) {
    (name.split('~').next().and_then(|number| number.parse().ok()).unwrap_or(u64::MAX), name)
}
