//! Sets of pages, from which the lines of a cell get their ranges.

use cowcheck_model::pages::{Range, runs_of};

/// A set of pages, in ascending order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pages(Vec<u32>);

impl Pages {
    /// Those of `0..pages` that `wanted` says.
    pub(super) fn of(pages: u32, wanted: impl Fn(u32) -> bool) -> Pages {
        Pages((0..pages).filter(|page| wanted(*page)).collect())
    }

    /// Those that `other` has, too.
    pub(super) fn and(&self, other: &Pages) -> Pages {
        Pages(self.0.iter().copied().filter(|page| other.0.binary_search(page).is_ok()).collect())
    }

    /// Those that `other` has not.
    pub(super) fn without(&self, other: &Pages) -> Pages {
        Pages(self.0.iter().copied().filter(|page| other.0.binary_search(page).is_err()).collect())
    }

    /// None?
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The one in the middle, or none of none.
    pub(super) fn one(&self) -> Pages {
        Pages(self.0.get(self.0.len() / 2).copied().into_iter().collect())
    }

    /// These and those of `other`.
    pub(super) fn with(&self, other: &Pages) -> Pages {
        let mut all = [self.0.as_slice(), &other.0].concat();
        all.sort_unstable();
        all.dedup();
        Pages(all)
    }

    /// As the language writes it, by its name where it has one.
    pub(super) fn text(&self, pages: u32) -> String {
        let runs = runs_of(self.0.iter().copied());
        let named =
            [Range::All, Range::Lower, Range::Upper, Range::First, Range::Last, Range::Rest, Range::Even, Range::Odd];
        let range = named.into_iter().find(|range| range.runs(pages) == runs).unwrap_or(Range::Pages(runs));
        range.to_string()
    }
}
