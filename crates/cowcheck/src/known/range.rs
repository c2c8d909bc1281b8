//! A range of kernels.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::version::Version;

/// `< 5.18`, `>= 6.12`, `5.9 .. 5.19` (the first has it, the last has it no more) or `6.18.44`, that one alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Range {
    text: String,
    from: Option<Version>,
    before: Option<Version>,
    only: Option<Version>,
}

impl Range {
    /// Is this kernel in it? One whose version is not known is in none.
    pub(super) fn has(&self, kernel: &Version) -> bool {
        let (key, of) = (kernel.key(), |bound: &Option<Version>| bound.as_ref().map(Version::key));
        kernel.is_known()
            && of(&self.from).is_none_or(|from| key >= from)
            && of(&self.before).is_none_or(|before| key < before)
            && of(&self.only).is_none_or(|only| key == only)
    }
}

impl FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Range, String> {
        let version = |word: &str| {
            let expected = "< 5.18, >= 6.12, 5.9 .. 5.19 or 6.18.44";
            Version::read(word.trim()).ok_or_else(|| format!("`{text}`, expected a range like {expected}"))
        };
        let mut range = Range { text: text.to_owned(), from: None, before: None, only: None };
        if let Some(word) = text.trim().strip_prefix(">=") {
            range.from = Some(version(word)?);
        } else if let Some(word) = text.trim().strip_prefix('<') {
            range.before = Some(version(word)?);
        } else if let Some((from, before)) = text.split_once("..") {
            (range.from, range.before) = (Some(version(from)?), Some(version(before)?));
        } else {
            range.only = Some(version(text)?);
        }
        Ok(range)
    }
}

impl TryFrom<String> for Range {
    type Error = String;

    fn try_from(text: String) -> Result<Range, String> {
        text.parse()
    }
}

impl From<Range> for String {
    fn from(range: Range) -> String {
        range.text
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_in_it_or_not() {
        let has =
            |range: &str, kernel: &str| range.parse::<Range>().unwrap().has(&Version::of(Some(kernel), None, None, ""));
        assert!(has("< 5.18", "5.17.99-x #1") && !has("< 5.18", "5.18.0 #1") && has("< 5.18", "5.18.0-rc3 #1"));
        assert!(has(">= 6.12", "6.12.0") && !has(">= 6.12", "6.11.9"));
        assert!(has("5.9 .. 5.19", "5.9.0") && !has("5.9 .. 5.19", "5.19.0") && !has("5.9..5.19", "5.8.1"));
        assert!(has("6.18.44", "6.18.44-fc-v595 #1") && !has("6.18.44", "6.18.43"));
        assert!(!has(">= 1.0", "nonsense"));
        for text in ["", "5", "< x", "5.9 .. ", "up to 5.10", "5.10-1"] {
            assert!(text.parse::<Range>().is_err(), "{text}");
        }
    }
}
