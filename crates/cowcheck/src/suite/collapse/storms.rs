//! Collapses while others write, fork, pin and read.
//!
//! A storm has no order, so its cells have no pins before and after and no writers' order: a pattern of sharing, what is
//! in the storm, and whether a fixed buffer was taken before. In the mixed patterns the writers go round the pages
//! that nobody shares, where they have writable entries in their processors' TLBs when the collapse comes.

use cowcheck_model::storm::Rival::{self, Collapse, Fork, Gup, Mprotect, Pageout, Pin, Split};

use super::pages::Pages;
use super::patterns::{PATTERNS, Pattern};

/// Which pages the writers go round.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Where {
    /// All.
    All,
    /// Those that nobody shares.
    Own,
}

/// A cell.
pub(super) struct Cell {
    pub(super) pattern: &'static Pattern,
    pages: Where,
    rivals: &'static [Rival],
    is_pinned: bool,
}

const OF_EACH: [(Where, &[Rival], bool); 5] = [
    (Where::Own, &[Collapse], false),
    (Where::Own, &[Collapse, Pin], false),
    (Where::All, &[Collapse, Fork], false),
    (Where::All, &[Collapse, Fork, Gup], false),
    (Where::Own, &[Collapse, Fork], true),
];
const OF_NONE: [(Where, &[Rival], bool); 3] = [
    (Where::All, &[Collapse, Mprotect], false),
    (Where::All, &[Collapse, Gup, Pageout], false),
    (Where::All, &[Fork, Gup, Split, Pin], false),
];

/// Every cell, in the order of the catalogue.
pub(super) fn all() -> Vec<Cell> {
    let of = |name: &'static str, stories: &'static [(Where, &'static [Rival], bool)]| {
        let pattern = PATTERNS.iter().filter(move |pattern| pattern.name == name);
        pattern.flat_map(|pattern| {
            stories.iter().map(move |(pages, rivals, is_pinned)| Cell {
                pattern,
                pages: *pages,
                rivals,
                is_pinned: *is_pinned,
            })
        })
    };
    let each = ["none", "all", "lower", "every-other"].into_iter().flat_map(|name| of(name, &OF_EACH));
    each.chain(of("none", &OF_NONE)).collect()
}

impl Cell {
    /// The last part of its id.
    pub(super) fn name(&self) -> String {
        let pin = if self.is_pinned { "uring-after-fork+" } else { "" };
        let rivals: Vec<&str> = self.rivals.iter().map(|rival| rival.word()).collect();
        format!("{pin}storm+{}", rivals.join("+"))
    }

    /// Words to find it by.
    pub(super) fn tags(&self) -> Vec<&'static str> {
        let pins = self.is_pinned || self.rivals.contains(&Pin);
        let swaps = self.rivals.contains(&Pageout);
        let more = [pins.then_some("io_uring"), swaps.then_some("swap")];
        ["collapse", "thp", "storm"].into_iter().chain(more.into_iter().flatten()).collect()
    }

    /// Its steps, on memory of `pages` pages.
    pub(super) fn lines(&self, pages: u32) -> Vec<String> {
        let mut lines = super::story::mapped_by_ptes();
        lines.extend(self.pattern.lines(pages));
        let own = self.pattern.pinned(pages);
        if self.is_pinned {
            lines.push(format!("A pin rw p0 {}", own.text(pages)));
        }
        let storm = match self.pages {
            Where::All => Pages::of(pages, |_| true),
            Where::Own => own,
        };
        let rivals: Vec<&str> = self.rivals.iter().map(|rival| rival.word()).collect();
        let read = |lines: &mut Vec<String>| {
            lines.push("A read all".to_owned());
            if self.is_pinned {
                lines.push("A read via p0".to_owned());
            }
            if let Some(child) = self.pattern.child() {
                lines.push(format!("{child} read {}", self.pattern.of_child(pages).text(pages)));
            }
        };
        lines.push(format!("A storm {} {}", storm.text(pages), rivals.join(" ")));
        read(&mut lines);
        lines.push("A collapse all # whatever is left".to_owned());
        lines.push("A fork D".to_owned());
        lines.push("A write all".to_owned());
        read(&mut lines);
        lines.push("D read all".to_owned());
        lines
    }
}
