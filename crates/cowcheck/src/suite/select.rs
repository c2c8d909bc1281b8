//! Which checks of the catalogue are meant.

use cowcheck_model::memory::Size;
use cowcheck_model::text::{choice, nearest};

use serde::{Deserialize, Serialize};

use super::check::Check;
use super::glob;

/// Which checks. Several words of one kind: any of them; several kinds: all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, clap::Args)]
pub struct Filter {
    /// Only this group, as in cow
    #[arg(long, value_name = "GROUP")]
    pub group: Vec<String>,
    /// Only this kind (what is done), as in fork-write
    #[arg(long, value_name = "KIND")]
    pub kind: Vec<String>,
    /// Only this memory (what it is done to), as in thp-pte
    #[arg(long, visible_alias = "on", value_name = "MEMORY")]
    pub memory: Vec<String>,
    /// Only memory with pages of this size, as in 4K, 2M or 1G
    #[arg(long, value_name = "SIZE")]
    pub size: Vec<String>,
}

/// Which checks, by id, too.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, clap::Args)]
pub struct Selection {
    /// Only checks whose id matches one of these patterns (`*` any text, `?` any character)
    #[arg(value_name = "ID-GLOB")]
    pub globs: Vec<String>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would make it the help of the first argument")]
    pub filter: Filter,
}

/// A word that names nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unknown(pub String);

/// The checks of the catalogue that the selection names, in catalogue order. A word that names
/// nothing is an error that names the nearest known ones.
pub fn select(catalogue: Vec<Check>, selection: &Selection) -> Result<Vec<Check>, Unknown> {
    let filter = &selection.filter;
    let sizes: Vec<u64> = filter
        .size
        .iter()
        .map(|text| {
            text.parse()
                .map(|Size(size)| size)
                .map_err(|()| Unknown(format!("--size {text}: expected a size, as in 4K, 2M or 1G")))
        })
        .collect::<Result<_, _>>()?;
    known("--group", &filter.group, catalogue.iter().map(|check| check.group))?;
    known("--kind", &filter.kind, catalogue.iter().map(|check| check.kind.as_str()))?;
    known("--on", &filter.memory, catalogue.iter().map(|check| check.memory))?;
    for (size, text) in sizes.iter().zip(&filter.size) {
        if !catalogue.iter().any(|check| check.size == *size) {
            let mut all: Vec<u64> = catalogue.iter().map(|check| check.size).collect();
            all.sort_unstable();
            all.dedup();
            let all: Vec<String> = all.into_iter().map(|size| Size(size).to_string()).collect();
            return Err(Unknown(format!(
                "--size {text}: this machine has pages of {}",
                choice(all.iter().map(String::as_str))
            )));
        }
    }
    for pattern in &selection.globs {
        if !catalogue.iter().any(|check| glob::matches(pattern, &check.id)) {
            return Err(Unknown(unknown_id(pattern, &catalogue)));
        }
    }
    let any = |words: &[String], word: &str| words.is_empty() || words.iter().any(|each| each == word);
    let chosen: Vec<Check> = catalogue
        .into_iter()
        .filter(|check| {
            selection.globs.is_empty() || selection.globs.iter().any(|pattern| glob::matches(pattern, &check.id))
        })
        .filter(|check| any(&filter.group, check.group) && any(&filter.kind, &check.kind))
        .filter(|check| any(&filter.memory, check.memory) && (sizes.is_empty() || sizes.contains(&check.size)))
        .collect();
    match chosen.is_empty() {
        true => Err(Unknown(
            "no check is meant by all of these words together; `cowcheck list` shows what there is".to_owned(),
        )),
        false => Ok(chosen),
    }
}

fn known<'a>(option: &str, words: &[String], all: impl Iterator<Item = &'a str>) -> Result<(), Unknown> {
    let mut all: Vec<&str> = all.collect();
    all.sort_unstable();
    all.dedup();
    match words.iter().find(|word| !all.contains(&word.as_str())) {
        None => Ok(()),
        Some(word) => {
            let near =
                nearest(word, all.iter().copied()).map(|near| format!("did you mean {near}? ")).unwrap_or_default();
            Err(Unknown(format!("{option} {word}: {near}There is {}", choice(all))))
        }
    }
}

/// For an id or a pattern that names nothing: what comes nearest.
pub fn unknown_id(id: &str, catalogue: &[Check]) -> String {
    let ids = || catalogue.iter().map(|check| check.id.as_str());
    // A part of an id is the commonest mistake.
    let mut near: Vec<&str> = ids().filter(|each| each.contains(id.trim_matches('*'))).take(3).collect();
    if near.is_empty() {
        near.extend(nearest(id, ids()));
    }
    match near.is_empty() {
        true => format!("no check is called `{id}`; `cowcheck list` shows them all"),
        false => format!("no check is called `{id}`; did you mean {}?", choice(near)),
    }
}
