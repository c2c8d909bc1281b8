//! The tables.

use cowcheck_model::verdict::Kind;

use super::super::collapses;
use super::super::kernel::{Kernel, State};
use super::super::sheet::{Check, Matrix};
use super::markup::Page;
use super::{class, failures, is_told, word};
use crate::report::event::Counts;

/// In which order counts are told: first what someone must look at.
const ORDER: [Kind; 7] =
    [Kind::Fail, Kind::Crash, Kind::Timeout, Kind::Xfail, Kind::Pass, Kind::Inconclusive, Kind::Skip];

/// Begins a table that may be wider than the screen.
pub(crate) fn begin(page: &mut Page, caption: &str, head: &[&str], class: &str) {
    page.begin("div", &[("class", "scroll"), ("role", "region"), ("tabindex", "0"), ("aria-label", caption)]);
    page.begin("table", &[]);
    page.element("caption", &[], caption);
    page.raw("<thead><tr>");
    for (at, title) in head.iter().enumerate() {
        page.element("th", &[("scope", "col"), ("class", if at > 0 { class } else { "" })], title);
    }
    page.raw("</tr></thead>\n<tbody>");
}

/// Ends it.
pub(crate) fn end(page: &mut Page) {
    page.raw("</tbody>");
    page.end();
    page.end();
    page.raw("\n");
}

fn labels(matrix: &Matrix, first: &'static str) -> Vec<String> {
    let mut head = vec![first.to_owned()];
    head.extend(matrix.columns().iter().map(|kernel| matrix.kernels[*kernel].label.clone()));
    head
}

fn strs(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

/// What collapses did, by the pattern of sharing.
pub(super) fn collapses(page: &mut Page, matrix: &Matrix) {
    let mut head = labels(matrix, "Pattern of sharing");
    head.insert(1, "Collapse".to_owned());
    begin(page, "Checks whose first collapse was done so", &strs(&head), "num");
    let columns = matrix.columns();
    for row in collapses::rows(matrix) {
        page.raw("<tr>");
        page.element("th", &[("scope", "row")], row.pattern);
        page.element("td", &[], row.how);
        for kernel in &columns {
            page.element("td", &[("class", "num")], &row.counts[*kernel].to_string());
        }
        page.raw("</tr>\n");
    }
    end(page);
}

/// The kernels, how their runs went, and what they came to.
pub(super) fn kernels(page: &mut Page, matrix: &Matrix) {
    page.raw("<section id=\"kernels\" aria-label=\"The kernels\">");
    begin(page, "The kernels, oldest first", &["Kernel", "Run", "Checks", "What it is"], "");
    for kernel in &matrix.kernels {
        page.raw("<tr>");
        page.element("th", &[("scope", "row")], &kernel.label);
        page.begin("td", &[]);
        state(page, kernel);
        page.end();
        page.begin("td", &[("class", "counts")]);
        if kernel.counts.total() > 0 {
            bar(page, &kernel.counts);
        }
        counts(page, &kernel.counts, 0);
        page.end();
        page.begin("td", &[("class", "what small")]);
        let about = [&kernel.package, &kernel.kernel, &kernel.machine, &kernel.accel];
        let about: Vec<&str> =
            about.into_iter().flatten().map(String::as_str).filter(|text| !text.is_empty()).collect();
        page.text(&about.join(" · "));
        page.raw("<br>");
        page.element("span", &[("class", "muted")], &kernel.file);
        page.end();
        page.raw("</tr>\n");
    }
    end(page);
    page.raw("</section>\n");
}

fn state(page: &mut Page, kernel: &Kernel) {
    let (class, why) = match &kernel.state {
        State::Complete => ("plain", ""),
        State::Stopped(why) => ("xfail", why.as_str()),
        State::CutOff(why) | State::NotBooted(why) => ("crash", why.as_str()),
    };
    page.element("span", &[("class", &format!("chip {class}"))], kernel.state.word());
    if !why.is_empty() {
        page.element("p", &[("class", "small")], why);
    }
    if let (State::Complete, Some(micros)) = (&kernel.state, kernel.micros) {
        page.element(
            "span",
            &[("class", "muted small")],
            &format!(" in {}.{} s", micros / 1_000_000, micros / 100_000 % 10),
        );
    }
    for note in &kernel.notes {
        page.element("p", &[("class", "small muted")], note);
    }
}

/// The counts as a bar. The same stands beside it in words.
fn bar(page: &mut Page, counts: &Counts) {
    let total = counts.total().max(1);
    page.begin(
        "svg",
        &[("class", "bar"), ("viewBox", "0 0 200 8"), ("preserveAspectRatio", "none"), ("aria-hidden", "true")],
    );
    let mut done = 0;
    for kind in ORDER {
        let (x, next) = (done * 200 / total, (done + counts.of(kind)) * 200 / total);
        // What is there is seen, however little it is.
        let width = if counts.of(kind) > 0 { (next - x).max(2) } else { 0 };
        done += counts.of(kind);
        if width > 0 {
            let (x, width) = (x.to_string(), width.to_string());
            page.empty(
                "rect",
                &[("class", &format!("b-{}", class(Some(kind)))), ("x", &x), ("width", &width), ("height", "8")],
            );
        }
    }
    page.end();
}

fn counts(page: &mut Page, counts: &Counts, none: usize) {
    let chip = |page: &mut Page, count: usize, verdict: Option<Kind>| {
        if count > 0 {
            page.element("span", &[("class", &format!("n {}", class(verdict)))], &format!("{count} {}", word(verdict)));
            page.raw(" ");
        }
    };
    ORDER.into_iter().for_each(|kind| chip(page, counts.of(kind), Some(kind)));
    chip(page, none, None);
}

/// Kernels × kinds.
pub(super) fn kinds(page: &mut Page, matrix: &Matrix) {
    begin(page, "Checks of each kind by verdict", &strs(&labels(matrix, "Kind")), "");
    for (kind, checks) in matrix.kinds() {
        page.raw("<tr>");
        page.begin("th", &[("scope", "row")]);
        page.element("code", &[], kind);
        page.end();
        for kernel in matrix.columns() {
            let (known, none) = Matrix::counts(&checks, kernel);
            page.begin("td", &[("class", "counts")]);
            counts(page, &known, none);
            page.end();
        }
        page.raw("</tr>\n");
    }
    end(page);
}

/// What was not tested, and why.
pub(super) fn untested(page: &mut Page, matrix: &Matrix) {
    if matrix.untested.is_empty() {
        page.element("p", &[], "Every check that has a result was tested.");
        return;
    }
    let mut head = labels(matrix, "Reason, and what would make them run");
    head.push("all".to_owned());
    begin(page, "Checks that tested nothing, by reason", &strs(&head), "number");
    for untested in &matrix.untested {
        page.raw("<tr>");
        page.begin("th", &[("scope", "row"), ("class", "reason")]);
        page.element("span", &[("class", &format!("n {}", class(Some(untested.verdict))))], untested.verdict.word());
        page.raw(" ");
        page.text(&untested.reason);
        if !untested.remedy.is_empty() {
            page.element("p", &[("class", "small muted")], &format!("to run them: {}", untested.remedy));
        }
        page.end();
        for kernel in matrix.columns() {
            let count = untested.counts[kernel];
            page.element("td", &[("class", "number")], &if count == 0 { "–".to_owned() } else { count.to_string() });
        }
        page.element("td", &[("class", "number")], &untested.total().to_string());
        page.raw("</tr>\n");
    }
    end(page);
}

/// Every check in words, folded by kind.
pub(super) fn checks(page: &mut Page, matrix: &Matrix) {
    for (kind, checks) in matrix.kinds() {
        page.raw("<details class=\"all\"><summary>");
        page.element("code", &[], kind);
        page.raw(" ");
        page.element("span", &[("class", "muted")], &crate::report::summary::checks(checks.len()));
        page.raw("</summary>");
        begin(page, kind, &strs(&labels(matrix, "Memory")), "");
        for (index, check) in checks {
            row(page, matrix, index, check);
        }
        end(page);
        page.raw("</details>\n");
    }
}

fn row(page: &mut Page, matrix: &Matrix, index: usize, check: &Check) {
    page.raw("<tr>");
    let name = if check.name.memory.is_empty() { check.name.short_kind() } else { &check.name.memory };
    page.element("th", &[("scope", "row")], name);
    for kernel in matrix.columns() {
        let verdict = check.verdict(kernel);
        page.begin("td", &[("class", class(verdict))]);
        match is_told(verdict) {
            true => page.element("a", &[("href", &failures::link(index))], word(verdict)),
            false => page.text(word(verdict)),
        }
        page.end();
    }
    page.raw("</tr>\n");
}
