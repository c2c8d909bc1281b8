//! Pages that are lost: the family had them, nobody maps them any more, and they were not freed. For root only.
//! Documentation/admin-guide/mm/pagemap.rst.

use std::fs::File;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use cowcheck_model::trace::Record;
use cowcheck_sys::migrate;

use super::frames::words;

/// KPF_ANON, and what is told of a page that somebody still has, or that is none of ours: KPF_BUDDY, KPF_MMAP,
/// KPF_SWAPCACHE, KPF_HUGE, KPF_HWPOISON, KPF_NOPAGE, KPF_KSM (include/uapi/linux/kernel-page-flags.h).
const ANON: u64 = 1 << 12;
const HAD: u64 = 1 << 10 | 1 << 11 | 1 << 13 | 1 << 17 | 1 << 19 | 1 << 20 | 1 << 21;

/// How long a page may look lost. An io_uring gives its fixed buffers back in a workqueue, and whoever isolates pages to
/// move them puts them back. Nobody else keeps a page for so long that has been ours and that nobody maps.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(100));

fn looks_lost(flags: u64) -> bool {
    flags & ANON != 0 && flags & HAD == 0
}

/// How many of the frames in the records are lost. To be called when the family is gone.
pub(super) fn count<'r>(records: impl Iterator<Item = &'r Record>) -> u64 {
    let runs = runs(records);
    if runs.is_empty() {
        // Nor would it be seen by who is not root.
        return 0;
    }
    let Ok(flags) = File::open("/proc/kpageflags") else { return 0 };
    still_lost(&flags, runs).unwrap_or(0)
}

fn still_lost(flags: &File, mut runs: Vec<(u64, u32)>) -> io::Result<u64> {
    let end = Instant::now() + PATIENCE;
    let mut pause = PAUSES.0;
    loop {
        runs = lost_of(&runs, |pfn, count| words(flags, pfn, count))?;
        if runs.is_empty() || Instant::now() >= end {
            return Ok(runs.iter().map(|(_, count)| u64::from(*count)).sum());
        }
        // What waits on a processor's list to be put on another has a reference. Without this it may wait for ever.
        migrate::drain()?;
        thread::sleep(pause);
        pause = (pause * 2).min(PAUSES.1);
    }
}

/// Those frames that look lost.
fn lost_of(runs: &[(u64, u32)], flags: impl Fn(u64, u32) -> io::Result<Vec<u64>>) -> io::Result<Vec<(u64, u32)>> {
    let mut lost = Vec::new();
    for &(first, count) in runs {
        let flags = flags(first, count)?;
        let frames = (first..).zip(flags).filter(|(_, flags)| looks_lost(*flags));
        frames.for_each(|(pfn, _)| add(&mut lost, pfn, 1));
    }
    Ok(lost)
}

/// The frames that anybody of the family had: each once, as few runs as possible.
fn runs<'r>(records: impl Iterator<Item = &'r Record>) -> Vec<(u64, u32)> {
    let seen = records.flat_map(|record| &record.states);
    let mut all: Vec<(u64, u32)> =
        seen.filter(|seen| seen.pfn != 0 && !seen.state.file).map(|seen| (seen.pfn, seen.pages.count)).collect();
    all.sort_unstable();
    let mut runs = Vec::new();
    all.into_iter().for_each(|(pfn, count)| add(&mut runs, pfn, count));
    runs
}

/// Adds a run that begins no earlier than the last.
fn add(runs: &mut Vec<(u64, u32)>, pfn: u64, count: u32) {
    let end = pfn + u64::from(count);
    match runs.last_mut() {
        Some((first, last)) if pfn <= *first + u64::from(*last) => {
            let whole = end.max(*first + u64::from(*last)) - *first;
            *last = u32::try_from(whole).unwrap_or(u32::MAX);
        }
        _ => runs.push((pfn, count)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MMAP: u64 = 1 << 11;
    const LRU: u64 = 1 << 5;

    #[test]
    fn only_what_is_anonymous_and_nobodys_looks_lost() {
        assert!(looks_lost(ANON | LRU) && looks_lost(ANON));
        for kept in [0, LRU, 1 << 10, ANON | MMAP, ANON | 1 << 13, ANON | 1 << 17, ANON | 1 << 21, MMAP] {
            assert!(!looks_lost(kept), "{kept:#x}");
        }
    }

    #[test]
    fn frames_are_looked_at_once_and_what_is_freed_meanwhile_is_not_lost() {
        let mut runs = Vec::new();
        [(7, 3), (8, 1), (10, 2), (14, 1)].into_iter().for_each(|(pfn, count)| add(&mut runs, pfn, count));
        assert_eq!(runs, [(7, 5), (14, 1)]);
        let first = |pfn, count| Ok((pfn..).take(count as usize).map(|pfn| if pfn > 9 { ANON } else { 0 }).collect());
        let lost = lost_of(&runs, first).unwrap();
        assert_eq!(lost, [(10, 2), (14, 1)]);
        let later = |_, count| Ok(vec![ANON | MMAP; count as usize]);
        assert_eq!(lost_of(&lost, later).unwrap(), []);
    }
}
