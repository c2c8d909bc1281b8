//! Reads the results of one kernel: our JSON lines with all that they tell, other formats as far as
//! `compare` reads them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use cowcheck_model::text::{SyntaxError, choice};
use cowcheck_model::verdict::Kind;
use serde::Deserialize;

use super::cell::Cell;
use super::run::{Ran, Run, Vm, VmEnd};
use crate::compare::{self, Results, clean, json_line::Line};

/// The longest explanation that is kept, in bytes. The longest so far had 6 KiB.
const MAX_EXPLANATION: usize = 64 << 10;

/// All explanations of a file that are kept, in bytes.
const MAX_EXPLANATIONS: usize = 64 << 20;

/// The most checks that are kept of a file; repeats do not count.
const MAX_CHECKS: usize = 100_000;

/// The most violations of a check that are kept.
const MAX_SENTENCES: usize = 8;

/// The most notes of a file that are kept.
const MAX_NOTES: usize = 50;

#[derive(Deserialize)]
struct AnyLine {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Start {
    kernel: String,
    machine: Option<String>,
    planned: u64,
}

#[derive(Deserialize)]
struct Note {
    text: String,
}

#[derive(Deserialize)]
struct Check {
    id: String,
    description: Option<String>,
    verdict: String,
    reason: Option<String>,
    remedy: Option<String>,
    bug: Option<String>,
    #[serde(default)]
    violations: Vec<Violation>,
    #[serde(default)]
    micros: u64,
    explanation: Option<String>,
    #[serde(default)]
    collapses: Vec<Collapse>,
}

/// Looser than [`cowcheck_model::collapse::Collapse`]: a later version may know more words.
#[derive(Deserialize)]
struct Collapse {
    how: String,
    errno: Option<String>,
}

impl Collapse {
    fn words(&self) -> String {
        match (self.how.as_str(), &self.errno) {
            ("refused", Some(errno)) => clean(errno),
            (how, _) => clean(how).replace('-', " "),
        }
    }
}

#[derive(Deserialize)]
struct Violation {
    sentence: String,
}

#[derive(Deserialize)]
struct End {
    stopped: Option<String>,
    micros: Option<u64>,
}

/// Reads the results of one kernel; `name` is what the file is called in errors and reports.
pub fn parse(bytes: &[u8], name: &str) -> Result<Run, SyntaxError> {
    let text = String::from_utf8_lossy(bytes);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    if text.trim_start().starts_with('{') {
        return Reader::new(name).read(text).map_err(|error| error.in_file(name));
    }
    Ok(foreign(compare::parse(bytes, name)?))
}

/// What is read so far.
struct Reader {
    run: Run,
    known: HashMap<String, usize>,
    /// Explanations, each kept once: those of repeats are mostly the same.
    explanations: HashSet<Arc<str>>,
    kept: usize,
    left_out: usize,
}

impl Reader {
    fn new(name: &str) -> Reader {
        let run = Run { file: name.to_owned(), ..Run::default() };
        Reader { run, known: HashMap::new(), explanations: HashSet::new(), kept: 0, left_out: 0 }
    }

    fn read(mut self, text: &str) -> Result<Run, SyntaxError> {
        let mut lines = text.lines().enumerate().filter(|(_, text)| !text.trim().is_empty()).peekable();
        while let Some((index, raw)) = lines.next() {
            let line = Line { number: index + 1, text: raw };
            // What is killed leaves half a line, and only the last can be that. At the head, nothing
            // says yet that the file is ours.
            let half = lines.peek().is_none() && !text.ends_with('\n') && line.is_half();
            if half && (self.run.kernel.is_some() || self.run.vm.is_some()) {
                self.note(&format!("line {} is cut off and was not read", line.number));
                break;
            }
            self.line(&line)?;
        }
        if self.left_out > 0 {
            let what = format!(
                "{} explanations were left out: the file has more than {MAX_EXPLANATIONS} bytes of them",
                self.left_out
            );
            self.note(&what);
        }
        Ok(self.run)
    }

    fn line(&mut self, line: &Line<'_>) -> Result<(), SyntaxError> {
        let any: AnyLine = line.decode()?;
        let began = self.run.kernel.is_some();
        let of_vm = self.run.vm.is_some();
        match any.kind.as_str() {
            "vm" if !began && !of_vm => self.run.vm = Some(vm(line.decode()?)),
            "vm-end" if began || of_vm => {
                let VmEnd { state, reason } = line.decode()?;
                self.run.vm_end = Some(VmEnd { state: clean(&state), reason: clean(&reason) });
            }
            "note" if began || of_vm => {
                let Note { text } = line.decode()?;
                self.note(&clean(&text));
            }
            "vm" => return Err(found(line, "another line of type `vm`", "one line of type `vm`, before all others")),
            _ if self.run.ended && matches!(any.kind.as_str(), "start" | "check" | "end") => {
                let what = format!("a line of type `{}`", any.kind);
                return Err(found(line, &what, "no more results after the line of type `end`"));
            }
            "start" if !began => {
                line.check_version()?;
                let Start { kernel, machine, planned } = line.decode()?;
                self.run.kernel = Some(clean(&kernel));
                self.run.machine = machine.as_deref().map(clean);
                self.run.planned = Some(planned);
            }
            "start" => {
                let expected = "one run a file: only one line of type `start`";
                return Err(found(line, "another line of type `start`", expected));
            }
            other if !began && (!of_vm || other == "check" || other == "end") => {
                let what = format!("a line of type `{}`", clean(other));
                return Err(found(line, &what, "the line of type `start`, which comes first"));
            }
            "check" => self.check(line)?,
            "end" => {
                let End { stopped, micros } = line.decode()?;
                self.run.ended = true;
                self.run.stopped = stopped.as_deref().map(clean);
                self.run.micros = micros;
            }
            // What a later version of the same schema adds.
            _ => {}
        }
        Ok(())
    }

    fn check(&mut self, line: &Line<'_>) -> Result<(), SyntaxError> {
        let check: Check = line.decode()?;
        let verdict = Kind::from_word(&check.verdict).ok_or_else(|| {
            let what = format!("the verdict `{}`", clean(&check.verdict));
            line.error(line.column_of("\"verdict\""), what, choice(Kind::ALL.map(Kind::word)))
        })?;
        let sentences: Vec<String> =
            check.violations.iter().take(MAX_SENTENCES).map(|violation| clean(&violation.sentence)).collect();
        let first = sentences.first().map(String::as_str);
        let reason = check.reason.as_deref().or(check.bug.as_deref()).or(first).unwrap_or("");
        let cell = Cell {
            reason: clean(reason),
            remedy: check.remedy.as_deref().map(clean).unwrap_or_default(),
            sentences,
            explanation: check.explanation.as_deref().and_then(|text| self.explanation(text)),
            collapse: check.collapses.first().map(Collapse::words),
            micros: check.micros,
            ..Cell::new(verdict)
        };
        self.run.outcomes += 1;
        let id = clean(&check.id);
        match self.known.get(&id) {
            Some(index) => self.run.checks[*index].cell.add(cell),
            None if self.run.checks.len() == MAX_CHECKS => {
                return Err(line.error(1, "another check", format!("at most {MAX_CHECKS} checks")));
            }
            None => {
                self.known.insert(id.clone(), self.run.checks.len());
                let description = check.description.as_deref().map(clean);
                self.run.checks.push(Ran { id, description, ours: true, cell });
            }
        }
        Ok(())
    }

    /// The text as it may be shown, its lines kept.
    fn explanation(&mut self, text: &str) -> Option<Arc<str>> {
        let end = (0..=MAX_EXPLANATION.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        let mut kept: String =
            text[..end].chars().map(|char| if char.is_control() && char != '\n' { ' ' } else { char }).collect();
        if end < text.len() {
            kept.push_str("…\n");
        }
        if let Some(known) = self.explanations.get(kept.as_str()) {
            return Some(Arc::clone(known));
        }
        if self.kept + kept.len() > MAX_EXPLANATIONS {
            self.left_out += 1;
            return None;
        }
        self.kept += kept.len();
        let kept: Arc<str> = kept.into();
        self.explanations.insert(Arc::clone(&kept));
        Some(kept)
    }

    fn note(&mut self, text: &str) {
        if self.run.notes.len() < MAX_NOTES {
            self.run.notes.push(text.to_owned());
        }
    }
}

fn vm(vm: Vm) -> Vm {
    let clean = |text: Option<String>| text.as_deref().map(clean);
    Vm { handle: clean(vm.handle), package: clean(vm.package), accel: clean(vm.accel) }
}

fn found(line: &Line<'_>, found: &str, expected: &str) -> SyntaxError {
    line.error(line.column_of("\"type\""), found, expected)
}

/// Another format: verdicts and reasons are all that it has.
fn foreign(results: Results) -> Run {
    let outcomes = results.rows.len() as u64;
    let mut checks: Vec<Ran> = Vec::new();
    let mut known: HashMap<String, usize> = HashMap::new();
    for row in results.rows {
        let ours = row.id.is_some();
        let id = row.id.or_else(|| row.description.clone()).unwrap_or(row.key);
        let cell = Cell { reason: row.reason, ..Cell::new(row.verdict) };
        match known.get(&id) {
            Some(index) => checks[*index].cell.add(cell),
            None if checks.len() == MAX_CHECKS => {}
            None => {
                known.insert(id.clone(), checks.len());
                checks.push(Ran { id, description: row.description, ours, cell });
            }
        }
    }
    Run {
        file: results.name,
        // The kernel's own programs do not say what they run on.
        kernel: Some(results.kernel.unwrap_or_default()),
        checks,
        outcomes,
        ended: !results.truncated,
        notes: results.notes,
        ..Run::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::State;
    use crate::matrix::kernel::Kernel;
    use crate::report::json::Json;
    use crate::report::ktap::Ktap;
    use crate::report::sample;

    fn ours() -> String {
        let mut out = Vec::new();
        sample::play(&mut Json::new(&mut out));
        String::from_utf8(out).unwrap()
    }

    fn state(text: &str) -> State {
        Kernel::of(&parse(text.as_bytes(), "x").unwrap()).1.state
    }

    fn error(text: &str) -> String {
        parse(text.as_bytes(), "x.jsonl").unwrap_err().to_string()
    }

    const VM: &str =
        r#"{"type":"vm","handle":"debian:6.1","package":"linux-image 6.1.192-1","accel":"tcg","new":[{}]}"#;
    const PANIC: &str = r#"{"type":"vm-end","state":"panic","reason":"Oops: 0000"}"#;

    #[test]
    fn what_was_written_is_read() {
        let run = parse(ours().as_bytes(), "x").unwrap();
        assert_eq!((run.checks.len(), run.outcomes, run.planned, run.ended), (8, 8, Some(8), true));
        for (ran, outcome) in run.checks.iter().zip(sample::outcomes()) {
            assert_eq!(ran.id, sample::start().plan[outcome.index].id);
            assert_eq!((ran.cell.verdict, &ran.cell.reason), (outcome.verdict.kind(), &outcome.verdict.reason()));
            assert_eq!(ran.cell.explanation.as_deref(), outcome.explanation.as_deref());
        }
        assert_eq!(run.checks[1].cell.sentences, ["B sees in page 3 what A wrote in step 3 (#3)"]);
        assert_eq!(run.checks[2].cell.remedy, "cowcheck run --provide as root");
    }

    #[test]
    fn the_records_around_a_run_say_how_it_ended() {
        let whole = ours();
        let cut = &whole[..whole.len() / 2];
        let start = whole.lines().next().unwrap();
        assert_eq!(state(&whole), State::Complete);
        assert_eq!(state(&format!("{VM}\n{whole}{{\"type\":\"vm-end\",\"state\":\"done\"}}\n")), State::Complete);
        assert_eq!(state(cut), State::CutOff(String::new()));
        assert_eq!(state(&format!("{VM}\n{start}\n{PANIC}\n")), State::CutOff("panic: Oops: 0000".to_owned()));
        assert_eq!(state(&format!("{VM}\n{PANIC}\n")), State::NotBooted("panic: Oops: 0000".to_owned()));
        assert_eq!(state(VM), State::NotBooted(String::new()));
    }

    #[test]
    fn rubbish_is_told_with_its_place() {
        let start = ours().lines().next().unwrap().to_owned();
        assert!(error("{}").starts_with("x.jsonl:1:"));
        assert!(error("rubbish\n").starts_with("x.jsonl:1:"));
        assert!(error("").starts_with("x.jsonl:1:"));
        assert!(error(&format!("{VM}\n{VM}\n")).starts_with("x.jsonl:2:2: found another line of type `vm`, expected"));
        assert!(
            error(&format!("{VM}\n{{\"type\":\"check\"}}\n")).contains("x.jsonl:2:2: found a line of type `check`")
        );
        assert!(error(&format!("{start}\n{start}\n")).contains("x.jsonl:2:2: found another line of type `start`"));
        assert!(error(&format!("{}{start}\n", ours())).contains("expected no more results after"));
        assert!(
            error(&format!("{start}\n{{\"type\":\"check\",\"id\":\"a\",\"verdict\":\"good\"}}\n"))
                .contains("x.jsonl:2:26: found the verdict `good`")
        );
        assert!(error(&format!("{start}\n{{\"type\":\"vm-end\",\"state\":7}}\n")).starts_with("x.jsonl:2:"));
    }

    #[test]
    fn a_file_may_be_cut_anywhere() {
        let whole = format!("{VM}\n{}{PANIC}\n", ours());
        for end in VM.len() + 1..whole.len() {
            let run = parse(&whole.as_bytes()[..end], "x").unwrap();
            assert!(run.checks.len() <= 8);
        }
    }

    #[test]
    fn repeats_are_one_check_and_the_worst_counts() {
        let mut text = format!("{}\n", ours().lines().next().unwrap());
        for verdict in ["pass", "fail", "pass"] {
            text += &format!(
                "{{\"type\":\"check\",\"id\":\"a\",\"verdict\":\"{verdict}\",\"explanation\":\"{verdict}\\u0007\\n\"}}\n"
            );
        }
        let run = parse(text.as_bytes(), "x").unwrap();
        let cell = &run.checks[0].cell;
        assert_eq!((run.checks.len(), run.outcomes, cell.verdict), (1, 3, Kind::Fail));
        assert_eq!((cell.share().as_deref(), cell.explanation.as_deref()), (Some("1 of 3 repeats"), Some("fail \n")));
    }

    #[test]
    fn other_formats_are_read_as_far_as_they_go() {
        let mut out = Vec::new();
        sample::play(&mut Ktap::new(&mut out));
        let run = parse(&out, "x").unwrap();
        assert_eq!((run.checks.len(), run.checks[0].ours, run.ended), (8, true, true));
        let tap = "TAP version 13\n1..2\nok 1 Basic COW ... with memfd\nnot ok 2 x\n";
        let run = parse(tap.as_bytes(), "x").unwrap();
        assert_eq!((run.checks[0].ours, run.checks[1].cell.verdict), (false, Kind::Fail));
    }
}
