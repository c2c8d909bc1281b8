//! What is mapped: the piece of private memory that a scenario is about.

use std::fmt;

/// The kinds of private memory that the kernel treats differently on copy-on-write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MemoryKind {
    /// Anonymous memory of base pages (MADV_NOHUGEPAGE).
    Anon,
    /// Anonymous memory, one transparent huge page of the given size.
    Thp,
    /// Anonymous hugetlb memory (MAP_HUGETLB).
    Hugetlb,
    /// Anonymous memory that is only read at first: the shared zero page.
    Zero,
    /// The same for the PMD-sized zero page.
    HugeZero,
    /// A private mapping of a memfd.
    Memfd,
    /// A private mapping of a memfd whose pages are THPs.
    ShmemThp,
    /// A private mapping of a temporary file.
    Tmpfile,
    /// A private mapping of a memfd on hugetlbfs.
    MemfdHugetlb,
}

impl MemoryKind {
    /// Every kind with its word in the language.
    pub const WORDS: [(MemoryKind, &'static str); 9] = [
        (MemoryKind::Anon, "anon"),
        (MemoryKind::Thp, "thp"),
        (MemoryKind::Hugetlb, "hugetlb"),
        (MemoryKind::Zero, "zero"),
        (MemoryKind::HugeZero, "huge-zero"),
        (MemoryKind::Memfd, "memfd"),
        (MemoryKind::ShmemThp, "shmem-thp"),
        (MemoryKind::Tmpfile, "tmpfile"),
        (MemoryKind::MemfdHugetlb, "memfd-hugetlb"),
    ];

    /// The word of the language.
    pub fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(kind, _)| *kind == self).map_or("", |(_, word)| word)
    }

    /// Does a second mapping show the pages as they are without any private copy: the file, or
    /// another private mapping of the same zero page?
    pub fn has_backing(self) -> bool {
        self.has_file() || matches!(self, MemoryKind::Zero | MemoryKind::HugeZero)
    }

    /// Is it a private mapping of a file?
    pub fn has_file(self) -> bool {
        matches!(self, MemoryKind::Memfd | MemoryKind::ShmemThp | MemoryKind::Tmpfile | MemoryKind::MemfdHugetlb)
    }

    /// Is it mapped by hugetlb pages?
    pub fn is_hugetlb(self) -> bool {
        matches!(self, MemoryKind::Hugetlb | MemoryKind::MemfdHugetlb)
    }
}

/// The memory of a scenario: `count` pieces of `size` bytes, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Memory {
    /// What kind of memory.
    pub kind: MemoryKind,
    /// Bytes of one piece: of the base page, the THP, the hugetlb page, or the file.
    pub size: u64,
    /// How many pieces; 1 in nearly every scenario.
    pub count: u32,
}

impl Memory {
    /// One piece of `size` bytes.
    pub fn new(kind: MemoryKind, size: u64) -> Self {
        Memory { kind, size, count: 1 }
    }

    /// All its bytes.
    ///
    /// Not inlined: QEMU 7.2 without KVM loses the processor's overflow flag when it is stored to a page
    /// that must be copied first, and after a fork that is every page of the stack.
    #[inline(never)]
    pub fn bytes(self) -> u64 {
        self.size.saturating_mul(u64::from(self.count))
    }

    /// All its pages, counted in base pages of `page_size` bytes; no more than `u32::MAX`.
    pub fn pages(self, page_size: u32) -> u32 {
        u32::try_from(self.bytes() / u64::from(page_size.max(1))).unwrap_or(u32::MAX)
    }
}

/// `thp 2M`, `anon 4K x16`
impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.word(), Size(self.size))?;
        if self.count != 1 {
            write!(f, " x{}", self.count)?;
        }
        Ok(())
    }
}

/// A number of bytes, written with the largest of K, M and G (powers of 1024) that divides it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u64);

const UNITS: [(char, u32); 3] = [('G', 30), ('M', 20), ('K', 10)];

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, shift) in UNITS {
            if self.0 != 0 && self.0.trailing_zeros() >= shift {
                return write!(f, "{}{unit}", self.0 >> shift);
            }
        }
        write!(f, "{}", self.0)
    }
}

impl std::str::FromStr for Size {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let upper = text.to_ascii_uppercase();
        let (digits, shift) = UNITS
            .iter()
            .find_map(|(unit, shift)| upper.strip_suffix(*unit).map(|digits| (digits, *shift)))
            .unwrap_or((&upper, 0));
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(());
        }
        let number: u64 = digits.parse().map_err(|_| ())?;
        number.checked_mul(1 << shift).map(Size).ok_or(())
    }
}
