//! Reads KTAP 1 and TAP 13 or 14: ours, the kernel's cow.c in its old and new form, subtests by
//! indentation, and what kselftest's runner makes of a program's output by putting `# ` before every
//! line. A kernel log with time stamps will do; lines that are neither are passed over.

use cowcheck_model::text::SyntaxError;
use cowcheck_model::verdict::Kind;

use super::results::{MAX_ROWS, Results, Row, Source, clean};
use crate::report::ktap::{INCONCLUSIVE, NOT_RUN};
use crate::report::split_repeat;

/// How deep subtests may lie in each other.
const MAX_DEPTH: usize = 16;

/// How many remarks on the numbering are kept; a file with every number wrong needs no more.
const MAX_REMARKS: usize = 10;

/// How many diagnostic lines before a result are kept as its reason.
const MAX_DIAGNOSTICS: usize = 3;

pub(super) fn read(text: &str, name: &str) -> Result<Results, SyntaxError> {
    let mut reader = Reader::default();
    let mut lines = text.lines().enumerate().peekable();
    let mut last = 0;
    while let Some((index, raw)) = lines.next() {
        last = index + 1;
        let line = Line::new(index + 1, raw);
        let half = lines.peek().is_none() && !text.ends_with('\n');
        if half && reader.may_be_cut(&line) {
            reader.truncated = true;
            reader.notes.push(format!("line {} is cut off and was not read", line.number));
            break;
        }
        reader.line(&line)?;
    }
    reader.finish(name, last)
}

/// What a line is, apart from where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word<'a> {
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
struct Line<'a> {
    number: usize,
    /// How many characters stand before the word.
    column: usize,
    /// How far it is indented; `# ` of kselftest's runner counts.
    indent: usize,
    /// Is it indented by `# `?
    hashed: bool,
    word: Word<'a>,
}

impl<'a> Line<'a> {
    fn new(number: usize, raw: &'a str) -> Self {
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

    fn error(&self, skip: usize, found: &str, expected: impl Into<String>) -> SyntaxError {
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

/// One level of tests.
struct Frame {
    indent: usize,
    name: Option<String>,
    plan: Option<u64>,
    /// How many results there were.
    seen: u64,
    /// The number of the last one.
    last: u64,
    /// Where its rows begin.
    first_row: usize,
}

impl Frame {
    /// Has nothing been told on this level yet?
    fn is_fresh(&self) -> bool {
        self.seen == 0 && self.plan.is_none()
    }
}

/// What diagnostic lines said since the last result.
#[derive(Default)]
struct Said {
    /// `# [RUN] ` of cow.c.
    run: Option<String>,
    /// `# peer: ` of ours.
    peer: Option<String>,
    /// `# why: ` of ours.
    why: Option<String>,
    other: Vec<String>,
}

#[derive(Default)]
struct Reader {
    frames: Vec<Frame>,
    /// The format of the first version line.
    source: Option<Source>,
    kernel: Option<String>,
    said: Said,
    rows: Vec<Row>,
    truncated: bool,
    notes: Vec<String>,
    remarks: usize,
}

impl Reader {
    fn ours(&self) -> bool {
        self.source == Some(Source::CowcheckKtap)
    }

    fn line(&mut self, line: &Line<'_>) -> Result<(), SyntaxError> {
        match line.word {
            Word::Version(format, version) => self.version(line, format, version),
            Word::Plan(rest) => self.plan(line, rest),
            Word::Subtest(name) => self.subtest(line, name),
            Word::Result(ok, rest) => self.result(line, ok, rest),
            Word::BailOut(why) => {
                self.truncated = true;
                self.notes.push(format!("line {}: the program gave up: {}", line.number, clean(why)));
                Ok(())
            }
            Word::Diagnostic(text) => {
                self.diagnostic(text);
                Ok(())
            }
            Word::Other => Ok(()),
        }
    }

    fn version(&mut self, line: &Line<'_>, format: &str, version: &str) -> Result<(), SyntaxError> {
        let known = match format {
            "KTAP" => version == "1",
            _ => ["13", "14"].contains(&version),
        };
        if !known {
            let ours = env!("CARGO_PKG_VERSION");
            let expected = format!("KTAP version 1 or TAP version 13 or 14, the ones that cowcheck {ours} reads");
            return Err(line.error(0, &format!("{format} version {version}"), expected));
        }
        self.enter(line)?;
        self.source.get_or_insert(if format == "KTAP" { Source::Ktap } else { Source::Tap });
        Ok(())
    }

    fn plan(&mut self, line: &Line<'_>, rest: &str) -> Result<(), SyntaxError> {
        let digits = rest.split_once(' ').map_or(rest, |(digits, _)| digits);
        let Ok(plan) = digits.parse::<u64>() else {
            // Prose in a diagnostic may look like a plan.
            if line.hashed || self.frames.is_empty() {
                return Ok(());
            }
            return Err(line.error(3, rest, "the number of tests, as in 1..9"));
        };
        let ends = self.frames.last().is_some_and(|top| top.indent == line.indent && top.plan.is_none());
        if !ends {
            self.enter(line)?;
        }
        if let Some(frame) = self.frames.last_mut() {
            frame.plan = Some(plan);
        }
        Ok(())
    }

    fn subtest(&mut self, line: &Line<'_>, name: &str) -> Result<(), SyntaxError> {
        while self.frames.last().is_some_and(|top| top.indent > line.indent) {
            self.leave_unfinished();
        }
        match self.frames.last() {
            Some(top) if top.indent < line.indent => self.push(line)?,
            Some(top) if self.frames.len() > 1 && top.is_fresh() => {}
            // TAP 14 announces a subtest on the level above it; its result will name it.
            _ => return Ok(()),
        }
        if let Some(frame) = self.frames.last_mut() {
            frame.name = Some(clean(name));
        }
        Ok(())
    }

    /// Goes to the level of `line`, for a line that begins a series of tests.
    fn enter(&mut self, line: &Line<'_>) -> Result<(), SyntaxError> {
        while self.frames.last().is_some_and(|top| top.indent > line.indent) {
            self.leave_unfinished();
        }
        match self.frames.last() {
            Some(top) if top.indent == line.indent && top.is_fresh() => Ok(()),
            Some(top) if top.indent == line.indent => {
                self.leave_unfinished();
                self.push(line)
            }
            _ => self.push(line),
        }
    }

    fn push(&mut self, line: &Line<'_>) -> Result<(), SyntaxError> {
        if self.frames.len() == MAX_DEPTH {
            return Err(line.error(0, "one more subtest", format!("subtests at most {MAX_DEPTH} deep")));
        }
        let first_row = self.rows.len();
        self.frames.push(Frame { indent: line.indent, name: None, plan: None, seen: 0, last: 0, first_row });
        Ok(())
    }

    /// Ends the innermost level, for which no result of its own came.
    fn leave_unfinished(&mut self) {
        let Some(frame) = self.frames.pop() else { return };
        let name = frame.name.clone();
        if !self.frames.is_empty() {
            let named = name.as_deref().map_or("a subtest".to_owned(), |name| format!("the subtest `{name}`"));
            self.truncated = true;
            self.remark(format!("{named} has no result of its own: it was cut off"));
        }
        self.check_plan(&frame, name.as_deref());
        if let (Some(name), false) = (name, self.frames.is_empty()) {
            self.prefix(frame.first_row, &name);
        }
    }

    fn check_plan(&mut self, frame: &Frame, name: Option<&str>) {
        let place = name.map_or(String::new(), |name| format!("{name}: "));
        match frame.plan {
            Some(plan) if frame.seen < plan => {
                self.truncated = true;
                self.remark(format!("{place}{} of {plan} planned tests have a result", frame.seen));
            }
            Some(plan) if frame.seen > plan => {
                self.remark(format!("{place}{} results for {plan} planned tests", frame.seen));
            }
            Some(_) => {}
            None => self.remark(format!("{place}there is no plan, so missing results cannot be seen")),
        }
    }

    fn remark(&mut self, text: String) {
        self.remarks += 1;
        match self.remarks {
            0..=MAX_REMARKS => self.notes.push(text),
            _ if self.remarks == MAX_REMARKS + 1 => self.notes.push("and more of this kind".to_owned()),
            _ => {}
        }
    }

    /// Puts the name of a subtest before the names of its rows. The ids of ours are whole already.
    fn prefix(&mut self, first_row: usize, name: &str) {
        if self.ours() {
            return;
        }
        for row in &mut self.rows[first_row..] {
            row.key = clean(&format!("{name}/{}", row.key));
        }
    }

    fn diagnostic(&mut self, text: &str) {
        let head = matches!(self.frames.as_slice(), [top] if top.is_fresh());
        if head && text.starts_with("cowcheck ") {
            self.source = Some(Source::CowcheckKtap);
        }
        if self.ours() {
            for (head, place) in
                [("kernel: ", &mut self.kernel), ("peer: ", &mut self.said.peer), ("why: ", &mut self.said.why)]
            {
                if let Some(rest) = text.strip_prefix(head) {
                    *place = Some(clean(rest));
                }
            }
        } else if let Some(run) = text.strip_prefix("[RUN] ") {
            self.said.run = Some(clean(run));
        } else if !text.starts_with("[INFO]") && !text.is_empty() && self.said.other.len() < MAX_DIAGNOSTICS {
            self.said.other.push(clean(text));
        }
    }

    /// For the last line of a file that does not end in a newline: may half of the line be missing?
    fn may_be_cut(&self, line: &Line<'_>) -> bool {
        let rest = match line.word {
            Word::Result(_, rest) => rest,
            // `1..77` of `1..778`, unless it comes behind its results and fits them.
            Word::Plan(rest) => return self.frames.last().is_none_or(|top| rest.parse() != Ok(top.seen.max(1))),
            _ => return false,
        };
        let more = match self.frames.as_slice() {
            [] => false,
            [only] => only.plan.is_some_and(|plan| plan > only.seen.saturating_add(1)),
            // The result of the subtest itself would have to follow.
            _ => true,
        };
        more || self.said.run.as_deref().is_some_and(|run| !rest.contains(run))
    }

    fn result(&mut self, line: &Line<'_>, ok: bool, rest: &str) -> Result<(), SyntaxError> {
        // Behind a `# ` only what a plan or a version line announced is a result.
        let announced = self.frames.iter().any(|frame| frame.indent == line.indent);
        if line.hashed && !announced {
            return Ok(());
        }
        let digits = rest.len() - rest.trim_start_matches(|char: char| char.is_ascii_digit()).len();
        let number = rest[..digits].parse::<u64>();
        let (Ok(number), true) = (number, rest[digits..].is_empty() || rest[digits..].starts_with(' ')) else {
            // Before anything was announced this is prose, as in a kernel log.
            if self.frames.is_empty() || line.hashed {
                return Ok(());
            }
            let head = if ok { "ok ".len() } else { "not ok ".len() };
            return Err(line.error(head, rest, "the number of the test, as in `ok 1 name`"));
        };
        let mut child = None;
        while self.frames.last().is_some_and(|top| top.indent > line.indent) {
            // Only the outermost of them is the one that this result is about.
            if child.is_some() {
                self.leave_under(child.take());
            }
            child = self.frames.pop();
        }
        if self.frames.last().is_none_or(|top| top.indent < line.indent) {
            self.push(line)?;
        }
        self.count(line, number);
        let said = std::mem::take(&mut self.said);
        let row = self.row(ok, number, rest[digits..].trim(), said);
        if let Some(child) = child {
            self.check_plan(&child, Some(&row.key));
            self.prefix(child.first_row, &row.key);
            if self.ours() {
                return Ok(());
            }
            // The result of a subtest sums up what was told already, unless it knows of more.
            let told = self.rows.get(child.first_row..).unwrap_or(&[]);
            let explained = told.iter().any(|told| !matches!(told.verdict, Kind::Pass | Kind::Skip | Kind::Xfail));
            if !told.is_empty() && (ok || explained) {
                return Ok(());
            }
        }
        if self.ours() && row.verdict == Kind::Crash && row.reason.starts_with(NOT_RUN) {
            self.truncated = true;
            self.remark(format!("{}: {}", row.key, row.reason));
            return Ok(());
        }
        if self.rows.len() == MAX_ROWS {
            return Err(line.error(0, "another result", format!("at most {MAX_ROWS} results")));
        }
        self.rows.push(row);
        Ok(())
    }

    /// As [`Self::leave_unfinished`], for a level that is off the stack already.
    fn leave_under(&mut self, frame: Option<Frame>) {
        self.frames.extend(frame);
        self.leave_unfinished();
    }

    fn count(&mut self, line: &Line<'_>, number: u64) {
        let Some(frame) = self.frames.last_mut() else { return };
        let expected = frame.last.saturating_add(1);
        frame.seen += 1;
        frame.last = number;
        if number != expected {
            self.truncated |= number > expected;
            self.remark(format!("line {}: result {number} stands where {expected} should", line.number));
        }
    }

    /// `rest` is what follows the number.
    fn row(&self, ok: bool, number: u64, rest: &str, said: Said) -> Row {
        let (name, directive) = split_directive(rest);
        let name = name.strip_prefix("- ").unwrap_or(name).trim();
        let (mut verdict, text) = verdict_of(ok, directive);
        let mut reason = clean(text);
        let mut name = clean(name);
        if name.is_empty() && directive.is_some() {
            // kselftest.h puts the name behind the directive; an older cow.c put a reason there.
            match &said.run {
                Some(run) if *run != reason => name.clone_from(run),
                _ => name = std::mem::take(&mut reason),
            }
        }
        if name.is_empty() {
            name = format!("result {number}");
        }
        let (base, repeat) = split_repeat(&name);
        let base = base.to_owned();
        if self.ours() {
            if let (Kind::Skip, Some(rest)) = (verdict, reason.strip_prefix(INCONCLUSIVE)) {
                (verdict, reason) = (Kind::Inconclusive, rest.to_owned());
            }
            let reason = if reason.is_empty() { said.why.unwrap_or_default() } else { reason };
            return Row { key: base.clone(), id: Some(base), description: said.peer, repeat, verdict, reason };
        }
        // An older cow.c named the result after what was seen, the newer one after the test.
        let description = match said.run {
            Some(run) if run != base && run != name => {
                reason = [name, reason].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(": ");
                run
            }
            _ => base,
        };
        let told = std::iter::once(reason).filter(|text| !text.is_empty()).chain(said.other);
        let reason = match verdict {
            Kind::Pass => String::new(),
            _ => told.collect::<Vec<_>>().join("; "),
        };
        let key = description.clone();
        Row { key, id: None, description: Some(description), repeat, verdict, reason }
    }

    fn finish(mut self, name: &str, last_line: usize) -> Result<Results, SyntaxError> {
        if self.source.is_none() && self.rows.is_empty() && self.frames.is_empty() {
            return Err(SyntaxError {
                file: None,
                line: last_line.max(1),
                column: 1,
                found: "the end of a file without results".to_owned(),
                expected: "JSON lines of cowcheck, `KTAP version 1` or `TAP version 13`".to_owned(),
            });
        }
        while !self.frames.is_empty() {
            self.leave_unfinished();
        }
        Ok(Results {
            name: name.to_owned(),
            source: self.source.unwrap_or(Source::Tap),
            kernel: self.kernel,
            rows: self.rows,
            truncated: self.truncated,
            notes: self.notes,
        })
    }
}

/// Takes `name # WORD reason` apart.
fn split_directive(rest: &str) -> (&str, Option<&str>) {
    if let Some(directive) = rest.strip_prefix('#') {
        return ("", Some(directive.trim()));
    }
    match rest.split_once(" #") {
        Some((name, directive)) => (name, Some(directive.trim())),
        None => (rest, None),
    }
}

/// The verdict, and what the directive says behind its word.
fn verdict_of(ok: bool, directive: Option<&str>) -> (Kind, &str) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::parse;
    use crate::report::ktap::Ktap;
    use crate::report::sample;

    fn results(text: &str) -> Results {
        parse(text.as_bytes(), "x.tap").unwrap()
    }

    fn rows(text: &str) -> Vec<(String, Kind, String)> {
        results(text).rows.into_iter().map(|row| (row.key, row.verdict, row.reason)).collect()
    }

    fn row(key: &str, verdict: Kind, reason: &str) -> (String, Kind, String) {
        (key.to_owned(), verdict, reason.to_owned())
    }

    fn error(text: &str) -> String {
        parse(text.as_bytes(), "x.tap").unwrap_err().to_string()
    }

    /// By hand, in the form that cow.c of 7.2 prints.
    const COW: &str = "TAP version 13\n# [INFO] detected PMD size: 2048 KiB\n1..5\n\
        # [INFO] Anonymous memory tests in private mappings\n\
        # [RUN] Basic ... with base page\nok 1 Basic ... with base page\n\
        # [RUN] Basic ... with swapped out base page\n# MADV_PAGEOUT did not work\nok 2 # SKIP Basic ... with swapped out base page\n\
        # [RUN] vmsplice() ... with hugetlb (2048 kB)\n# Leak from parent into child\nok 3 # XFAIL vmsplice() ... with hugetlb (2048 kB)\n\
        # [RUN] fork() ... with THP (2048 kB)\n# Longterm pin is not reliable\nnot ok 4 fork() ... with THP (2048 kB)\n\
        # [RUN] Non-anonymous memory tests in private mappings\n# [RUN] Basic ... with memfd\nok 5 Basic ... with memfd\n\
        # 1 skipped test(s) detected.\n# Totals: pass:2 fail:1 xfail:1 xpass:0 skip:1 error:0\n";

    fn cow_rows(prefix: &str) -> Vec<(String, Kind, String)> {
        [
            row("Basic ... with base page", Kind::Pass, ""),
            row("Basic ... with swapped out base page", Kind::Skip, "MADV_PAGEOUT did not work"),
            row("vmsplice() ... with hugetlb (2048 kB)", Kind::Xfail, "Leak from parent into child"),
            row("fork() ... with THP (2048 kB)", Kind::Fail, "Longterm pin is not reliable"),
            row("Basic ... with memfd", Kind::Pass, ""),
        ]
        .map(|(key, verdict, reason)| (format!("{prefix}{key}"), verdict, reason))
        .to_vec()
    }

    #[test]
    fn cow_c_is_read() {
        assert_eq!(rows(COW), cow_rows(""));
        let results = results(COW);
        assert_eq!((results.source, results.truncated, results.notes.len()), (Source::Tap, false, 0));
    }

    #[test]
    fn an_older_cow_c_is_read() {
        let old = "TAP version 13\n1..3\n# [RUN] Basic ... with base page\nok 1 No leak from parent into child\n\
            # [RUN] Basic ... (fully shared)\nok 2 # SKIP MADV_COLLAPSE failed: Invalid argument\n\
            # [RUN] Basic ... with memfd\nnot ok 3 Leak from parent into child\n";
        assert_eq!(
            rows(old),
            [
                row("Basic ... with base page", Kind::Pass, ""),
                row("Basic ... (fully shared)", Kind::Skip, "MADV_COLLAPSE failed: Invalid argument"),
                row("Basic ... with memfd", Kind::Fail, "Leak from parent into child"),
            ]
        );
    }

    #[test]
    fn what_the_runner_of_kselftest_makes_of_it_is_read() {
        let inner: String = COW.lines().skip(1).map(|line| format!("# {line}\n")).collect();
        let text = format!("TAP version 13\n1..1\n# selftests: mm: cow\n{inner}not ok 1 selftests: mm: cow # exit=1\n");
        assert_eq!(rows(&text), cow_rows("selftests: mm: cow/"));
        assert_eq!(results(&text).rows[1].description.as_deref(), Some("Basic ... with swapped out base page"));
        assert!(!results(&text).truncated);
    }

    #[test]
    fn a_kernel_log_with_time_stamps_is_read() {
        let log: String = COW.lines().map(|line| format!("<6>[    1.250000] {line}\r\n")).collect();
        let log = format!("[    0.000000] Linux version 6.18\nok, booting\n{log}[   20.000000] reboot: Power down\n");
        assert_eq!(rows(&log), cow_rows(""));
    }

    #[test]
    fn subtests_are_named_by_their_path() {
        let text = "KTAP version 1\n1..3\n  KTAP version 1\n  # Subtest: a\n  1..2\n    KTAP version 1\n    1..1\n    ok 1 x\n  ok 1 deep\n  \
            # why not\n  not ok 2 y\nnot ok 1 a\nok 2 - b\n    # Subtest: c\n    1..1\n    ok 1 z # SKIP no device\nnot ok 3 c\n";
        assert_eq!(
            rows(text),
            [
                row("a/deep/x", Kind::Pass, ""),
                row("a/y", Kind::Fail, "why not"),
                row("b", Kind::Pass, ""),
                row("c/z", Kind::Skip, "no device"),
                // No result within tells why.
                row("c", Kind::Fail, ""),
            ]
        );
        assert_eq!(results(text).notes, Vec::<String>::new());
    }

    #[test]
    fn tap_14_is_read() {
        let text = "TAP version 14\n# Subtest: first\n    ok 1 - a\n    ok 2 - b\n    1..2\nok 1 - first\n\
            # Subtest: second\n    not ok 1 - a # TODO later\n    1..1\nok 2 - second\n1..2\n";
        assert_eq!(
            rows(text),
            [row("first/a", Kind::Pass, ""), row("first/b", Kind::Pass, ""), row("second/a", Kind::Xfail, "later")]
        );
        assert_eq!(results(text).notes, Vec::<String>::new());
    }

    #[test]
    fn every_directive_has_its_verdict() {
        let text = "TAP version 13\n1..9\nok 1 a # SKIP s\nok 2 b # XFAIL x\nnot ok 3 c # TIMEOUT t\nnot ok 4 d # ERROR e\n\
            not ok 5 # error f\nok 6 # XPASS g\nok 7 h # TODO i\nnot ok 8 j # exit=2\nok 9\n";
        assert_eq!(
            rows(text),
            [
                row("a", Kind::Skip, "s"),
                row("b", Kind::Xfail, "x"),
                row("c", Kind::Timeout, "t"),
                row("d", Kind::Crash, "e"),
                row("f", Kind::Crash, ""),
                row("g", Kind::Pass, ""),
                row("h", Kind::Pass, ""),
                row("j", Kind::Fail, "exit=2"),
                row("result 9", Kind::Pass, ""),
            ]
        );
    }

    fn ours(count: usize, stopped: Option<&str>) -> String {
        let mut out = Vec::new();
        sample::play_part(&mut Ktap::new(&mut out), count, stopped);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn ours_is_read_with_ids_and_the_names_of_cow_c() {
        let results = results(&ours(8, None));
        assert_eq!((results.source, results.truncated, &results.notes), (Source::CowcheckKtap, false, &vec![]));
        assert_eq!(results.kernel.as_deref(), Some("6.18.0 #1 SMP"));
        let mut outcomes = sample::outcomes();
        outcomes.sort_by_key(|outcome| outcome.index);
        assert_eq!(results.rows.len(), 8);
        for (row, outcome) in results.rows.iter().zip(outcomes) {
            let planned = &sample::start().plan[outcome.index];
            assert_eq!(row.id.as_deref(), Some(planned.id.as_str()));
            assert_eq!((&row.description, row.verdict), (&planned.description, outcome.verdict.kind()));
            let known = outcome.verdict.reason().replace('#', "_");
            assert!(row.reason.replace('#', "_").starts_with(&known), "{row:?}");
        }
    }

    #[test]
    fn what_ours_did_not_run_is_no_row() {
        let results = results(&ours(2, Some("Ctrl-C")));
        let ids: Vec<&str> = results.rows.iter().map(|row| row.key.as_str()).collect();
        assert_eq!(ids, ["cow/fork-write/base", "cow/collapse-all/thp"]);
        assert!(results.truncated);
        assert_eq!(results.notes.len(), 6, "{:?}", results.notes);
        assert_eq!(results.notes[0], "cow/fork-write/base-swapped: not run: Ctrl-C");
    }

    #[test]
    fn a_cut_file_is_read_as_far_as_it_goes() {
        for text in [COW.to_owned(), ours(8, None)] {
            let whole = results(&text).rows;
            let complete = text.find("\n# Totals").or(text.find("\nnot ok 2 own")).unwrap();
            let plan = text.find("\n1..").unwrap() + "\n1..9".len();
            for end in plan + 1..complete {
                let cut = parse(&text.as_bytes()[..end], "x").unwrap();
                assert_eq!(cut.rows, whole[..cut.rows.len()], "cut at {end}");
                let lost = whole.len() > cut.rows.len();
                assert!(cut.truncated || !lost, "cut at {end}: {:?} {}", cut.notes, &text[..end]);
                assert!(!(cut.truncated && cut.notes.is_empty()), "cut at {end}");
            }
            // A plan that is cut is no plan.
            for end in plan - 1..=plan {
                let cut = parse(&text.as_bytes()[..end], "x").unwrap();
                assert!(cut.truncated && cut.notes[0].ends_with("is cut off and was not read"), "{:?}", cut.notes);
            }
        }
    }

    #[test]
    fn missing_and_odd_numbers_are_told() {
        let notes = |text: &str| (results(text).truncated, results(text).notes);
        let text = "TAP version 13\n1..3\nok 1 a\nok 3 c\n";
        let (truncated, told) = notes(text);
        assert!(truncated);
        assert_eq!(told, ["line 4: result 3 stands where 2 should", "2 of 3 planned tests have a result"]);
        assert_eq!(notes("TAP version 13\nok 1 a\n").1, ["there is no plan, so missing results cannot be seen"]);
        assert_eq!(
            notes("TAP version 13\n1..1\nok 1 a\nok 2 b\n"),
            (false, vec!["2 results for 1 planned tests".into()])
        );
        let (truncated, told) = notes("TAP version 13\n1..2\nok 1 a\nBail out! no memory\n");
        assert!(truncated);
        assert_eq!(told[0], "line 4: the program gave up: no memory");
        let many: String = (0..100).map(|_| "ok 7 a\n").collect();
        assert_eq!(notes(&format!("TAP version 13\n{many}")).1.len(), MAX_REMARKS + 1);
    }

    #[test]
    fn an_error_names_line_column_found_and_expected() {
        let version = |text| error(text).split(", the ones").next().unwrap().to_owned();
        assert_eq!(
            version("KTAP version 2\n1..1\n"),
            "x.tap:1:1: found `KTAP version 2`, expected KTAP version 1 or TAP version 13 or 14"
        );
        assert!(version("TAP version 13\n1..1\n  TAP version 15\n").starts_with("x.tap:3:3: found `TAP version 15`"));
        assert_eq!(error("TAP version 13\n1..x\n"), "x.tap:2:4: found `x`, expected the number of tests, as in 1..9");
        assert_eq!(
            error("TAP version 13\n1..2\nnot ok two\n"),
            "x.tap:3:8: found `two`, expected the number of the test, as in `ok 1 name`"
        );
        assert!(error("TAP version 13\nok 99999999999999999999 a\n").starts_with("x.tap:2:4: found `9999"));
        assert!(error("").starts_with("x.tap:1:1: found the end of a file without results, expected JSON lines"));
        assert!(error("hello\nworld\n").starts_with("x.tap:2:1: "));
        let deep: String = (0..17).map(|depth| format!("{}1..1\n", " ".repeat(depth))).collect();
        assert!(error(&deep).starts_with("x.tap:17:17: found `one more subtest`, expected subtests at most 16 deep"));
    }
}
