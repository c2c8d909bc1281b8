//! Group `cases`: states that the groups which are products do not come to, one file each. Most were written because a
//! planted bug (see `lab/`) got past all other checks.

use cowcheck_model::text;

use super::Sizes;
use super::check::Check;

macro_rules! cases {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("cases/", $name, ".cow")))),*]
    };
}

/// Names and texts.
const CASES: &[(&str, &str)] = cases![
    "copy-of-large-folio",
    "dirty-after-free",
    "first-write-clears",
    "fork-clean-thp",
    "fork-part-pinned",
    "fork-part-shared",
    "lazyfree-shared",
    "migrate-shared",
    "migrate-shared-thp",
    "mprotect-part-shared",
    "mprotect-soft-dirty",
    "mremap-part-shared",
    "pin-ro-file-thp",
    "pipe-outlives-mapping",
    "poke-file",
    "poke-shared",
    "poke-shared-thp",
    "poke-swapped",
    "poke-unreadable",
    "read-only-stays",
    "reclaim-lazyfree-batch",
    "reclaim-pinned",
    "reclaim-shared-pages",
    "reclaim-shared-thp",
    "split-dirty-after-free",
    "split-folio-shared",
    "split-soft-dirty",
    "split-under-pipe",
    "split-zero-uffd-wp",
    "stale-translations",
    "swapoff-marks",
    "swapoff-shared",
    "swapped-copy",
    "swapped-soft-dirty",
    "unshare-soft-dirty",
    "unshare-uffd-wp",
    "unshare-uffd-wp-hugetlb",
    "zero-page-in-thp",
];

/// The group, as far as the machine has the sizes.
pub fn checks(sizes: &Sizes) -> Vec<Check> {
    CASES.iter().filter_map(|(name, text)| check(name, text, sizes)).collect()
}

/// A test reads every one of them.
fn check(name: &str, text: &str, sizes: &Sizes) -> Option<Check> {
    let scenario = text::parse_valid(text, u32::try_from(sizes.page).ok()?).ok()?;
    let memory = scenario.memory;
    Some(Check {
        id: format!("cases/{name}"),
        group: "cases",
        kind: name.to_owned(),
        memory: memory.kind.word(),
        size: memory.size,
        description: None,
        tags: vec![],
        scenario,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_can_be_done_and_says_what_it_is_about() {
        let checks = checks(&Sizes::widest());
        assert_eq!(checks.len(), CASES.len());
        for (name, text) in CASES {
            let scenario = text::parse_valid(text, 4096).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(!scenario.about.is_empty(), "{name}");
        }
    }
}
