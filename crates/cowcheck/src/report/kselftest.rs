//! What the kernel's own tools/testing/selftests/mm/cow.c prints, so that this program can stand in
//! for it wherever its output is read: TAP 13 with the habits of kselftest.h, the same names, the
//! same order, the same exit code. Only checks that have a description of cow.c's are told.

use std::io::{self, Write};

use cowcheck_model::verdict::Verdict;

use super::Sink;
use super::event::{Event, Planned, Start};
use super::name::{line, with_repeat};
use super::order::{Due, InOrder};

/// KSFT_PASS of kselftest.h.
pub const PASS: u8 = 0;
/// KSFT_FAIL.
pub const FAIL: u8 = 1;
/// KSFT_SKIP: nothing was run because nothing was chosen.
pub const SKIP: u8 = 4;

/// The totals of kselftest.h; there is no way to an unexpected pass.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// How many checks of cow.c's were planned.
    pub planned: usize,
    /// Passes.
    pub pass: usize,
    /// Failures; timeouts and crashes among them.
    pub fail: usize,
    /// Failures that are known.
    pub xfail: usize,
    /// Skips; inconclusive checks among them.
    pub skip: usize,
    /// Checks that were never run.
    pub error: usize,
}

impl Totals {
    /// The exit code as ksft_finished() has it: skips and known failures are no failure, even where
    /// there is nothing else. A plan of nothing is a skip, as in ksft_exit_skip().
    pub fn exit_code(&self) -> u8 {
        match self.planned {
            0 => SKIP,
            planned if planned == self.pass + self.xfail + self.skip => PASS,
            _ => FAIL,
        }
    }
}

/// The parts of cow.c, by their headings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Section {
    Anonymous,
    AnonymousThp,
    NonAnonymous,
}

impl Section {
    fn of(planned: &Planned) -> Section {
        match planned.kind.as_str() {
            kind if kind.starts_with("collapse-") => Section::AnonymousThp,
            kind if kind.starts_with("file-") => Section::NonAnonymous,
            _ => Section::Anonymous,
        }
    }

    fn heading(self) -> &'static str {
        match self {
            Section::Anonymous => "# [INFO] Anonymous memory tests in private mappings",
            Section::AnonymousThp => "# [INFO] Anonymous THP tests",
            // cow.c says RUN here.
            Section::NonAnonymous => "# [RUN] Non-anonymous memory tests in private mappings",
        }
    }
}

/// The sink.
pub struct Kselftest<W> {
    out: W,
    order: InOrder,
    totals: Totals,
    section: Option<Section>,
    /// Has the check whose turn it is been announced? cow.c does so before it runs a test, so that a
    /// kernel that dies in it leaves its name.
    announced: bool,
}

impl<W: Write> Kselftest<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Self {
        let (order, totals) = (InOrder::default(), Totals::default());
        Kselftest { out, order, totals, section: None, announced: false }
    }

    /// What was counted so far.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    fn start(&mut self, start: &Start) -> io::Result<()> {
        self.totals.planned = start.plan.iter().filter(|planned| planned.description.is_some()).count();
        self.order = InOrder::new(start.plan.clone());
        writeln!(self.out, "TAP version 13")?;
        if start.pmd_size > 0 {
            writeln!(self.out, "# [INFO] detected PMD size: {} KiB", start.pmd_size / 1024)?;
            for size in &start.thp_sizes {
                writeln!(self.out, "# [INFO] detected THP size: {} KiB", size / 1024)?;
            }
        }
        for size in &start.hugetlb_sizes {
            writeln!(self.out, "# [INFO] detected hugetlb page size: {} KiB", size / 1024)?;
        }
        match self.totals.planned {
            0 => writeln!(self.out, "1..0 # SKIP no check of cow.c was chosen"),
            planned => writeln!(self.out, "1..{planned}"),
        }
    }

    fn announce(&mut self, planned: &Planned) -> io::Result<()> {
        let Some(name) = name_of(planned) else { return Ok(()) };
        if self.announced {
            return Ok(());
        }
        let section = Section::of(planned);
        if self.section != Some(section) {
            writeln!(self.out, "{}", section.heading())?;
            self.section = Some(section);
        }
        writeln!(self.out, "# [RUN] {name}")?;
        self.announced = true;
        Ok(())
    }

    fn write(&mut self, due: &Due, stopped: Option<&str>) -> io::Result<()> {
        let Some(name) = name_of(&due.planned) else { return Ok(()) };
        self.announce(&due.planned)?;
        self.announced = false;
        let why = match &due.told {
            None => format!("not run: {}", stopped.unwrap_or("the run ended before it")),
            Some(told) => match &told.verdict {
                Verdict::Pass => String::new(),
                Verdict::Xfail { bug, violations } => match violations.first() {
                    Some(first) => format!("{} (known: {bug})", first.sentence),
                    None => format!("known: {bug}"),
                },
                Verdict::Fail { .. } | Verdict::Skip { .. } => told.verdict.reason(),
                other => format!("{}: {}", other.kind().word(), other.reason()),
            },
        };
        if !why.is_empty() {
            writeln!(self.out, "# {}", line(&why))?;
        }
        let totals = &mut self.totals;
        let (counter, head, directive) = match due.told.as_ref().map(|told| &told.verdict) {
            None => (&mut totals.error, "not ok", "# error "),
            Some(Verdict::Pass) => (&mut totals.pass, "ok", ""),
            Some(Verdict::Xfail { .. }) => (&mut totals.xfail, "ok", "# XFAIL "),
            Some(Verdict::Skip { .. } | Verdict::Inconclusive { .. }) => (&mut totals.skip, "ok", "# SKIP "),
            Some(Verdict::Fail { .. } | Verdict::Timeout { .. } | Verdict::Crash { .. }) => {
                (&mut totals.fail, "not ok", "")
            }
        };
        *counter += 1;
        let number = totals.pass + totals.fail + totals.xfail + totals.skip + totals.error;
        writeln!(self.out, "{head} {number} {directive}{name}")
    }

    fn end(&mut self, stopped: Option<&str>) -> io::Result<()> {
        for due in self.order.rest() {
            self.write(&due, stopped)?;
        }
        let Totals { pass, fail, xfail, skip, error, .. } = self.totals;
        if skip > 0 {
            writeln!(
                self.out,
                "# {skip} skipped test(s) detected. Consider enabling relevant config options to improve coverage."
            )?;
        }
        writeln!(self.out, "# Totals: pass:{pass} fail:{fail} xfail:{xfail} xpass:0 skip:{skip} error:{error}")
    }
}

fn name_of(planned: &Planned) -> Option<String> {
    planned.description.as_deref().map(|description| with_repeat(description, planned.repeat))
}

impl<W: Write> Sink for Kselftest<W> {
    fn event(&mut self, event: Event<'_>) -> io::Result<()> {
        match event {
            Event::Start(start) => self.start(start)?,
            Event::Note(text) => writeln!(self.out, "# [INFO] {}", line(text))?,
            Event::Begin(index) => {
                let turn = self.order.plan().get(index).filter(|_| index == self.order.next());
                if let Some(planned) = turn.cloned() {
                    self.announce(&planned)?;
                }
            }
            Event::Outcome(outcome) => {
                for due in self.order.put(outcome)? {
                    self.write(&due, None)?;
                }
            }
            Event::End { stopped, .. } => self.end(stopped)?,
        }
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    fn written(play: impl Fn(&mut Kselftest<&mut Vec<u8>>)) -> (String, Totals) {
        let mut out = Vec::new();
        let mut sink = Kselftest::new(&mut out);
        play(&mut sink);
        let totals = sink.totals();
        (String::from_utf8(out).unwrap(), totals)
    }

    #[test]
    fn it_reads_like_cow_c() {
        let (text, totals) = written(|sink| sample::play(sink));
        insta::assert_snapshot!(text);
        assert_eq!(totals, Totals { planned: 6, pass: 1, fail: 1, xfail: 1, skip: 3, error: 0 });
        assert_eq!(totals.exit_code(), FAIL);
    }

    #[test]
    fn the_test_that_runs_is_announced_before_its_result() {
        let (text, _) = written(|sink| {
            sink.event(Event::Start(&sample::start())).unwrap();
            sink.event(Event::Begin(1)).unwrap();
            sink.event(Event::Begin(0)).unwrap();
        });
        assert!(text.ends_with("private mappings\n# [RUN] Basic COW after fork() ... with base page\n"), "{text}");
    }

    #[test]
    fn what_was_not_run_is_an_error() {
        let (text, totals) = written(|sink| sample::play_part(sink, 1, Some("Ctrl-C")));
        let expected = "# not run: Ctrl-C\nnot ok 6 # error R/O longterm GUP pin ... with memfd\n\
                        # Totals: pass:1 fail:0 xfail:0 xpass:0 skip:0 error:5\n";
        assert!(text.ends_with(expected), "{text}");
        assert_eq!(totals.exit_code(), FAIL);
    }

    #[test]
    fn the_exit_code_is_that_of_ksft_finished() {
        let of = |planned, pass, xfail, skip| Totals { planned, pass, xfail, skip, ..Totals::default() }.exit_code();
        assert_eq!(of(3, 1, 1, 1), PASS);
        assert_eq!(of(3, 0, 0, 3), PASS);
        assert_eq!(of(3, 2, 0, 0), FAIL);
        assert_eq!(of(0, 0, 0, 0), SKIP);
    }

    #[test]
    fn repeats_keep_names_apart() {
        let (text, _) = written(|sink| sample::play_repeated(sink));
        assert!(text.contains("\n1..12\n"), "{text}");
        assert!(text.contains("\nok 7 Basic COW after fork() ... with base page (repeat 2)\n"), "{text}");
    }
}
