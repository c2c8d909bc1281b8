//! What is done to pages by other calls than madvise(2), and the wait for KSM.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use cowcheck_model::pages::Run;
use cowcheck_model::step::Treatment;
use cowcheck_model::trace::StepResult;
use cowcheck_sys::area::Area;
use cowcheck_sys::{migrate, process, uffd::Uffd};

use super::family::done;
use super::layout::{Layout, Part};

/// Splits folios: `pid,start,end` (mm/huge_memory.c).
pub const SPLIT: &str = "/sys/kernel/debug/split_huge_pages";
/// Has the kernel move what it can (Documentation/admin-guide/sysctl/vm.rst).
pub const COMPACT: &str = "/proc/sys/vm/compact_memory";
/// The nodes that have memory, as in `0-1,3`.
pub const NODES: &str = "/sys/devices/system/node/has_memory";
/// KSM's settings and counters (Documentation/admin-guide/mm/ksm.rst).
pub const KSM: &str = "/sys/kernel/mm/ksm";

/// How many scans KSM needs: what is left of the one under way, one that sees that the page did not change since the
/// last, and one that finds the other.
const SCANS: u64 = 4;
/// How long they are waited for.
const KSM_PATIENCE: Duration = Duration::from_secs(4);
/// Who has waited in vain waits no longer than this for a while: a run with several such steps would run out of its time.
const KSM_IMPATIENCE: Duration = Duration::from_millis(100);
const KSM_WHILE: Duration = Duration::from_secs(10);
static IN_VAIN: Mutex<Option<Instant>> = Mutex::new(None);
const KSM_PAUSE: Duration = Duration::from_millis(5);
/// How often UFFDIO_WRITEPROTECT is tried where the mappings change meanwhile (EAGAIN).
const TRIES: u32 = 20;
const EAGAIN: i32 = 11;

/// Does it. `uffd` is this actor's userfaultfd, which is made where there is none yet.
pub fn treat(treatment: Treatment, layout: &Layout, runs: &[Run], uffd: &mut Option<Uffd>) -> StepResult {
    let each = |call: &dyn Fn(&Area, usize, usize) -> io::Result<()>| {
        done(layout.parts(runs).iter().try_for_each(|part| call(&layout.area, part.offset, layout.len(part))))
    };
    match treatment {
        Treatment::UffdWp => done(protect(layout, runs, uffd, true)),
        Treatment::UffdUnwp => done(protect(layout, runs, uffd, false)),
        Treatment::Mlock => each(&Area::lock),
        Treatment::Munlock => each(&Area::unlock),
        Treatment::Split => each(&split),
        Treatment::Migrate => move_away(layout, runs),
    }
}

/// All of the memory is registered, so that it stays one mapping: else it could not be collapsed.
fn protect(layout: &Layout, runs: &[Run], uffd: &mut Option<Uffd>, protect: bool) -> io::Result<()> {
    let uffd = match uffd {
        Some(uffd) => uffd,
        None => uffd.insert(Uffd::new()?),
    };
    let all = [Run { first: 0, count: layout.pages() }];
    layout.parts(&all).iter().try_for_each(|part| uffd.register(&layout.area, part.offset, layout.len(part)))?;
    let patiently = |part: &Part| {
        let mut tries = 1;
        loop {
            match uffd.protect(&layout.area, part.offset, layout.len(part), protect) {
                Err(error) if error.raw_os_error() == Some(EAGAIN) && tries < TRIES => tries += 1,
                result => return result,
            }
        }
    };
    layout.parts(runs).iter().try_for_each(patiently)
}

fn split(area: &Area, offset: usize, len: usize) -> io::Result<()> {
    let start = area.address(offset);
    tell(SPLIT, &format!("{},{start:#x},{:#x}", process::id(), start + len))
}

/// To another node, or wherever compaction moves them. What became of them is seen by their frames.
fn move_away(layout: &Layout, runs: &[Run]) -> StepResult {
    let nodes = nodes(&std::fs::read_to_string(NODES).unwrap_or_default());
    if nodes.len() < 2 {
        return done(tell(COMPACT, "1"));
    }
    let offsets: Vec<usize> = layout.each(runs).map(|(_, offset)| offset).collect();
    done(migrate::to_another_node(&layout.area, &offsets, &nodes))
}

/// `0-1,3` as numbers.
pub fn nodes(list: &str) -> Vec<i32> {
    let number = |text: &str| text.trim().parse::<i32>().ok();
    let run = |text: &str| match text.split_once('-') {
        Some((first, last)) => Some(number(first)?..=number(last)?),
        None => number(text).map(|one| one..=one),
    };
    list.split(',').filter_map(run).flatten().collect()
}

/// Waits until KSM has been through all memory often enough.
pub fn wait_for_ksm() -> StepResult {
    let was_in_vain = IN_VAIN.lock().ok().and_then(|when| *when).is_some_and(|when| when.elapsed() < KSM_WHILE);
    let patience = if was_in_vain { KSM_IMPATIENCE } else { KSM_PATIENCE };
    let end = Instant::now() + patience;
    let Some(before) = ksm("full_scans") else { return StepResult::Skipped("kernel without KSM".to_owned()) };
    if ksm("run") != Some(1) {
        return StepResult::Skipped("KSM does not run".to_owned());
    }
    loop {
        match ksm("full_scans") {
            Some(scans) if scans >= before + SCANS => return StepResult::Ok,
            _ if Instant::now() >= end => {
                if let Ok(mut when) = IN_VAIN.lock() {
                    *when = Some(Instant::now());
                }
                let waited = KSM_PATIENCE.as_secs();
                return StepResult::Skipped(format!("KSM did not get through all memory in {waited} s"));
            }
            _ => std::thread::sleep(KSM_PAUSE),
        }
    }
}

fn ksm(name: &str) -> Option<u64> {
    std::fs::read_to_string(format!("{KSM}/{name}")).ok()?.trim().parse().ok()
}

/// Writes to a file of the kernel's, which must be there, in one write(2).
fn tell(path: &str, text: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open(path)?.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_nodes() {
        assert_eq!(nodes("0\n"), [0]);
        assert_eq!(nodes("0-2,5\n"), [0, 1, 2, 5]);
        assert_eq!(nodes(""), Vec::<i32>::new());
    }
}
