//! The matrix as text, for people at a terminal.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use cowcheck_model::verdict::Kind;

use super::change::{Change, Trend};
use super::collapses;
use super::kernel::{Kernel, State};
use super::sheet::{Check, Matrix, kernels};
use crate::report::summary::checks;

/// How wide it gets, in columns.
const WIDTH: usize = 100;

/// The least width of a kernel's column.
const MIN_COLUMN: usize = 8;

/// The longest name of a kind that is shown, in characters.
const MAX_KIND: usize = 34;

/// How many memories of a kind are listed before it says how many more there are.
const MAX_MEMORIES: usize = 6;

/// How many reasons are listed.
const MAX_REASONS: usize = 12;

/// The rows of a kind.
const ROWS: [(&str, &[Kind]); 6] = [
    ("pass", &[Kind::Pass]),
    ("fail", &[Kind::Fail]),
    ("crash", &[Kind::Crash]),
    ("timeout", &[Kind::Timeout]),
    ("xfail", &[Kind::Xfail]),
    ("untested", &[Kind::Skip, Kind::Inconclusive]),
];

/// The report as text: the kernels, kernels × kinds, what differs, what was not tested, the answer.
pub fn text(matrix: &Matrix, color: bool) -> String {
    let mut text = Text { out: String::new(), color };
    text.line(&matrix.title);
    text.line(&format!("{}, {}", kernels(matrix.kernels.len()), checks(matrix.checks.len())));
    text.line("");
    matrix.kernels.iter().for_each(|kernel| text.kernel(kernel));
    text.tables(matrix);
    text.collapses(matrix);
    text.changes(matrix);
    text.untested(matrix);
    let kind = match () {
        () if matrix.is_broken() => Kind::Fail,
        () if matrix.is_incomplete() => Kind::Inconclusive,
        () => Kind::Pass,
    };
    let style = text.style(kind);
    text.line(&format!("\n{style}{}{style:#}", matrix.answer()));
    text.out
}

/// Kernels and the widths of their columns, as many beside each other as there is room for.
fn parts(matrix: &Matrix, room: usize) -> Vec<Vec<(usize, usize)>> {
    let mut parts: Vec<Vec<(usize, usize)>> = Vec::new();
    let mut left = 0;
    for kernel in matrix.columns() {
        let width = (matrix.kernels[kernel].label.chars().count() + 2).max(MIN_COLUMN);
        match parts.last_mut() {
            Some(part) if width <= left => part.push((kernel, width)),
            _ => {
                parts.push(vec![(kernel, width)]);
                left = room;
            }
        }
        left = left.saturating_sub(width);
    }
    parts
}

struct Text {
    out: String,
    color: bool,
}

impl Text {
    fn line(&mut self, line: &str) {
        let _ = writeln!(self.out, "{}", line.trim_end());
    }

    fn style(&self, kind: Kind) -> Style {
        match kind {
            _ if !self.color => Style::new(),
            Kind::Pass => AnsiColor::Green.on_default(),
            Kind::Skip => AnsiColor::Blue.on_default(),
            Kind::Xfail | Kind::Inconclusive => AnsiColor::Yellow.on_default(),
            Kind::Fail | Kind::Timeout | Kind::Crash => AnsiColor::Red.on_default().bold(),
        }
    }

    fn kernel(&mut self, kernel: &Kernel) {
        let mut from: Vec<&str> = Vec::new();
        from.extend(kernel.package.as_deref().or(kernel.kernel.as_deref()).filter(|text| !text.is_empty()));
        from.extend(kernel.machine.as_deref());
        from.extend(kernel.accel.as_deref());
        from.push(&kernel.file);
        self.line(&format!("{:<14} {}", kernel.label, from.join(", ")));
        if kernel.state != State::Complete {
            let style = self.style(Kind::Fail);
            self.line(&format!("{:<14} {style}{}{style:#}", "", kernel.state));
        }
        for note in &kernel.notes {
            self.line(&format!("{:<14} note: {note}", ""));
        }
    }

    fn tables(&mut self, matrix: &Matrix) {
        let kinds = matrix.kinds();
        let name = |kind: &str| kind.chars().take(MAX_KIND).collect::<String>();
        let kind_width = kinds.iter().map(|(kind, _)| name(kind).chars().count()).max().unwrap_or(0).max("all".len());
        let row_width = ROWS.iter().map(|(word, _)| word.len()).max().unwrap_or(0);
        let room = WIDTH - kind_width - row_width - 2;
        let all: Vec<(usize, &Check)> = matrix.checks.iter().enumerate().collect();
        for part in parts(matrix, room) {
            let mut head = format!("\n{:1$}", "", kind_width + row_width + 2);
            for (kernel, width) in &part {
                let _ = write!(head, "{:>width$}", matrix.kernels[*kernel].label);
            }
            self.line(&head);
            for (kind, checks) in &kinds {
                self.rows(&format!("{:<kind_width$}", name(kind)), checks, &part, row_width);
            }
            self.rows(&format!("{:<kind_width$}", "all"), &all, &part, row_width);
        }
    }

    /// The rows of a kind: one for each verdict that comes up on any of the kernels.
    fn rows(&mut self, head: &str, checks: &[(usize, &Check)], part: &[(usize, usize)], row_width: usize) {
        let counts: Vec<_> = part.iter().map(|(kernel, _)| Matrix::counts(checks, *kernel)).collect();
        let rows = ROWS.map(|(word, kinds)| {
            let of =
                |(counts, _): &(crate::report::event::Counts, usize)| kinds.iter().map(|kind| counts.of(*kind)).sum();
            (word, kinds[0], counts.iter().map(of).collect::<Vec<usize>>())
        });
        let none = ("missing", Kind::Skip, counts.iter().map(|(_, none)| *none).collect::<Vec<_>>());
        let mut head = head.to_owned();
        for (word, kind, numbers) in rows.into_iter().chain([none]) {
            if numbers.iter().all(|number| *number == 0) {
                continue;
            }
            let style = self.style(kind);
            let mut line = format!("{head} {style}{word:<row_width$}{style:#} ");
            for (number, (_, width)) in numbers.into_iter().zip(part) {
                let shown = if number == 0 { ".".to_owned() } else { number.to_string() };
                let style = if number == 0 { Style::new() } else { style };
                let _ = write!(line, "{style}{shown:>width$}{style:#}");
            }
            self.line(&line);
            head = " ".repeat(head.chars().count());
        }
    }

    /// What collapses did, by the pattern of sharing: a line for each word.
    fn collapses(&mut self, matrix: &Matrix) {
        let rows = collapses::rows(matrix);
        let width = |texts: &mut dyn Iterator<Item = &str>| texts.map(|text| text.chars().count()).max().unwrap_or(0);
        let name = width(&mut rows.iter().map(|row| row.pattern));
        let how = width(&mut rows.iter().map(|row| row.how));
        for part in parts(matrix, WIDTH.saturating_sub(name + how + 2)).iter().filter(|_| !rows.is_empty()) {
            let mut head = format!("\n{:1$}", "collapses", name + how + 2);
            for (kernel, width) in part {
                let _ = write!(head, "{:>width$}", matrix.kernels[*kernel].label);
            }
            self.line(&head);
            let mut last = "";
            for row in &rows {
                let pattern = if row.pattern == last { "" } else { row.pattern };
                last = row.pattern;
                let mut line = format!("{pattern:<name$} {:<how$} ", row.how);
                for (kernel, width) in part {
                    let shown = if row.counts[*kernel] == 0 { ".".to_owned() } else { row.counts[*kernel].to_string() };
                    let _ = write!(line, "{shown:>width$}");
                }
                self.line(&line);
            }
        }
    }

    fn changes(&mut self, matrix: &Matrix) {
        for (title, steady) in
            [("What differs between kernels:", false), ("What is the same on all that tested it:", true)]
        {
            let changes: Vec<&Change> =
                matrix.changes.iter().filter(|change| (change.trend == Trend::Steady) == steady).collect();
            match changes.is_empty() {
                true if !steady && matrix.kernels.len() > 1 => {
                    self.line("\nNo check has different verdicts on two kernels.")
                }
                true => {}
                false => self.line(&format!("\n{title}")),
            }
            changes.iter().for_each(|change| self.change(matrix, change));
        }
    }

    fn change(&mut self, matrix: &Matrix, change: &Change) {
        let style = match change.trend {
            Trend::Broke => self.style(Kind::Fail),
            Trend::Mended => self.style(Kind::Pass),
            Trend::Moved | Trend::Steady => self.style(Kind::Xfail),
        };
        self.line(&format!("  {style}{}{style:#}: {}", change.sentence, checks(change.checks.len())));
        for (kind, memories) in matrix.by_kind(&change.checks) {
            let mut told = memories.iter().take(MAX_MEMORIES).copied().collect::<Vec<_>>().join(", ");
            if memories.len() > MAX_MEMORIES {
                told += &format!(" and {} more", memories.len() - MAX_MEMORIES);
            }
            match told.is_empty() {
                true => self.line(&format!("    {kind}")),
                false => self.line(&format!("    {kind} ({}): {told}", memories.len())),
            }
        }
    }

    fn untested(&mut self, matrix: &Matrix) {
        if matrix.untested.is_empty() {
            return;
        }
        self.line("\nWhat was not tested, and why:");
        for untested in matrix.untested.iter().take(MAX_REASONS) {
            let style = self.style(untested.verdict);
            self.line(&format!(
                "  {style}{} {}{style:#}: {}",
                untested.total(),
                untested.verdict.word(),
                untested.reason
            ));
            let on = matrix.kernels.iter().zip(&untested.counts).filter(|(_, count)| **count > 0);
            let on: Vec<String> = on.map(|(kernel, count)| format!("{} ({count})", kernel.label)).collect();
            self.line(&format!("      on {}", on.join(", ")));
            if !untested.remedy.is_empty() {
                self.line(&format!("      to run them: {}", untested.remedy));
            }
        }
        let more: usize = matrix.untested.iter().skip(MAX_REASONS).map(super::Untested::total).sum();
        if more > 0 {
            self.line(&format!("  {more} for other reasons"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn a_matrix_is_told() {
        let text = text(&sample::matrix(), false);
        assert!(text.lines().all(|line| line.chars().count() <= 2 * WIDTH), "{text}");
        insta::assert_snapshot!(text);
    }

    #[test]
    fn there_is_no_escape_without_colour() {
        assert!(!text(&sample::matrix(), false).contains('\u{1b}'));
        assert!(text(&sample::matrix(), true).contains("\u{1b}[1m\u{1b}[31m"));
    }

    #[test]
    fn no_kernel_is_no_panic() {
        let none = Matrix::new("", vec![]);
        assert!(text(&none, true).contains("Nothing is known of 0 kernels"));
    }
}
