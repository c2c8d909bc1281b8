//! The kill matrix as text, for people at a terminal.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};

use super::judge::Fate;
use super::matrix::{KillMatrix, mutants};
use super::row::{Row, sort};
use crate::report::summary::checks;

/// How many faults of kernels without a bug are told.
const FAULTS: usize = 20;

/// The kill matrix as text.
pub fn text(matrix: &KillMatrix, color: bool) -> String {
    let mut out = String::new();
    let mut line = |text: &str| {
        let _ = writeln!(out, "{}", text.trim_end());
    };
    for ground in &matrix.grounds {
        let kernel = ground.kernel.split(' ').next().unwrap_or_default();
        line(&format!(
            "{}: {kernel}; {} pass without a bug ({}), {} test nothing there; {:.0} s",
            ground.on,
            checks(ground.fit),
            ground.references.join(", "),
            ground.idle,
            ground.seconds
        ));
        for check in &ground.unsteady {
            line(&format!("  left out: {check} ended badly once and not again, without a bug"));
        }
    }
    for (ground, fault) in matrix.faults().take(FAULTS) {
        let red = style(color, Some(AnsiColor::Red));
        let told = match &fault.check {
            Some(check) => format!("{red}FAULT{red:#} {} on {}: {check} {}", fault.reference, ground.on, fault.reason),
            None => format!("{} on {} did not come to its end: {}", fault.reference, ground.on, fault.reason),
        };
        line(&told);
    }
    line("");
    let width = matrix.rows.iter().map(|row| row.mutant.chars().count()).max().unwrap_or(0);
    let several = matrix.grounds.len() > 1;
    for row in &matrix.rows {
        let style = style(color, colour(row));
        let on = if several { format!("{:<14} ", row.on) } else { String::new() };
        let peer = row.peer.as_ref().map(|peer| format!("; cow.c: {}", peer.told())).unwrap_or_default();
        line(&format!("{style}{:<12}{style:#} {:<width$} {on}{}{peer}", row.word(), row.mutant, told(row)));
        for check in &row.unconfirmed {
            line(&format!("{:13}{check} failed once and not again", ""));
        }
    }
    line("");
    if !matrix.cover.checks.is_empty() {
        line(&cover(matrix));
        matrix.cover.checks.iter().for_each(|check| line(&format!("  {check}")));
    }
    if !matrix.fast {
        line(&format!("Of the checks that can kill, {} kill nothing here.", matrix.killed_nothing.len()));
    }
    if let (ran @ 1.., sees) = matrix.peer() {
        line(&format!("The kernel's own cow.c sees {sees} of {}.", mutants(ran)));
    }
    for undone in &matrix.undone {
        line(&format!("not done: {undone}"));
    }
    line(&format!("{} {:.0} s.", matrix.answer(), matrix.seconds));
    out
}

/// What the set of checks is worth.
pub(super) fn cover(matrix: &KillMatrix) -> String {
    let count = matrix.cover.checks.len();
    match (matrix.fast, matrix.cover.is_smallest) {
        (true, _) => format!("Checks that made the first kills, at which each mutant was left: at least {count}."),
        (false, true) => format!("The fewest checks that kill all that is caught: {count}."),
        (false, false) => {
            format!("Checks that kill all that is caught: {count}; fewer may do, the search was given up.")
        }
    }
}

fn told(row: &Row) -> String {
    match &row.fate {
        Fate::Caught { kills, first } => {
            let rule = kills.first().map(sort).unwrap_or_default();
            let check = kills.first().map(|kill| kill.check.as_str()).unwrap_or_default();
            let rate = kills.first().map(|kill| kill.rate.to_string()).unwrap_or_default();
            format!(
                "{:>3} kill; {check}: {rule} ({rate}), {:.1} s, {}",
                kills.len(),
                first.seconds,
                checks(first.checks)
            )
        }
        _ => row.told(),
    }
}

fn colour(row: &Row) -> Option<AnsiColor> {
    match row.fate {
        Fate::Caught { .. } => Some(AnsiColor::Green),
        Fate::Missed if row.is_excused() => None,
        Fate::Missed => Some(AnsiColor::Red),
        Fate::Unviable { .. } | Fate::Unfinished { .. } => Some(AnsiColor::Yellow),
    }
}

fn style(color: bool, which: Option<AnsiColor>) -> Style {
    which.filter(|_| color).map_or_else(Style::new, AnsiColor::on_default)
}

#[cfg(test)]
mod tests {
    use super::super::matrix::sample;
    use super::*;

    #[test]
    fn a_kill_matrix_is_told() {
        insta::assert_snapshot!(text(&sample::matrix(), false));
    }
}
