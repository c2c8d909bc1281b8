//! From Linux 7.2 on khugepaged makes THPs that are smaller than a PMD, of anonymous pages that nobody shares.
//!
//! It does so where a whole PMD does not come about. That is so in a mapping with a userfaultfd if a page was never
//! touched (`collapse_max_ptes_none` in mm/khugepaged.c), without a change of its settings. Base pages, of which as many
//! are shared as it looks at (`max_ptes_shared`, half of them) or fewer: the rest can become smaller THPs, what is shared
//! must stay, and the hole must be one. What it did is told by the frames.

use super::pages::Pages;

/// Is page `page` of `pages` shared?
type IsShared = fn(page: u32, pages: u32) -> bool;

/// The last parts of the ids, and what is shared.
const CELLS: [(&str, IsShared); 3] = [
    ("lower", |page, pages| page < pages / 2),
    ("every-other-64k", |page, _| page / 16 % 2 == 0),
    ("first-of-each-128k", |page, _| page % 32 == 0),
];

/// The names and the steps of the cells.
pub(super) fn all(pages: u32) -> Vec<(String, Vec<String>)> {
    CELLS.iter().map(|(name, is_shared)| (format!("by-khugepaged+{name}"), lines(pages, *is_shared))).collect()
}

fn lines(pages: u32, is_shared: IsShared) -> Vec<String> {
    let hole = pages - 1;
    let own = Pages::of(pages, |page| !is_shared(page, pages));
    let shared = Pages::of(pages, |page| is_shared(page, pages));
    let touched = Pages::of(pages, |page| page != hole);
    let (own, shared, touched) = (own.text(pages), shared.text(pages), touched.text(pages));
    [
        "A nohugepage all".to_owned(),
        format!("A write {touched}"),
        "A hugepage all".to_owned(),
        // The mapping has a userfaultfd from here on, and no page is protected.
        "A uffd-wp first".to_owned(),
        "A uffd-unwp first".to_owned(),
        format!("A require pte-mapped {touched}"),
        format!("A dontfork {own}"),
        "A fork B".to_owned(),
        "A dofork all".to_owned(),
        "A khugepaged all".to_owned(),
        "A read all".to_owned(),
        format!("B read {shared}"),
        "A fork C".to_owned(),
        "A write all".to_owned(),
        format!("B read {shared}"),
        "C read all".to_owned(),
        "C write all".to_owned(),
        "A read all".to_owned(),
    ]
    .to_vec()
}
