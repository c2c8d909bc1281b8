//! The matrix as one page: it needs no network, no script and no font of its own.

mod failures;
mod map;
pub(crate) mod markup;
pub(crate) mod tables;

use cowcheck_model::verdict::Kind;

use super::cell::is_tested;
use super::change::{Change, Trend};
use super::collapses;
use super::sheet::{Matrix, kernels};
use crate::report::summary::checks;
use markup::Page;

/// How many memories of a kind are named in a line; the others fold out.
const MAX_MEMORIES: usize = 16;

/// The report as a page.
pub fn html(matrix: &Matrix) -> String {
    let mut page = Page::of(&matrix.title);
    page.raw("<a class=\"past\" href=\"#changes\">Skip to what differs</a>\n");
    map::symbols(&mut page);
    head(&mut page, matrix);
    page.raw("<main>\n");
    tables::kernels(&mut page, matrix);
    section(&mut page, "map", "The map", |page| map::map(page, matrix));
    section(&mut page, "changes", "What differs between kernels", |page| changes(page, matrix));
    section(&mut page, "kinds", "Kernels and kinds of checks", |page| tables::kinds(page, matrix));
    if !collapses::rows(matrix).is_empty() {
        section(&mut page, "collapses", "What collapses did", |page| tables::collapses(page, matrix));
    }
    section(&mut page, "failures", "What was seen", |page| failures::failures(page, matrix));
    section(&mut page, "untested", "What was not tested, and why", |page| tables::untested(page, matrix));
    section(&mut page, "checks", "Every check", |page| tables::checks(page, matrix));
    page.raw("</main>\n<footer><p>Made by cowcheck ");
    page.text(env!("CARGO_PKG_VERSION"));
    page.raw(". A check that was skipped or inconclusive tested nothing: it counts neither as kept nor as broken.</p></footer>\n");
    page.raw("</body>\n</html>\n");
    page.finish()
}

pub(crate) fn section(page: &mut Page, id: &str, title: &str, content: impl FnOnce(&mut Page)) {
    page.begin("section", &[("id", id), ("aria-labelledby", &format!("{id}-h"))]);
    page.element("h2", &[("id", &format!("{id}-h"))], title);
    content(page);
    page.end();
    page.raw("\n");
}

fn head(page: &mut Page, matrix: &Matrix) {
    let (class, word) = match () {
        () if matrix.is_broken() => ("fail", "Broken"),
        () if matrix.is_incomplete() => ("skip", "Kept, as far as it was tested"),
        () => ("pass", "Kept"),
    };
    page.raw("<header>\n");
    page.element("h1", &[], &matrix.title);
    page.begin("p", &[("class", &format!("answer {class}"))]);
    page.element("strong", &[], word);
    page.raw(" ");
    page.text(&matrix.answer());
    page.end();
    let all: usize = matrix.kernels.len() * matrix.checks.len();
    let told = format!(
        "{} × {}; {} of {all} cells say something of a kernel.",
        kernels(matrix.kernels.len()),
        checks(matrix.checks.len()),
        matrix.tested(),
    );
    page.element("p", &[("class", "muted")], &told);
    page.raw("<nav aria-label=\"Parts of the report\"><ul>");
    for (id, title) in [
        ("map", "Map"),
        ("changes", "Changes"),
        ("kinds", "Kinds"),
        ("failures", "What was seen"),
        ("untested", "Not tested"),
        ("checks", "Every check"),
    ] {
        page.begin("li", &[]);
        page.element("a", &[("href", &format!("#{id}"))], title);
        page.end();
    }
    page.raw("</ul></nav>\n</header>\n");
}

fn changes(page: &mut Page, matrix: &Matrix) {
    let (steady, changed): (Vec<&Change>, Vec<&Change>) =
        matrix.changes.iter().partition(|change| change.trend == Trend::Steady);
    if changed.is_empty() {
        page.element("p", &[], "No check has different verdicts on two of the kernels.");
    }
    list(page, matrix, &changed);
    if !steady.is_empty() {
        page.element("h3", &[], "The same on all that tested it");
        list(page, matrix, &steady);
    }
}

fn list(page: &mut Page, matrix: &Matrix, changes: &[&Change]) {
    if changes.is_empty() {
        return;
    }
    page.begin("ul", &[("class", "changes")]);
    for change in changes {
        let (class, word) = match change.trend {
            Trend::Broke => ("fail", "broke"),
            Trend::Moved => ("xfail", "still broken"),
            Trend::Mended => ("pass", "mended"),
            Trend::Steady => ("xfail", "no change"),
        };
        page.begin("li", &[("class", class)]);
        page.raw("<p>");
        page.element("span", &[("class", &format!("chip {class}"))], word);
        page.raw(" ");
        let (sentence, gap) = change.sentence.split_once("; ").unwrap_or((&change.sentence, ""));
        page.element("strong", &[], sentence);
        page.raw(" ");
        page.element("span", &[("class", "muted")], &checks(change.checks.len()));
        page.raw("</p>");
        if !gap.is_empty() {
            page.element("p", &[("class", "muted small")], gap);
        }
        page.raw("<ul class=\"kinds\">");
        let mut rest = change.checks.as_slice();
        while let Some(first) = rest.first() {
            let kind = &matrix.checks[*first].name.kind;
            let count = rest.iter().take_while(|index| matrix.checks[**index].name.kind == *kind).count();
            let (these, others) = rest.split_at(count);
            kind_of(page, matrix, kind, these);
            rest = others;
        }
        page.raw("</ul>");
        page.end();
    }
    page.end();
}

/// The checks of one kind in a change, each with a link to what was seen.
fn kind_of(page: &mut Page, matrix: &Matrix, kind: &str, indices: &[usize]) {
    page.begin("li", &[]);
    page.element("code", &[], kind);
    let named = |page: &mut Page, indices: &[usize]| {
        for index in indices {
            let check = &matrix.checks[*index];
            let name = if check.name.memory.is_empty() { "what was seen" } else { &check.name.memory };
            page.raw(" ");
            page.element("a", &[("class", "mem"), ("href", &failures::link(*index))], name);
        }
    };
    let (shown, folded) = indices.split_at(indices.len().min(MAX_MEMORIES));
    named(page, shown);
    if !folded.is_empty() {
        page.raw("<details><summary>");
        page.text(&format!("and {} more", folded.len()));
        page.raw("</summary>");
        named(page, folded);
        page.raw("</details>");
    }
    page.end();
}

/// What a cell is drawn as, and the class that colours it.
fn class(verdict: Option<Kind>) -> &'static str {
    match verdict {
        Some(Kind::Pass) => "pass",
        Some(Kind::Fail) => "fail",
        Some(Kind::Xfail) => "xfail",
        Some(Kind::Timeout | Kind::Crash) => "crash",
        Some(Kind::Skip) => "skip",
        Some(Kind::Inconclusive) => "inconclusive",
        None => "none",
    }
}

fn word(verdict: Option<Kind>) -> &'static str {
    verdict.map_or("no result", Kind::word)
}

/// Is there something to tell of such a cell beyond its verdict?
fn is_told(verdict: Option<Kind>) -> bool {
    verdict.is_some_and(|verdict| is_tested(verdict) && verdict != Kind::Pass)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::sample;
    use super::*;

    /// The values of an attribute.
    fn values<'a>(page: &'a str, attribute: &str) -> Vec<&'a str> {
        let parts = page.split(attribute).skip(1);
        parts.filter_map(|part| part.strip_prefix("=\"")?.split('"').next()).collect()
    }

    #[test]
    fn texts_of_results_are_never_markup() {
        let page = html(&sample::matrix());
        assert!(!page.contains("<script") && !page.contains("<b>A") && !page.contains("<bad>"));
        assert!(page.contains("no &lt;script&gt;alert(1)&lt;/script&gt; swap"));
        assert!(page.contains("B sees &lt;b&gt;A&#39;s&lt;/b&gt; write &amp; more"));
        assert!(page.contains("<title>Five &amp; more</title>"));
    }

    #[test]
    fn nothing_is_loaded_and_every_link_leads_somewhere() {
        let page = html(&sample::matrix());
        assert!(!page.contains("http:") && !page.contains("https:") && !page.contains("url("));
        assert!(values(&page, " src").is_empty());
        let ids = values(&page, " id");
        let known: HashSet<&str> = ids.iter().copied().collect();
        assert_eq!(known.len(), ids.len(), "an id is there twice: {ids:?}");
        for link in values(&page, " href") {
            assert!(link.strip_prefix('#').is_some_and(|id| known.contains(id)), "{link}");
        }
    }

    #[test]
    fn every_result_has_its_cell_and_no_other() {
        let page = html(&sample::matrix());
        let of = |name: &str| page.matches(&format!("<use href=\"#v-{name}\" x=")).count();
        // Four kernels with results, seven checks; the fourth lost three.
        let found = ["pass", "fail", "xfail", "crash", "skip", "inconclusive", "none"].map(of);
        assert_eq!(found, [11, 3, 5, 0, 4, 2, 3]);
        assert!(page.contains("7.4.0-rc1 is not in the map: not booted: hang: no sign of life for 300 s."));
        assert!(page.contains("panic: BUG: &lt;bad&gt; page"));
    }

    #[test]
    fn what_looks_the_same_on_two_kernels_is_told_once() {
        let file = |kernel| sample::file(kernel, &[("cow/fork-write/base", 'f')], sample::END);
        let runs = ["6.12.1 #1", "6.18.44 #1"].map(|kernel| super::super::parse(file(kernel).as_bytes(), "x").unwrap());
        let page = html(&Matrix::new("t", runs.into()));
        assert!(page.contains("on <strong>6.12.1, 6.18.44</strong>"), "{page}");
        assert_eq!(page.matches("<pre").count(), 1);
        assert!(page.contains("step by step, as on 6.12.1"));
    }

    #[test]
    fn tables_say_what_they_are() {
        let page = html(&sample::matrix());
        assert_eq!(page.matches("<table>").count(), page.matches("<caption>").count());
        assert_eq!(page.matches("<th>").count(), 0, "a heading without scope");
        for tag in ["table", "tr", "td", "svg", "g", "a", "details", "section", "div", "ul", "li", "p"] {
            let begun = page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
            assert_eq!(begun, page.matches(&format!("</{tag}>")).count(), "{tag}");
        }
    }

    #[test]
    fn no_kernel_is_no_panic() {
        assert!(html(&Matrix::new("", vec![])).contains("Nothing is known of 0 kernels"));
    }
}
