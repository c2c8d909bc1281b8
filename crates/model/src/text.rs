//! The text form of a scenario, as found in `.cow` files.
//!
//! ```text
//! cowcheck scenario 1
//! # remarks at the head are kept
//! memory thp 2M
//! A write all
//! A fork B           # a remark behind a step is kept too
//! A write lower
//! B read all
//! ```
//!
//! One step a line; one that begins with `|` happens at once with the step above it. The first line that is no comment names the format and its version; the next
//! one the memory. Words are separated by blanks. The words are those of [`crate::step`].

use std::fmt;

use crate::memory::{Memory, MemoryKind, Size};
use crate::pages::{Range, Run};
use crate::scenario::{Invalid, Scenario};
use crate::step::{Access, Actor, Advice, Op, Pin, PinKind, Prot, State, Step, Treatment};
use crate::storm::{Rival, Rivals};

/// The first line of every scenario file.
pub const HEADER: &str = "cowcheck scenario 1";

/// The version of the language that this program reads and writes.
const VERSION: &str = "1";

/// The longest text that is read, in bytes. The catalogue's longest scenario has 2 KiB.
const MAX_TEXT: usize = 1 << 20;

/// What a step begins with that happens at once with the step above it.
pub const AT_ONCE: &str = "|";

/// The most words of a line that are looked at. The longest step has 12 with the bar; the one after is the error.
const MAX_WORDS: usize = 13;

/// What is wrong with a text, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxError {
    /// The file, where one is known.
    pub file: Option<String>,
    /// Counted from 1.
    pub line: usize,
    /// Counted from 1, in characters.
    pub column: usize,
    /// What stands there.
    pub found: String,
    /// What could have stood there.
    pub expected: String,
}

impl SyntaxError {
    /// At a byte of the text; past its end is its end.
    pub fn at(text: &str, byte: usize, found: impl Into<String>, expected: impl Into<String>) -> Self {
        let before = text.get(..byte.min(text.len())).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
        SyntaxError { file: None, line, column, found: found.into(), expected: expected.into() }
    }

    /// The same with the name of the file.
    pub fn in_file(mut self, file: impl Into<String>) -> Self {
        self.file = Some(file.into());
        self
    }
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file}:")?;
        }
        write!(f, "{}:{}: found {}, expected {}", self.line, self.column, self.found, self.expected)
    }
}

impl std::error::Error for SyntaxError {}

/// A word and where it stands.
#[derive(Clone, Copy)]
struct Word<'a> {
    text: &'a str,
    column: usize,
}

/// The words of one line, taken from left to right.
struct Line<'a> {
    number: usize,
    words: Vec<Word<'a>>,
    next: usize,
    /// The column just past the last word, for "found the end of the line".
    end: usize,
    note: Option<&'a str>,
}

impl<'a> Line<'a> {
    fn new(number: usize, text: &'a str) -> Self {
        let (code, note) = match text.split_once('#') {
            Some((code, note)) => (code, Some(note.trim())),
            None => (text, None),
        };
        let mut words: Vec<Word<'a>> = Vec::new();
        let mut start: Option<(usize, usize)> = None;
        let mut column = 0;
        let mut end = 1;
        for (offset, char) in code.char_indices().chain([(code.len(), ' ')]) {
            column += 1;
            match (char.is_whitespace(), start) {
                (false, None) => start = Some((offset, column)),
                (true, Some((from, at))) => {
                    words.push(Word { text: &code[from..offset], column: at });
                    end = column;
                    start = None;
                    if words.len() == MAX_WORDS {
                        break;
                    }
                }
                _ => {}
            }
        }
        Line { number, words, next: 0, end, note }
    }

    fn error(&self, word: Option<Word<'_>>, expected: impl Into<String>) -> SyntaxError {
        let (found, column) = match word {
            Some(word) => (format!("`{}`", word.text.chars().take(40).collect::<String>()), word.column),
            None => ("the end of the line".to_owned(), self.end),
        };
        SyntaxError { file: None, line: self.number, column, found, expected: expected.into() }
    }

    fn peek(&self) -> Option<Word<'a>> {
        self.words.get(self.next).copied()
    }

    fn take(&mut self) -> Option<Word<'a>> {
        let word = self.peek();
        self.next += usize::from(word.is_some());
        word
    }

    /// Takes the next word through `read`, or says what was expected.
    fn read<T>(&mut self, expected: &str, read: impl Fn(&'a str) -> Option<T>) -> Result<T, SyntaxError> {
        let word = self.take();
        word.and_then(|word| read(word.text)).ok_or_else(|| self.error(word, expected))
    }

    /// Takes the next word, one of a table.
    fn one_of<T: Copy>(&mut self, table: &[(T, &str)]) -> Result<T, SyntaxError> {
        let word = self.take();
        word.and_then(|word| known(table, word.text)).ok_or_else(|| {
            let all = || table.iter().map(|(_, word)| *word);
            let expected = match word.and_then(|found| nearest(found.text, all())) {
                Some(near) => format!("`{near}`, or another of {}", choice(all())),
                None => choice(all()),
            };
            self.error(word, expected)
        })
    }

    /// Takes the next word if it is `text`.
    fn skip(&mut self, text: &str) -> bool {
        let same = self.peek().is_some_and(|word| word.text == text);
        self.next += usize::from(same);
        same
    }

    fn finish(&mut self) -> Result<(), SyntaxError> {
        match self.peek() {
            None => Ok(()),
            word => Err(self.error(word, "the end of the line")),
        }
    }

    fn actor(&mut self) -> Result<Actor, SyntaxError> {
        self.read("an actor, A to Z", |text| {
            let mut letters = text.chars();
            let actor = Actor::from_letter(letters.next()?)?;
            letters.next().is_none().then_some(actor)
        })
    }

    fn pin(&mut self) -> Result<Pin, SyntaxError> {
        self.read("a pin, p0 to p9", |text| Pin::new(number(text.strip_prefix('p')?)? as usize))
    }

    fn range(&mut self) -> Result<Range, SyntaxError> {
        const EXPECTED: &str =
            "which pages: all, lower, upper, first, last, rest, even, odd, `page N` or `pages N-M,...`";
        let named = self.read(EXPECTED, |text| {
            Some(match text {
                "all" => Some(Range::All),
                "lower" => Some(Range::Lower),
                "upper" => Some(Range::Upper),
                "first" => Some(Range::First),
                "last" => Some(Range::Last),
                "rest" => Some(Range::Rest),
                "even" => Some(Range::Even),
                "odd" => Some(Range::Odd),
                "page" | "pages" => None,
                _ => return None,
            })
        })?;
        match named {
            Some(range) => Ok(range),
            None => self.read("page numbers in ascending order, as in 3 or 0-7,9", page_list).map(Range::Pages),
        }
    }

    fn memory(&mut self) -> Result<Memory, SyntaxError> {
        let kind = self.one_of(&MemoryKind::WORDS)?;
        let size = self.read("a size in bytes, as in 4K, 2M or 1G", |text| text.parse().ok().map(|Size(size)| size))?;
        let count = match self.peek() {
            None => 1,
            Some(_) => self
                .read("a number of pieces, as in x4, or the end of the line", |text| number(text.strip_prefix('x')?))?,
        };
        Ok(Memory { kind, size, count })
    }

    /// One or more, each once.
    fn rivals(&mut self) -> Result<Rivals, SyntaxError> {
        let mut rivals = Rivals::default();
        loop {
            let word = self.peek();
            let rival = self.one_of(&Rival::WORDS)?;
            rivals =
                rivals.with(rival).ok_or_else(|| self.error(word, "another of them: this one is there already"))?;
            if self.peek().is_none() {
                return Ok(rivals);
            }
        }
    }

    fn op(&mut self) -> Result<Op, SyntaxError> {
        let word = self.peek();
        let text = word.map_or("", |word| word.text);
        self.next += usize::from(word.is_some());
        let op = match text {
            "write" if self.skip("backing") => Op::WriteBacking(self.range()?),
            "write" if self.skip("via") => Op::WriteVia(self.pin()?, self.range()?),
            "write" => Op::Write(self.range()?),
            "poke" => Op::Poke(self.range()?),
            "read" if self.skip("backing") => Op::ReadBacking(self.range()?),
            "read" if self.skip("via") => Op::ReadVia(self.pin()?),
            "read" => Op::Read(self.range()?),
            "touch" => Op::Touch(self.range()?),
            "probe" => Op::Probe(self.one_of(&Access::WORDS)?, self.range()?),
            "fork" => Op::Fork(self.actor()?),
            "exit" => Op::Exit,
            "mprotect" => {
                let range = self.range()?;
                Op::Mprotect(range, self.one_of(&Prot::WORDS)?)
            }
            "collapse" => {
                let range = self.range()?;
                match self.skip("of") {
                    true => Op::CollapseOf(range, self.actor()?),
                    false => Op::Advise(Advice::Collapse, range),
                }
            }
            "khugepaged" => Op::Khugepaged(self.range()?),
            "munmap" => Op::Munmap(self.range()?),
            "mremap" => Op::Mremap(self.range()?),
            "clear-soft-dirty" => Op::ClearSoftDirty,
            "reclaim" => Op::Reclaim,
            "swapoff" => Op::Swapoff,
            "ksm" => Op::Ksm,
            "pin" => {
                let first = self.one_of(&[(Some(true), "rw"), (Some(false), "ro"), (None, "short")])?;
                let write = match first {
                    Some(write) => write,
                    None => self.one_of(&[(true, "rw"), (false, "ro")])?,
                };
                let kind = PinKind::Gup { short: first.is_none(), write, fast: self.skip("fast") };
                Op::Pin(kind, self.pin()?, self.range()?)
            }
            "splice" => Op::Pin(PinKind::Splice, self.pin()?, self.range()?),
            "unpin" => Op::Unpin(self.pin()?),
            "require" => {
                let state = self.one_of(&State::WORDS)?;
                Op::Require(state, self.range()?)
            }
            "storm" => {
                let range = self.range()?;
                Op::Storm(range, self.rivals()?)
            }
            _ => match (known(&Advice::WORDS, text), known(&Treatment::WORDS, text)) {
                (Some(advice), _) => Op::Advise(advice, self.range()?),
                (None, Some(treatment)) => Op::Treat(treatment, self.range()?),
                (None, None) => return Err(self.error(word, expected_ops(text))),
            },
        };
        Ok(op)
    }
}

/// What a word of a table means.
fn known<T: Copy>(table: &[(T, &str)], text: &str) -> Option<T> {
    table.iter().find(|(_, word)| *word == text).map(|(value, _)| *value)
}

/// What a step can begin with, the nearest first.
fn expected_ops(found: &str) -> String {
    const OPS: [&str; 21] = [
        "reclaim",
        "swapoff",
        "write",
        "poke",
        "read",
        "touch",
        "probe",
        "fork",
        "exit",
        "mprotect",
        "munmap",
        "mremap",
        "clear-soft-dirty",
        "ksm",
        "pin",
        "splice",
        "unpin",
        "require",
        "read via",
        "storm",
        "khugepaged",
    ];
    let advice = Advice::WORDS.iter().map(|(_, word)| *word);
    let all = OPS.iter().copied().chain(advice).chain(Treatment::WORDS.iter().map(|(_, word)| *word));
    match nearest(found, all.clone()) {
        Some(near) => format!("`{near}` or another step: {}", choice(all)),
        None => choice(all),
    }
}

/// `a, b or c`
pub fn choice<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<&str> = words.into_iter().collect();
    match words.split_last() {
        None => "nothing".to_owned(),
        Some((last, [])) => (*last).to_owned(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
    }
}

/// The known word nearest to `word`, if one is near: at most a third of the letters differ.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|each| (distance(word, each), each))
        .filter(|(distance, each)| *distance <= each.chars().count().max(3) / 3)
        .min()
        .map(|(_, each)| each)
}

/// How many letters must be put in, left out, changed or swapped with their neighbour; long words are
/// never near.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(100).collect(), b.chars().take(100).collect());
    // For each beginning of `a`, the distances to the beginnings of `b`.
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        let last = &rows[i - 1];
        for j in 1..=b.len() {
            row[j] = (last[j - 1] + usize::from(a[i - 1] != b[j - 1])).min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(rows[i - 2][j - 2] + 1);
            }
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

/// A decimal number without sign or leading zeroes, so that printing gives the same text again.
fn number(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    digits.then(|| text.parse().ok()).flatten()
}

/// `0-7,9`: runs in ascending order, not overlapping.
pub fn page_list(text: &str) -> Option<Vec<Run>> {
    let mut runs: Vec<Run> = Vec::new();
    for item in text.split(',') {
        let (first, last) = match item.split_once('-') {
            Some((first, last)) => (number(first)?, number(last)?),
            None => (number(item)?, number(item)?),
        };
        let follows = runs.last().is_none_or(|run| run.end() <= first);
        if last < first || last >= crate::scenario::MAX_PAGES || !follows {
            return None;
        }
        runs.push(Run::through(first, last));
    }
    Some(runs)
}

/// Reads the text form.
pub fn parse(text: &str) -> Result<Scenario, SyntaxError> {
    if text.len() > MAX_TEXT {
        return Err(SyntaxError {
            file: None,
            line: 1,
            column: 1,
            found: format!("{} bytes", text.len()),
            expected: format!("a scenario of at most {MAX_TEXT} bytes"),
        });
    }
    let mut about = Vec::new();
    let mut header = false;
    let mut memory = None;
    let mut steps = Vec::new();
    let mut last_line = 1;
    for (index, raw) in text.lines().enumerate() {
        let mut line = Line::new(index + 1, raw);
        last_line = line.number;
        if line.words.is_empty() {
            if let (Some(note), None) = (line.note, memory) {
                about.push(note.to_owned());
            }
            continue;
        }
        if !header {
            header_line(&mut line)?;
            header = true;
        } else if memory.is_none() {
            if !line.skip("memory") {
                return Err(line.error(line.peek(), "`memory KIND SIZE`"));
            }
            memory = Some(line.memory()?);
        } else {
            let bar = line.peek();
            let at_once = line.skip(AT_ONCE);
            if at_once && steps.is_empty() {
                return Err(line.error(bar, "a step that this one could be at once with, in the line above"));
            }
            let actor = line.actor()?;
            let op = line.op()?;
            steps.push(Step { actor, op, at_once, note: line.note.unwrap_or("").to_owned() });
        }
        line.finish()?;
    }
    match memory {
        Some(memory) => Ok(Scenario { about, memory, steps }),
        None => Err(SyntaxError {
            file: None,
            line: last_line,
            column: 1,
            found: "the end of the text".to_owned(),
            expected: if header { "`memory KIND SIZE`".to_owned() } else { format!("`{HEADER}`") },
        }),
    }
}

fn header_line(line: &mut Line<'_>) -> Result<(), SyntaxError> {
    if !(line.skip("cowcheck") && line.skip("scenario")) {
        return Err(line.error(line.peek(), format!("`{HEADER}`")));
    }
    if !line.skip(VERSION) {
        let expected = format!("version {VERSION}, the only one that cowcheck {} reads", env!("CARGO_PKG_VERSION"));
        return Err(line.error(line.peek(), expected));
    }
    Ok(())
}

/// Where in `text` the step (from 1; 0 is the memory line) stands: its line, from 1.
fn line_of(text: &str, step: usize) -> usize {
    text.lines()
        .enumerate()
        .filter(|(index, raw)| !Line::new(index + 1, raw).words.is_empty())
        .nth(step + 1)
        .map_or(1, |(index, _)| index + 1)
}

/// Reads the text form and checks that the scenario can be done with pages of `page_size` bytes.
pub fn parse_valid(text: &str, page_size: u32) -> Result<Scenario, SyntaxError> {
    let scenario = parse(text)?;
    scenario.validate(page_size).map_err(|Invalid { step, why }| {
        let line = line_of(text, step);
        let found = text.lines().nth(line - 1).unwrap_or("").split('#').next().unwrap_or("").trim();
        SyntaxError {
            file: None,
            line,
            column: 1,
            found: format!("`{}`, which cannot be done", found.chars().take(80).collect::<String>()),
            expected: why,
        }
    })?;
    Ok(scenario)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "cowcheck scenario 1\n# about\nmemory thp 2M\nA write all\nA mprotect page 1 ro\nA pin ro fast p0 pages 0-7,9\nA fork B                     # share it\nA collapse all\nB read all\n";

    #[test]
    fn what_is_printed_is_what_was_read() {
        let scenario = parse(TEXT).unwrap();
        assert_eq!(scenario.to_string(), TEXT);
        assert_eq!(parse(&scenario.to_string()).unwrap(), scenario);
    }

    #[test]
    fn an_error_names_line_column_and_what_was_expected() {
        let of = |text: &str| parse(text).unwrap_err().in_file("x.cow").to_string();
        assert_eq!(
            of("cowcheck scenario 1\nmemory thp 2Q\n"),
            "x.cow:2:12: found `2Q`, expected a size in bytes, as in 4K, 2M or 1G"
        );
        assert!(
            of("cowcheck scenario 1\nmemory thp 2M\n A colapse all")
                .starts_with("x.cow:3:4: found `colapse`, expected `collapse` or another step")
        );
        assert!(of("cowcheck scenario 9\n").contains("found `9`, expected version 1"));
        assert!(of("").contains("found the end of the text, expected `cowcheck scenario 1`"));
        assert!(
            of("cowcheck scenario 1\nmemory anon 4K\nA write")
                .contains("3:8: found the end of the line, expected which pages")
        );
        assert!(
            of("cowcheck scenario 1\nmemory anon 4K\nA write pages 3-1")
                .contains("`3-1`, expected page numbers in ascending order")
        );
    }

    #[test]
    fn a_step_that_cannot_be_done_is_refused_with_its_line() {
        let error = parse_valid("cowcheck scenario 1\nmemory anon 4K\n\nA write all\nB read all\n", 4096).unwrap_err();
        assert_eq!(
            (error.line, error.expected.as_str()),
            (5, "a step by an actor that is alive: B has not been forked")
        );
    }
}
