//! What is known so far, in a file that is written as it comes: a lab that was stopped goes on from there.

use std::fs::{self, File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::explored::Explored;
use super::judge::Reference;
use super::peer::Told;
use super::row::Row;

/// The file in the directory of results.
pub const NAME: &str = "lab.jsonl";

/// A line of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Line {
    /// A kernel without a bug.
    Reference {
        /// Of all that it depends on.
        key: String,
        /// The kernel.
        on: String,
        /// What the checks came to.
        reference: Reference,
    },
    /// What the peer came to on a kernel without a bug.
    Peer {
        /// Of all that it depends on.
        key: String,
        /// What it came to.
        told: Told,
    },
    /// A mutant.
    Mutant {
        /// Of all that it depends on.
        key: String,
        /// What became of it.
        row: Box<Row>,
    },
    /// A kernel that was explored.
    Explored {
        /// Of all that it depends on.
        key: String,
        /// What was found.
        explored: Box<Explored>,
    },
}

/// The file, and what was in it.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
    known: Vec<Line>,
    file: Mutex<File>,
}

impl Store {
    /// In this directory. What is there is begun anew, unless it is to be resumed.
    pub fn open(directory: &Path, resume: bool) -> io::Result<Store> {
        fs::create_dir_all(directory)?;
        let path = directory.join(NAME);
        let known = if resume { read(&path)? } else { Vec::new() };
        let mut file = File::create(path.with_extension("new"))?;
        known.iter().try_for_each(|line| write(&mut file, line))?;
        file.sync_all()?;
        // A line that was cut off is gone, and nothing else.
        fs::rename(path.with_extension("new"), &path)?;
        let file = OpenOptions::new().append(true).open(&path)?;
        Ok(Store { directory: directory.to_owned(), known, file: Mutex::new(file) })
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// What is known of before.
    pub fn known(&self) -> &[Line] {
        &self.known
    }

    /// One more line.
    pub fn add(&self, line: &Line) -> io::Result<()> {
        write(&mut self.file.lock().unwrap_or_else(PoisonError::into_inner), line)
    }
}

fn write(file: &mut File, line: &Line) -> io::Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    file.write_all(&text)
}

fn read(path: &Path) -> io::Result<Vec<Line>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let lines = BufReader::new(file).split(b'\n').collect::<io::Result<Vec<_>>>()?;
    // What another version wrote, or wrote half, is done again.
    Ok(lines.iter().filter_map(|line| serde_json::from_slice(line).ok()).collect())
}

/// A key of what something depends on. It is compared with those of the same program only, which is a part of it.
pub fn key(parts: &[&dyn AsRef<[u8]>]) -> String {
    let mut hasher = DefaultHasher::new();
    for part in parts {
        part.as_ref().hash(&mut hasher);
    }
    format!("{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::super::judge::tests::reference;
    use super::*;

    fn line(key: &str) -> Line {
        Line::Reference { key: key.to_owned(), on: "k".to_owned(), reference: reference("baseline", "a:pass") }
    }

    #[test]
    fn what_was_written_is_there_again_and_a_cut_line_is_not() {
        let directory = tempfile::TempDir::new().unwrap();
        let store = Store::open(directory.path(), true).unwrap();
        assert!(store.known().is_empty());
        store.add(&line("1")).unwrap();
        store.add(&line("2")).unwrap();
        drop(store);
        let path = directory.path().join(NAME);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - 9]).unwrap();
        let store = Store::open(directory.path(), true).unwrap();
        assert_eq!(store.known(), [line("1")]);
        store.add(&line("3")).unwrap();
        assert_eq!(read(&path).unwrap(), [line("1"), line("3")]);
        assert!(Store::open(directory.path(), false).unwrap().known().is_empty());
        assert!(read(&path).unwrap().is_empty(), "begun anew");
    }

    #[test]
    fn a_key_is_of_all_parts() {
        assert_eq!(key(&[&"a", &"b"]), key(&[&"a", &"b"]));
        assert_ne!(key(&[&"a", &"b"]), key(&[&"ab", &""]));
    }
}
