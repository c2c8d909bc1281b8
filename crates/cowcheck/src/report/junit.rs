//! JUnit XML, for the servers that draw test results. One suite for each group.
//!
//! The format is one document, so it can be written at the end only: a run that is killed leaves no
//! file. The JSON lines are for that.

use std::io::{self, Write};
use std::time::Duration;

use cowcheck_model::verdict::Verdict;
use quick_junit::{NonSuccessKind, Property, Report, TestCase, TestCaseStatus, TestSuite};

use super::Sink;
use super::event::{Event, Outcome, Planned, Start};
use super::name::{line, with_repeat};

/// The sink.
pub struct Junit<W> {
    out: W,
    start: Option<Start>,
    cases: Vec<Option<TestCase>>,
}

impl<W: Write> Junit<W> {
    /// Writes to `out`, at the end.
    pub fn new(out: W) -> Self {
        Junit { out, start: None, cases: Vec::new() }
    }

    fn end(&mut self, micros: u64, stopped: Option<&str>) -> io::Result<()> {
        let Some(start) = self.start.take() else { return Ok(()) };
        let mut cases = std::mem::take(&mut self.cases).into_iter();
        let mut report = Report::new("cowcheck");
        report.set_time(Duration::from_micros(micros));
        for part in start.plan.chunk_by(|a, b| a.group == b.group && a.repeat == b.repeat) {
            let mut suite = TestSuite::new(with_repeat(&part[0].group, part[0].repeat));
            suite.add_property(Property::new("cowcheck", env!("CARGO_PKG_VERSION")));
            suite.add_property(Property::new("kernel", line(&start.kernel)));
            suite.add_property(Property::new("machine", line(&start.machine)));
            for planned in part {
                let known = cases.next().flatten();
                suite.add_test_case(known.unwrap_or_else(|| not_run(planned, stopped)));
            }
            report.add_test_suite(suite);
        }
        // Written by ourselves: an error of the library's does not tell that the reader has gone.
        let text = report.to_string().map_err(io::Error::other)?;
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }
}

fn case(planned: &Planned, status: TestCaseStatus) -> TestCase {
    let mut case = TestCase::new(with_repeat(&planned.id, planned.repeat), status);
    case.set_classname(format!("{}.{}", planned.group, planned.kind));
    case
}

fn not_run(planned: &Planned, stopped: Option<&str>) -> TestCase {
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
    status.set_type("not-run").set_message(format!("not run: {}", stopped.unwrap_or("the run ended before it")));
    case(planned, status)
}

/// JUnit knows success, failure, error and skipped; the type keeps the verdict's own word.
fn status_of(verdict: &Verdict) -> TestCaseStatus {
    let mut status = match verdict {
        Verdict::Pass => return TestCaseStatus::success(),
        Verdict::Fail { .. } => TestCaseStatus::non_success(NonSuccessKind::Failure),
        Verdict::Timeout { .. } | Verdict::Crash { .. } => TestCaseStatus::non_success(NonSuccessKind::Error),
        Verdict::Skip { .. } | Verdict::Inconclusive { .. } | Verdict::Xfail { .. } => TestCaseStatus::skipped(),
    };
    let message = match verdict {
        Verdict::Skip { reason, remedy } if !remedy.is_empty() => format!("{reason}; to run it: {remedy}"),
        other => other.reason(),
    };
    status.set_type(verdict.kind().word()).set_message(line(&message));
    status
}

fn case_of(planned: &Planned, outcome: &Outcome) -> TestCase {
    let mut status = status_of(&outcome.verdict);
    if let (Some(text), false) = (&outcome.explanation, matches!(outcome.verdict, Verdict::Pass)) {
        status.set_description(text.clone());
    }
    let mut case = case(planned, status);
    case.set_time(Duration::from_micros(outcome.micros));
    if let Some(description) = &planned.description {
        case.add_property(Property::new("peer", description.clone()));
    }
    if !outcome.notes.is_empty() {
        case.set_system_out(outcome.notes.join("\n"));
    }
    case
}

impl<W: Write> Sink for Junit<W> {
    fn event(&mut self, event: Event<'_>) -> io::Result<()> {
        match event {
            Event::Start(start) => {
                self.cases = vec![None; start.plan.len()];
                self.start = Some(start.clone());
                Ok(())
            }
            Event::Note(_) | Event::Begin(_) => Ok(()),
            Event::Outcome(outcome) => {
                let planned = self.start.as_ref().and_then(|start| start.plan.get(outcome.index));
                if let (Some(planned), Some(place)) = (planned, self.cases.get_mut(outcome.index)) {
                    *place = Some(case_of(planned, outcome));
                }
                Ok(())
            }
            Event::End { micros, stopped } => self.end(micros, stopped),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    fn written(play: impl Fn(&mut Junit<&mut Vec<u8>>)) -> String {
        let mut out = Vec::new();
        play(&mut Junit::new(&mut out));
        String::from_utf8(out).unwrap().replace(env!("CARGO_PKG_VERSION"), "VERSION")
    }

    #[test]
    fn every_verdict_has_its_place() {
        insta::assert_snapshot!(written(|sink| sample::play(sink)));
    }

    #[test]
    fn what_was_not_run_is_an_error() {
        let text = written(|sink| sample::play_part(sink, 3, Some("Ctrl-C")));
        assert_eq!(text.matches(r#"<error message="not run: Ctrl-C" type="not-run"/>"#).count(), 5, "{text}");
    }
}
