//! How much memory was needed.

use std::fs;

/// The most that all threads together may ever have used, in KiB.
const LIMIT_KIB: u64 = 512 << 10;

/// The most memory this process has had so far, in KiB; unknown where /proc is not Linux's.
pub(crate) fn peak_kib() -> Option<u64> {
    of_status(&fs::read_to_string("/proc/self/status").ok()?)
}

fn of_status(status: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.split_whitespace().next()?.parse().ok()
}

/// Tells on standard error if it was too much.
pub(crate) fn is_within_limit() -> bool {
    let within = peak_kib().is_none_or(|peak| peak <= LIMIT_KIB);
    if !within {
        eprintln!("more than {} MiB of memory were needed", LIMIT_KIB >> 10);
    }
    within
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_found_in_the_status() {
        assert_eq!(of_status("VmPeak:\t  900 kB\nVmHWM:\t    4321 kB\n"), Some(4321));
        assert_eq!(of_status("Name:\tx\n"), None);
    }
}
