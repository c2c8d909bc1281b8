//! Looks at the page table: `require`, and soft-dirty bits.

use cowcheck_model::memory::MemoryKind;
use cowcheck_model::pages::{Range, Run, runs_of};
use cowcheck_model::step::{Op, State, Step, word};

use crate::helpers::{
    EXPECT_SOFT_DIRTY, Helper, PMD_MAPPED, REQUIRE, REQUIRE_FOLIO, REQUIRE_FRAMES, REQUIRE_PMD_MAPPED,
    REQUIRE_PTE_MAPPED, UNMET, ZERO_PMD_MAPPED,
};
use crate::program::Program;

/// How a state is asked for.
enum Question {
    /// By a bit of the pagemap entry, with its name and what it says.
    Bit(&'static str, &'static str),
    Folio,
    PmdMapped,
    PteMapped,
    /// By what the kernel tells of the frame: its name in `require_frames.c`.
    Frame(&'static str),
    /// Only the helper module can tell.
    Unseen,
}

/// Each state, how it is asked for, and the end of the sentence "these pages must be ...".
const QUESTIONS: [(State, Question, &str); 10] = [
    (State::Populated, Question::Bit("PM_PRESENT", "present"), "in the page table"),
    (State::Swapped, Question::Bit("PM_SWAPPED", "swapped out"), "swapped out"),
    (State::Folio, Question::Folio, "in order in one folio"),
    (State::PmdMapped, Question::PmdMapped, "mapped by a PMD"),
    (State::PteMapped, Question::PteMapped, "mapped by PTEs"),
    (State::Shared, Question::Frame("SHARED"), "mapped more than once"),
    (State::Exclusive, Question::Frame("EXCLUSIVE"), "mapped once (PG_anon_exclusive itself cannot be seen)"),
    (State::Ksm, Question::Frame("KSM"), "merged by KSM"),
    (State::ZeroPage, Question::Frame("ZERO_PAGE"), "mapped to the zero page"),
    (State::Pinned, Question::Unseen, "pinned, which only cowcheck's helper module can see"),
];

pub(super) fn sentence(op: &Op, pages: &dyn Fn(&Range) -> String) -> Option<String> {
    let Op::Require(state, range) = op else { return None };
    let (_, _, end) = QUESTIONS.iter().find(|(known, ..)| known == state)?;
    Some(format!("must have {} {end}", pages(range)))
}

pub(super) fn step(program: &mut Program<'_>, step: &Step) -> Option<Vec<String>> {
    let Op::Require(state, range) = &step.op else { return None };
    let runs = program.world.runs(range);
    let (_, question, _) = QUESTIONS.iter().find(|(known, ..)| known == state)?;
    // A PMD maps as much as a page full of entries of 8 bytes.
    let pmd = u64::from(program.page_size) * u64::from(program.page_size / 8);
    let can_be_huge = program.memory().bytes() >= pmd;
    let never = |program: &mut Program<'_>, why: &str| {
        program.add(&UNMET);
        vec![format!("not_reached(\"{why}\");")]
    };
    Some(match question {
        Question::Bit(bit, name) => bits(program, &runs, bit, name),
        Question::Frame(name) => {
            program.add(&REQUIRE_FRAMES);
            let word = word(&State::WORDS, *state);
            program.calls(&runs, |first, count| format!("require_frames({first}, {count}, {name}, \"{word}\");"))
        }
        Question::Unseen => vec!["say(\"note\", \"whether pages are pinned cannot be seen from here\");".to_owned()],
        Question::Folio => {
            program.add(&REQUIRE_FOLIO);
            program.calls(&runs, |first, count| format!("require_folio({first}, {count});"))
        }
        Question::PmdMapped | Question::PteMapped if program.memory().kind.is_hugetlb() => match question {
            Question::PmdMapped => bits(program, &runs, "PM_PRESENT", "present"),
            _ => never(program, "PTEs of base pages never map hugetlb pages"),
        },
        Question::PmdMapped if !can_be_huge => never(program, "the memory is smaller than what a PMD maps"),
        Question::PmdMapped => {
            program.add(pmd_mapped(program));
            program.add(&REQUIRE_PMD_MAPPED);
            program.calls(&runs, |first, count| format!("require_pmd_mapped({first}, {count});"))
        }
        Question::PteMapped if !can_be_huge => bits(program, &runs, "PM_PRESENT", "mapped by a PTE"),
        Question::PteMapped => {
            program.add(pmd_mapped(program));
            program.add(&REQUIRE_PTE_MAPPED);
            program.calls(&runs, |first, count| format!("require_pte_mapped({first}, {count});"))
        }
    })
}

/// What counts pages that a PMD maps; kernels without PAGEMAP_SCAN are silent about the huge zero page.
pub(super) fn pmd_mapped(program: &Program<'_>) -> &'static Helper {
    match program.memory().kind {
        MemoryKind::HugeZero => &ZERO_PMD_MAPPED,
        _ => &PMD_MAPPED,
    }
}

fn bits(program: &mut Program<'_>, runs: &[Run], bit: &str, name: &str) -> Vec<String> {
    program.add(&REQUIRE);
    program.calls(runs, |first, count| format!("require({first}, {count}, {bit}, \"{name}\");"))
}

/// After a step that could lose soft-dirty bits, and after the last of its process: the pages that must have them. Only
/// where the scenario is about that.
pub(crate) fn soft_dirty(program: &mut Program<'_>, number: u32, step: &Step) -> Vec<String> {
    let steps = || program.scenario.numbered();
    let is_asked = steps().any(|(before, other)| before < number && other.op == Op::ClearSoftDirty);
    let is_last = !steps().any(|(later, other)| later > number && other.actor == step.actor);
    let may_lose =
        matches!(step.op, Op::Mprotect(..) | Op::Advise(..) | Op::Munmap(_) | Op::Mremap(_) | Op::Treat(..)) || is_last;
    if !is_asked || !may_lose || matches!(step.op, Op::Exit | Op::Fork(_)) {
        return vec![];
    }
    let must = |page: &u32| program.world.must_be_soft_dirty(step.actor, *page);
    let runs = runs_of((0..program.world.pages()).filter(must));
    if !runs.is_empty() {
        program.add(&EXPECT_SOFT_DIRTY);
    }
    program.calls(&runs, |first, count| format!("expect_soft_dirty({first}, {count});"))
}
