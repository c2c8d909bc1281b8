//! Which advice the kernel's madvise(2) knows.

/// MADV_COLLAPSE (Linux 6.1).
pub const COLLAPSE: i32 = libc::MADV_COLLAPSE;

/// MADV_GUARD_INSTALL (Linux 6.13).
pub const GUARD: i32 = 102;

/// Does the kernel know this advice? An unknown one is refused before the range is looked at.
pub fn is_known(advice: i32) -> bool {
    // SAFETY: the range is empty, so nothing happens to any page.
    unsafe { libc::madvise(std::ptr::null_mut(), 0, advice) == 0 }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_oldest_advice_is_known_and_nonsense_is_not() {
        assert!(super::is_known(libc::MADV_DONTNEED));
        assert!(!super::is_known(9999));
    }
}
