//! Reads KTAP 1 and TAP 13 or 14: ours, the kernel's cow.c in its old and new form, subtests by
//! indentation, and what kselftest's runner makes of a program's output by putting `# ` before every
//! line. A kernel log with time stamps will do; lines that are neither are passed over.

mod line;

use cowcheck_model::text::SyntaxError;
use cowcheck_model::verdict::Kind;

use line::{Line, Word, split_directive, verdict_of};

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

#[cfg(test)]
mod tests;
