//! The kill matrix as one page, in the look of the matrix of kernels.

use super::judge::Fate;
use super::matrix::{KillMatrix, mutants};
use super::row::{Row, sort};
use super::text::cover;
use crate::matrix::html::markup::Page;
use crate::matrix::html::{section, tables};
use crate::report::summary::checks;

/// The page's title.
const TITLE: &str = "Which check kills which bug?";

/// From one cell of the map to the next, in pixels, and what is left of the first.
const PITCH: usize = 11;
const LEFT: usize = 260;
/// Above the first row: ids stand upright.
const TOP: usize = 250;

/// More columns than this make no picture.
const MAX_COLUMNS: usize = 400;

/// The kill matrix as a page.
pub fn html(matrix: &KillMatrix) -> String {
    let mut page = Page::of(TITLE);
    head(&mut page, matrix);
    page.raw("<main>\n");
    section(&mut page, "mutants", "The mutants", |page| rows(page, matrix));
    section(&mut page, "map", "Who kills what", |page| map(page, matrix));
    section(&mut page, "set", "Enough to kill all", |page| set(page, matrix));
    section(&mut page, "kernels", "Without a bug", |page| grounds(page, matrix));
    section(&mut page, "seen", "The first kills, step by step", |page| explanations(page, matrix));
    page.raw("</main>\n<footer><p>Made by cowcheck ");
    page.text(env!("CARGO_PKG_VERSION"));
    page.raw(
        ". A check kills a mutant if it fails there, fails again alone, and passes without the bug.</p></footer>\n\
         </body>\n</html>\n",
    );
    page.finish()
}

fn head(page: &mut Page, matrix: &KillMatrix) {
    let tally = matrix.tally();
    let (class, word) = match () {
        () if tally.missed > 0 => ("fail", "Something is missed"),
        () if !matrix.is_whole() => ("skip", "Not all could be judged"),
        () => ("pass", "All caught"),
    };
    page.raw("<header>\n");
    page.element("h1", &[], TITLE);
    page.begin("p", &[("class", &format!("answer {class}"))]);
    page.element("strong", &[], word);
    page.raw(" ");
    page.text(&matrix.answer());
    page.end();
    let fast = if matrix.fast { ", each left at its first kill" } else { "" };
    let told = format!("{}{fast}; {}; {:.0} s.", mutants(matrix.rows.len()), matrix.date, matrix.seconds);
    page.element("p", &[("class", "muted")], &told);
    for undone in &matrix.undone {
        page.element("p", &[("class", "muted")], &format!("Not done: {undone}"));
    }
    page.raw("</header>\n");
}

fn class(row: &Row) -> &'static str {
    match &row.fate {
        Fate::Caught { .. } => "pass",
        Fate::Missed if row.is_excused() => "plain",
        Fate::Missed => "fail",
        Fate::Unviable { .. } | Fate::Unfinished { .. } => "crash",
    }
}

fn rows(page: &mut Page, matrix: &KillMatrix) {
    let head = ["Mutant", "", "What is wrong", "Kernel", "Killed by", "First kill", "Rule", "After", "cow.c"];
    tables::begin(page, "What became of each mutant", &head, "");
    for (number, row) in matrix.rows.iter().enumerate() {
        page.raw("<tr>");
        page.begin("th", &[("scope", "row")]);
        page.element("code", &[], &row.mutant);
        page.end();
        page.begin("td", &[]);
        page.element("span", &[("class", &format!("chip {}", class(row)))], row.word());
        page.end();
        page.begin("td", &[("class", "what")]);
        page.text(&row.title);
        if let Some(like) = &row.like {
            page.element("p", &[("class", "small muted")], &format!("like {like}"));
        }
        page.end();
        page.element("td", &[], &row.on);
        match (&row.fate, row.kills().first()) {
            (Fate::Caught { kills, first }, Some(kill)) => {
                page.element("td", &[("class", "number")], &kills.len().to_string());
                page.begin("td", &[]);
                page.begin("a", &[("href", &format!("#m{number}"))]);
                page.element("code", &[], &kill.check);
                page.end();
                page.end();
                page.element("td", &[], &format!("{} ({})", sort(kill), kill.rate));
                page.element("td", &[], &format!("{:.1} s, {}", first.seconds, checks(first.checks)));
            }
            _ => {
                page.raw("<td></td>");
                page.element("td", &[("class", "what")], &row.told());
                page.raw("<td></td><td></td>");
            }
        }
        page.element("td", &[], &row.peer.as_ref().map(|peer| peer.told()).unwrap_or_default());
        page.raw("</tr>\n");
    }
    tables::end(page);
}

/// Mutants × checks that kill something, those that kill most first.
fn map(page: &mut Page, matrix: &KillMatrix) {
    let mut columns: Vec<(&str, usize)> = matrix.kills.iter().map(|(check, count)| (check.as_str(), *count)).collect();
    columns.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let left_out = columns.len().saturating_sub(MAX_COLUMNS);
    columns.truncate(MAX_COLUMNS);
    if columns.is_empty() {
        page.element("p", &[], "No check kills anything.");
        return;
    }
    let (width, height) = (LEFT + columns.len() * PITCH + 8, TOP + matrix.rows.len() * PITCH + 8);
    let size = |size: usize| size.to_string();
    page.begin("div", &[("class", "map"), ("role", "region"), ("tabindex", "0"), ("aria-label", "Who kills what")]);
    page.begin(
        "svg",
        &[("width", &size(width)), ("height", &size(height)), ("viewBox", &format!("0 0 {width} {height}"))],
    );
    for (at, (check, _)) in columns.iter().enumerate() {
        let (x, y) = (LEFT + at * PITCH + 8, TOP - 4);
        page.element("text", &[("transform", &format!("translate({x} {y}) rotate(-90)"))], check);
    }
    for (at, row) in matrix.rows.iter().enumerate() {
        let y = TOP + at * PITCH;
        page.element("text", &[("x", "0"), ("y", &size(y + 9))], &row.mutant);
        page.empty("path", &[("class", "rule"), ("d", &format!("M{LEFT} {}h{}", y + PITCH, columns.len() * PITCH))]);
        for kill in row.kills() {
            let Some(column) = columns.iter().position(|(check, _)| *check == kill.check) else { continue };
            let class = if kill.rules.is_empty() { "c-crash" } else { "c-fail" };
            let x = LEFT + column * PITCH;
            page.begin(
                "rect",
                &[("class", class), ("x", &size(x)), ("y", &size(y)), ("width", "10"), ("height", "10"), ("rx", "1")],
            );
            page.element("title", &[], &format!("{} × {}: {} ({})", row.mutant, kill.check, sort(kill), kill.rate));
            page.end();
        }
    }
    page.end();
    page.end();
    page.raw("<p class=\"muted small\">A row is a mutant, a column a check. Point at a cell to see the rule.");
    if left_out > 0 {
        page.text(&format!(" {} that kill less are left out.", checks(left_out)));
    }
    page.raw("</p>");
}

fn set(page: &mut Page, matrix: &KillMatrix) {
    page.element("p", &[], &cover(matrix));
    page.raw("<ul>");
    for check in &matrix.cover.checks {
        page.begin("li", &[]);
        page.element("code", &[], check);
        page.text(&format!(" {}", mutants(matrix.kills.get(check).copied().unwrap_or(0))));
        page.end();
    }
    page.raw("</ul>");
    if !matrix.fast {
        let told = format!("Of the checks that can kill, {} kill nothing here.", matrix.killed_nothing.len());
        page.element("p", &[], &told);
    }
}

fn grounds(page: &mut Page, matrix: &KillMatrix) {
    let head = ["Kernel", "What it is", "References", "Checks that can kill", "Test nothing there", "Faults"];
    tables::begin(page, "Kernels without a bug: all must pass there", &head, "");
    for ground in &matrix.grounds {
        page.raw("<tr>");
        page.element("th", &[("scope", "row")], &ground.on);
        let about = [ground.kernel.as_str(), ground.package.as_deref().unwrap_or_default()];
        page.element("td", &[("class", "what small")], about.join(" · ").trim_end_matches(" · "));
        page.element("td", &[], &ground.references.join(", "));
        page.element("td", &[("class", "number")], &ground.fit.to_string());
        page.element("td", &[("class", "number")], &ground.idle.to_string());
        page.begin("td", &[("class", "what small")]);
        for fault in &ground.faults {
            let check = fault.check.as_deref().unwrap_or_default();
            page.element("p", &[], &format!("{}: {check} {}", fault.reference, fault.reason));
        }
        for check in &ground.unsteady {
            page.element("p", &[("class", "muted")], &format!("left out, for it failed once and not again: {check}"));
        }
        page.end();
        page.raw("</tr>\n");
    }
    tables::end(page);
}

fn explanations(page: &mut Page, matrix: &KillMatrix) {
    for (number, row) in matrix.rows.iter().enumerate() {
        let (Fate::Caught { first, .. }, Some(kill)) = (&row.fate, row.kills().first()) else { continue };
        page.begin("article", &[("id", &format!("m{number}")), ("class", "seen")]);
        page.begin("h4", &[]);
        page.element("code", &[], &row.mutant);
        page.end();
        page.element("p", &[], &format!("{}: {}", kill.check, sort(kill)));
        page.element("p", &[("class", "sentence")], &kill.reason);
        if let Some(explanation) = &first.explanation {
            page.raw("<details><summary>step by step</summary>");
            page.begin("pre", &[("tabindex", "0")]);
            page.text(explanation.trim_end());
            page.end();
            page.raw("</details>");
        }
        page.end();
        page.raw("\n");
    }
}

#[cfg(test)]
mod tests {
    use super::super::matrix::sample;
    use super::*;

    #[test]
    fn what_a_mutant_is_called_is_never_markup_and_every_link_leads_somewhere() {
        let page = html(&sample::matrix());
        assert!(page.contains("two &lt;is&gt; wrong") && !page.contains("<is>"));
        for tag in ["table", "tr", "td", "svg", "details", "section", "article", "div", "ul", "li", "p"] {
            let begun = page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
            assert_eq!(begun, page.matches(&format!("</{tag}>")).count(), "{tag}");
        }
        for link in page.split("href=\"#").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(page.contains(&format!("id=\"{link}\"")), "{link}");
        }
        assert_eq!(page.matches("<rect class=\"c-").count(), 3, "a cell for each kill");
    }
}
