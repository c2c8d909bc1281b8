//! A line of KTAP or TAP, taken apart.

use cowcheck_model::text::SyntaxError;
use cowcheck_model::verdict::Kind;

use crate::compare::results::clean;

/// What a line is, apart from where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word<'a> {
    /// `KTAP version 1`: the format and what follows the word `version`.
    Version(&'a str, &'a str),
    /// `1..9`: what follows the dots.
    Plan(&'a str),
    /// `# Subtest: name`
    Subtest(&'a str),
    /// `ok` or `not ok`, and what follows.
    Result(bool, &'a str),
    /// `Bail out! why`
    BailOut(&'a str),
    /// `# anything`
    Diagnostic(&'a str),
    /// Of no concern.
    Other,
}

/// A line, without the time stamp of a kernel log and the indentation.
pub(super) struct Line<'a> {
    pub(super) number: usize,
    /// How many characters stand before the word.
    pub(super) column: usize,
    /// How far it is indented; `# ` of kselftest's runner counts.
    pub(super) indent: usize,
    /// Is it indented by `# `?
    pub(super) hashed: bool,
    pub(super) word: Word<'a>,
}

impl<'a> Line<'a> {
    pub(super) fn new(number: usize, raw: &'a str) -> Self {
        let text = after_stamp(raw);
        let stamp = raw.len() - text.len();
        let blanks = text.len() - text.trim_start_matches([' ', '\t']).len();
        let body = text[blanks..].trim_end();
        // Without any `# ` taken away, then with all of them: `# Subtest: x` is one word, `# ok 1` two levels.
        let plain = Word::of(body);
        let inner = body.trim_start_matches("# ");
        let hashes = body.len() - inner.len();
        let nested = Word::of(inner);
        let line = |indent: usize, hashed, word| Line { number, column: stamp + indent, indent, hashed, word };
        match (plain, nested) {
            (Word::Diagnostic(_), Word::Other | Word::Diagnostic(_)) if hashes > 2 => {
                line(blanks + hashes - 2, true, Word::Diagnostic(inner))
            }
            (Word::Diagnostic(_), Word::Other | Word::Diagnostic(_)) => line(blanks, false, plain),
            (Word::Diagnostic(_), nested) => line(blanks + hashes, true, nested),
            (plain, _) => line(blanks, false, plain),
        }
    }

    pub(super) fn error(&self, skip: usize, found: &str, expected: impl Into<String>) -> SyntaxError {
        let found = if found.is_empty() { "the end of the line".to_owned() } else { format!("`{}`", clean(found)) };
        SyntaxError { file: None, line: self.number, column: self.column + skip + 1, found, expected: expected.into() }
    }
}

impl<'a> Word<'a> {
    fn of(body: &'a str) -> Word<'a> {
        for format in ["KTAP", "TAP"] {
            if let Some(version) = body.strip_prefix(format).and_then(|rest| rest.strip_prefix(" version ")) {
                return Word::Version(format, version);
            }
        }
        if let Some(rest) = body.strip_prefix("1..") {
            return Word::Plan(rest);
        }
        if let Some(name) = body.strip_prefix("# Subtest: ") {
            return Word::Subtest(name);
        }
        for (ok, word) in [(true, "ok"), (false, "not ok")] {
            match body.strip_prefix(word) {
                Some(rest) if rest.is_empty() || rest.starts_with(' ') => return Word::Result(ok, rest.trim_start()),
                _ => {}
            }
        }
        if let Some(why) = body.strip_prefix("Bail out!") {
            return Word::BailOut(why);
        }
        match body.strip_prefix('#') {
            Some(rest) => Word::Diagnostic(rest.strip_prefix(' ').unwrap_or(rest)),
            None => Word::Other,
        }
    }
}

/// Without what printk puts before a line: `<6>[   12.345678] `.
fn after_stamp(line: &str) -> &str {
    let stamped = || {
        let rest = match line.strip_prefix('<') {
            Some(level) => level.split_once('>').filter(|(level, _)| level.parse::<u8>().is_ok())?.1,
            None => line,
        };
        let (time, text) = rest.strip_prefix('[')?.split_once("] ")?;
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let (seconds, fraction) = time.trim_start().split_once('.')?;
        (digits(seconds) && digits(fraction)).then_some(text)
    };
    stamped().unwrap_or(line)
}

/// Takes `name # WORD reason` apart.
pub(super) fn split_directive(rest: &str) -> (&str, Option<&str>) {
    if let Some(directive) = rest.strip_prefix('#') {
        return ("", Some(directive.trim()));
    }
    match rest.split_once(" #") {
        Some((name, directive)) => (name, Some(directive.trim())),
        None => (rest, None),
    }
}

/// The verdict, and what the directive says behind its word.
pub(super) fn verdict_of(ok: bool, directive: Option<&str>) -> (Kind, &str) {
    let plain = if ok { Kind::Pass } else { Kind::Fail };
    let Some(directive) = directive else { return (plain, "") };
    let (word, reason) = directive.split_once(' ').unwrap_or((directive, ""));
    match word.to_ascii_uppercase().as_str() {
        "SKIP" | "SKIPPED" => (Kind::Skip, reason),
        "XFAIL" => (Kind::Xfail, reason),
        "TODO" if !ok => (Kind::Xfail, reason),
        "TODO" | "XPASS" => (plain, reason),
        "TIMEOUT" => (Kind::Timeout, reason),
        "ERROR" => (Kind::Crash, reason),
        _ => (plain, directive),
    }
}
