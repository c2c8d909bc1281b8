//! How often something that was seen is seen again.

use std::fmt;

/// So many of so many runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Runs that showed it.
    pub hits: u32,
    /// Runs.
    pub runs: u32,
}

impl Rate {
    /// The most runs that one question is worth.
    pub const MOST: u32 = 60;

    /// How often to run something that shows it as often as this, until it can be taken for cured: what is not cured
    /// passes that often in less than one case of 20.
    pub fn repeats(self) -> u32 {
        if self.runs == 0 || self.hits == 0 {
            return Rate::MOST;
        }
        let miss = 1.0 - f64::from(self.hits.min(self.runs)) / f64::from(self.runs);
        let mut left = 1.0;
        let enough = (1..Rate::MOST).find(|_| {
            left *= miss;
            left < 0.05
        });
        enough.unwrap_or(Rate::MOST)
    }
}

/// `3 of 10`
impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.hits, self.runs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_shows_seldom_is_tried_more_often() {
        let repeats = |hits, runs| Rate { hits, runs }.repeats();
        assert_eq!((repeats(5, 5), repeats(1, 2), repeats(1, 10)), (1, 5, 29));
        assert_eq!((repeats(1, 100), repeats(0, 10), repeats(0, 0)), (60, 60, 60));
    }
}
