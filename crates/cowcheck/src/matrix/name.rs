//! The name of a check taken apart, and the order of checks.

use std::sync::LazyLock;

use crate::suite::{self, Sizes};

/// What a check is called, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// What is done, with its group: `cow/fork-write`.
    pub kind: String,
    /// What it is done to: `thp-pte-64k`. Empty where the kind says it all.
    pub memory: String,
}

/// Where a check stands: known kinds and memories in the catalogue's order, then the others.
type Place = (usize, usize, u64);

/// Kinds and memories in the catalogue's order. The sizes matter little: any machine with THP and
/// hugetlb pages has every kind and every memory.
static ORDER: LazyLock<(Vec<String>, Vec<String>)> = LazyLock::new(|| {
    let sizes = Sizes { page: 4096, pmd: 2 << 20, thp: vec![2 << 20], hugetlb: vec![2 << 20] };
    let (mut kinds, mut memories) = (Vec::new(), Vec::new());
    for check in suite::catalogue(&sizes) {
        let name = Name::of(&check.id);
        let memory = split_size(&name.memory).0.to_owned();
        if !kinds.contains(&name.kind) {
            kinds.push(name.kind);
        }
        if !memories.contains(&memory) {
            memories.push(memory);
        }
    }
    (kinds, memories)
});

impl Name {
    /// Of an id, or of what another program calls a check.
    pub fn of(id: &str) -> Name {
        let two = |kind: &str, memory: &str| Name { kind: kind.to_owned(), memory: memory.to_owned() };
        if let Some((kind, memory)) = id.split_once(" ... with ") {
            return two(kind, memory);
        }
        let second = id.find('/').and_then(|first| Some(first + 1 + id[first + 1..].find('/')?));
        match second {
            Some(at) => two(&id[..at], &id[at + 1..]),
            None => two(id, ""),
        }
    }

    /// Without the group: `fork-write`.
    pub fn short_kind(&self) -> &str {
        self.kind.split_once('/').map_or(self.kind.as_str(), |(_, kind)| kind)
    }

    /// Where it stands among others.
    pub fn place(&self) -> Place {
        let (kinds, memories) = &*ORDER;
        let at = |all: &[String], name: &str| all.iter().position(|known| known == name).unwrap_or(all.len());
        let (memory, size) = split_size(&self.memory);
        (at(kinds, &self.kind), at(memories, memory), size)
    }
}

/// `thp-pte` and 65536 of `thp-pte-64k`.
pub(super) fn split_size(memory: &str) -> (&str, u64) {
    let split = || {
        let (head, tail) = memory.rsplit_once('-')?;
        let unit = tail.find(|char: char| !char.is_ascii_digit())?;
        let shift = match &tail[unit..] {
            "k" => 10,
            "m" => 20,
            "g" => 30,
            _ => return None,
        };
        let number: u64 = tail[..unit].parse().ok()?;
        Some((head, number.checked_mul(1 << shift)?))
    };
    split().unwrap_or((memory, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart() {
        let of = |id| {
            let Name { kind, memory } = Name::of(id);
            (kind, memory)
        };
        assert_eq!(of("cow/fork-write/thp-pte-64k"), ("cow/fork-write".into(), "thp-pte-64k".into()));
        assert_eq!(of("cow/collapse-all"), ("cow/collapse-all".into(), String::new()));
        assert_eq!(of("Basic COW ... with memfd"), ("Basic COW".into(), "memfd".into()));
        assert_eq!(of("/"), ("/".into(), String::new()));
        assert_eq!(of(""), (String::new(), String::new()));
        assert_eq!(split_size("thp-pte-64k"), ("thp-pte", 65536));
        assert_eq!(split_size("thp-99999999999g"), ("thp-99999999999g", 0));
        assert_eq!(split_size("thp-é"), ("thp-é", 0));
    }

    #[test]
    fn checks_stand_in_the_order_of_the_catalogue() {
        let ids =
            ["cow/fork-write/base", "cow/fork-write/thp-64k", "cow/fork-write/thp-2m", "cow/fork-write/hugetlb-1g"];
        assert!(ids.is_sorted_by_key(|id| Name::of(id).place()));
        assert!(Name::of("cow/file-write/memfd").place() > Name::of(ids[3]).place());
        assert!(Name::of("x/y/z").place() > Name::of("cow/file-write/memfd").place());
    }
}
