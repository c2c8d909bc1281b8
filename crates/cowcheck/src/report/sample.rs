//! A small run by hand, for the tests of the sinks and of the readers.

use cowcheck_model::contract::Rule;
use cowcheck_model::verdict::{Verdict, Violation};

use super::Sink;
use super::event::{Event, Outcome, Planned, Start};

fn planned(id: &str, size: u64, description: Option<&str>) -> Planned {
    let words: Vec<&str> = id.split('/').collect();
    Planned {
        id: id.to_owned(),
        group: words[0].to_owned(),
        kind: words[1].to_owned(),
        memory: words[2].to_owned(),
        size,
        description: description.map(str::to_owned),
        repeat: 1,
    }
}

/// Eight checks in two groups, one for every verdict and a second skip.
pub(crate) fn start() -> Start {
    let plan = vec![
        planned("cow/fork-write/base", 4096, Some("Basic COW after fork() ... with base page")),
        planned("cow/fork-write/base-swapped", 4096, Some("Basic COW after fork() ... with swapped out base page")),
        planned("cow/vmsplice/hugetlb", 2 << 20, Some("vmsplice() + unmap in child ... with hugetlb (2048 kB)")),
        planned("cow/collapse-all/thp", 2 << 20, Some("Basic COW after fork() when collapsing before fork()")),
        planned("cow/file-write/memfd", 4096, Some("Basic COW ... with memfd")),
        planned("cow/file-pin/memfd", 4096, Some("R/O longterm GUP pin ... with memfd")),
        planned("own/swap/thp", 2 << 20, None),
        planned("own/stale/thp", 2 << 20, None),
    ];
    Start {
        kernel: "6.18.0 #1 SMP".to_owned(),
        machine: "x86_64".to_owned(),
        args: vec!["cowcheck".to_owned(), "run".to_owned()],
        pmd_size: 2 << 20,
        thp_sizes: vec![16 << 10, 2 << 20],
        hugetlb_sizes: vec![2 << 20, 1 << 30],
        vm: None,
        plan,
    }
}

fn violation(sentence: &str) -> Violation {
    Violation {
        rule: Rule::Isolation,
        step: 4,
        pages: "0-511".to_owned(),
        seen: "A3".to_owned(),
        allowed: "A1".to_owned(),
        sentence: sentence.to_owned(),
    }
}

pub(crate) fn outcome(index: usize, verdict: Verdict) -> Outcome {
    Outcome { micros: 1500, ..Outcome::bare(index, verdict) }
}

pub(crate) fn fail() -> Verdict {
    Verdict::Fail { violations: vec![violation("B sees in page 3 what A wrote in step 3 (#3)")] }
}

pub(crate) fn skip(reason: &str, remedy: &str) -> Verdict {
    Verdict::Skip { reason: reason.to_owned(), remedy: remedy.to_owned() }
}

/// The outcomes of [`start`], in the order in which they end.
pub(crate) fn outcomes() -> Vec<Outcome> {
    let mut failed = outcome(3, fail());
    failed.explanation = Some("isolation broken: x\n  B sees it\nsteps:\n> 4  B read all\n".to_owned());
    failed.notes = vec!["collapse took 3 tries".to_owned()];
    let xfail = Verdict::Xfail { bug: "CVE-2020-29374".to_owned(), violations: vec![violation("the pipe shows it")] };
    let mut odd = outcome(4, Verdict::Inconclusive { reason: "the collapse was refused: EAGAIN".to_owned() });
    odd.explanation = Some("inconclusive: the collapse was refused\n".to_owned());
    vec![
        outcome(0, Verdict::Pass),
        failed,
        outcome(1, skip("no swap", "cowcheck run --provide as root")),
        outcome(2, xfail),
        outcome(6, Verdict::Timeout { reason: "B hung in step 2".to_owned() }),
        outcome(5, skip("no helper module", "cowcheck run --provide as root")),
        odd,
        outcome(7, Verdict::Crash { reason: "A died in step 1: SIGBUS".to_owned() }),
    ]
}

/// Sends the whole run to `sink`.
pub(crate) fn play(sink: &mut impl Sink) {
    play_part(sink, outcomes().len(), None);
}

/// Sends the first `count` outcomes to `sink`, then the end.
pub(crate) fn play_part(sink: &mut impl Sink, count: usize, stopped: Option<&str>) {
    sink.event(Event::Start(&start())).unwrap();
    sink.event(Event::Note("swap was set up on zram")).unwrap();
    for outcome in outcomes().iter().take(count) {
        sink.event(Event::Begin(outcome.index)).unwrap();
        sink.event(Event::Outcome(outcome)).unwrap();
    }
    sink.event(Event::End { micros: 31_600_000, stopped }).unwrap();
}

/// The same with only passes, twice over.
pub(crate) fn play_repeated(sink: &mut impl Sink) {
    let mut start = start();
    let again = start.plan.clone().into_iter().map(|planned| Planned { repeat: 2, ..planned });
    start.plan.extend(again.collect::<Vec<_>>());
    sink.event(Event::Start(&start)).unwrap();
    for index in 0..start.plan.len() {
        sink.event(Event::Outcome(&outcome(index, Verdict::Pass))).unwrap();
    }
    sink.event(Event::End { micros: 1, stopped: None }).unwrap();
}
