//! What a record says was seen, page by page.

use crate::stamp::Holds;
use crate::trace::Seen;

/// Looks up pages in ascending order.
pub(super) struct Sight<'a> {
    runs: Vec<&'a Seen>,
    next: usize,
}

impl<'a> Sight<'a> {
    pub(super) fn new(seen: &'a [Seen]) -> Self {
        let mut runs: Vec<&Seen> = seen.iter().collect();
        runs.sort_by_key(|seen| seen.pages.first);
        Sight { runs, next: 0 }
    }

    /// What `page` held, if the record tells. Each call's page must lie behind the one before.
    pub(super) fn at(&mut self, page: u32) -> Option<Holds> {
        while self.runs.get(self.next).is_some_and(|seen| seen.pages.end() <= page) {
            self.next += 1;
        }
        let seen = self.runs.get(self.next).filter(|seen| seen.pages.first <= page)?;
        Some(seen.holds.at(page - seen.pages.first))
    }
}
