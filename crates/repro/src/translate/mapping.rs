//! What changes mappings and page tables, and processes.

use cowcheck_model::pages::{Range, Run};
use cowcheck_model::step::{Advice, Op, Prot, Step};

use crate::helpers::{ADVISE, CLEAR_SOFT_DIRTY, COLLAPSE, COLLAPSE_OF, FORK, GUARD, MOVE, PAGE_OUT, PROTECT, UNMAP};
use crate::program::Program;

/// How often is tried what a pin would forbid or what is one of a race, and what passes.
const BRIEF_TRIES: u32 = 4;
const TRIES: u32 = 60;

/// Advice that is given and either taken or refused for good, by its name in C.
const MADV: [(Advice, &str); 10] = [
    (Advice::DontFork, "MADV_DONTFORK"),
    (Advice::DoFork, "MADV_DOFORK"),
    (Advice::WipeOnFork, "MADV_WIPEONFORK"),
    (Advice::DontNeed, "MADV_DONTNEED"),
    (Advice::Free, "MADV_FREE"),
    (Advice::HugePage, "MADV_HUGEPAGE"),
    (Advice::NoHugePage, "MADV_NOHUGEPAGE"),
    (Advice::Guard, "MADV_GUARD_INSTALL"),
    (Advice::Unguard, "MADV_GUARD_REMOVE"),
    (Advice::Mergeable, "MADV_MERGEABLE"),
];

/// The name of an advice in C.
fn madv(advice: Advice) -> Option<&'static str> {
    MADV.iter().find(|(known, _)| *known == advice).map(|(_, name)| *name)
}

fn prot(prot: Prot) -> &'static str {
    match prot {
        Prot::None => "PROT_NONE",
        Prot::Ro => "PROT_READ",
        Prot::Rw => "PROT_READ | PROT_WRITE",
    }
}

pub(super) fn sentence(op: &Op, pages: &dyn Fn(&Range) -> String) -> Option<String> {
    Some(match op {
        Op::Fork(child) => format!("forks {child}: from here on they share what both have mapped"),
        Op::Mprotect(range, Prot::None) => format!("makes {} inaccessible", pages(range)),
        Op::Mprotect(range, Prot::Ro) => format!("makes {} read-only", pages(range)),
        Op::Mprotect(range, Prot::Rw) => format!("makes {} writable", pages(range)),
        Op::Advise(Advice::PageOut, range) => format!("has {} swapped out", pages(range)),
        Op::Advise(Advice::Collapse, range) => {
            format!("asks for a collapse of {}, which may be done in place, by copy or not at all", pages(range))
        }
        Op::Advise(Advice::Guard, range) => format!("makes {} guard pages: any access raises SIGSEGV", pages(range)),
        Op::CollapseOf(range, owner) => {
            format!("asks for a collapse of {} of {owner}, which may be refused", pages(range))
        }
        Op::Advise(advice, range) => format!("advises {} for {}", madv(*advice)?, pages(range)),
        Op::Munmap(range) => format!("unmaps {}", pages(range)),
        Op::Mremap(range) => format!("moves {} to another address", pages(range)),
        Op::ClearSoftDirty => "clears its soft-dirty bits, which write-protects the PTEs".to_owned(),
        _ => return None,
    })
}

pub(super) fn step(program: &mut Program<'_>, step: &Step) -> Option<Vec<String>> {
    let runs = step.op.range().map(|range| program.world.runs(range)).unwrap_or_default();
    let is_brief = program.beside.is_some() || !program.held.is_empty();
    let tries = if is_brief { BRIEF_TRIES } else { TRIES };
    Some(match &step.op {
        Op::Fork(child) => {
            program.add(&FORK);
            vec![format!("fork_process({child});")]
        }
        Op::Mprotect(_, to) => {
            program.add(&PROTECT);
            program.calls_apart(step.actor, &runs, |first, count| format!("protect({first}, {count}, {});", prot(*to)))
        }
        Op::Advise(Advice::Collapse, _) => {
            program.add(&COLLAPSE);
            program.calls_apart(step.actor, &runs, |first, count| format!("collapse({first}, {count}, {tries});"))
        }
        Op::Advise(Advice::PageOut, _) => {
            program.add(&PAGE_OUT);
            program.calls_apart(step.actor, &runs, |first, count| format!("page_out({first}, {count}, {tries});"))
        }
        Op::Advise(advice, _) => {
            let name = madv(*advice)?;
            program.add(match advice {
                Advice::Guard | Advice::Unguard => &GUARD,
                _ => &ADVISE,
            });
            program.calls_apart(step.actor, &runs, |first, count| format!("advise({first}, {count}, {name});"))
        }
        Op::CollapseOf(_, owner) => {
            program.add(&COLLAPSE_OF);
            let there = program.places_of(*owner, &runs);
            program.calls(&there, |place, count| format!("collapse_of({owner}, {place}, {count}, {tries});"))
        }
        Op::Munmap(_) => {
            program.add(&UNMAP);
            program.calls_apart(step.actor, &runs, |first, count| format!("unmap({first}, {count});"))
        }
        Op::Mremap(_) => {
            program.add(&MOVE);
            let apart = program.apart(step.actor, &runs);
            let call = |run: Run| format!("move({}, {}, {});", run.first, run.count, program.move_run(step.actor, run));
            apart.into_iter().map(call).collect()
        }
        Op::ClearSoftDirty => {
            program.add(&CLEAR_SOFT_DIRTY);
            vec!["clear_soft_dirty();".to_owned()]
        }
        _ => return None,
    })
}
