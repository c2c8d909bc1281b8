//! KSM: it runs, and gets through all memory within milliseconds.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use cowcheck_model::step::{Advice, Prot};
use cowcheck_sys::area::{Area, Source};

use super::change::Changes;
use super::{Thing, roots};

/// Between two scans, in milliseconds.
const SLEEP_MILLISECS: &str = "10";
/// How many pages a scan looks at before it sleeps.
const PAGES_TO_SCAN: &str = "10000";

/// How many scans it must come to, and in which time, to be of use.
const SCANS: u64 = 2;
const PATIENCE: Duration = Duration::from_millis(1500);

/// Switches it on. What it has merged when it is switched off again stays merged until it is written.
pub(crate) fn provide(changes: &mut Changes<'_>) {
    let dir = changes.roots.ksm();
    let run = dir.join("run");
    if !run.exists() {
        return changes.could_not(Thing::Ksm, "kernel without KSM", "a kernel with CONFIG_KSM=y");
    }
    // With an adviser (Linux 6.8) the other setting is not anybody's to write.
    let adviser = dir.join("advisor_mode");
    let quick =
        [(adviser, "none"), (dir.join("sleep_millisecs"), SLEEP_MILLISECS), (dir.join("pages_to_scan"), PAGES_TO_SCAN)];
    for (file, value) in quick.into_iter().filter(|(file, _)| file.exists()) {
        if let Err(error) = changes.set(&file, value) {
            changes.did(format!("left {} as it is: {error}", file.display()));
        }
    }
    let mine = mergeable();
    match changes.set(&run, "1") {
        Ok(true) if mine.is_ok() && !is_quick(&dir) => {
            // Not for longer than it takes to see: it merges everybody's memory.
            let _ = super::undo::write_value(&run, "0");
            let reason = "KSM has too much other memory to look at, most likely of virtual machines";
            changes.could_not(Thing::Ksm, reason, "run where nobody else has memory for KSM");
        }
        Ok(true) => changes.did("switched KSM on".to_owned()),
        Ok(false) => {}
        Err(error) => {
            let remedy = format!("echo 1 | sudo tee {}", run.display());
            changes.could_not(Thing::Ksm, format!("{}: {error}", run.display()), remedy);
        }
    }
}

/// Some memory of our own: KSM does not count scans of nothing.
fn mergeable() -> io::Result<Area> {
    let page = rustix::param::page_size();
    let area = Area::reserve(page, page)?;
    area.map(0, page, Source::Anonymous, Prot::Rw)?;
    area.advise(0, page, Advice::Mergeable)?;
    Ok(area)
}

/// Does it get through all memory within [`PATIENCE`]?
fn is_quick(dir: &Path) -> bool {
    let scans = || roots::number(&dir.join("full_scans"));
    let Some(before) = scans() else { return true };
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        if scans().is_some_and(|scans| scans >= before + SCANS) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

#[cfg(test)]
mod tests {
    use super::super::fake::Fake;
    use super::super::undo::Undo;
    use super::*;

    const KSM: &str = "sys/kernel/mm/ksm";

    #[test]
    fn it_runs_and_everything_is_put_back() {
        let fake = Fake::new("ksm")
            .file(&format!("{KSM}/run"), "0\n")
            .file(&format!("{KSM}/sleep_millisecs"), "20\n")
            .file(&format!("{KSM}/pages_to_scan"), "100\n")
            .file(&format!("{KSM}/advisor_mode"), "none [scan-time]\n");
        let (roots, mut ledger) = (fake.roots(), Vec::new());
        let mut changes = Changes::new(&roots, &mut ledger);
        provide(&mut changes);
        assert_eq!(changes.did, ["switched KSM on"]);
        let olds: Vec<_> = ledger
            .iter()
            .map(|undo| match undo {
                Undo::WriteFile { old, .. } => old.as_str(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(olds, ["scan-time", "20", "100", "0"]);
        assert_eq!(fake.text(&format!("{KSM}/run")).trim(), "1");
    }

    #[test]
    fn a_kernel_without_it_is_told() {
        let (roots, mut ledger) = (Fake::new("no-ksm").roots(), Vec::new());
        let mut changes = Changes::new(&roots, &mut ledger);
        provide(&mut changes);
        assert_eq!(changes.could_not[0].reason, "kernel without KSM");
        assert!(ledger.is_empty());
    }
}
