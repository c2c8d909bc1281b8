//! Which pages of the memory a step is about.
//!
//! Pages are counted from 0 in units of the machine's base page, whatever maps them.

use std::fmt;

/// `count` consecutive pages starting at page `first`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Run {
    /// The first page.
    pub first: u32,
    /// How many pages, at least 1.
    pub count: u32,
}

impl Run {
    /// The pages `first` to `last`, both included.
    pub fn through(first: u32, last: u32) -> Self {
        Run { first, count: last - first + 1 }
    }

    /// One page past the last.
    pub fn end(self) -> u32 {
        self.first.saturating_add(self.count)
    }

    /// The page numbers.
    pub fn pages(self) -> std::ops::Range<u32> {
        self.first..self.end()
    }
}

/// `7` or `3-9`, as in `pages 3-9`.
impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count {
            1 => write!(f, "{}", self.first),
            _ => write!(f, "{}-{}", self.first, self.end() - 1),
        }
    }
}

/// Joins page numbers, in ascending order, into runs.
pub fn runs_of(pages: impl IntoIterator<Item = u32>) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for page in pages {
        match runs.last_mut() {
            Some(run) if run.end() == page => run.count += 1,
            _ => runs.push(Run { first: page, count: 1 }),
        }
    }
    runs
}

/// `3-9,12`: runs as the language writes them.
pub fn list(runs: &[Run]) -> String {
    runs.iter().map(Run::to_string).collect::<Vec<_>>().join(",")
}

/// A set of pages, named as a person would.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Range {
    /// Every page.
    All,
    /// The lower half.
    Lower,
    /// The upper half.
    Upper,
    /// The first page.
    First,
    /// The last page.
    Last,
    /// All pages but the first.
    Rest,
    /// Pages 0, 2, 4, ...
    Even,
    /// Pages 1, 3, 5, ...
    Odd,
    /// Pages by number, in ascending order, not overlapping.
    Pages(Vec<Run>),
}

impl Range {
    /// One page by number.
    pub fn page(page: u32) -> Self {
        Range::Pages(vec![Run { first: page, count: 1 }])
    }

    /// How many pages these are, in memory of `pages` pages.
    pub fn count(&self, pages: u32) -> u32 {
        match self {
            Range::All => pages,
            Range::Lower | Range::Odd => pages / 2,
            Range::Upper | Range::Even => pages.div_ceil(2),
            Range::First | Range::Last => pages.min(1),
            Range::Rest => pages.saturating_sub(1),
            Range::Pages(runs) => runs.iter().fold(0, |sum: u32, run| sum.saturating_add(run.count)),
        }
    }

    /// The pages as runs, in memory of `pages` pages.
    ///
    /// Named ranges may be empty (the `lower` half of one page); numbered ones are returned as they
    /// stand, even past the end: the scenario's validity check refuses those.
    pub fn runs(&self, pages: u32) -> Vec<Run> {
        let run = |first: u32, end: u32| match end.checked_sub(first) {
            None | Some(0) => vec![],
            Some(count) => vec![Run { first, count }],
        };
        match self {
            Range::All => run(0, pages),
            Range::Lower => run(0, pages / 2),
            Range::Upper => run(pages / 2, pages),
            Range::First => run(0, pages.min(1)),
            Range::Last => run(pages.saturating_sub(1), pages),
            Range::Rest => run(1, pages),
            Range::Even => (0..pages).step_by(2).map(|first| Run { first, count: 1 }).collect(),
            Range::Odd => (1..pages).step_by(2).map(|first| Run { first, count: 1 }).collect(),
            Range::Pages(runs) => runs.clone(),
        }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Range::All => f.write_str("all"),
            Range::Lower => f.write_str("lower"),
            Range::Upper => f.write_str("upper"),
            Range::First => f.write_str("first"),
            Range::Last => f.write_str("last"),
            Range::Rest => f.write_str("rest"),
            Range::Even => f.write_str("even"),
            Range::Odd => f.write_str("odd"),
            Range::Pages(runs) => match runs[..] {
                [Run { first, count: 1 }] => write!(f, "page {first}"),
                _ => write!(f, "pages {}", list(runs)),
            },
        }
    }
}
