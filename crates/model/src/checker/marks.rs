//! Userfaultfd write protection, guard pages and locked pages, by page states and by signals.

use super::states::{Findings, first_run};
use super::{Judge, pages};
use crate::contract::Rule;
use crate::errno::signal_name;
use crate::pages::Run;
use crate::step::{Op, Step, Treatment};
use crate::trace::{Observed, PageState};
use crate::verdict::Violation;

impl Judge<'_> {
    /// A kernel that tells of write protection tells of it right after it was set.
    pub(super) fn learn_uffd_wp(&mut self, step: &Step, states: &[Observed]) {
        let tells = |seen: &Observed| seen.actor == step.actor && seen.state.uffd_wp;
        if matches!(step.op, Op::Treat(Treatment::UffdWp, _)) {
            self.tells_uffd_wp |= states.iter().any(tells);
        }
    }

    pub(super) fn marks(&self, found: &mut Findings<'_>) {
        let Observed { actor, pages: run, state, swap, .. } = *found.observed;
        let PageState { present, swapped, uffd_wp, special, .. } = state;
        if self.tells_uffd_wp
            && (present || swapped)
            && !(uffd_wp || special)
            && let Some(run) = first_run(run, |page| self.world.is_write_protected(actor, page))
        {
            let what = "not write-protected, though userfaultfd was asked to, and nobody asked for the end of it";
            found.add(Rule::Markers, run, "write-protected by userfaultfd", what.to_owned());
        }
        if present && let Some(run) = first_run(run, |page| self.world.is_guard(actor, page)) {
            found.add(Rule::Markers, run, "a guard page", "there, though a guard page was put in the place".to_owned());
        }
        // A migration entry looks like a swap entry, save to the helper module.
        if swapped
            && swap.is_some()
            && let Some(run) = first_run(run, |page| self.world.is_locked(actor, page))
        {
            found.add(Rule::Markers, run, "in memory", "swapped out, though locked by mlock()".to_owned());
        }
    }

    /// SIGBUS at a page that has been write-protected by userfaultfd and is not now, or was only read: that protection
    /// is what gave it. `false` where there can be another cause.
    pub(super) fn unprotected(&mut self, number: u32, step: &Step, page: Option<u32>) -> bool {
        let kind = self.scenario.memory.kind;
        let was = |page: &u32| self.world.was_write_protected(step.actor, *page);
        let Some(page) = page.filter(was).filter(|_| !(kind.is_hugetlb() || kind.has_file())) else { return false };
        let (seen, run) = (signal_name(super::SIGBUS), Run { first: page, count: 1 });
        let sentence = format!(
            "in step {number} {} did `{step}` and got {seen} at {}, as if userfaultfd protected it from that",
            step.actor,
            pages(run)
        );
        let allowed = "no signal".to_owned();
        let pages = run.to_string();
        self.violation(Violation { rule: Rule::Markers, step: number, pages, seen, allowed, sentence });
        true
    }
}
