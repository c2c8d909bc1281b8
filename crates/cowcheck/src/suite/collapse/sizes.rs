//! From Linux 7.2 on khugepaged makes THPs that are smaller than a PMD, of anonymous pages that nobody shares.
//!
//! Base pages, of which more are shared than it may share for a whole PMD (`max_ptes_shared`): the rest can become smaller
//! THPs, and what is shared must stay. What it did is told by the frames.

use super::pages::Pages;

/// Is page `page` of `pages` shared?
type IsShared = fn(page: u32, pages: u32) -> bool;

/// The last parts of the ids, and what is shared.
const CELLS: [(&str, IsShared); 3] = [
    ("lower-and-more", |page, pages| page < pages / 2 + pages / 8),
    ("upper-and-more", |page, pages| page >= pages / 2 - pages / 8),
    ("three-of-four", |page, _| page / 16 % 4 != 0),
];

/// The names and the steps of the cells.
pub(super) fn all(pages: u32) -> Vec<(String, Vec<String>)> {
    CELLS.iter().map(|(name, is_shared)| (format!("by-khugepaged+{name}"), lines(pages, *is_shared))).collect()
}

fn lines(pages: u32, is_shared: IsShared) -> Vec<String> {
    let own = Pages::of(pages, |page| !is_shared(page, pages));
    let shared = Pages::of(pages, |page| is_shared(page, pages));
    let (own, shared) = (own.text(pages), shared.text(pages));
    [
        "A nohugepage all".to_owned(),
        "A write all".to_owned(),
        "A hugepage all".to_owned(),
        "A require pte-mapped all".to_owned(),
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
