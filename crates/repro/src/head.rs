//! The first comment of a program: what it is about, what it needs, how it is built.

use std::fmt::Write as _;

use cowcheck_model::checker::judge;
use cowcheck_model::memory::{Memory, MemoryKind, Size};
use cowcheck_model::scenario::Scenario;
use cowcheck_model::step::{Advice, Op, PinKind, State, Treatment};
use cowcheck_model::storm::Rival;
use cowcheck_model::trace::Trace;

/// The widest line of prose.
const WIDTH: usize = 88;
/// How many of a trace's violations are told.
const MOST_TOLD: usize = 8;

/// The comment, with the licence before it.
pub(crate) fn text(scenario: &Scenario, page_size: u32, trace: Option<&Trace>) -> String {
    let mut lines: Vec<String> = scenario.about.iter().map(|line| paragraph(line)).collect();
    if !lines.is_empty() {
        lines.push(String::new());
    }
    lines.push(paragraph(
        "Does this kernel keep the promise of copy-on-write? What a process writes after fork() no other process sees; \
         a pin and the page table of its owner show the same memory; no page loses its content.",
    ));
    lines.push(String::new());
    lines.push("The scenario, in the language of cowcheck:".to_owned());
    lines.push(String::new());
    lines.push(format!("\tmemory {}", scenario.memory));
    for (number, step) in scenario.numbered() {
        let note = if step.note.is_empty() { String::new() } else { format!(" # {}", step.note) };
        let bar = if step.at_once { "|" } else { " " };
        lines.push(format!("\t{number:>3} {bar} {:<25}{note}", step.to_string()).trim_end().to_owned());
    }
    lines.extend(trace.into_iter().flat_map(seen));
    let needs = needs(scenario, page_size);
    if !needs.is_empty() {
        lines.extend([String::new(), "Needs:".to_owned(), String::new()]);
        lines.extend(needs.iter().map(|need| format!("\t{need}")));
    }
    let at_once = scenario.steps.iter().any(|step| step.at_once);
    let storms = scenario.has(|op| matches!(op, Op::Storm(..)));
    let (thread, rounds) = if at_once || storms { (" -pthread", " [ROUNDS [SECONDS]]") } else { ("", "") };
    lines.extend([String::new(), "Build and run:".to_owned(), String::new()]);
    lines.extend([format!("\tcc -O2 -static{thread} -o repro repro.c && ./repro{rounds}"), String::new()]);
    if at_once {
        lines.push(paragraph("A step behind a bar happens at once with the one above it."));
    }
    if at_once || storms {
        lines.push(paragraph(
            "A race is lost now and then only. So all of it is done again, until it is broken or so many rounds or seconds \
             are over.",
        ));
    }
    lines.push(paragraph(
        "Exit code: 0 if the contract was kept, 1 if it was broken, 4 if this could not be set up here.",
    ));
    let mut text = "// SPDX-License-Identifier: GPL-2.0-only\n/*\n".to_owned();
    for line in lines.iter().flat_map(|line| line.split('\n')) {
        let _ = writeln!(text, "{}", format!(" * {}", safe(line)).replace(" * \t", " *\t").trim_end());
    }
    text.push_str(" */\n");
    text
}

/// What a trace tells.
fn seen(trace: &Trace) -> Vec<String> {
    let verdict = judge(trace);
    let mut lines = vec![String::new(), paragraph(&format!("Seen on Linux {}:", trace.kernel)), String::new()];
    for violation in verdict.violations().iter().take(MOST_TOLD) {
        lines.push(wrapped(&format!("\t{} broken: {}", violation.rule, violation.sentence), WIDTH, "\t\t"));
    }
    if verdict.violations().len() > MOST_TOLD {
        lines.push(format!("\tand {} more like these", verdict.violations().len() - MOST_TOLD));
    }
    if verdict.violations().is_empty() {
        let reason = verdict.reason();
        let colon = if reason.is_empty() { "" } else { ": " };
        lines.push(wrapped(&format!("\t{}{colon}{reason}", verdict.kind().word()), WIDTH, "\t\t"));
    }
    lines
}

/// What must be set up first, as commands of a shell where there are some.
fn needs(scenario: &Scenario, page_size: u32) -> Vec<String> {
    let Memory { kind, size, count } = scenario.memory;
    let mut needs = vec![];
    if scenario.has(|op| matches!(op, Op::Require(..))) {
        needs.push("root, who sees frame numbers in /proc/self/pagemap".to_owned());
    }
    if matches!(kind, MemoryKind::Thp | MemoryKind::HugeZero) {
        let pmd = u64::from(page_size) * u64::from(page_size / 8);
        let file = match size == pmd {
            true => "enabled".to_owned(),
            false => format!("hugepages-{}kB/enabled", size >> 10),
        };
        needs.push(format!("echo madvise > /sys/kernel/mm/transparent_hugepage/{file}"));
    }
    if kind.is_hugetlb() {
        let forks = scenario.steps.iter().filter(|step| matches!(step.op, Op::Fork(_))).count();
        let pages = count as usize * (1 + forks + usize::from(kind.has_file()));
        let kb = size >> 10;
        needs.push(format!("echo {pages} > /sys/kernel/mm/hugepages/hugepages-{kb}kB/nr_hugepages"));
    }
    let storms_with = |rival| scenario.has(|op| matches!(op, Op::Storm(_, rivals) if rivals.has(rival)));
    if scenario.has(|op| matches!(op, Op::Advise(Advice::PageOut, _) | Op::Require(State::Swapped, _)))
        || storms_with(Rival::Pageout)
    {
        needs.push(format!("some {} of swap", Size((scenario.memory.bytes() * 4).max(1 << 20))));
    }
    if scenario.has(|op| matches!(op, Op::Pin(PinKind::READ_WRITE, ..))) || storms_with(Rival::Pin) {
        needs.push("io_uring: sysctl kernel.io_uring_disabled=0".to_owned());
    }
    if kind == MemoryKind::ShmemThp || scenario.has(|op| matches!(op, Op::CollapseOf(..))) {
        needs.push("Linux 6.1, for MADV_COLLAPSE".to_owned());
    }
    if scenario.has(|op| matches!(op, Op::Advise(Advice::Guard, _))) {
        needs.push("Linux 6.13, for MADV_GUARD_INSTALL".to_owned());
    }
    if scenario.has(|op| matches!(op, Op::Treat(Treatment::UffdWp, _))) {
        needs.push("Linux 5.7 with CONFIG_USERFAULTFD=y; for files 5.19".to_owned());
    }
    if scenario.has(|op| matches!(op, Op::Treat(Treatment::Split, _))) {
        needs.push("root, debugfs, and Linux 5.13 for split_huge_pages".to_owned());
    }
    if scenario.has(|op| matches!(op, Op::Ksm)) {
        needs.push("echo 1 > /sys/kernel/mm/ksm/run".to_owned());
    }
    let is_gup = |op: &Op| {
        let Op::Pin(kind, ..) = op else { return false };
        !matches!(kind, &PinKind::READ_WRITE | PinKind::Splice)
    };
    if scenario.has(|op| matches!(op, Op::Poke(_))) {
        needs.push("a kernel that was not booted with proc_mem.force_override=never".to_owned());
    }
    if scenario.has(|op| *op == Op::Reclaim) {
        needs.push("root, swap, and a memory cgroup: mount -t cgroup2 none /sys/fs/cgroup".to_owned());
        needs.push("and echo +memory > /sys/fs/cgroup/cgroup.subtree_control".to_owned());
    }
    if scenario.has(|op| matches!(op, Op::Khugepaged(_))) {
        needs.push("root, who wakes khugepaged".to_owned());
    }
    if scenario.has(|op| *op == Op::Swapoff) {
        needs
            .push("root, and SWAP=/dev/... in the environment: the one swap area in use, which it may take".to_owned());
        needs.push("out of use for a moment".to_owned());
    }
    if scenario.steps.iter().any(|step| step.at_once) || scenario.has(|op| matches!(op, Op::Storm(..))) {
        needs.push("two processors".to_owned());
    }
    if scenario.has(is_gup) {
        needs.push("root, debugfs, and a kernel with CONFIG_GUP_TEST=y".to_owned());
    }
    needs
}

fn paragraph(text: &str) -> String {
    wrapped(text, WIDTH, "")
}

/// `text` in lines of at most `width` characters where words allow it; all but the first behind `indent`.
pub(crate) fn wrapped(text: &str, width: usize, indent: &str) -> String {
    let mut lines: Vec<String> = vec![];
    for word in safe(text).split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.join(&format!("\n{indent}"))
}

/// Text that a comment can hold: it neither ends the comment nor seems to begin another, nor is there a control
/// character in it.
fn safe(text: &str) -> String {
    let shown: String = text.chars().map(|char| if char.is_control() && char != '\t' { ' ' } else { char }).collect();
    shown.replace("*/", "* /").replace("/*", "/ *")
}
