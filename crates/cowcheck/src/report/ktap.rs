//! KTAP version 1 (Documentation/dev-tools/ktap.rst), a subtest for each group, in the order of the
//! plan. The names are the ids; the kernel's own kunit_parser.py reads it.
//!
//! KTAP has fewer words than the verdicts: an inconclusive check is a SKIP whose reason begins with
//! `inconclusive: `, a crash is an ERROR. The JSON lines keep all of them apart.

use std::io::{self, Write};

use cowcheck_model::verdict::Verdict;

use super::Sink;
use super::event::{Counts, Event, Planned, Start};
use super::name::{line, lines, plain, with_repeat};
use super::order::{Due, InOrder, Told};

/// How the reason of a SKIP begins that stands for an inconclusive check.
pub(crate) const INCONCLUSIVE: &str = "inconclusive: ";

/// How the reason of an ERROR begins that stands for a check which was not run.
pub(crate) const NOT_RUN: &str = "not run: ";

/// The sink.
pub struct Ktap<W> {
    out: W,
    order: InOrder,
    groups: Vec<Group>,
    counts: Counts,
    /// How many groups have their result.
    closed: usize,
    open: Option<Open>,
}

/// A run of neighbours in the plan that are of one group and one repeat.
struct Group {
    name: String,
    size: usize,
}

/// The group that is being written.
struct Open {
    written: usize,
    broken: bool,
    skipped: usize,
}

impl<W: Write> Ktap<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Self {
        let (order, counts) = (InOrder::default(), Counts::default());
        Ktap { out, order, groups: Vec::new(), counts, closed: 0, open: None }
    }

    fn start(&mut self, start: &Start) -> io::Result<()> {
        self.order = InOrder::new(start.plan.clone());
        self.groups = groups(self.order.plan());
        writeln!(self.out, "KTAP version 1")?;
        writeln!(self.out, "# cowcheck {}", env!("CARGO_PKG_VERSION"))?;
        writeln!(self.out, "# kernel: {}", line(&start.kernel))?;
        writeln!(self.out, "# machine: {}", line(&start.machine))?;
        match self.groups.len() {
            0 => writeln!(self.out, "1..0 # SKIP no check was chosen"),
            groups => writeln!(self.out, "1..{groups}"),
        }
    }

    fn write(&mut self, due: &Due, stopped: Option<&str>) -> io::Result<()> {
        let Some(Group { name, size }) = self.groups.get(self.closed) else {
            return Ok(());
        };
        if self.open.is_none() {
            writeln!(self.out, "  KTAP version 1\n  # Subtest: {name}\n  1..{size}")?;
        }
        let open = self.open.get_or_insert(Open { written: 0, broken: false, skipped: 0 });
        if let Some(description) = &due.planned.description {
            writeln!(self.out, "  # peer: {}", line(description))?;
        }
        let result = match &due.told {
            Some(told) => {
                remarks(&mut self.out, told)?;
                self.counts.add(told.verdict.kind());
                result_of(&told.verdict)
            }
            None => {
                let why = plain(stopped.unwrap_or("the run ended before it"));
                ResultLine { ok: false, directive: Some("ERROR"), reason: format!("{NOT_RUN}{why}") }
            }
        };
        open.written += 1;
        open.broken |= !result.ok;
        open.skipped += usize::from(result.directive == Some("SKIP"));
        let name = with_repeat(&due.planned.id, due.planned.repeat);
        writeln!(self.out, "  {}", result.line(open.written, &name))?;
        if open.written == *size {
            let all_skipped = open.skipped == open.written;
            let directive = all_skipped.then_some("SKIP");
            let group = ResultLine { ok: !open.broken, directive, reason: String::new() };
            writeln!(self.out, "{}", group.line(self.closed + 1, &self.groups[self.closed].name))?;
            self.closed += 1;
            self.open = None;
        }
        Ok(())
    }

    fn end(&mut self, micros: u64, stopped: Option<&str>) -> io::Result<()> {
        for due in self.order.rest() {
            self.write(&due, stopped)?;
        }
        if let Some(why) = stopped {
            writeln!(self.out, "# stopped: {}", line(why))?;
        }
        writeln!(self.out, "# verdicts: {}", self.counts)?;
        writeln!(self.out, "# microseconds: {micros}")
    }
}

/// Diagnostic lines: why, the explanation, the notes.
fn remarks(out: &mut impl Write, told: &Told) -> io::Result<()> {
    if let Some(first) = told.verdict.violations().first() {
        writeln!(out, "  # why: {}", line(&first.sentence))?;
    }
    for text in lines(told.explanation.as_deref().unwrap_or("")) {
        // Three blanks: a line of the explanation is never taken for `# Subtest: ` and the like.
        writeln!(out, "  #   {text}")?;
    }
    for note in &told.notes {
        writeln!(out, "  # note: {}", line(note))?;
    }
    Ok(())
}

/// One result line.
struct ResultLine {
    ok: bool,
    directive: Option<&'static str>,
    reason: String,
}

impl ResultLine {
    fn line(&self, number: usize, name: &str) -> String {
        let head = if self.ok { "ok" } else { "not ok" };
        let tail = match self.directive {
            None => String::new(),
            Some(directive) => format!(" # {directive} {}", self.reason),
        };
        format!("{head} {number} {name}{tail}").trim_end().to_owned()
    }
}

fn result_of(verdict: &Verdict) -> ResultLine {
    let (ok, directive) = match verdict {
        Verdict::Pass => (true, None),
        Verdict::Fail { .. } => (false, None),
        Verdict::Xfail { .. } => (true, Some("XFAIL")),
        Verdict::Skip { .. } | Verdict::Inconclusive { .. } => (true, Some("SKIP")),
        Verdict::Timeout { .. } => (false, Some("TIMEOUT")),
        Verdict::Crash { .. } => (false, Some("ERROR")),
    };
    let reason = plain(&match verdict {
        Verdict::Inconclusive { reason } => format!("{INCONCLUSIVE}{reason}"),
        Verdict::Skip { reason, remedy } if !remedy.is_empty() => format!("{reason}; to run it: {remedy}"),
        other => other.reason(),
    });
    ResultLine { ok, directive, reason }
}

fn groups(plan: &[Planned]) -> Vec<Group> {
    let parts = plan.chunk_by(|a, b| a.group == b.group && a.repeat == b.repeat);
    let group = |part: &[Planned]| {
        // A parser takes a result of the subtest's own name for the subtest's end.
        let clash = part.iter().any(|planned| planned.id == part[0].group);
        let name = if clash { format!("group {}", part[0].group) } else { part[0].group.clone() };
        Group { name: with_repeat(&name, part[0].repeat), size: part.len() }
    };
    parts.map(group).collect()
}

impl<W: Write> Sink for Ktap<W> {
    fn event(&mut self, event: Event<'_>) -> io::Result<()> {
        match event {
            Event::Start(start) => self.start(start)?,
            Event::Note(text) => {
                let indent = if self.open.is_some() { "  " } else { "" };
                writeln!(self.out, "{indent}# note: {}", line(text))?;
            }
            Event::Begin(_) => return Ok(()),
            Event::Outcome(outcome) => {
                for due in self.order.put(outcome)? {
                    self.write(&due, None)?;
                }
            }
            Event::End { micros, stopped } => self.end(micros, stopped)?,
        }
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    fn written(play: impl Fn(&mut Ktap<&mut Vec<u8>>)) -> String {
        let mut out = Vec::new();
        play(&mut Ktap::new(&mut out));
        String::from_utf8(out).unwrap().replace(env!("CARGO_PKG_VERSION"), "VERSION")
    }

    #[test]
    fn every_verdict_has_its_line() {
        insta::assert_snapshot!(written(|sink| sample::play(sink)));
    }

    #[test]
    fn what_was_not_run_is_an_error_with_its_name() {
        let text = written(|sink| sample::play_part(sink, 2, Some("Ctrl-C #1")));
        assert!(text.contains("  not ok 2 cow/fork-write/base-swapped # ERROR not run: Ctrl-C _1\n"), "{text}");
        assert!(text.contains("  not ok 4 cow/collapse-all/thp\n"), "held back, but known: {text}");
        assert!(text.contains("\nnot ok 2 own\n# stopped: Ctrl-C #1\n"), "{text}");
        assert_eq!(text.matches("ERROR not run").count(), 6);
    }

    #[test]
    fn repeats_have_their_own_subtests_and_names() {
        let text = written(|sink| sample::play_repeated(sink));
        assert!(text.contains("\n1..4\n"), "{text}");
        assert!(text.contains("\n  ok 2 own/stale/thp (repeat 2)\nok 4 own (repeat 2)\n"), "{text}");
    }

    #[test]
    fn a_repeat_begins_a_new_subtest_though_the_group_is_the_same() {
        let text = written(|sink| {
            let mut start = sample::start();
            start.plan.truncate(1);
            start.plan.push(Planned { repeat: 2, ..start.plan[0].clone() });
            sink.event(Event::Start(&start)).unwrap();
        });
        assert!(text.ends_with("\n1..2\n"), "{text}");
    }

    #[test]
    fn no_reason_holds_what_would_begin_a_directive() {
        let reason = "B hung # SKIP\nin step 2".to_owned();
        let line = result_of(&Verdict::Timeout { reason }).line(1, "x");
        assert_eq!(line, "not ok 1 x # TIMEOUT B hung _ SKIP in step 2");
    }

    #[test]
    fn a_group_of_skips_is_a_skip() {
        let text = written(|sink| {
            let mut start = sample::start();
            start.plan.truncate(1);
            sink.event(Event::Start(&start)).unwrap();
            sink.event(Event::Outcome(&sample::outcome(0, sample::skip("no", "")))).unwrap();
            sink.event(Event::End { micros: 0, stopped: None }).unwrap();
        });
        assert!(text.contains("  ok 1 cow/fork-write/base # SKIP no\nok 1 cow # SKIP\n"), "{text}");
    }

    #[test]
    fn a_plan_of_nothing_is_still_a_plan() {
        let text = written(|sink| {
            let start = Start { plan: vec![], ..sample::start() };
            sink.event(Event::Start(&start)).unwrap();
            sink.event(Event::End { micros: 0, stopped: None }).unwrap();
        });
        assert!(text.contains("\n1..0 # SKIP no check was chosen\n"), "{text}");
    }
}
