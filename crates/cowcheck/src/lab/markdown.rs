//! The kill matrix as a table in Markdown, for the documentation.

use std::fmt::Write as _;

use super::judge::Fate;
use super::matrix::{KillMatrix, mutants};
use super::row::{Row, sort};
use super::text::cover;

/// The kernels, the table, and what it adds up to.
pub fn markdown(matrix: &KillMatrix) -> String {
    let mut out = String::new();
    let mut line = |text: &str| {
        let _ = writeln!(out, "{text}");
    };
    line(&format!("{} of cowcheck {}. {}\n", matrix.date, matrix.cowcheck, matrix.answer()));
    for ground in &matrix.grounds {
        let package = ground.package.as_deref().map(|package| format!(" ({package})")).unwrap_or_default();
        line(&format!(
            "- `{}`: {}{package}; {} checks pass without a bug ({}), {} test nothing there",
            ground.on,
            cell(&ground.kernel),
            ground.fit,
            ground.references.join(", "),
            ground.idle
        ));
    }
    line("\n| mutant | what is wrong | like | on | killed by | first kill | rule | after | cow.c |");
    line("|---|---|---|---|---|---|---|---|---|");
    for row in &matrix.rows {
        line(&format!("| {} |", cells(row, matrix.fast).join(" | ")));
    }
    if !matrix.cover.checks.is_empty() {
        line(&format!("\n{}\n", cover(matrix)));
        matrix.cover.checks.iter().for_each(|check| line(&format!("- `{check}`")));
    }
    if !matrix.fast {
        line(&format!("\nOf the checks that can kill, {} kill nothing here.", matrix.killed_nothing.len()));
    }
    if let (ran @ 1.., sees) = matrix.peer() {
        line(&format!("\nThe kernel's own cow.c sees {sees} of {}.", mutants(ran)));
    }
    out
}

fn cells(row: &Row, fast: bool) -> Vec<String> {
    let kill = row.kills().first();
    let (by, after) = match &row.fate {
        Fate::Caught { kills, first } => {
            let by = if fast { "caught".to_owned() } else { kills.len().to_string() };
            (by, format!("{:.1} s, {}", first.seconds, crate::report::summary::checks(first.checks)))
        }
        _ => (format!("**{}**", row.word()), String::new()),
    };
    let first = match (kill, &row.fate) {
        (Some(kill), _) => format!("`{}`", kill.check),
        (None, Fate::Missed) => cell(row.unobservable.as_deref().unwrap_or_default()),
        (None, _) => cell(&row.told()),
    };
    vec![
        format!("`{}`", row.mutant),
        cell(&row.title),
        cell(row.like.as_deref().unwrap_or_default()),
        row.on.clone(),
        by,
        first,
        kill.map(|kill| format!("{} ({})", sort(kill), kill.rate)).unwrap_or_default(),
        after,
        row.peer.as_ref().map(|peer| peer.told()).unwrap_or_default(),
    ]
}

/// On one line, and no end of the cell.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::super::matrix::sample;
    use super::*;

    #[test]
    fn a_table_is_written() {
        let text = markdown(&sample::matrix()).replace(env!("CARGO_PKG_VERSION"), "VERSION");
        insta::assert_snapshot!(text);
    }
}
