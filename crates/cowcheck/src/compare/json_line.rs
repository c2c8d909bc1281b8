//! A line of JSON, and what is wrong with it in our words.

use cowcheck_model::text::SyntaxError;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::results::clean;
use crate::report::json::VERSION;

/// The version alone: a newer one may have other fields.
#[derive(Deserialize)]
struct Header {
    cowcheck_results: u64,
}

/// A line and where it stands.
pub(crate) struct Line<'a> {
    /// Counted from 1.
    pub(crate) number: usize,
    /// Without its end.
    pub(crate) text: &'a str,
}

impl Line<'_> {
    /// What is wrong at `column`.
    pub(crate) fn error(&self, column: usize, found: impl Into<String>, expected: impl Into<String>) -> SyntaxError {
        SyntaxError { file: None, line: self.number, column, found: found.into(), expected: expected.into() }
    }

    /// What stands at `column`, which is counted from 1 in characters.
    pub(crate) fn shown(&self, column: usize) -> String {
        let rest: String = self.text.chars().skip(column.saturating_sub(1)).take(30).collect();
        if rest.trim().is_empty() { "the end of the line".to_owned() } else { format!("`{}`", clean(&rest)) }
    }

    /// Where `needle` stands, or 1.
    pub(crate) fn column_of(&self, needle: &str) -> usize {
        let before = self.text.find(needle).map_or("", |at| &self.text[..at]);
        before.chars().count() + 1
    }

    /// Does it end in the middle of its JSON?
    pub(crate) fn is_half(&self) -> bool {
        serde_json::from_str::<serde::de::IgnoredAny>(self.text).is_err_and(|error| error.is_eof())
    }

    /// Only one version of the schema is read.
    pub(crate) fn check_version(&self) -> Result<(), SyntaxError> {
        let header: Header = self.decode()?;
        if header.cowcheck_results == u64::from(VERSION) {
            return Ok(());
        }
        let found = format!("results of version {}", header.cowcheck_results);
        let expected = format!("version {VERSION}, the only one that cowcheck {} reads", env!("CARGO_PKG_VERSION"));
        Err(self.error(self.column_of("\"cowcheck_results\""), found, expected))
    }

    /// Decodes the line; says in our words what serde_json says in its own.
    pub(crate) fn decode<T: DeserializeOwned>(&self) -> Result<T, SyntaxError> {
        serde_json::from_str(self.text).map_err(|error| {
            // serde_json counts bytes, from 1; 0 stands for the very start.
            let at = error.column().saturating_sub(1).min(self.text.len());
            let at = (0..=at).rev().find(|at| self.text.is_char_boundary(*at)).unwrap_or(0);
            let column = self.text[..at].chars().count() + 1;
            let message = error.to_string();
            let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
            let (found, expected) = match message.split_once(", expected ") {
                Some((found, expected)) => (found.to_owned(), expected.to_owned()),
                None => match message.strip_prefix("missing field ") {
                    Some(field) => (format!("no {field}"), format!("a line with {field}")),
                    None => (self.shown(column), format!("JSON ({message})")),
                },
            };
            self.error(column, clean(&found), clean(&expected))
        })
    }
}
