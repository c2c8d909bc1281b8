//! What a `probe` step found: where it must fault and where it must not.

use super::sight::Sight;
use super::{Judge, SIGBUS, pages};
use crate::contract::Rule;
use crate::errno::signal_name;
use crate::pages::Run;
use crate::stamp::Holds;
use crate::step::{Access, Step};
use crate::trace::Seen;
use crate::verdict::Violation;

impl Judge<'_> {
    pub(super) fn probed(&mut self, number: u32, step: &Step, access: Access, wanted: &[Run], seen: &[Seen]) {
        let mut sight = Sight::new(seen);
        let mut bad: Option<(Run, Holds)> = None;
        let mut missing = None;
        for page in wanted.iter().flat_map(|run| run.pages()) {
            let must = self.world.must_fault(step.actor, page, access);
            match sight.at(page) {
                Some(Holds::Fault(_)) if must => {}
                Some(Holds::Fault(SIGBUS)) if self.world.may_fault(step.actor, page, access) => {}
                Some(Holds::NoFault) if !must => {
                    if access == Access::Write {
                        self.world.stored(step.actor, page);
                    }
                }
                Some(Holds::Fault(SIGBUS)) => {
                    // Not what a protection gives: the page could not be had.
                    self.signal(number, step, SIGBUS, Some(page));
                    break;
                }
                Some(found @ (Holds::NoFault | Holds::Fault(_))) => match &mut bad {
                    Some((run, holds)) if run.end() == page && *holds == found => run.count += 1,
                    _ => {
                        if let Some((run, holds)) = bad.replace((Run { first: page, count: 1 }, found)) {
                            self.probe_violation(number, step, run, &holds);
                        }
                    }
                },
                _ => missing = missing.or(Some(page)),
            }
        }
        if let Some((run, holds)) = bad {
            self.probe_violation(number, step, run, &holds);
        }
        if let Some(page) = missing {
            self.unreached.push(format!("step {number}, `{step}`: the trace does not say what page {page} gave"));
        }
    }

    fn probe_violation(&mut self, number: u32, step: &Step, run: Run, found: &Holds) {
        let (seen, allowed) = match found {
            Holds::Fault(signal) => (signal_name(*signal), "no fault".to_owned()),
            _ => ("no fault".to_owned(), "a fault".to_owned()),
        };
        let sentence = format!(
            "in step {number} {} tried `{step}`: {} gave {seen}; allowed there: {allowed}",
            step.actor,
            pages(run)
        );
        let pages = run.to_string();
        self.violation(Violation { rule: Rule::Markers, step: number, pages, seen, allowed, sentence });
    }
}
