//! The signature of a swap area, so that no mkswap is needed.
//!
//! The first page of the area (union swap_header, include/linux/swap.h; numbers in the machine's
//! byte order):
//!
//! | bytes | what |
//! |---|---|
//! | 0 to 1023 | left to a boot loader |
//! | 1024 | version, 1 |
//! | 1028 | number of the last page |
//! | 1032 | how many bad pages, 0 |
//! | 1036 | UUID, 16 bytes, 0 |
//! | 1052 | label, 16 bytes |
//! | 1068 | padding, then the list of bad pages |
//! | the last 10 | `SWAPSPACE2` |

/// The first page of a swap area of `pages` pages, this one included.
pub(crate) fn first_page(page_size: usize, pages: u32) -> Vec<u8> {
    let mut page = vec![0; page_size];
    let mut put = |at: usize, bytes: &[u8]| page[at..at + bytes.len()].copy_from_slice(bytes);
    put(1024, &1u32.to_ne_bytes());
    put(1028, &pages.saturating_sub(1).to_ne_bytes());
    put(1052, b"cowcheck");
    put(page_size - 10, b"SWAPSPACE2");
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_what_mkswap_writes_but_for_the_names() {
        let page = first_page(4096, 256);
        assert_eq!(page.len(), 4096);
        assert!(page[..1024].iter().all(|byte| *byte == 0));
        assert_eq!(page[1024..1036], [1u32.to_ne_bytes(), 255u32.to_ne_bytes(), 0u32.to_ne_bytes()].concat());
        assert_eq!(&page[4086..], b"SWAPSPACE2");
        assert_eq!(&first_page(65536, 2)[65526..], b"SWAPSPACE2");
    }
}
