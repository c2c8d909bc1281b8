//! The map: every check on every kernel as a small cell.
//!
//! Rows are memories, columns are kinds, and each of these is divided by the kernels, so a change
//! between kernels is seen as a change of colour and shape from left to right. Kinds that have no memory
//! in common do not share rows: they make blocks of their own.

use cowcheck_model::verdict::Kind;

use super::super::name::split_size;
use super::super::sheet::{Check, Matrix};
use super::markup::Page;
use super::{class, failures, is_told, word};

/// From one cell to the next.
const PITCH: usize = 11;
/// Between kinds.
const GAP: usize = 9;
/// Between memories that differ in more than size.
const ROW_GAP: usize = 5;
/// From one line of a kind's name to the next.
const LINE: usize = 12;
/// The width of a character of the small fonts, in tenths.
const CHARACTER: usize = 64;
/// The longest reason in a tooltip, in characters.
const MAX_REASON: usize = 100;

/// The shapes: no two verdicts have the same, so nothing depends on colour.
const SYMBOLS: &str = "\
<svg class=\"defs\" width=\"0\" height=\"0\" aria-hidden=\"true\" focusable=\"false\"><defs>\
<g id=\"v-pass\"><rect class=\"c-pass\" x=\"1\" y=\"1\" width=\"8\" height=\"8\" rx=\"1.5\"/></g>\
<g id=\"v-fail\"><rect class=\"c-fail\" width=\"10\" height=\"10\" rx=\"1\"/><path class=\"ink\" d=\"M2.5 2.5l5 5m0-5l-5 5\"/></g>\
<g id=\"v-xfail\"><rect class=\"c-xfail\" width=\"10\" height=\"10\" rx=\"1\"/><path class=\"ink\" d=\"M2.5 7.5l5-5\"/></g>\
<g id=\"v-crash\"><rect class=\"c-crash\" width=\"10\" height=\"10\" rx=\"1\"/><path class=\"ink\" d=\"M5 2v3.6m0 1.4v1.4\"/></g>\
<g id=\"v-skip\"><rect class=\"c-skip\" x=\"2\" y=\"2\" width=\"6\" height=\"6\" rx=\"1.5\"/></g>\
<g id=\"v-inconclusive\"><rect class=\"c-skip\" x=\"2\" y=\"2\" width=\"6\" height=\"6\" rx=\"1.5\"/><circle class=\"c-dot\" cx=\"5\" cy=\"5\" r=\"1.2\"/></g>\
<g id=\"v-none\"><rect class=\"hit\" width=\"10\" height=\"10\"/><path class=\"c-none\" d=\"M3.5 5h3\"/></g>\
</defs></svg>\n";

/// The shapes, once for the page.
pub(super) fn symbols(page: &mut Page) {
    page.raw(SYMBOLS);
}

/// Kinds that share rows.
struct Block<'a> {
    rows: Vec<&'a str>,
    columns: Vec<Column<'a>>,
}

/// A kind, and the check in each row.
struct Column<'a> {
    title: String,
    cells: Vec<(&'a str, usize)>,
}

/// The legend and all blocks.
pub(super) fn map(page: &mut Page, matrix: &Matrix) {
    legend(page);
    for kernel in matrix.kernels.iter().filter(|kernel| kernel.counts.total() == 0) {
        page.element("p", &[("class", "muted")], &format!("{} is not in the map: {}.", kernel.label, kernel.state));
    }
    for block in blocks(matrix) {
        draw(page, matrix, &block);
    }
    page.raw("<p class=\"muted small\">Point at a cell to see what it is. A cell with a mark leads to what was seen. ");
    page.raw("The same in words: <a href=\"#checks\">every check</a>.</p>");
}

fn legend(page: &mut Page) {
    page.raw("<ul class=\"legend\">");
    for (verdict, says) in [
        (Some(Kind::Pass), "pass"),
        (Some(Kind::Fail), "fail: the contract is broken"),
        (Some(Kind::Xfail), "xfail: broken in a known way"),
        (Some(Kind::Crash), "timeout or crash: no answer"),
        (Some(Kind::Skip), "skip: not run"),
        (Some(Kind::Inconclusive), "inconclusive: tested nothing"),
        (None, "no result"),
    ] {
        page.raw("<li>");
        page.begin("svg", &[("width", "14"), ("height", "14"), ("viewBox", "0 0 10 10"), ("aria-hidden", "true")]);
        page.empty("use", &[("href", &format!("#v-{}", class(verdict)))]);
        page.end();
        page.raw(" ");
        page.text(says);
        page.raw("</li>");
    }
    page.raw("</ul>");
}

fn blocks(matrix: &Matrix) -> Vec<Block<'_>> {
    let mut columns: Vec<(&str, Column<'_>)> = Vec::new();
    for (index, check) in matrix.checks.iter().enumerate() {
        // A check without a memory is a row, and what it has in common with its like is the column.
        let (key, title, row) = match check.name.memory.as_str() {
            "" => ("", family(check), check.name.short_kind()),
            memory => (check.name.kind.as_str(), check.name.short_kind(), memory),
        };
        match columns.iter_mut().find(|(known, column)| *known == key && (!key.is_empty() || column.title == title)) {
            Some((_, column)) => column.cells.push((row, index)),
            None => columns.push((key, Column { title: title.to_owned(), cells: vec![(row, index)] })),
        }
    }
    let mut blocks: Vec<Block<'_>> = Vec::new();
    for (_, column) in columns {
        let shares = |block: &&mut Block<'_>| column.cells.iter().any(|(row, _)| block.rows.contains(row));
        let at = match blocks.iter_mut().find(shares) {
            Some(block) => block,
            None => {
                blocks.push(Block { rows: Vec::new(), columns: Vec::new() });
                let last = blocks.len() - 1;
                &mut blocks[last]
            }
        };
        for (row, _) in &column.cells {
            if !at.rows.contains(row) {
                at.rows.push(row);
            }
        }
        at.columns.push(column);
    }
    blocks
}

/// `collapse` of `cow/collapse-fully-shared`.
fn family(check: &Check) -> &str {
    let kind = check.name.short_kind();
    kind.split_once('-').map_or(kind, |(family, _)| family)
}

fn draw(page: &mut Page, matrix: &Matrix, block: &Block<'_>) {
    let kernels = matrix.columns();
    let inner = kernels.len() * PITCH;
    let titles: Vec<Vec<String>> = block.columns.iter().map(|column| wrapped(&column.title, inner + GAP)).collect();
    // The kernels' names stand upright.
    let labels = kernels.iter().map(|kernel| matrix.kernels[*kernel].label.chars().count());
    let names = labels.max().unwrap_or(0) * CHARACTER / 10 + 4;
    let lines = titles.iter().map(Vec::len).max().unwrap_or(1);
    let head = lines * LINE + names + 6;
    let mut y = head;
    let mut before = None;
    let mut rows: Vec<(&str, usize, bool)> = Vec::new();
    for row in &block.rows {
        let (family, _) = split_size(row);
        let apart = before.is_some_and(|before| before != family);
        y += if apart { ROW_GAP } else { 0 };
        rows.push((row, y, apart));
        before = Some(family);
        y += PITCH;
    }
    let height = y + 4;
    let longest = block.rows.iter().map(|row| row.chars().count()).max().unwrap_or(0);
    let labels = longest * CHARACTER / 10 + 10;
    // A title may be wider than what stands below it.
    let widest = titles.iter().flatten().map(|line| line.chars().count() * CHARACTER / 10).max().unwrap_or(0);
    let step = (inner + GAP).max(widest + 4);
    let width = block.columns.len() * step;
    let titled: Vec<&str> = block.columns.iter().map(|column| column.title.as_str()).collect();
    let told = format!("Map of {}: {} by {}", titled.join(", "), rows.len(), kernels.len());
    page.begin("div", &[("class", "map"), ("role", "region"), ("tabindex", "0"), ("aria-label", &told)]);
    let size = |width: usize| (width.to_string(), height.to_string(), format!("0 0 {width} {height}"));

    let (w, h, view) = size(labels);
    page.begin("svg", &[("class", "rows"), ("width", &w), ("height", &h), ("viewBox", &view), ("aria-hidden", "true")]);
    for (row, y, _) in &rows {
        let (x, y) = ((labels - 6).to_string(), (y + 9).to_string());
        page.element("text", &[("x", &x), ("y", &y), ("text-anchor", "end")], row);
    }
    page.end();

    let (w, h, view) = size(width);
    page.begin("svg", &[("width", &w), ("height", &h), ("viewBox", &view), ("role", "group"), ("aria-label", &told)]);
    for (_, y, apart) in &rows {
        if *apart {
            let y = (y - ROW_GAP / 2 - 1).to_string();
            page.empty("path", &[("class", "rule"), ("d", &format!("M0 {y}.5H{width}"))]);
        }
    }
    for (at, column) in block.columns.iter().enumerate() {
        let x = at * step;
        for (line, text) in titles[at].iter().enumerate() {
            let y = (lines - titles[at].len() + line + 1) * LINE - 2;
            page.element("text", &[("class", "kind"), ("x", &x.to_string()), ("y", &y.to_string())], text);
        }
        for (place, kernel) in kernels.iter().enumerate() {
            let (x, y) = (x + place * PITCH + 8, lines * LINE + names);
            let turn = format!("translate({x} {y})rotate(-90)");
            page.element("text", &[("class", "kernel"), ("transform", &turn)], &matrix.kernels[*kernel].label);
        }
        for (row, index) in &column.cells {
            let y = rows.iter().find(|(name, ..)| name == row).map_or(0, |(_, y, _)| *y);
            for (place, kernel) in kernels.iter().enumerate() {
                cell(page, matrix, *index, *kernel, x + place * PITCH, y);
            }
        }
    }
    page.end();
    page.end();
    page.raw("\n");
}

fn cell(page: &mut Page, matrix: &Matrix, index: usize, kernel: usize, x: usize, y: usize) {
    let check = &matrix.checks[index];
    let verdict = check.verdict(kernel);
    let told = is_told(verdict);
    if told {
        page.begin("a", &[("href", &failures::link(index))]);
    }
    let shape = format!("#v-{}", class(verdict));
    page.begin("use", &[("href", &shape), ("x", &x.to_string()), ("y", &y.to_string())]);
    page.begin("title", &[]);
    page.text(&format!("{} on {}: {}", check.id, matrix.kernels[kernel].label, word(verdict)));
    if let Some(cell) = check.cells[kernel].as_ref().filter(|cell| !cell.reason.is_empty()) {
        let reason: String = cell.reason.chars().take(MAX_REASON).collect();
        let more = if reason.len() < cell.reason.len() { "…" } else { "" };
        page.text(&format!(": {reason}{more}"));
    }
    page.end();
    page.end();
    if told {
        page.end();
    }
}

/// A name in lines, divided behind its dashes, so that they fit if they can.
fn wrapped(name: &str, width: usize) -> Vec<String> {
    let room = (width * 10 / CHARACTER).max(6);
    let mut lines: Vec<String> = Vec::new();
    for part in name.split_inclusive('-') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + part.chars().count() <= room => line.push_str(part),
            _ => lines.push(part.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_divided_behind_dashes() {
        assert_eq!(wrapped("ro-pin-fast-previously-shared", 75), ["ro-pin-", "fast-", "previously-", "shared"]);
        assert_eq!(wrapped("uring-ro", 75), ["uring-ro"]);
        assert!(wrapped("", 75).is_empty());
    }
}
