//! What /proc/PID/pagemap knows of the pages.
//! Documentation/admin-guide/mm/pagemap.rst.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use cowcheck_model::memory::{Memory, MemoryKind};
use cowcheck_model::pages::Run;
use cowcheck_model::step::Actor;
use cowcheck_model::trace::{Observed, PageState};
use cowcheck_sys::scan;

use super::look::Place;

const PFN: u64 = (1 << 55) - 1;

fn bit(entry: u64, bit: u32) -> bool {
    entry >> bit & 1 == 1
}

/// A process's page table. That of the process which opened it is its own: a forked child needs another.
#[derive(Debug)]
pub struct Pagemap {
    pagemap: File,
    /// Its folder in /proc.
    process: String,
}

impl Pagemap {
    /// This process's.
    pub fn open() -> io::Result<Pagemap> {
        Pagemap::of("/proc/self".to_owned())
    }

    /// Another's.
    pub fn open_of(pid: i32) -> io::Result<Pagemap> {
        Pagemap::of(format!("/proc/{pid}"))
    }

    fn of(process: String) -> io::Result<Pagemap> {
        Ok(Pagemap { pagemap: File::open(format!("{process}/pagemap"))?, process })
    }
}

/// The states of the pages at these places of a page table, as few runs as possible.
pub fn observe(
    table: &Pagemap,
    actor: Actor,
    memory: Memory,
    page_size: usize,
    places: &[Place],
) -> io::Result<Vec<Observed>> {
    let mut found: Vec<Observed> = Vec::new();
    for part in places {
        let huge = huge_ranges(table, memory, page_size, part)?;
        let mut bytes = vec![0; part.pages.count as usize * 8];
        let address = part.address;
        table.pagemap.read_exact_at(&mut bytes, (address / page_size * 8) as u64)?;
        let is_huge = |at| huge.iter().any(|(start, end)| (*start..*end).contains(&at));
        let mut before = 0;
        for (i, entry) in bytes.as_chunks::<8>().0.iter().enumerate() {
            let entry = u64::from_ne_bytes(*entry);
            let page = part.pages.first + i as u32;
            let present = bit(entry, 63);
            let pfn = if present { entry & PFN } else { 0 };
            let pmd = present && is_huge(address + i * page_size);
            // Most pages differ from the one before in nothing but the frame's number.
            if let Some(last) = found.last_mut().filter(|last| last.pages.end() == page && i > 0)
                && (entry ^ before) & !(if present { PFN } else { 0 }) == 0
                && last.state.pmd == pmd
                && follows(last, pfn)
            {
                last.pages.count += 1;
                continue;
            }
            before = entry;
            let state = PageState {
                present,
                swapped: bit(entry, 62),
                file: bit(entry, 61),
                mapped_once: bit(entry, 56),
                soft_dirty: bit(entry, 55),
                uffd_wp: bit(entry, 57),
                guard: bit(entry, 58),
                pmd,
                ..PageState::default()
            };
            let next = Observed { actor, pages: Run { first: page, count: 1 }, state, pfn, swap: None, index: 0 };
            match found.last_mut() {
                Some(last) if last.is_continued_by(&next) => last.pages.count += 1,
                _ => found.push(next),
            }
        }
    }
    Ok(found)
}

fn follows(last: &Observed, pfn: u64) -> bool {
    match last.pfn {
        0 => pfn == 0,
        first => pfn == first + u64::from(last.pages.count),
    }
}

/// The address ranges of a part that huge leaf entries map.
fn huge_ranges(table: &Pagemap, memory: Memory, page_size: usize, part: &Place) -> io::Result<Vec<(usize, usize)>> {
    let Pagemap { pagemap, process } = table;
    let start = part.address;
    let end = start + part.pages.count as usize * page_size;
    if memory.kind.is_hugetlb() {
        return Ok(vec![(start, end)]);
    }
    match scan::huge(pagemap, start, end) {
        Ok(found) => Ok(found),
        // Before Linux 6.7.
        Err(_) if memory.kind == MemoryKind::HugeZero => huge_by_frames(pagemap, memory, page_size, start, end),
        Err(_) => huge_by_smaps(process, start, end),
    }
}

/// smaps is silent about the huge zero page. It is mapped by a PMD or not at all: when the PMD is split, each of the
/// PTEs maps the small zero page. So consecutive frames tell (to whoever may see them).
fn huge_by_frames(
    pagemap: &File,
    memory: Memory,
    page_size: usize,
    start: usize,
    end: usize,
) -> io::Result<Vec<(usize, usize)>> {
    let frame = |address: usize| -> io::Result<u64> {
        let mut entry = [0; 8];
        pagemap.read_exact_at(&mut entry, (address / page_size * 8) as u64)?;
        Ok(u64::from_ne_bytes(entry) & PFN)
    };
    let size = memory.size as usize;
    let last = size / page_size - 1;
    let mut found = Vec::new();
    for from in (start / size * size..end).step_by(size) {
        let first = frame(from)?;
        if first != 0 && frame(from + last * page_size)? == first + last as u64 {
            found.push((from.max(start), (from + size).min(end)));
        }
    }
    Ok(found)
}

/// The same by smaps, which counts by mapping: what a mapping holds in part is told as
/// not huge.
fn huge_by_smaps(process: &str, start: usize, end: usize) -> io::Result<Vec<(usize, usize)>> {
    let smaps = std::fs::read_to_string(format!("{process}/smaps"))?;
    let mut found = Vec::new();
    let mut mapping = (0, 0);
    for line in smaps.lines() {
        let first = line.split_ascii_whitespace().next().unwrap_or("");
        let range = first
            .split_once('-')
            .and_then(|(from, to)| Some((usize::from_str_radix(from, 16).ok()?, usize::from_str_radix(to, 16).ok()?)));
        if let Some(range) = range {
            mapping = range;
        } else if matches!(first, "AnonHugePages:" | "ShmemPmdMapped:" | "FilePmdMapped:") {
            let kib: usize = line.split_ascii_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or(0);
            let (from, to) = mapping;
            if kib > 0 && kib * 1024 == to - from && from < end && start < to {
                found.push((from.max(start), to.min(end)));
            }
        }
    }
    Ok(found)
}
