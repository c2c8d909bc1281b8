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

/// Bytes of the entries of one table. In a process that has just been forked, memory of the heap costs more than reading them:
/// its pages are copied, and a request of a kilobyte or more makes malloc go through what was freed.
const TABLE: usize = 4096;

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

/// The states of the pages at these places of a page table, as few runs as possible: many fewer without the numbers of
/// `frames`.
pub fn observe(
    table: &Pagemap,
    actor: Actor,
    memory: Memory,
    page_size: usize,
    places: &[Place],
    frames: bool,
) -> io::Result<Vec<Observed>> {
    let mut found: Vec<Observed> = Vec::new();
    let (mut few, mut many) = ([0; TABLE], vec![]);
    for part in places {
        let bytes = match few.get_mut(..part.pages.count as usize * 8) {
            Some(bytes) => bytes,
            None => {
                many.resize(part.pages.count as usize * 8, 0);
                &mut many
            }
        };
        let address = part.address;
        table.pagemap.read_exact_at(bytes, (address / page_size * 8) as u64)?;
        let entries = bytes.as_chunks::<8>().0;
        let huge = match memory.kind.is_hugetlb() || may_be_huge(entries, address / page_size, page_size) {
            true => huge_ranges(table, memory, page_size, part)?,
            false => vec![],
        };
        let is_huge = |at| huge.iter().any(|(start, end)| (*start..*end).contains(&at));
        let entry = |at: usize| u64::from_ne_bytes(entries[at]);
        let mut end = 0;
        while end < entries.len() {
            let (start, first) = (end, entry(end));
            let present = bit(first, 63);
            // Bits that have to be the same, and those of a frame's number, which has to be the next.
            let (same, shown) = if present { (!PFN, if frames { PFN } else { 0 }) } else { (u64::MAX, 0) };
            let is_pmd = |at: usize| present && is_huge(address + at * page_size);
            let (pfn, pmd) = (first & shown, is_pmd(start));
            let goes_on = |at: &usize| {
                let next = if pfn == 0 { 0 } else { pfn + (at - start) as u64 };
                (entry(*at) ^ first) & same == 0 && entry(*at) & shown == next && is_pmd(*at) == pmd
            };
            end = (start + 1..entries.len()).find(|at| !goes_on(at)).unwrap_or(entries.len());
            let state = PageState {
                present,
                swapped: bit(first, 62),
                file: bit(first, 61),
                mapped_once: bit(first, 56),
                soft_dirty: bit(first, 55),
                uffd_wp: bit(first, 57),
                guard: bit(first, 58),
                pmd,
                ..PageState::default()
            };
            let pages = Run { first: part.pages.first + start as u32, count: (end - start) as u32 };
            let next = Observed { actor, pages, state, pfn, swap: None, index: 0 };
            match found.last_mut() {
                Some(last) if last.is_continued_by(&next) => last.pages.count += next.pages.count,
                _ => found.push(next),
            }
        }
    }
    Ok(found)
}

/// Can a huge leaf entry map some of these pages, the first of which is number `first` of the address space? It maps pages
/// that follow each other, from a frame that is aligned as they are. Asking the kernel costs as much as all the entries.
fn may_be_huge(entries: &[[u8; 8]], first: usize, page_size: usize) -> bool {
    // As many entries as a table has.
    let block = page_size / 8;
    let base = |at: usize| {
        let entry = u64::from_ne_bytes(entries[at]);
        // Without CAP_SYS_ADMIN all frames are 0.
        let frame = |pfn: u64| pfn.checked_sub(if pfn == 0 { 0 } else { ((first + at) % block) as u64 });
        bit(entry, 63).then(|| frame(entry & PFN)).flatten().filter(|base| base.is_multiple_of(block as u64))
    };
    let mut at = 0;
    while at < entries.len() {
        let end = entries.len().min(at + block - (first + at) % block);
        if base(at).is_some_and(|wanted| (at..end).all(|other| base(other) == Some(wanted))) {
            return true;
        }
        at = end;
    }
    false
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

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: usize = 4096;

    /// Entries of present pages with these frames.
    fn entries(frames: impl IntoIterator<Item = u64>) -> Vec<[u8; 8]> {
        frames.into_iter().map(|pfn| (1 << 63 | pfn).to_ne_bytes()).collect()
    }

    #[test]
    fn only_frames_in_order_and_aligned_may_be_huge() {
        let may_be = |frames: &[[u8; 8]], first| may_be_huge(frames, first, PAGE);
        assert!(may_be(&entries(0x4000..0x4200), 0x200));
        assert!(!may_be(&entries(0x4001..0x4201), 0x200), "not aligned");
        assert!(may_be(&entries(0x4003..0x4200), 0x203), "what is left of one");
        assert!(
            !may_be(&entries((0x4000..0x4200).map(|pfn| if pfn == 0x4100 { 7 } else { pfn })), 0x200),
            "one copied"
        );
        assert!(may_be(&entries((0x9000..0x9100).chain(0x4000..0x4200)), 0x100), "the second");
        assert!(may_be(&entries([0; 512]), 0), "frames that are not shown");
        let mut hole = entries(0x4000..0x4200);
        hole[9] = [0; 8];
        assert!(!may_be(&hole, 0));
        assert!(!may_be(&[], 5));
    }
}
