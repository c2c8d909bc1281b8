//! Where the pages of each process are, in base pages behind the start of the memory.
//!
//! mremap() moves them, to where the executor would put them: behind the memory and a gap, one after the other.

use cowcheck_model::memory::Memory;
use cowcheck_model::pages::Run;

/// Pages that lie one behind the other.
#[derive(Debug, Clone, Copy)]
struct Part {
    pages: Run,
    at: u32,
}

/// The places of one process's pages, in ascending order of the pages.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    parts: Vec<Part>,
    /// Where the next page that is moved goes.
    free: u32,
}

impl Places {
    /// Before anything was moved.
    pub(crate) fn new(memory: Memory, page_size: u32) -> Places {
        let pages = memory.pages(page_size);
        let align = alignment(memory, page_size);
        let part = Part { pages: Run { first: 0, count: pages }, at: 0 };
        Places { parts: vec![part], free: pages.next_multiple_of(align) + align }
    }

    /// `runs`, cut where pages that follow each other lie apart.
    pub(crate) fn cut(&self, runs: &[Run]) -> Vec<Run> {
        let within = |run: &Run, part: &Part| {
            let (first, end) = (run.first.max(part.pages.first), run.end().min(part.pages.end()));
            (first < end).then(|| Run { first, count: end - first })
        };
        runs.iter().flat_map(|run| self.parts.iter().filter_map(move |part| within(run, part))).collect()
    }

    /// Where the pages of `runs` lie.
    pub(crate) fn of(&self, runs: &[Run]) -> Vec<Run> {
        let place = |run: &Run| {
            let part = self.parts.iter().find(|part| (part.pages.first..part.pages.end()).contains(&run.first))?;
            Some(Run { first: part.at + (run.first - part.pages.first), count: run.count })
        };
        self.cut(runs).iter().filter_map(place).collect()
    }

    /// Moves a run that lies together. Tells where to.
    pub(crate) fn move_run(&mut self, run: Run) -> u32 {
        let to = self.free;
        let mut parts = Vec::new();
        for old in &self.parts {
            for piece in outside(old.pages, run) {
                parts.push(Part { pages: piece, at: old.at + (piece.first - old.pages.first) });
            }
        }
        parts.push(Part { pages: run, at: to });
        parts.sort_unstable_by_key(|part| part.pages.first);
        self.parts = parts;
        self.free += run.count;
        to
    }

    /// One past the last place that was ever used.
    pub(crate) fn end(&self) -> u32 {
        self.free
    }
}

/// In base pages: what the memory is aligned to.
fn alignment(memory: Memory, page_size: u32) -> u32 {
    ((memory.size / u64::from(page_size)) as u32).next_power_of_two()
}

/// What of `all` lies before and behind `hole`.
fn outside(all: Run, hole: Run) -> impl Iterator<Item = Run> {
    let before = (all.first, hole.first.min(all.end()));
    let behind = (hole.end().max(all.first), all.end());
    [before, behind]
        .into_iter()
        .filter(|(first, end)| first < end)
        .map(|(first, end)| Run { first, count: end - first })
}
