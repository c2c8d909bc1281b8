//! What was seen: every check that did not pass somewhere, and on which kernels it looked the same.

use cowcheck_model::verdict::Kind;

use super::super::cell::Cell;
use super::super::sheet::Matrix;
use super::markup::Page;
use super::{class, is_told, word};

/// All explanations of a page, in bytes. What is beyond is left out, and the page says so.
const MAX_EXPLANATIONS: usize = 1 << 20;

/// So few are unfolded: there is nothing to look for among them.
const FEW: usize = 3;

/// Where a check is told of.
pub(super) fn anchor(index: usize) -> String {
    format!("c{index}")
}

/// A link to there.
pub(super) fn link(index: usize) -> String {
    format!("#{}", anchor(index))
}

/// Kernels on which a check looked the same.
struct Alike<'a> {
    cell: &'a Cell,
    /// The explanation without what differs by kernel alone.
    essence: String,
    kernels: Vec<&'a str>,
}

/// Every check of which there is something to tell.
pub(super) fn failures(page: &mut Page, matrix: &Matrix) {
    let told = |index: &usize| {
        let check = &matrix.checks[*index];
        (0..matrix.kernels.len()).any(|kernel| is_told(check.verdict(kernel)))
    };
    let all: Vec<usize> = (0..matrix.checks.len()).filter(told).collect();
    if all.is_empty() {
        page.element("p", &[], "Every check that tested anything passed.");
    }
    let mut kind = "";
    let mut left = MAX_EXPLANATIONS;
    for index in &all {
        let check = &matrix.checks[*index];
        if check.name.kind != kind {
            kind = &check.name.kind;
            page.begin("h3", &[]);
            page.element("code", &[], kind);
            page.end();
        }
        page.begin("article", &[("id", &anchor(*index)), ("class", "seen")]);
        page.begin("h4", &[]);
        page.element("code", &[], &check.id);
        page.end();
        if let Some(description) = &check.description {
            page.element("p", &[("class", "muted small")], &format!("cow.c: {description}"));
        }
        for alike in alike(matrix, *index) {
            tell(page, &alike, all.len() <= FEW, &mut left);
        }
        page.end();
        page.raw("\n");
    }
}

fn alike(matrix: &Matrix, index: usize) -> Vec<Alike<'_>> {
    let mut all: Vec<Alike<'_>> = Vec::new();
    for (kernel, cell) in matrix.kernels.iter().zip(&matrix.checks[index].cells) {
        let Some(cell) = cell.as_ref().filter(|cell| is_told(Some(cell.verdict))) else { continue };
        let essence = essence(cell);
        let same = |known: &&mut Alike<'_>| {
            known.essence == essence
                && (known.cell.verdict, &known.cell.reason, known.cell.share())
                    == (cell.verdict, &cell.reason, cell.share())
        };
        match all.iter_mut().find(same) {
            Some(known) => known.kernels.push(&kernel.label),
            None => all.push(Alike { cell, essence, kernels: vec![&kernel.label] }),
        }
    }
    all
}

fn tell(page: &mut Page, alike: &Alike<'_>, open: bool, left: &mut usize) {
    let cell = alike.cell;
    let verdict = Some(cell.verdict);
    page.raw("<p>");
    page.element("span", &[("class", &format!("chip {}", class(verdict)))], word(verdict));
    page.text(" on ");
    page.element("strong", &[], &alike.kernels.join(", "));
    if let Some(share) = cell.share() {
        page.text(&format!(" ({share})"));
    }
    if cell.verdict == Kind::Xfail || cell.sentences.is_empty() {
        page.text(&format!(": {}", cell.reason));
    }
    page.raw("</p>");
    for sentence in &cell.sentences {
        page.element("p", &[("class", "sentence")], sentence);
    }
    let Some(explanation) = &cell.explanation else { return };
    if explanation.len() > *left {
        page.element(
            "p",
            &[("class", "muted small")],
            "Its explanation is left out, for the page would get too large; the results have it.",
        );
        return;
    }
    let before = page.len();
    page.begin("details", if open { &[("open", "open")] } else { &[] });
    page.raw("<summary>step by step");
    if let [first, _, ..] = alike.kernels.as_slice() {
        page.text(&format!(", as on {first}"));
    }
    page.raw("</summary>");
    page.begin("pre", &[("tabindex", "0")]);
    page.text(explanation.trim_end());
    page.end();
    page.end();
    *left = left.saturating_sub(page.len() - before);
}

/// Two kernels never have the same name, and seldom the same page frames.
fn essence(cell: &Cell) -> String {
    let mut kept = String::new();
    for line in cell.explanation.as_deref().unwrap_or("").lines() {
        let line = if line.starts_with("steps, on kernel ") { "steps" } else { line };
        kept.push_str(line.split(", frame 0x").next().unwrap_or(line));
        kept.push('\n');
    }
    kept
}
