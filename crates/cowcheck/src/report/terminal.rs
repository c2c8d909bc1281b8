//! For people: what breaks is explained as it comes, the rest is summed up. This file and the bars of `progress` are
//! all that knows of terminals.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use cowcheck_model::verdict::Kind;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Sink;
use super::event::{Event, Outcome, Planned, Start};
use super::name::{line, lines, with_repeat};
use super::summary::{Summary, checks};

/// How many lines of one kind the summary lists before it says how many more there are.
const MAX_LISTED: usize = 20;

/// How many reasons are told of skips that have the same remedy.
const MAX_REASONS: usize = 4;

/// How the output looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// Draw a progress bar on standard error.
    pub progress: bool,
    /// Use colours.
    pub color: bool,
    /// List every check, the passes and skips too.
    pub verbose: bool,
}

impl Options {
    /// What suits `out`: colours where it is a terminal and `NO_COLOR` is not set, progress where
    /// standard error is a terminal.
    pub fn for_stream(out: &impl IsTerminal, verbose: bool) -> Self {
        let color = color_wanted(out.is_terminal(), std::env::var_os("NO_COLOR").as_deref());
        Options { progress: io::stderr().is_terminal(), color, verbose }
    }
}

/// An empty `NO_COLOR` counts as not set, as no-color.org has it.
fn color_wanted(terminal: bool, no_color: Option<&OsStr>) -> bool {
    terminal && no_color.is_none_or(OsStr::is_empty)
}

/// The sink.
pub struct Terminal<W> {
    out: W,
    options: Options,
    plan: Vec<Planned>,
    summary: Summary,
    bar: ProgressBar,
    /// Reasons of inconclusive checks that were explained already: there can be hundreds of one kind.
    explained: HashSet<String>,
}

impl<W: Write> Terminal<W> {
    /// Writes to `out`.
    pub fn new(out: W, options: Options) -> Self {
        Terminal {
            out,
            options,
            plan: Vec::new(),
            summary: Summary::default(),
            bar: ProgressBar::hidden(),
            explained: HashSet::new(),
        }
    }

    /// What the run came to so far, as for an exit code.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    fn style(&self, kind: Kind) -> Style {
        let color = match kind {
            _ if !self.options.color => return Style::new(),
            Kind::Pass => AnsiColor::Green,
            Kind::Skip => AnsiColor::Blue,
            Kind::Xfail | Kind::Inconclusive => AnsiColor::Yellow,
            Kind::Fail | Kind::Timeout | Kind::Crash => return AnsiColor::Red.on_default().bold(),
        };
        color.on_default()
    }

    /// The verdict's word, coloured and padded.
    fn word(&self, kind: Kind) -> String {
        let style = self.style(kind);
        format!("{style}{:<13}{style:#}", kind.word())
    }

    /// Writes whole lines where the bar is not.
    fn say(&mut self, text: &str) -> io::Result<()> {
        let out = &mut self.out;
        self.bar.suspend(|| {
            out.write_all(text.as_bytes())?;
            out.flush()
        })
    }

    fn start(&mut self, start: &Start) -> io::Result<()> {
        self.plan.clone_from(&start.plan);
        self.summary = Summary::new(start.plan.len());
        let kernel = format!("{}, {}", line(&start.kernel), line(&start.machine));
        self.say(&format!("{} on kernel {kernel}\n", checks(start.plan.len())))?;
        if self.options.progress {
            let target = ProgressDrawTarget::stderr();
            let bar = ProgressBar::with_draw_target(Some(start.plan.len() as u64), target);
            // A template that does not parse would be a bug of this file; the default serves as well.
            if let Ok(style) = ProgressStyle::with_template("{bar:24} {pos}/{len} {elapsed} {wide_msg}") {
                bar.set_style(style);
            }
            self.bar = bar;
        }
        Ok(())
    }

    fn outcome(&mut self, outcome: &Outcome) -> io::Result<()> {
        let Some(planned) = self.plan.get(outcome.index).cloned() else { return Ok(()) };
        self.summary.add(&planned, outcome);
        let kind = outcome.verdict.kind();
        let told = match kind {
            Kind::Pass | Kind::Skip | Kind::Xfail => self.options.verbose,
            Kind::Fail | Kind::Inconclusive | Kind::Timeout | Kind::Crash => true,
        };
        if told {
            let text = self.told(&planned, outcome);
            self.say(&text)?;
        }
        self.bar.inc(1);
        Ok(())
    }

    /// A check and its verdict, why, and where it helps the explanation.
    fn told(&mut self, planned: &Planned, outcome: &Outcome) -> String {
        let kind = outcome.verdict.kind();
        let reason = line(&outcome.verdict.reason());
        let mut text = format!("{}{}", self.word(kind), with_repeat(&planned.id, planned.repeat));
        if outcome.micros > 0 {
            let _ = write!(text, " ({})", duration(outcome.micros));
        }
        text.push('\n');
        let again = kind == Kind::Inconclusive && !self.explained.insert(reason.clone()) && !self.options.verbose;
        let explanation = outcome.explanation.as_deref().filter(|_| kind != Kind::Pass && !again);
        match explanation {
            Some(explanation) => lines(explanation).for_each(|line| text += &format!("    {line}\n")),
            None if !reason.is_empty() => text += &format!("    {reason}\n"),
            None => {}
        }
        for note in &outcome.notes {
            text += &format!("    note: {}\n", line(note));
        }
        text
    }

    fn end(&mut self, micros: u64, stopped: Option<&str>) -> io::Result<()> {
        self.bar.finish_and_clear();
        let text = self.summed_up(micros, stopped);
        self.say(&text)
    }

    fn summed_up(&self, micros: u64, stopped: Option<&str>) -> String {
        let summary = &self.summary;
        let mut text = format!("\n{} of {} ran in {}\n", summary.ran(), checks(summary.planned()), duration(micros));
        for kind in Kind::ALL {
            let count = summary.counts().of(kind);
            if count > 0 {
                text += &format!("  {count:>6} {}\n", self.word(kind).trim_end());
            }
        }
        if summary.not_run() > 0 {
            let why = line(stopped.unwrap_or("the run ended early"));
            text += &format!("  {:>6} not reached: {why}\n", summary.not_run());
        }
        let broken = summary.broken().iter().map(|broken| {
            let word = self.word(broken.kind);
            format!("{word}{}: {}", broken.name, broken.reason)
        });
        list(&mut text, broken.collect());
        let counted = |kind, what: &str, all: Vec<(String, usize)>| {
            let style = self.style(kind);
            let line = |(reason, count)| format!("{style}{count} {}{style:#}{what}: {reason}", kind.word());
            all.into_iter().map(line).collect::<Vec<_>>()
        };
        list(&mut text, counted(Kind::Xfail, ", a bug that is known", summary.bugs()));
        list(&mut text, counted(Kind::Inconclusive, "", summary.inconclusive()));
        let style = self.style(Kind::Skip);
        let skipped = summary.skipped().into_iter().map(|skipped| {
            let cure = match skipped.remedy.as_str() {
                "" => "nothing on this machine would run them".to_owned(),
                remedy => format!("to run them: {remedy}"),
            };
            format!("{style}{} skipped{style:#}: {}; {cure}", skipped.count, reasons(&skipped.reasons))
        });
        list(&mut text, skipped.collect());
        list(&mut text, summary.collapses());
        let verdict = match summary {
            _ if !summary.broken().is_empty() => Kind::Fail,
            _ if summary.ran() == 0 => Kind::Inconclusive,
            _ => Kind::Pass,
        };
        let style = self.style(verdict);
        text += &format!("\n{style}{}{style:#}\n", summary.answer());
        text
    }
}

/// A paragraph of lines, not too many.
fn list(text: &mut String, lines: Vec<String>) {
    if lines.is_empty() {
        return;
    }
    text.push('\n');
    for line in lines.iter().take(MAX_LISTED) {
        *text += &format!("{line}\n");
    }
    if lines.len() > MAX_LISTED {
        *text += &format!("and {} more\n", lines.len() - MAX_LISTED);
    }
}

/// `no swap`, or `no swap (252), no helper module (228)`.
fn reasons(all: &[(String, usize)]) -> String {
    if let [(only, _)] = all {
        return only.clone();
    }
    let mut told: Vec<String> =
        all.iter().take(MAX_REASONS).map(|(reason, count)| format!("{reason} ({count})")).collect();
    let more: usize = all.iter().skip(MAX_REASONS).map(|(_, count)| count).sum();
    if more > 0 {
        told.push(format!("other reasons ({more})"));
    }
    told.join(", ")
}

/// `850 µs`, `12 ms`, `31.6 s`, `2 min 5 s`.
fn duration(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..1_000_000 => format!("{} ms", micros / 1_000),
        1_000_000..60_000_000 => format!("{}.{} s", micros / 1_000_000, micros / 100_000 % 10),
        _ => format!("{} min {} s", micros / 60_000_000, micros / 1_000_000 % 60),
    }
}

impl<W: Write> Sink for Terminal<W> {
    fn event(&mut self, event: Event<'_>) -> io::Result<()> {
        match event {
            Event::Start(start) => self.start(start),
            Event::Note(text) => self.say(&format!("note: {}\n", line(text))),
            Event::Begin(index) => {
                if let Some(planned) = self.plan.get(index) {
                    self.bar.set_message(with_repeat(&planned.id, planned.repeat));
                }
                Ok(())
            }
            Event::Outcome(outcome) => self.outcome(outcome),
            Event::End { micros, stopped } => self.end(micros, stopped),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    fn written(options: Options, play: impl Fn(&mut Terminal<&mut Vec<u8>>)) -> String {
        let mut out = Vec::new();
        play(&mut Terminal::new(&mut out, options));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_run_is_told_and_summed_up() {
        insta::assert_snapshot!(written(Options::default(), |sink| sample::play(sink)));
    }

    #[test]
    fn verbose_lists_every_check() {
        let options = Options { verbose: true, ..Options::default() };
        let text = written(options, |sink| sample::play(sink));
        for planned in sample::start().plan {
            assert!(text.contains(&format!(" {} (", planned.id)), "{}: {text}", planned.id);
        }
    }

    #[test]
    fn a_stopped_run_says_so() {
        let text = written(Options::default(), |sink| sample::play_part(sink, 1, Some("Ctrl-C")));
        assert!(text.contains("\n       7 not reached: Ctrl-C\n"), "{text}");
        assert!(text.ends_with("in 1 of 1 check that ran; 7 were not reached.\n"), "{text}");
    }

    #[test]
    fn there_is_no_escape_without_colour() {
        let plain = written(Options::default(), |sink| sample::play(sink));
        assert!(!plain.contains('\u{1b}'));
        let color = written(Options { color: true, ..Options::default() }, |sink| sample::play(sink));
        assert!(color.contains("\u{1b}[1m\u{1b}[31mfail"), "{color}");
    }

    #[test]
    fn no_color_wins() {
        assert!(color_wanted(true, None));
        assert!(color_wanted(true, Some(OsStr::new(""))));
        assert!(!color_wanted(true, Some(OsStr::new("1"))));
        assert!(!color_wanted(false, None));
    }

    #[test]
    fn an_inconclusive_reason_is_explained_once() {
        let text = written(Options::default(), |sink| {
            sink.event(Event::Start(&sample::start())).unwrap();
            for index in 0..2 {
                let verdict = cowcheck_model::verdict::Verdict::Inconclusive { reason: "refused".to_owned() };
                let mut outcome = sample::outcome(index, verdict);
                outcome.explanation = Some("the whole story".to_owned());
                sink.event(Event::Outcome(&outcome)).unwrap();
            }
        });
        assert_eq!(text.matches("the whole story").count(), 1, "{text}");
        assert_eq!(text.matches("    refused\n").count(), 1, "{text}");
    }

    #[test]
    fn rare_reasons_are_summed_up() {
        let all: Vec<(String, usize)> = ["a", "b", "c", "d", "e", "f"].map(|reason| (reason.to_owned(), 2)).into();
        assert_eq!(reasons(&all), "a (2), b (2), c (2), d (2), other reasons (4)");
        assert_eq!(reasons(&all[..1]), "a");
    }

    #[test]
    fn times_are_told_in_fitting_units() {
        let all = [850, 12_345, 31_649_999, 125_000_000].map(duration);
        assert_eq!(all, ["850 µs", "12 ms", "31.6 s", "2 min 5 s"]);
    }
}
