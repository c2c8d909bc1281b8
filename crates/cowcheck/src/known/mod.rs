//! Bugs that are known, as data: which checks fail by them, on which kernels, and where they were fixed.
//!
//! A check that fails as an entry says is an `xfail` that names the bug; any other failure stays one. The entries that
//! come with the program are in `shipped.toml`; `--known FILE` adds a person's own.

mod range;

use std::path::Path;

use cowcheck_model::contract::Rule;
use cowcheck_model::text::SyntaxError;
use cowcheck_model::verdict::Verdict;
use serde::{Deserialize, Serialize};

use crate::suite::glob;
use crate::version::Version;
use range::Range;

/// The entries that come with the program.
const SHIPPED: &str = include_str!("shipped.toml");

/// A bug.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bug {
    /// What is wrong, in a line; with the CVE where it has one.
    pub title: String,
    /// The release and the commit that fixed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed: Option<String>,
    /// The kernels that have it; all if none are given.
    #[serde(default)]
    pub kernels: Vec<Range>,
    /// Patterns of the ids of checks that fail by it.
    pub checks: Vec<String>,
    /// The rules that may be broken; all if none are given.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// May the check run out of time by it?
    #[serde(default)]
    pub hangs: bool,
    /// Does it show now and then only? Then a pass is nothing to tell.
    #[serde(default)]
    pub sometimes: bool,
    /// The last day on which it counts, as in 2027-01-31.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
}

impl Bug {
    /// As a verdict names it.
    pub fn named(&self) -> String {
        match &self.fixed {
            Some(fixed) => format!("{} (fixed: {fixed})", self.title),
            None => self.title.clone(),
        }
    }

    /// Does it show in the check, or finding, of this id?
    pub fn is_about(&self, id: &str) -> bool {
        self.checks.iter().any(|pattern| glob::matches(pattern, id))
    }

    fn is_in(&self, kernel: &Version) -> bool {
        self.kernels.is_empty() || self.kernels.iter().any(|range| range.has(kernel))
    }
}

/// Bugs that are known, those of the person first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    #[serde(default, rename = "bug")]
    bugs: Vec<Bug>,
}

/// Why a file of bugs was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("{file}: cannot be read: {source}")]
    Io {
        /// The file.
        file: String,
        /// What happened.
        source: std::io::Error,
    },
    /// It is not as it should be.
    #[error(transparent)]
    Syntax(#[from] SyntaxError),
}

impl Known {
    /// Those that come with the program.
    pub fn shipped() -> Known {
        // A test reads it.
        Known::parse(SHIPPED, "shipped.toml").unwrap_or_default()
    }

    /// The shipped ones and those of a person's files. Entries that have expired by `today` (as in 2027-01-31) are left
    /// out, and told.
    pub fn with(files: &[impl AsRef<Path>], today: &str) -> Result<(Known, Vec<String>), Error> {
        let mut all = Known::default();
        for file in files {
            let name = file.as_ref().display().to_string();
            let text = std::fs::read_to_string(file).map_err(|source| Error::Io { file: name.clone(), source })?;
            all.bugs.extend(Known::parse(&text, &name)?.bugs);
        }
        all.bugs.extend(Known::shipped().bugs);
        let expired = |bug: &Bug| bug.expires.as_deref().is_some_and(|last| last < today);
        let told = all.bugs.iter().filter(|bug| expired(bug)).map(|bug| {
            let last = bug.expires.as_deref().unwrap_or_default();
            format!("a known bug expired on {last} and counts as a failure again: {}", bug.title)
        });
        let told = told.collect();
        all.bugs.retain(|bug| !expired(bug));
        Ok((all, told))
    }

    fn parse(text: &str, name: &str) -> Result<Known, SyntaxError> {
        let known: Known = toml::from_str(text).map_err(|error| {
            let message = error.message().lines().next().unwrap_or_default();
            let (found, expected) =
                message.split_once(", expected ").unwrap_or((message, "an entry as docs/known.md has it"));
            SyntaxError::at(text, error.span().map_or(0, |span| span.start), found, expected).in_file(name)
        })?;
        if let Some(bug) = known.bugs.iter().find(|bug| bug.expires.as_deref().is_some_and(|date| !is_date(date))) {
            let line = text.lines().position(|line| line.contains("expires")).unwrap_or(0) + 1;
            let found = format!("expires = \"{}\"", bug.expires.as_deref().unwrap_or_default());
            let expected = "a day, as in 2027-01-31".to_owned();
            return Err(SyntaxError { file: Some(name.to_owned()), line, column: 1, found, expected });
        }
        Ok(known)
    }

    /// The bugs that this check may show on this kernel (release and version, as uname(2) has them).
    pub fn of<'a>(&'a self, id: &'a str, kernel: &str) -> impl Iterator<Item = &'a Bug> {
        let version = Version::of(Some(kernel), None, None, "");
        self.bugs.iter().filter(move |bug| bug.is_in(&version) && bug.is_about(id))
    }

    /// The bugs of this kernel by which a process may never end.
    pub fn hanging(&self, kernel: &str) -> Vec<Bug> {
        let version = Version::of(Some(kernel), None, None, "");
        self.bugs.iter().filter(|bug| bug.hangs && bug.is_in(&version)).cloned().collect()
    }

    /// A failure that is known becomes an `xfail`, as does a timeout where an entry says that the bug hangs. A failure that
    /// also breaks a rule which no entry names is not known.
    pub fn weigh(&self, id: &str, kernel: &str, verdict: Verdict) -> Verdict {
        let violations = match verdict {
            Verdict::Fail { violations } => violations,
            Verdict::Timeout { .. } => {
                let bug = self.of(id, kernel).find(|bug| bug.hangs);
                return bug.map_or(verdict, |bug| Verdict::Xfail { bug: bug.named(), violations: vec![] });
            }
            _ => return verdict,
        };
        let explains =
            |bug: &&Bug| bug.rules.is_empty() || violations.iter().all(|violation| bug.rules.contains(&violation.rule));
        match self.of(id, kernel).find(explains) {
            Some(bug) => Verdict::Xfail { bug: bug.named(), violations },
            None => Verdict::Fail { violations },
        }
    }

    /// The bugs that should have shown in a check that passed.
    pub fn missed<'a>(&'a self, id: &'a str, kernel: &str) -> impl Iterator<Item = &'a Bug> {
        self.of(id, kernel).filter(|bug| !bug.sometimes)
    }
}

/// Today, as in 2027-01-31 (UTC).
pub fn today() -> String {
    chrono::Utc::now().format("%Y-%m-%d").to_string()
}

fn is_date(text: &str) -> bool {
    chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").is_ok() && text.len() == 10
}

#[cfg(test)]
mod tests {
    use cowcheck_model::verdict::{Kind, Violation};

    use super::*;

    fn fail(rules: &[Rule]) -> Verdict {
        let violation = |rule: &Rule| Violation {
            rule: *rule,
            step: 1,
            pages: "0".to_owned(),
            seen: String::new(),
            allowed: String::new(),
            sentence: String::new(),
        };
        Verdict::Fail { violations: rules.iter().map(violation).collect() }
    }

    #[test]
    fn what_is_shipped_is_read() {
        let known = Known::parse(SHIPPED, "shipped.toml").unwrap();
        assert!(known.bugs.len() >= 5);
        assert_eq!(Known::shipped(), known);
        // Every pattern means a check that there is.
        let catalogue = crate::suite::catalogue(&crate::suite::Sizes::widest());
        for bug in &known.bugs {
            // What the explorer finds has a name only when it was found.
            for pattern in bug.checks.iter().filter(|pattern| !pattern.starts_with("explore/")) {
                assert!(catalogue.iter().any(|check| glob::matches(pattern, &check.id)), "{pattern}");
            }
        }
    }

    #[test]
    fn a_known_failure_is_expected_on_its_kernels_only() {
        let known = Known::shipped();
        let kind = |id, kernel, rules: &[Rule]| known.weigh(id, kernel, fail(rules)).kind();
        let old = "5.10.0-46-cloud-amd64 #1 SMP Debian 5.10.262-1 (2026-07-31)";
        let new = "6.1.0-56-cloud-amd64 #1 SMP Debian 6.1.192-2";
        let pin = [Rule::PinCoherence];
        assert_eq!(kind("cow/uring-ro/base", old, &pin), Kind::Xfail);
        assert_eq!(kind("cow/uring-ro/base", new, &pin), Kind::Fail);
        assert_eq!(kind("cow/uring-ro/base", "4.19.1 #1", &pin), Kind::Fail);
        assert_eq!(kind("cow/uring-ro/base", old, &[Rule::PinCoherence, Rule::Integrity]), Kind::Fail);
        assert_eq!(kind("cow/uring-ro/thp-2m", old, &pin), Kind::Fail);
        assert_eq!(kind("cow/vmsplice-child/hugetlb-2m", new, &[Rule::Isolation]), Kind::Xfail);
        // Pins of anonymous pages have been right since 5.19, those of files' pages since 6.2.
        assert_eq!(kind("cow/ro-pin-fast-shared/hugetlb-2m", old, &pin), Kind::Xfail);
        assert_eq!(kind("cow/ro-pin-fast-shared/hugetlb-2m", new, &pin), Kind::Fail);
        assert_eq!(kind("cow/ro-pin-fast-exclusive/thp-pte-swapped-2m", old, &pin), Kind::Xfail);
        assert_eq!(kind("cow/ro-pin-exclusive/hugetlb-2m", old, &pin), Kind::Fail);
        assert_eq!(kind("cow/file-ro-pin/huge-zero", new, &pin), Kind::Xfail);
        assert_eq!(kind("cow/file-ro-pin/huge-zero", new, &[Rule::Exclusivity]), Kind::Fail);
        assert_eq!(kind("cow/file-ro-pin/huge-zero", "6.2.0 #1", &pin), Kind::Fail);
        // What the explorer finds has its names, too.
        let lost = "explore/pin-coherence/anon/free+pageout+pin-rw+read+unpin+write+write-via";
        assert_eq!(kind(lost, "6.18.44 #1", &pin), Kind::Xfail);
        assert_eq!(kind("explore/pin-coherence/anon/pageout+pin-rw+read+write-via", "6.18.44 #1", &pin), Kind::Fail);
        assert_eq!(kind("explore/pin-coherence/hugetlb/fork+pin-rw+write", old, &pin), Kind::Xfail);
        for stale in [
            "explore/pin-coherence/anon/mprotect-ro+pin-rw+poke",
            "explore/pin-coherence/anon/mremap+pin-rw+probe-write+uffd-wp",
            "explore/pin-coherence/anon/pin-ro+probe-write",
            "explore/pin-coherence/anon/fork+pin-ro+probe-write",
        ] {
            assert_eq!(kind(stale, old, &pin), Kind::Xfail);
        }
        assert_eq!(kind("explore/isolation/thp/fork+read-via+splice+write", old, &[Rule::Isolation]), Kind::Xfail);
        assert_eq!(kind("explore/isolation/thp/fork+read+write", old, &[Rule::Isolation]), Kind::Fail);
        assert_eq!(known.weigh("cow/uring-ro/base", old, Verdict::Pass), Verdict::Pass);
        let hung = |id| known.weigh(id, "6.1.192 #1", Verdict::Timeout { reason: "it is running".to_owned() }).kind();
        assert_eq!(hung("markers/uffd-wp-fork/hugetlb"), Kind::Xfail);
        assert_eq!(hung("markers/uffd-wp-fork/base"), Kind::Timeout);
        assert_eq!(hung("cow/uring-ro/base"), Kind::Timeout);
        let hanging = |kernel| {
            known.hanging(kernel).iter().filter(|bug| bug.is_about("explore/timeout/shmem-thp/pin-ro+touch")).count()
        };
        assert_eq!((hanging(old), hanging("6.18.44 #1")), (0, 1));
        assert_eq!(known.missed("cow/uring-ro/base", old).count(), 1);
        assert_eq!(known.missed("cow/uring-ro/base", new).count(), 0);
    }

    #[test]
    fn a_persons_entry_counts_until_it_expires() {
        let path = std::env::temp_dir().join(format!("cowcheck-known-{}.toml", std::process::id()));
        let text = "[[bug]]\ntitle = \"mine\"\nchecks = [\"cow/fork-write/*\"]\nexpires = \"2026-12-31\"\n";
        std::fs::write(&path, text).unwrap();
        let kind = |known: &Known| known.weigh("cow/fork-write/base", "7.2.1 #1", fail(&[Rule::Isolation])).kind();
        let (known, told) = Known::with(&[&path], "2026-12-31").unwrap();
        assert_eq!((kind(&known), told.len()), (Kind::Xfail, 0));
        let (known, told) = Known::with(&[&path], "2027-01-01").unwrap();
        assert_eq!(kind(&known), Kind::Fail);
        assert_eq!(told, ["a known bug expired on 2026-12-31 and counts as a failure again: mine"]);
        std::fs::remove_file(&path).unwrap();
        let error = Known::with(&[&path], "2027-01-01").unwrap_err().to_string();
        assert!(error.ends_with("cannot be read: No such file or directory (os error 2)"), "{error}");
    }

    #[test]
    fn an_error_has_its_place() {
        let error = |text: &str| Known::parse(text, "mine.toml").unwrap_err().to_string();
        assert!(error("[[bug]]\ntitle = 7\n").starts_with("mine.toml:2:9: found invalid type: integer"));
        assert!(
            error("[[bug]]\ntitle = \"x\"\nchecks = []\nkernel = \"5.10\"\n")
                .starts_with("mine.toml:4:1: found unknown field")
        );
        assert!(error("[[bug]]\ntitle = \"x\"\n").contains("missing field `checks`"));
        let range = "[[bug]]\ntitle = \"x\"\nchecks = []\nkernels = [\"up to 5.10\"]\n";
        let expected =
            "mine.toml:4:11: found `up to 5.10`, expected a range like < 5.18, >= 6.12, 5.9 .. 5.19 or 6.18.44";
        assert_eq!(error(range), expected);
        let date = "[[bug]]\ntitle = \"x\"\nchecks = []\nexpires = \"soon\"\n";
        assert_eq!(error(date), "mine.toml:4:1: found expires = \"soon\", expected a day, as in 2027-01-31");
    }
}
