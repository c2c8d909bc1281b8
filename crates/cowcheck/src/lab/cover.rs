//! The smallest set of checks that kills everything that is caught.

use std::collections::BTreeMap;

/// How many branches are looked at before the search for the smallest set is given up.
const BRANCHES: u32 = 200_000;

/// A set of checks that together kill all.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Cover {
    /// The checks, the one that kills most first.
    pub checks: Vec<String>,
    /// Is it known that no smaller set does?
    pub is_smallest: bool,
}

/// The cover of these mutants: of each, the checks that kill it. Those that nothing kills are left out.
pub fn cover(mutants: &[Vec<&str>]) -> Cover {
    let mutants: Vec<&Vec<&str>> = mutants.iter().filter(|kills| !kills.is_empty()).collect();
    let words = mutants.len().div_ceil(64);
    let mut sets: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for (number, kills) in mutants.iter().enumerate() {
        for check in kills.iter() {
            sets.entry(check).or_insert_with(|| vec![0; words])[number / 64] |= 1 << (number % 64);
        }
    }
    // Of checks that kill the same, one; and none that kills a part of what another kills.
    let mut columns: Vec<(&str, Vec<u64>)> = Vec::new();
    for (check, set) in &sets {
        let is_part = |other: &Vec<u64>| set.iter().zip(other).all(|(mine, theirs)| mine & !theirs == 0);
        let dominated = sets.iter().any(|(name, other)| is_part(other) && (other != set || name < check));
        if !dominated {
            columns.push((check, set.clone()));
        }
    }
    let all: Vec<u64> = (0..words).map(|word| low_bits(mutants.len() - word * 64)).collect();
    let mut search = Search { columns: &columns, best: greedy(&columns, &all), branches: 0 };
    search.look(&all, &mut Vec::new());
    let is_smallest = search.branches < BRANCHES;
    let mut checks: Vec<usize> = search.best;
    checks.sort_by_key(|column| std::cmp::Reverse(count(&columns[*column].1)));
    Cover { checks: checks.into_iter().map(|column| columns[column].0.to_owned()).collect(), is_smallest }
}

fn low_bits(count: usize) -> u64 {
    if count >= 64 { u64::MAX } else { (1 << count) - 1 }
}

fn count(set: &[u64]) -> u32 {
    set.iter().map(|word| word.count_ones()).sum()
}

fn without(set: &[u64], other: &[u64]) -> Vec<u64> {
    set.iter().zip(other).map(|(set, other)| set & !other).collect()
}

/// Takes what kills most of the rest, again and again.
fn greedy(columns: &[(&str, Vec<u64>)], all: &[u64]) -> Vec<usize> {
    let (mut left, mut taken) = (all.to_vec(), Vec::new());
    while count(&left) > 0 {
        let gain = |column: &usize| count(&left) - count(&without(&left, &columns[*column].1));
        let Some(best) = (0..columns.len()).max_by_key(|column| (gain(column), std::cmp::Reverse(*column))) else {
            break;
        };
        left = without(&left, &columns[best].1);
        taken.push(best);
    }
    taken
}

struct Search<'a> {
    columns: &'a [(&'a str, Vec<u64>)],
    best: Vec<usize>,
    branches: u32,
}

impl Search<'_> {
    /// Some check must kill the mutant that the fewest kill: each of them is tried.
    fn look(&mut self, left: &[u64], taken: &mut Vec<usize>) {
        if count(left) == 0 {
            if taken.len() < self.best.len() {
                self.best.clone_from(taken);
            }
            return;
        }
        // One more than taken is needed at least.
        if taken.len() + 1 >= self.best.len() || self.branches >= BRANCHES {
            return;
        }
        self.branches += 1;
        let kills = |mutant: usize| {
            let has = |column: &usize| self.columns[*column].1[mutant / 64] >> (mutant % 64) & 1 == 1;
            (0..self.columns.len()).filter(has).collect::<Vec<usize>>()
        };
        let is_left = |mutant: &usize| left[mutant / 64] >> (mutant % 64) & 1 == 1;
        let rarest = (0..left.len() * 64).filter(is_left).map(kills).min_by_key(Vec::len);
        for column in rarest.unwrap_or_default() {
            taken.push(column);
            self.look(&without(left, &self.columns[column].1), taken);
            taken.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(mutants: &[&str]) -> (Vec<String>, bool) {
        let mutants: Vec<Vec<&str>> = mutants.iter().map(|kills| kills.split_whitespace().collect()).collect();
        let Cover { checks, is_smallest } = cover(&mutants);
        (checks, is_smallest)
    }

    #[test]
    fn every_caught_mutant_is_covered() {
        assert_eq!(found(&[]), (vec![], true));
        assert_eq!(found(&["", ""]), (vec![], true), "what nothing kills needs nothing");
        assert_eq!(found(&["a b", "b c", "", "b"]), (vec!["b".to_owned()], true));
        assert_eq!(found(&["a", "b", "a b c"]).0.len(), 2);
    }

    #[test]
    fn the_smallest_is_found_where_the_greedy_one_is_not() {
        // `greedy` would take g first, for it kills four, and then need both a and b all the same.
        let (checks, is_smallest) = found(&["a g", "a g", "a", "b g", "b g", "b"]);
        assert_eq!((checks, is_smallest), (vec!["a".to_owned(), "b".to_owned()], true));
        let columns = [("a", vec![0b000_111]), ("b", vec![0b111_000]), ("g", vec![0b011_011])];
        assert_eq!(greedy(&columns, &[0b111_111]).len(), 3);
    }

    #[test]
    fn more_than_64_mutants_are_no_matter() {
        let names: Vec<String> = (0..150).map(|number| format!("c{}", number / 50)).collect();
        let mutants: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(found(&mutants).0.len(), 3);
    }

    #[test]
    fn a_search_without_end_is_given_up() {
        // Pairs of 40 checks: a vertex cover of a complete graph.
        let mut mutants = Vec::new();
        for a in 0..40 {
            for b in 0..a {
                mutants.push(format!("c{a} c{b}"));
            }
        }
        let mutants: Vec<&str> = mutants.iter().map(String::as_str).collect();
        let (checks, _) = found(&mutants);
        assert_eq!(checks.len(), 39);
    }
}
