//! Which rule a wrong content breaks, and why it is that one.

use super::content::origin_of;
use super::{Judge, View};
use crate::contract::{Origin, Rule};
use crate::stamp::{Holds, Writer};
use crate::step::{Actor, Op, PinKind};

impl Judge<'_> {
    pub(super) fn blame(&self, view: View, page: u32, holds: &Holds, allowed: &[Origin]) -> (Rule, String) {
        match holds {
            Holds::Torn(parts) => {
                let is_wrong = |part: &Holds| origin_of(part, page).is_none_or(|origin| !allowed.contains(&origin));
                let wrong = parts.iter().map(|(_, part)| part).filter(|part| is_wrong(part));
                let worst = wrong.map(|part| self.blame(view, page, part, allowed)).min_by_key(|(rule, _)| *rule);
                let (rule, why) = worst.unwrap_or((Rule::Integrity, "it mixes contents".to_owned()));
                (rule, format!("the page is torn; {why}"))
            }
            Holds::Stamp { writer: Writer::Step(writer, step), page: of } => {
                self.blame_stamp(view, page, *of, *writer, *step, allowed)
            }
            Holds::Stamp { writer: Writer::Initial, page: of } if *of != page => other_page(page, *of),
            Holds::Zero | Holds::Stamp { .. } => self.stale(view, page, allowed, "the page lost its content"),
            _ => (Rule::Integrity, "no step of this scenario wrote that".to_owned()),
        }
    }

    /// It is what `writer` wrote in `step` into page `of`.
    fn blame_stamp(
        &self,
        view: View,
        page: u32,
        of: u32,
        writer: Actor,
        step: u32,
        allowed: &[Origin],
    ) -> (Rule, String) {
        let op = self.scenario.step(step).filter(|step| step.actor == writer).map(|step| &step.op);
        let observer = match view {
            View::Own(actor) => Some(actor),
            View::Via(pin) => self.world.pin_owner(pin).map(|(owner, _)| owner),
            View::Backing => None,
        };
        match (op, observer) {
            (Some(Op::Write(_) | Op::Poke(_) | Op::Storm(..) | Op::WriteVia(..)), None) => {
                (Rule::Isolation, format!("a private write by {writer} reached the backing"))
            }
            (Some(Op::Write(_) | Op::Poke(_) | Op::Storm(..) | Op::WriteVia(..)), Some(observer))
                if !self.world.in_history(observer, writer, step) =>
            {
                let fork = self.world.parted(observer, writer);
                let since = fork.map(|fork| format!(" after the fork in step {fork}")).unwrap_or_default();
                (Rule::Isolation, format!("{writer} wrote that{since}, and {observer} must never see it"))
            }
            (Some(Op::Write(_) | Op::Poke(_) | Op::Storm(..) | Op::WriteVia(..) | Op::WriteBacking(_)), _)
                if of != page =>
            {
                other_page(page, of)
            }
            (Some(Op::WriteBacking(_)), Some(_)) if !allowed.iter().any(|origin| self.is_of_backing(*origin)) => {
                (Rule::Integrity, "the file shows through the private copy".to_owned())
            }
            (Some(Op::Write(_) | Op::Poke(_) | Op::Storm(..) | Op::WriteVia(..) | Op::WriteBacking(_)), _) => {
                self.stale(view, page, allowed, "the page shows old content")
            }
            _ => (Rule::Integrity, "no step of this scenario wrote that".to_owned()),
        }
    }

    /// Is it what a page without a private copy may show?
    fn is_of_backing(&self, origin: Origin) -> bool {
        match origin {
            Origin::Zero | Origin::Written(Writer::Initial) => true,
            Origin::Written(Writer::Step(_, step)) => {
                self.scenario.step(step).is_some_and(|step| matches!(step.op, Op::WriteBacking(_)))
            }
        }
    }

    /// The page shows something that its reader could see once, but not now; `otherwise` says so
    /// where no more is known.
    fn stale(&self, view: View, page: u32, allowed: &[Origin], otherwise: &str) -> (Rule, String) {
        match view {
            View::Via(pin) => match self.world.pin_owner(pin) {
                Some((owner, kind)) if kind != PinKind::Splice => match self.world.is_coherent(pin, page) {
                    true => {
                        let why = format!("the pin and the page tables of {owner} no longer show the same memory");
                        (Rule::PinCoherence, why)
                    }
                    false => (Rule::PinCoherence, "the pin did not keep its last content".to_owned()),
                },
                _ => (Rule::Integrity, otherwise.to_owned()),
            },
            View::Own(actor) if self.written_via(allowed) => {
                let why = format!("what was written through the pin did not reach the page tables of {actor}");
                (Rule::PinCoherence, why)
            }
            View::Own(actor) if self.world.is_wiped(actor, page) => {
                (Rule::Markers, "MADV_WIPEONFORK was not kept".to_owned())
            }
            View::Own(_) | View::Backing => (Rule::Integrity, otherwise.to_owned()),
        }
    }

    fn written_via(&self, allowed: &[Origin]) -> bool {
        allowed.iter().any(|origin| match origin {
            Origin::Written(Writer::Step(_, step)) => {
                self.scenario.step(*step).is_some_and(|step| matches!(step.op, Op::WriteVia(..)))
            }
            _ => false,
        })
    }
}

fn other_page(page: u32, of: u32) -> (Rule, String) {
    (Rule::Integrity, format!("that belongs to page {of}, not to page {page}"))
}
