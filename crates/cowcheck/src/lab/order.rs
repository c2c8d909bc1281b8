//! Which check comes first, where the first kill is enough.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, PoisonError};

use crate::suite::glob;

/// How often each check killed a mutant so far.
#[derive(Debug, Default)]
pub struct Killers(Mutex<BTreeMap<String, usize>>);

impl Killers {
    /// It killed one more.
    pub fn add(&self, check: &str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(check.to_owned()).or_default() += 1;
    }

    /// The checks, the deadliest first.
    fn ranked(&self) -> Vec<String> {
        let kills = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ranked: Vec<(&String, &usize)> = kills.iter().collect();
        ranked.sort_by_key(|(_, kills)| std::cmp::Reverse(**kills));
        ranked.into_iter().map(|(check, _)| check.clone()).collect()
    }
}

/// All of `fit`: first what the mutant's own patterns name, in their order, then what killed others, the deadliest
/// first, then one of each kind, a second of each, and so on: neighbours of a kind see much the same.
pub fn order(fit: &[String], first: &[String], killers: &Killers) -> Vec<String> {
    let named = first.iter().flat_map(|pattern| fit.iter().filter(|check| glob::matches(pattern, check)));
    let killers = killers.ranked();
    let is_fit: HashSet<&String> = fit.iter().collect();
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    let mut spread: Vec<(usize, &String)> = fit
        .iter()
        .map(|check| {
            let kind = check.rsplit_once('/').map_or(check.as_str(), |(kind, _)| kind);
            let number = kinds.entry(kind).or_default();
            *number += 1;
            (*number, check)
        })
        .collect();
    spread.sort_by_key(|(number, _)| *number);
    let mut taken = HashSet::new();
    named
        .chain(killers.iter().filter(|check| is_fit.contains(check)))
        .chain(spread.into_iter().map(|(_, check)| check))
        .filter(|check| taken.insert(*check))
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ordered(first: &[&str], killers: &Killers) -> String {
        let fit = ["a/x/1", "a/x/2", "a/x/3", "b/y/1", "b/y/2", "c"].map(str::to_owned);
        let first: Vec<String> = first.iter().map(|pattern| (*pattern).to_owned()).collect();
        order(&fit, &first, killers).join(" ")
    }

    #[test]
    fn all_are_there_once_and_kinds_take_turns() {
        assert_eq!(ordered(&[], &Killers::default()), "a/x/1 b/y/1 c a/x/2 b/y/2 a/x/3");
    }

    #[test]
    fn the_mutants_own_come_first_then_what_killed_others() {
        let killers = Killers::default();
        for check in ["a/x/3", "c", "c", "not/fit"] {
            killers.add(check);
        }
        assert_eq!(ordered(&["b/*", "a/x/1", "nothing/*"], &killers), "b/y/1 b/y/2 a/x/1 c a/x/3 a/x/2");
    }
}
