//! The ledger on the disk, whole at any time.
//!
//! ```text
//! DIR/campaign.json            what was run, and how far
//! DIR/coverage.json            what was done to pages, and by which scenario first
//! DIR/corpus.jsonl             scenarios that reached something new, a line each
//! DIR/findings/NAME/           scenario.cow, as-found.cow, trace.json, explanation.txt, finding.json
//! DIR/pending/NAME.json        found, not shrunk yet
//! ```
//!
//! Every file is written beside its place, brought to the disk and then renamed, and the directory is brought to the disk,
//! too: a power cut leaves the old or the new. `campaign.json` is written last, so what it says is done is there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::finding::Finding;
use super::ledger::{Ledger, VERSION};

/// The largest file that is read, in bytes.
const MAX_FILE: u64 = 256 << 20;

const CAMPAIGN: &str = "campaign.json";
const COVERAGE: &str = "coverage.json";
const CORPUS: &str = "corpus.jsonl";
const FINDINGS: &str = "findings";
const PENDING: &str = "pending";
/// The extension of a file that is not whole yet.
const NEW: &str = "new";

/// A directory that holds a campaign.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
    /// Held as long as this is: two campaigns in one directory would write over each other.
    _lock: File,
    /// Of the corpus and of what is covered, how much is on the disk.
    corpus: BTreeSet<String>,
    covered: usize,
    /// Findings and pending ones as they are on the disk.
    findings: BTreeMap<String, Finding>,
    pending: BTreeSet<String>,
}

/// Why a store was not opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error("{}: {source}", .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// It is not what it should be.
    #[error("{}: {why}", .path.display())]
    Content {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { path, source }
}

#[derive(Serialize, Deserialize)]
struct Line {
    name: String,
    scenario: String,
}

impl Store {
    /// An empty directory, which is made if it is not there.
    pub fn create(directory: &Path) -> Result<Store, Error> {
        fs::create_dir_all(directory).map_err(at(directory))?;
        let store = Store::lock(directory)?;
        if directory.join(CAMPAIGN).exists() {
            let why = "a campaign is here already; go on with it by --resume, or give another directory".to_owned();
            return Err(Error::Content { path: directory.to_owned(), why });
        }
        Ok(store)
    }

    /// A campaign to go on with.
    pub fn open(directory: &Path) -> Result<(Store, Ledger), Error> {
        let mut store = Store::lock(directory)?;
        let mut places = vec![directory.to_owned(), directory.join(PENDING)];
        places.extend(entries(&directory.join(FINDINGS))?);
        places.iter().try_for_each(|place| clear(place))?;
        let ledger = read(directory)?;
        store.corpus = ledger.tally.corpus.keys().cloned().collect();
        store.covered = ledger.tally.covered.len();
        store.findings = ledger.findings.clone();
        store.pending = ledger.pending.keys().cloned().collect();
        // A line that a power cut tore would spoil the next one.
        let lines: Vec<u8> = ledger.tally.corpus.iter().flat_map(|(name, scenario)| line(name, scenario)).collect();
        store.replace(CORPUS, &lines)?;
        Ok((store, ledger))
    }

    fn lock(directory: &Path) -> Result<Store, Error> {
        let path = directory.join(".lock");
        let lock = File::create(&path).map_err(at(&path))?;
        if rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_err() {
            return Err(Error::Content {
                path: directory.to_owned(),
                why: "another cowcheck is at work here".to_owned(),
            });
        }
        Ok(Store {
            directory: directory.to_owned(),
            _lock: lock,
            corpus: BTreeSet::new(),
            covered: 0,
            findings: BTreeMap::new(),
            pending: BTreeSet::new(),
        })
    }

    /// Brings what is new of the ledger to the disk.
    pub fn save(&mut self, ledger: &Ledger) -> Result<(), Error> {
        for (signature, finding) in &ledger.findings {
            if self.findings.get(signature) != Some(finding) {
                self.save_finding(finding)?;
                self.findings.insert(signature.clone(), finding.clone());
            }
        }
        for (name, finding) in
            ledger.pending.iter().filter(|(name, _)| !self.pending.contains(*name)).collect::<Vec<_>>()
        {
            self.replace(&format!("{PENDING}/{name}.json"), &json(finding))?;
            self.pending.insert(name.clone());
        }
        for name in self.pending.iter().filter(|name| !ledger.pending.contains_key(*name)).cloned().collect::<Vec<_>>()
        {
            let path = self.directory.join(format!("{PENDING}/{name}.json"));
            fs::remove_file(&path).map_err(at(&path))?;
            self.pending.remove(&name);
        }
        self.append_corpus(ledger)?;
        if ledger.tally.covered.len() != self.covered {
            self.replace(COVERAGE, &json(&ledger.tally.covered))?;
            self.covered = ledger.tally.covered.len();
        }
        let mut head = ledger.clone();
        head.tally.corpus.clear();
        head.tally.covered.clear();
        self.replace(CAMPAIGN, &json(&head))
    }

    fn save_finding(&self, finding: &Finding) -> Result<(), Error> {
        let place = format!("{FINDINGS}/{}", file_name(&finding.signature));
        let without_trace = Finding { trace: None, ..finding.clone() };
        let trace = finding.trace.as_ref().map(|trace| trace.to_json() + "\n").unwrap_or_default();
        let files: [(&str, &[u8]); 5] = [
            ("scenario.cow", finding.scenario.as_bytes()),
            ("as-found.cow", finding.as_found.as_bytes()),
            ("trace.json", trace.as_bytes()),
            ("explanation.txt", finding.explanation.as_bytes()),
            // Last: where it is there, the others are.
            ("finding.json", &json(&without_trace)),
        ];
        files
            .iter()
            .filter(|(_, bytes)| !bytes.is_empty())
            .try_for_each(|(name, bytes)| self.replace(&format!("{place}/{name}"), bytes))
    }

    fn append_corpus(&mut self, ledger: &Ledger) -> Result<(), Error> {
        let new: Vec<(&String, &String)> =
            ledger.tally.corpus.iter().filter(|(name, _)| !self.corpus.contains(*name)).collect();
        if new.is_empty() {
            return Ok(());
        }
        let path = self.directory.join(CORPUS);
        let mut file = fs::OpenOptions::new().create(true).append(true).open(&path).map_err(at(&path))?;
        let lines: Vec<u8> = new.iter().flat_map(|(name, scenario)| line(name, scenario)).collect();
        file.write_all(&lines).and_then(|()| file.sync_data()).map_err(at(&path))?;
        let names: Vec<String> = new.into_iter().map(|(name, _)| name.clone()).collect();
        self.corpus.extend(names);
        Ok(())
    }

    /// The file has the old content or the new, whatever happens.
    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let path = self.directory.join(name);
        let directory = path.parent().unwrap_or(&self.directory);
        let new = path.with_extension(NEW);
        let write = || -> io::Result<()> {
            if !directory.exists() {
                fs::create_dir_all(directory)?;
                // It is new in its own parent, too.
                directory.ancestors().skip(1).take(2).try_for_each(sync)?;
            }
            let mut file = File::create(&new)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&new, &path)?;
            sync(directory)
        };
        write().map_err(at(&path))
    }
}

fn sync(directory: &Path) -> io::Result<()> {
    // The parent of a relative name of one part has no name.
    let name = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    File::open(name)?.sync_all()
}

fn json(value: &impl Serialize) -> Vec<u8> {
    // Strings, numbers, maps: that cannot fail.
    let mut bytes = serde_json::to_vec_pretty(value).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

fn line(name: &str, scenario: &str) -> Vec<u8> {
    let mut bytes =
        serde_json::to_vec(&Line { name: name.to_owned(), scenario: scenario.to_owned() }).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

/// A signature as the name of a directory.
fn file_name(signature: &str) -> String {
    let name: String = signature.trim_start_matches("explore/").replace('/', "_");
    match name.len() {
        0..=200 => name,
        // FNV-1a: long names differ in their ends.
        _ => {
            let hash = name
                .bytes()
                .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
            format!("{}-{hash:016x}", name.chars().take(180).collect::<String>())
        }
    }
}

/// What a store holds.
pub fn read(directory: &Path) -> Result<Ledger, Error> {
    #[derive(Deserialize)]
    struct Version {
        cowcheck_campaign: u32,
    }
    let path = directory.join(CAMPAIGN);
    let text = text(&path)?;
    let Version { cowcheck_campaign } = parse(&path, &text)?;
    if cowcheck_campaign > VERSION {
        let why = format!("written by a newer cowcheck: format {cowcheck_campaign}, expected at most {VERSION}");
        return Err(Error::Content { path, why });
    }
    let mut ledger: Ledger = parse(&path, &text)?;
    let path = directory.join(COVERAGE);
    if path.exists() {
        ledger.tally.covered = parse(&path, &self::text(&path)?)?;
    }
    let path = directory.join(CORPUS);
    if path.exists() {
        // The last line may be torn; its scenario is lost and will be found again.
        let lines = self::text(&path)?;
        let lines = lines.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok());
        ledger.tally.corpus = lines.map(|line| (line.name, line.scenario)).collect();
    }
    for entry in entries(&directory.join(FINDINGS))? {
        let path = entry.join("finding.json");
        if path.exists() {
            let mut finding: Finding = parse(&path, &self::text(&path)?)?;
            let path = entry.join("trace.json");
            if path.exists() {
                finding.trace = Some(parse(&path, &self::text(&path)?)?);
            }
            ledger.findings.insert(finding.signature.clone(), finding);
        }
    }
    for path in
        entries(&directory.join(PENDING))?.into_iter().filter(|path| path.extension().is_some_and(|it| it == "json"))
    {
        let finding: Finding = parse(&path, &self::text(&path)?)?;
        ledger.pending.insert(finding.name.clone(), finding);
    }
    Ok(ledger)
}

/// Removes what a kill left half written.
fn clear(place: &Path) -> Result<(), Error> {
    let is_new = |path: &PathBuf| path.extension().is_some_and(|extension| extension == NEW);
    let mut all = if place.is_dir() { entries(place)? } else { vec![] };
    all.retain(is_new);
    all.iter().try_for_each(|path| fs::remove_file(path).map_err(at(path)))
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    if !directory.exists() {
        return Ok(vec![]);
    }
    let all: io::Result<Vec<PathBuf>> =
        fs::read_dir(directory).and_then(|all| all.map(|entry| entry.map(|entry| entry.path())).collect());
    all.map_err(at(directory))
}

fn text(path: &Path) -> Result<String, Error> {
    let mut text = String::new();
    File::open(path).and_then(|file| file.take(MAX_FILE).read_to_string(&mut text)).map_err(at(path))?;
    Ok(text)
}

fn parse<T: for<'de> Deserialize<'de>>(path: &Path, text: &str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|error| Error::Content { path: path.to_owned(), why: error.to_string() })
}

#[cfg(test)]
mod tests {
    use cowcheck_model::trace::Trace;

    use super::*;
    use crate::explore::news::{News, Tally};
    use crate::explore::order::{Shard, Subject};
    use crate::known::Known;

    /// A trace in which B sees what A wrote.
    fn trace() -> Trace {
        let text = "cowcheck scenario 1\\nmemory anon 4K\\nA fork B\\nA write all\\nB read all\\n";
        let records = "[{\"step\":1,\"result\":\"ok\"},{\"step\":2,\"result\":\"ok\"},{\"step\":3,\"result\":\"ok\",\
                       \"seen\":[{\"pages\":\"0\",\"holds\":\"A@2 of page 0\"}]}]";
        let json = format!(
            "{{\"cowcheck_trace\":1,\"scenario\":\"{text}\",\"kernel\":\"7.2.0 #1\",\"page_size\":4096,\
             \"records\":{records},\"end\":\"complete\"}}"
        );
        Trace::from_json(&json).unwrap()
    }

    fn ledger() -> Ledger {
        let mut ledger = Ledger::new(Subject { seed: 1, exhaustive: None, at_once: false, on: vec![] }, true);
        let mut tally = Tally { numbered: 3, below: 3, ..Tally::default() };
        tally.covered.insert("fork: pte -> pte".to_owned(), "1".to_owned());
        tally.corpus.insert("1".to_owned(), "a\nb".to_owned());
        ledger.take(Shard::WHOLE, &News::Ran(Box::new(tally)));
        ledger
    }

    #[test]
    fn what_a_kill_left_half_written_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        Store::create(directory.path()).unwrap().save(&ledger()).unwrap();
        let left = ["campaign.new", "pending/7.new", "findings/x/finding.new"].map(|name| directory.path().join(name));
        for path in &left {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "{").unwrap();
        }
        assert_eq!(Store::open(directory.path()).unwrap().1, ledger());
        assert!(left.iter().all(|path| !path.exists()));
    }

    #[test]
    fn what_is_saved_is_read_back_at_every_point() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = Store::create(directory.path()).unwrap();
        let mut ledger = ledger();
        store.save(&ledger).unwrap();
        assert_eq!(read(directory.path()).unwrap(), ledger);
        let finding = Finding::new("7", trace(), &Known::default()).unwrap();
        ledger.take(Shard::WHOLE, &News::Pending(Box::new(finding.clone())));
        store.save(&ledger).unwrap();
        assert_eq!(read(directory.path()).unwrap(), ledger);
        ledger.take(Shard::WHOLE, &News::Found(Box::new(finding)));
        store.save(&ledger).unwrap();
        assert!(ledger.pending.is_empty() && ledger.findings.len() == 1);
        assert_eq!(read(directory.path()).unwrap(), ledger);
        let place = directory.path().join("findings/isolation_anon_fork+read+write");
        for file in ["scenario.cow", "as-found.cow", "trace.json", "explanation.txt"] {
            assert!(place.join(file).exists(), "{file}");
        }
    }

    #[test]
    fn a_relative_directory_of_one_part_has_a_parent() {
        let directories: Vec<&Path> = Path::new("out/pending").ancestors().skip(1).take(2).collect();
        assert_eq!(directories, [Path::new("out"), Path::new("")]);
        sync(directories[1]).unwrap();
    }

    #[test]
    fn what_a_power_cut_tore_is_no_harm() {
        let directory = tempfile::tempdir().unwrap();
        let ledger = ledger();
        Store::create(directory.path()).unwrap().save(&ledger).unwrap();
        fs::write(directory.path().join("campaign.new"), "{").unwrap();
        let mut corpus = fs::OpenOptions::new().append(true).open(directory.path().join(CORPUS)).unwrap();
        corpus.write_all(b"{\"name\":\"2\",\"scen").unwrap();
        fs::create_dir_all(directory.path().join("findings/half")).unwrap();
        let (mut store, mut found) = Store::open(directory.path()).unwrap();
        assert_eq!(found, ledger);
        found.tally.corpus.insert("3".to_owned(), "c".to_owned());
        store.save(&found).unwrap();
        assert_eq!(read(directory.path()).unwrap(), found);
    }

    #[test]
    fn a_store_has_one_user_and_one_campaign() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = Store::create(directory.path()).unwrap();
        assert!(Store::create(directory.path()).unwrap_err().to_string().contains("another cowcheck is at work"));
        store.save(&ledger()).unwrap();
        drop(store);
        assert!(Store::create(directory.path()).unwrap_err().to_string().contains("--resume"));
        assert!(Store::open(directory.path()).is_ok());
    }

    #[test]
    fn a_newer_or_damaged_store_is_refused_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let refused = |text: &str| {
            fs::write(directory.path().join(CAMPAIGN), text).unwrap();
            read(directory.path()).unwrap_err().to_string()
        };
        assert!(refused("{\"cowcheck_campaign\":2}").contains("format 2, expected at most 1"));
        assert!(refused("{").contains("campaign.json: EOF"));
        assert!(refused("{\"cowcheck_campaign\":1}").contains("missing field"));
    }
}
