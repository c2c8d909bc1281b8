//! What /proc knows of frames: how often each is mapped, and of what kind it is. For root only.
//! Documentation/admin-guide/mm/pagemap.rst.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use cowcheck_model::pages::Run;
use cowcheck_model::trace::{Observed, PageState};

/// KPF_KSM and KPF_ZERO_PAGE (include/uapi/linux/kernel-page-flags.h).
const KSM: u32 = 21;
const ZERO_PAGE: u32 = 24;

/// The same states with what is known of the frames. Where frame numbers are hidden there is nothing to add.
///
/// How often a page of a large folio is mapped is an average under CONFIG_NO_PAGE_MAPCOUNT (Linux 6.15), which no
/// distribution had set in 2026.
pub fn told(states: Vec<Observed>) -> io::Result<Vec<Observed>> {
    if states.iter().all(|seen| seen.pfn == 0) {
        return Ok(states);
    }
    let (counts, flags) = (File::open("/proc/kpagecount")?, File::open("/proc/kpageflags")?);
    let mut found: Vec<Observed> = Vec::new();
    for seen in states {
        if seen.pfn == 0 || !seen.state.present {
            found.push(seen);
            continue;
        }
        let counts = words(&counts, seen.pfn, seen.pages.count)?;
        let flags = words(&flags, seen.pfn, seen.pages.count)?;
        for (index, (count, flags)) in (0..).zip(counts.into_iter().zip(flags)) {
            let is = |bit: u32| flags >> bit & 1 == 1;
            let mapcount = u32::try_from(count).ok().filter(|_| !is(ZERO_PAGE));
            let state = PageState { mapcount, ksm: is(KSM), zero: is(ZERO_PAGE), ..seen.state };
            let pages = Run { first: seen.pages.first + index, count: 1 };
            let next = Observed { pages, state, pfn: seen.pfn + u64::from(index), ..seen.clone() };
            match found.last_mut() {
                Some(last) if last.is_continued_by(&next) => last.pages.count += 1,
                _ => found.push(next),
            }
        }
    }
    Ok(found)
}

/// The words of `count` frames from `pfn` on.
pub(super) fn words(file: &File, pfn: u64, count: u32) -> io::Result<Vec<u64>> {
    let mut bytes = vec![0; count as usize * 8];
    file.read_exact_at(&mut bytes, pfn * 8)?;
    Ok(bytes.as_chunks::<8>().0.iter().map(|word| u64::from_ne_bytes(*word)).collect())
}
