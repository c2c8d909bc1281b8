//! Pages and memory in the words of the kernel.

use cowcheck_model::memory::{Memory, MemoryKind, Size};
use cowcheck_model::pages::{Range, Run, list};

/// `the lower half (pages 0-255)`
pub(crate) fn range_text(range: &Range, pages: u32) -> String {
    let runs = range.runs(pages);
    let numbers = || match runs[..] {
        [Run { first, count: 1 }] => format!("page {first}"),
        _ => format!("pages {}", list(&runs)),
    };
    match range {
        Range::All if pages == 1 => "the page".to_owned(),
        Range::All => "all pages".to_owned(),
        Range::Lower => format!("the lower half ({})", numbers()),
        Range::Upper => format!("the upper half ({})", numbers()),
        Range::First => "the first page".to_owned(),
        Range::Last => "the last page".to_owned(),
        Range::Rest => "all pages but the first".to_owned(),
        Range::Even => "the even pages".to_owned(),
        Range::Odd => "the odd pages".to_owned(),
        Range::Pages(_) => numbers(),
    }
}

/// What A maps.
pub(crate) fn memory_text(memory: Memory) -> String {
    let Memory { size, count, .. } = memory;
    let bytes = Size(memory.bytes());
    let pieces = |what: &str| match count {
        1 => format!("a {what} of {}", Size(size)),
        _ => format!("{count} {what}s of {}", Size(size)),
    };
    match memory.kind {
        MemoryKind::Anon => format!("{bytes} of anonymous memory, of base pages"),
        MemoryKind::Thp => format!("anonymous memory that is to be {}", pieces("THP")),
        MemoryKind::Hugetlb => format!("anonymous memory that is {}", pieces("hugetlb page")),
        MemoryKind::Zero => format!("{bytes} of anonymous memory that is to be the zero page"),
        MemoryKind::HugeZero => format!("{bytes} of anonymous memory that is to be the huge zero page"),
        MemoryKind::Memfd => format!("{bytes} of a memfd, privately"),
        MemoryKind::ShmemThp => format!("{bytes} of a memfd that is {}, privately", pieces("THP")),
        MemoryKind::Tmpfile => format!("{bytes} of a temporary file, privately"),
        MemoryKind::MemfdHugetlb => format!("a memfd that is {}, privately", pieces("hugetlb page")),
    }
}
