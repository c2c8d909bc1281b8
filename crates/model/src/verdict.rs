//! What a trace comes to.

use serde::{Deserialize, Serialize};

use crate::contract::Rule;

/// A broken rule: where it was seen and what would have been right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// Which rule.
    pub rule: Rule,
    /// The step in which it was seen, from 1; 0 for what was seen after the last.
    pub step: u32,
    /// The pages, as in `0-511`; empty where the rule is not about pages.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub pages: String,
    /// What was seen there.
    pub seen: String,
    /// What the contract allows there.
    pub allowed: String,
    /// The same as a sentence.
    pub sentence: String,
}

/// What a check came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "lowercase")]
pub enum Verdict {
    /// The kernel kept the contract, and the set-up was reached.
    Pass,
    /// The kernel broke the contract.
    Fail {
        /// What was seen; at least one.
        violations: Vec<Violation>,
    },
    /// The kernel broke the contract in a way that is known.
    Xfail {
        /// The known bug.
        bug: String,
        /// What was seen; at least one.
        violations: Vec<Violation>,
    },
    /// It was not run.
    Skip {
        /// Why not.
        reason: String,
        /// What would make it run; empty if nothing on this machine would.
        remedy: String,
    },
    /// It was run, but the set-up that it is about was not reached, so nothing was tested.
    Inconclusive {
        /// What was not reached, and why as far as it is known.
        reason: String,
    },
    /// It did not end in its time.
    Timeout {
        /// Where it hung.
        reason: String,
    },
    /// A process of the family died for a reason that is not the contract's.
    Crash {
        /// Who died, where, how.
        reason: String,
    },
}

/// The names of the verdicts, without what they carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// See [`Verdict::Pass`].
    Pass,
    /// See [`Verdict::Fail`].
    Fail,
    /// See [`Verdict::Xfail`].
    Xfail,
    /// See [`Verdict::Skip`].
    Skip,
    /// See [`Verdict::Inconclusive`].
    Inconclusive,
    /// See [`Verdict::Timeout`].
    Timeout,
    /// See [`Verdict::Crash`].
    Crash,
}

impl Kind {
    /// All of them, in the order in which they are told.
    pub const ALL: [Kind; 7] =
        [Kind::Pass, Kind::Fail, Kind::Xfail, Kind::Skip, Kind::Inconclusive, Kind::Timeout, Kind::Crash];

    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Pass => "pass",
            Kind::Fail => "fail",
            Kind::Xfail => "xfail",
            Kind::Skip => "skip",
            Kind::Inconclusive => "inconclusive",
            Kind::Timeout => "timeout",
            Kind::Crash => "crash",
        }
    }

    /// Did the check end as it must not? Skipped and inconclusive ones tested nothing, and what is known is no news.
    pub fn is_bad(self) -> bool {
        matches!(self, Kind::Fail | Kind::Timeout | Kind::Crash)
    }

    /// By its word.
    pub fn from_word(word: &str) -> Option<Kind> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

impl Verdict {
    /// The name, without what it carries.
    pub fn kind(&self) -> Kind {
        match self {
            Verdict::Pass => Kind::Pass,
            Verdict::Fail { .. } => Kind::Fail,
            Verdict::Xfail { .. } => Kind::Xfail,
            Verdict::Skip { .. } => Kind::Skip,
            Verdict::Inconclusive { .. } => Kind::Inconclusive,
            Verdict::Timeout { .. } => Kind::Timeout,
            Verdict::Crash { .. } => Kind::Crash,
        }
    }

    /// What was seen, where rules were broken.
    pub fn violations(&self) -> &[Violation] {
        match self {
            Verdict::Fail { violations } | Verdict::Xfail { violations, .. } => violations,
            _ => &[],
        }
    }

    /// One line that says why; empty for a pass.
    pub fn reason(&self) -> String {
        match self {
            Verdict::Pass => String::new(),
            Verdict::Fail { violations } => violations.first().map(|first| first.sentence.clone()).unwrap_or_default(),
            Verdict::Xfail { bug, .. } => bug.clone(),
            Verdict::Skip { reason, .. }
            | Verdict::Inconclusive { reason }
            | Verdict::Timeout { reason }
            | Verdict::Crash { reason } => reason.clone(),
        }
    }
}
