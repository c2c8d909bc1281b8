//! PAGEMAP_SCAN (Linux 6.7): which pages are mapped by a huge leaf entry.
//! Documentation/admin-guide/mm/pagemap.rst; include/uapi/linux/fs.h.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// `PAGE_IS_HUGE`: mapped by a PMD or PUD leaf.
const PAGE_IS_HUGE: u64 = 1 << 6;

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct PageRegion {
    start: u64,
    end: u64,
    categories: u64,
}

#[repr(C)]
#[derive(Default)]
struct PmScanArg {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

/// `_IOWR('f', 16, struct pm_scan_arg)`
const PAGEMAP_SCAN: libc::c_ulong = 0xc060_6610;

/// The address ranges in `start..end` that huge leaf entries map, by an open /proc/PID/pagemap.
pub fn huge(pagemap: &File, start: usize, end: usize) -> io::Result<Vec<(usize, usize)>> {
    let mut found = Vec::new();
    let mut regions = [PageRegion::default(); 32];
    let mut from = start as u64;
    while from < end as u64 {
        let mut arg = PmScanArg {
            size: size_of::<PmScanArg>() as u64,
            start: from,
            end: end as u64,
            vec: regions.as_mut_ptr() as u64,
            vec_len: regions.len() as u64,
            category_mask: PAGE_IS_HUGE,
            return_mask: PAGE_IS_HUGE,
            ..PmScanArg::default()
        };
        // SAFETY: `arg` is as the kernel expects it, and `vec` names `vec_len` writable regions.
        let count = crate::check(unsafe { libc::ioctl(pagemap.as_raw_fd(), PAGEMAP_SCAN as _, &raw mut arg) })?;
        found.extend(regions.iter().take(count as usize).map(|region| (region.start as usize, region.end as usize)));
        if arg.walk_end <= from {
            break;
        }
        from = arg.walk_end;
    }
    Ok(found)
}
