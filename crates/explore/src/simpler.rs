//! Plainer forms of memories and steps, the plainest first.

use cowcheck_model::memory::{Memory, MemoryKind};
use cowcheck_model::pages::{Range, Run};
use cowcheck_model::scenario::Scenario;
use cowcheck_model::step::{Op, PinKind, Prot};

use crate::draft::Draft;

const K: u64 = 1 << 10;
const M: u64 = 1 << 20;

/// Memories from plain to special.
const MEMORIES: [(MemoryKind, u64, u32); 15] = [
    (MemoryKind::Anon, 4 * K, 1),
    (MemoryKind::Anon, 4 * K, 2),
    (MemoryKind::Anon, 4 * K, 4),
    (MemoryKind::Thp, 16 * K, 1),
    (MemoryKind::Thp, 64 * K, 1),
    (MemoryKind::Thp, 2 * M, 1),
    (MemoryKind::Zero, 4 * K, 1),
    (MemoryKind::Zero, 4 * K, 4),
    (MemoryKind::Memfd, 4 * K, 1),
    (MemoryKind::Memfd, 16 * K, 1),
    (MemoryKind::Tmpfile, 4 * K, 1),
    (MemoryKind::Tmpfile, 16 * K, 1),
    (MemoryKind::HugeZero, 2 * M, 1),
    (MemoryKind::ShmemThp, 2 * M, 1),
    (MemoryKind::Hugetlb, 2 * M, 1),
];

/// Those that are plainer than this one.
pub(crate) fn memories(than: Memory) -> impl Iterator<Item = Memory> {
    MEMORIES
        .iter()
        .map(|(kind, size, count)| Memory { kind: *kind, size: *size, count: *count })
        .take_while(move |memory| *memory != than)
}

/// The same steps on another memory: numbered pages are where they were in proportion. What cannot be done is left out.
pub(crate) fn on(scenario: &Scenario, memory: Memory) -> Scenario {
    let (old, new) = (scenario.memory.pages(crate::PAGE), memory.pages(crate::PAGE));
    let place = |page: u32| (u64::from(page) * u64::from(new) / u64::from(old.max(1))) as u32;
    let mut draft = Draft::new(memory);
    draft.replay(&scenario.steps, |_, step| {
        let mut step = step.clone();
        if let Some(Range::Pages(runs)) = step.op.range_mut() {
            let mut end = 0;
            for run in &mut *runs {
                let first = place(run.first).max(end);
                *run = Run { first, count: place(run.end()).saturating_sub(first).max(1) };
                end = run.end();
            }
            runs.retain(|run| run.end() <= new);
        }
        Some(step)
    });
    draft.into_scenario()
}

/// Plainer forms of a step on memory of so many pages.
pub(crate) fn ops(op: &Op, pages: u32) -> Vec<Op> {
    let mut all: Vec<Op> = Vec::new();
    if let Some(range) = op.range() {
        let rank = |range: &Range| (range.count(pages), word_rank(range));
        let first = range.runs(pages).first().map_or(0, |run| run.first);
        let candidates = [Range::All, Range::First, Range::Last, Range::page(first), Range::Lower, Range::Upper];
        let mut candidates: Vec<Range> = candidates.into_iter().filter(|other| rank(other) < rank(range)).collect();
        candidates.sort_by_key(rank);
        for candidate in candidates {
            let mut op = op.clone();
            if let Some(range) = op.range_mut() {
                *range = candidate;
            }
            all.push(op);
        }
    }
    match op {
        Op::Pin(kind @ PinKind::Gup { short, write, .. }, pin, range) => {
            let kinds =
                [PinKind::READ_WRITE, PinKind::READ_ONLY, PinKind::Gup { short: *short, write: *write, fast: false }];
            let plainer = kinds.into_iter().take_while(|other| other != kind);
            all.extend(plainer.map(|kind| Op::Pin(kind, *pin, range.clone())));
        }
        Op::Touch(range) => all.push(Op::Read(range.clone())),
        Op::Mprotect(range, Prot::None) => all.push(Op::Mprotect(range.clone(), Prot::Ro)),
        _ => {}
    }
    all
}

/// `all` is the plainest word, numbers are the least plain.
fn word_rank(range: &Range) -> u32 {
    match range {
        Range::All => 0,
        Range::First | Range::Last => 1,
        Range::Lower | Range::Upper => 2,
        Range::Rest | Range::Even | Range::Odd => 3,
        Range::Pages(runs) => 4 + runs.len() as u32,
    }
}
