//! The inputs that the damaged ones are made from.

use std::path::PathBuf;
use std::{fs, io};

use crate::targets::Target;

/// Where the seeds of a target are, in the sources.
pub(crate) fn folder(target: &Target) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "corpus", target.name].iter().collect()
}

/// The seeds of a target, in the order of their names, so that a seed number means the same anywhere.
pub(crate) fn load(target: &Target) -> io::Result<Vec<Vec<u8>>> {
    let folder = folder(target);
    let in_folder = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", folder.display()));
    let mut paths =
        fs::read_dir(&folder).map_err(in_folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    paths.iter().map(fs::read).collect::<io::Result<Vec<_>>>().map_err(in_folder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::targets::TARGETS;

    #[test]
    fn every_seed_is_read_without_a_panic() {
        for target in &TARGETS {
            let corpus = load(target).unwrap();
            assert!(corpus.len() >= 10, "{} has {} seeds", target.name, corpus.len());
            corpus.iter().for_each(|input| (target.run)(input));
        }
    }
}
