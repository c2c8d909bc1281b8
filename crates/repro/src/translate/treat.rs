//! What is done to pages by other calls than madvise(2), and what the kernel does by itself.

use cowcheck_model::pages::{Range, Run};
use cowcheck_model::step::{Op, Step, Treatment};

use super::look::pmd_mapped;
use crate::helpers::{KHUGEPAGED, KSM, LOCK_PAGES, MIGRATE, RECLAIM, SPLIT, SWAP, UFFD, UNLOCK_PAGES};
use crate::program::Program;

pub(super) fn sentence(op: &Op, pages: &dyn Fn(&Range) -> String) -> Option<String> {
    let (treatment, range) = match op {
        Op::Treat(treatment, range) => (treatment, range),
        Op::Ksm => return Some("waits until KSM has been through all mergeable memory".to_owned()),
        Op::Khugepaged(range) => {
            return Some(format!("wakes khugepaged, which may collapse {} or leave them", pages(range)));
        }
        Op::Reclaim => return Some("has all memory of these processes reclaimed that can be".to_owned()),
        Op::Swapoff => {
            return Some("takes the swap area out of use and puts it to use again: all comes back in".to_owned());
        }
        _ => return None,
    };
    let pages = pages(range);
    Some(match treatment {
        Treatment::UffdWp => format!("protects {pages} by userfaultfd: a write raises SIGBUS"),
        Treatment::UffdUnwp => format!("ends the protection of {pages} by userfaultfd"),
        Treatment::Mlock => format!("locks {pages}"),
        Treatment::Munlock => format!("unlocks {pages}"),
        Treatment::Split => format!("has the kernel split the folios of {pages}"),
        Treatment::Migrate => {
            format!("moves {pages} to another node; where there is one only, memory is compacted")
        }
    })
}

pub(super) fn step(program: &mut Program<'_>, step: &Step) -> Option<Vec<String>> {
    let (treatment, range) = match &step.op {
        Op::Treat(treatment, range) => (*treatment, range),
        Op::Ksm => {
            program.add(&KSM);
            return Some(vec!["wait_for_ksm();".to_owned()]);
        }
        Op::Khugepaged(range) => {
            // It looks whether PMDs map the pages, as `require` does.
            program.add(pmd_mapped(program));
            program.add(&KHUGEPAGED);
            let runs = program.world.runs(range);
            return Some(
                program.calls_apart(step.actor, &runs, |first, count| format!("wake_khugepaged({first}, {count});")),
            );
        }
        Op::Reclaim => {
            program.add(&RECLAIM);
            return Some(vec!["reclaim();".to_owned()]);
        }
        Op::Swapoff => {
            program.add(&SWAP);
            return Some(vec!["swap_off_and_on();".to_owned()]);
        }
        _ => return None,
    };
    let runs = program.world.runs(range);
    let (helper, function) = match treatment {
        Treatment::UffdWp => return Some(protect(program, step, &runs, "UFFDIO_WRITEPROTECT_MODE_WP")),
        Treatment::UffdUnwp => return Some(protect(program, step, &runs, "0")),
        Treatment::Mlock => (&LOCK_PAGES, "lock_pages"),
        Treatment::Munlock => (&UNLOCK_PAGES, "unlock_pages"),
        Treatment::Split => (&SPLIT, "split"),
        Treatment::Migrate => (&MIGRATE, "migrate"),
    };
    program.add(helper);
    Some(program.calls_apart(step.actor, &runs, |first, count| format!("{function}({first}, {count});")))
}

/// All of the memory is registered, so that it stays one mapping: else it could not be collapsed.
fn protect(program: &mut Program<'_>, step: &Step, runs: &[Run], mode: &str) -> Vec<String> {
    program.add(&UFFD);
    let all = [Run { first: 0, count: program.world.pages() }];
    let mut lines = vec!["make_uffd();".to_owned()];
    lines.extend(program.calls_apart(step.actor, &all, |first, count| format!("uffd_register({first}, {count});")));
    lines.extend(
        program.calls_apart(step.actor, runs, |first, count| format!("uffd_protect({first}, {count}, {mode});")),
    );
    lines
}
