//! Hostile texts: whatever they say, reading and judging them takes little time and memory.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use cowcheck_model::checker::judge;
use cowcheck_model::contract::World;
use cowcheck_model::explain::explain;
use cowcheck_model::memory::{Memory, MemoryKind};
use cowcheck_model::pages::{Range, Run};
use cowcheck_model::scenario::{MAX_PAGES, Scenario};
use cowcheck_model::stamp::Holds;
use cowcheck_model::step::{Actor, Op, Step};
use cowcheck_model::text::{HEADER, parse, parse_valid};
use cowcheck_model::trace::{Observed, PageState, Seen, Trace};
use cowcheck_model::verdict::Kind;

use crate::doctor::{Doctor, good};
use crate::reference::PAGE;

/// Far more than any of these needs on a slow machine, far less than the naive way would take.
const LIMIT: Duration = Duration::from_secs(8);

#[track_caller]
fn quickly<T>(work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    assert!(start.elapsed() < LIMIT, "took {:?}", start.elapsed());
    result
}

#[track_caller]
fn refused(text: &str, expected: &str) {
    let error = quickly(|| parse_valid(text, PAGE)).expect_err("it should be refused");
    assert!(error.expected.contains(expected), "{error}");
    assert!(error.to_string().len() < 1000, "{} bytes of error", error.to_string().len());
}

fn text(memory: &str, steps: impl IntoIterator<Item = String>) -> String {
    let steps: Vec<String> = steps.into_iter().collect();
    format!("{HEADER}\nmemory {memory}\n{}\n", steps.join("\n"))
}

#[test]
fn texts_and_lines_without_end_are_refused() {
    refused(&format!("{HEADER}\n{}", "#\n".repeat(1 << 20)), "at most 1048576 bytes");
    refused(&text("anon 4K", ["A write all".to_owned() + &" a".repeat(400_000)]), "the end of the line");
    refused(&text("anon 4K", ["a".repeat(1_000_000)]), "an actor");
    refused(&text("anon 4K", ["A ".to_owned() + &"\u{1f404}".repeat(200_000)]), "write");
}

#[test]
fn more_work_than_anybody_needs_is_refused() {
    refused(&text("anon 4K x524288", (0..30_000).map(|_| "A write all".to_owned())), "at most 33554432");
    refused(&text("anon 4K x524289", []), "at most 524288 pages");
    refused(&text("anon 16777215G x4000000000", []), "at most 524288 pages");
    refused(&text("anon 4K", (0..32_768).map(|_| "A exit".to_owned())), "at most 32767");
    let forks = ('B'..='Z').map(|child| format!("A fork {child}"));
    refused(&text("anon 4K x524288", forks), "a family that has at most 4194304 pages together");
}

#[test]
fn a_pipe_that_may_show_anything_is_refused() {
    // The set of what the pipe may show grows with each write: the square of the steps in memory.
    let writes = std::iter::once("A splice p0 all".to_owned()).chain((0..32_000).map(|_| "A write all".to_owned()));
    refused(&text("anon 4K", writes), "fewer writes that pipes may follow");
    // As many sets as pages, and each of them grows.
    let steps = (0..500).map(|page| format!("A write page {page}"));
    let steps = steps.chain(["A splice p0 all".to_owned()]).chain((0..5000).map(|_| "A write all".to_owned()));
    refused(&text("anon 4K x500", steps), "fewer writes that pipes may follow");
}

#[test]
fn the_largest_that_is_allowed_is_quick() {
    let step = |step: usize| format!("A {} {}", ["write", "free"][step % 2], ["even", "odd", "all"][step % 3]);
    for (pins, steps) in [(0, 90), (10, 4)] {
        let pins = (0..pins).map(|pin| format!("A {} p{pin} even", if pin % 2 == 0 { "splice" } else { "pin rw" }));
        quickly(|| parse_valid(&text("anon 4K x524288", pins.chain((0..steps).map(step))), PAGE)).unwrap();
    }
    refused(&text("anon 4K x524288", (0..110).map(step)), "at most 33554432");
}

/// A trace in which every page of 2 GiB holds its own noise.
fn noise() -> Trace {
    good("anon 4K x524288", "A write all;A read all").with(|trace| {
        trace.records.iter_mut().for_each(|record| record.states.clear());
        let noise = |page: u32| Seen {
            pages: Run { first: page, count: 1 },
            holds: Holds::Torn((0..8).map(|part| (part * 512, Holds::Raw(u64::from(page)))).collect()),
        };
        trace.record(2).seen = (0..MAX_PAGES).map(noise).collect();
    })
}

#[test]
fn a_memory_full_of_noise_is_told_in_a_few_sentences() {
    let trace = noise();
    let verdict = quickly(|| judge(&trace));
    let violations = verdict.violations();
    assert_eq!(violations.len(), 1000);
    let last = &violations.last().unwrap().sentence;
    assert!(last.ends_with(&format!("(and {} more that are not listed)", MAX_PAGES - 1000)), "{last}");
    assert!(quickly(|| explain(&trace, &verdict)).len() < 10_000);
}

#[test]
fn every_page_in_its_own_frame_is_quick() {
    let trace = good("anon 4K x200000", "A write all;A fork B;A touch all");
    let mut trace = trace.with(|trace| trace.records.truncate(2));
    let verdict = quickly(|| judge(&trace));
    assert_eq!(verdict.kind(), Kind::Inconclusive);
    // All of A's frames are B's, too, the other way round.
    let of_a: Vec<u64> = trace.record(1).states.iter().map(|state| state.pfn).collect();
    let (a, b) = (Actor::A, Actor::new(1).unwrap());
    let state = PageState { present: true, soft_dirty: true, exclusive: Some(true), ..PageState::default() };
    let states = of_a.iter().zip(of_a.iter().rev()).zip(0..).flat_map(|((of_a, of_b), page)| {
        let pages = Run { first: page, count: 1 };
        [(a, of_a), (b, of_b)].map(|(actor, pfn)| Observed { actor, pages, state, pfn: *pfn, swap: None, index: 0 })
    });
    trace.record(2).states = states.collect();
    let verdict = quickly(|| judge(&trace));
    assert_eq!(verdict.violations().len(), 1000);
}

#[test]
fn a_long_trace_is_explained_quickly() {
    let steps = (0..30_000).map(|_| "A write all".to_owned());
    let scenario = parse(&text("anon 4K", steps)).unwrap();
    let trace = quickly(|| crate::reference::run(&scenario, crate::reference::Choices::Plain));
    let verdict = quickly(|| judge(&trace));
    assert_eq!(quickly(|| explain(&trace, &verdict)).lines().count(), 60_004);
}

fn not_a_trace(trace: &Trace, expected: &str) {
    let error = quickly(|| Trace::from_json(&trace.to_json())).expect_err("it should be refused").to_string();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn records_that_fit_no_step_or_page_are_refused() {
    let trace = good("anon 4K x8", "A write all;A read all;A read all");
    Trace::from_json(&trace.to_json()).unwrap();
    not_a_trace(&trace.clone().with(|trace| trace.records.reverse()), "step 2: expected one record a step, in order");
    not_a_trace(&trace.clone().with(|trace| trace.record(2).step = 1), "step 1: expected one record a step");
    not_a_trace(&trace.clone().with(|trace| trace.record(3).step = 4), "step 4: expected one record a step");
    not_a_trace(
        &trace.clone().with(|trace| trace.record(2).seen[0].pages.count = 9),
        "step 2, pages 0-8: expected pages",
    );
    not_a_trace(&trace.clone().with(|trace| trace.record(3).states[7].pages.first = 8), "step 3, pages 8: expected");
    not_a_trace(&trace.with(|trace| trace.page_size = 1000), "page size 1000: expected a power of two");
}

#[test]
fn traces_that_tell_the_same_again_and_again_are_refused() {
    let mut trace = good("anon 4K x524288", "A write first");
    let state = Observed { pages: Run { first: 0, count: MAX_PAGES }, ..trace.record(1).states[0].clone() };
    trace.record(1).states = vec![state; 10_000];
    not_a_trace(&trace, "5242880000 pages in all records together");
    let mut torn = String::from("torn 0:zero");
    (1..100_000).for_each(|offset| write!(torn, ";{offset}:zero").unwrap());
    assert!(torn.parse::<Holds>().is_err());
}

#[test]
fn a_trace_without_end_is_refused() {
    let text = " ".repeat((32 << 20) + 1);
    let error = quickly(|| Trace::from_json(&text)).expect_err("it should be refused").to_string();
    assert!(error.ends_with("33554433 bytes, expected at most 33554432"), "{error}");
}

#[test]
fn numbers_at_their_limits_are_judged() {
    let trace = good("anon 4K x8", "A write all;A fork B;B probe write all").with(|trace| {
        trace.record(2).states.iter_mut().for_each(|state| {
            state.pfn = u64::MAX;
            state.state.exclusive = None;
        });
        let seen = Seen { pages: Run { first: u32::MAX, count: u32::MAX }, holds: Holds::NoFault };
        trace.record(3).seen = vec![seen.clone(), seen];
        trace.record(3).step = u32::MAX;
    });
    assert_eq!(judge(&trace).kind(), Kind::Inconclusive);
}

#[test]
fn ranges_that_no_text_could_name_are_refused() {
    let world = World::new(Memory { kind: MemoryKind::Anon, size: 4096, count: 8 }, PAGE);
    let run = |first, count| Run { first, count };
    let ranges = [
        vec![],
        vec![run(0, 0)],
        vec![run(3, 1), run(1, 1)],
        vec![run(0, 2), run(1, 1)],
        vec![run(9, 1), run(0, 1)],
        vec![run(u32::MAX, u32::MAX)],
    ];
    for range in ranges {
        let op = Op::Write(Range::Pages(range.clone()));
        assert!(world.check(&Step::new(Actor::A, op)).is_err(), "{range:?}");
    }
    let memory = Memory { kind: MemoryKind::Anon, size: 4096, count: 1 };
    for page_size in [0, 3, 4095] {
        assert!(Scenario { about: vec![], memory, steps: vec![] }.validate(page_size).is_err());
    }
}

#[test]
fn a_remark_cannot_become_a_step() {
    let mut scenario = parse(&text("anon 4K", ["A write all # x".to_owned()])).unwrap();
    scenario.steps[0].note = "x\nA exit".to_owned();
    scenario.about = vec!["y\nB exit".to_owned()];
    let read = parse(&scenario.to_string()).unwrap();
    assert_eq!((read.steps.len(), read.about.len()), (1, 1));
}

#[test]
fn named_ranges_count_what_they_name() {
    let ranges = [
        Range::All,
        Range::Lower,
        Range::Upper,
        Range::First,
        Range::Last,
        Range::Rest,
        Range::Even,
        Range::Odd,
        Range::Pages(vec![Run { first: 1, count: 2 }, Run { first: 5, count: 1 }]),
    ];
    for range in ranges {
        for pages in 0..9 {
            let count: u32 = range.runs(pages).iter().map(|run| run.count).sum();
            assert_eq!(range.count(pages), count, "{range} of {pages}");
        }
    }
}
