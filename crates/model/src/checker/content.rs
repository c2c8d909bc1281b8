//! A reader saw this: may it?

use super::sight::Sight;
use super::{Judge, View, pages};
use crate::contract::{Origin, SetId};
use crate::pages::Run;
use crate::stamp::{Holds, Writer};
use crate::step::Step;
use crate::trace::Seen;
use crate::verdict::Violation;

/// How many allowed contents are told.
const MAX_ALLOWED: usize = 6;

/// Pages that hold, one after the other, what they may not.
struct Bad {
    run: Run,
    holds: Holds,
    set: SetId,
}

impl Judge<'_> {
    pub(super) fn seen(&mut self, number: u32, step: &Step, view: View, wanted: &[Run], seen: &[Seen]) {
        let mut sight = Sight::new(seen);
        let mut missing = None;
        let mut bad: Option<Bad> = None;
        // Few sets and few stamps meet on many pages.
        let mut last_good: Option<(SetId, Origin)> = None;
        for page in wanted.iter().flat_map(|run| run.pages()) {
            let (Some(holds), Some(set)) = (sight.at(page), self.allowed(view, page)) else {
                missing = missing.or(Some(page));
                continue;
            };
            match holds {
                Holds::NoFault => {
                    missing = missing.or(Some(page));
                    continue;
                }
                Holds::Fault(signal) => {
                    // One is enough: the executor stops at the first.
                    self.signal(number, step, signal, Some(page));
                    break;
                }
                _ => {}
            }
            if let Some(origin) = origin_of(&holds, page) {
                let origins = self.world.origins(set);
                if last_good == Some((set, origin)) || origins.binary_search(&origin).is_ok() {
                    last_good = Some((set, origin));
                    match (view, origin, origins.len()) {
                        (View::Own(actor), Origin::Zero, 2..) => self.world.seen_zero(actor, page),
                        (View::Own(actor), _, 2..) => self.world.seen_whole(actor, page, origin),
                        _ => {}
                    }
                    continue;
                }
            }
            if let Holds::Torn(parts) = &holds
                && self.world.is_mixed(set)
                && parts.iter().all(|(_, part)| self.is_of(part, page, set))
            {
                continue;
            }
            match &mut bad {
                Some(bad)
                    if bad.run.end() == page && bad.set == set && bad.holds.continued_by(bad.run.count, &holds) =>
                {
                    bad.run.count += 1;
                }
                _ => {
                    let next = Bad { run: Run { first: page, count: 1 }, holds, set };
                    if let Some(bad) = bad.replace(next) {
                        self.content_violation(number, step, view, &bad);
                    }
                }
            }
        }
        if let Some(bad) = bad {
            self.content_violation(number, step, view, &bad);
        }
        if let Some(page) = missing {
            self.unreached.push(format!("step {number}, `{step}`: the trace does not say what page {page} held"));
        }
    }

    fn is_of(&self, part: &Holds, page: u32, set: SetId) -> bool {
        origin_of(part, page).is_some_and(|origin| self.world.origins(set).binary_search(&origin).is_ok())
    }

    fn allowed(&self, view: View, page: u32) -> Option<SetId> {
        match view {
            View::Own(actor) => self.world.allowed_id(actor, page),
            View::Backing => self.world.backing_allowed_id(page),
            View::Via(pin) => self.world.pin_allowed_id(pin, page),
        }
    }

    fn content_violation(&mut self, number: u32, step: &Step, view: View, bad: &Bad) {
        let Bad { run, holds, set } = bad;
        if self.is_full() {
            self.unlisted += 1;
            return;
        }
        let origins = self.world.origins(*set);
        let (rule, why) = self.blame(view, run.first, holds, origins);
        let through = match view {
            View::Own(_) => "its mapping".to_owned(),
            View::Backing => "the backing".to_owned(),
            View::Via(pin) => match self.world.pin_owner(pin) {
                Some((_, kind)) => format!("{pin} (`{}`)", kind.words()),
                None => pin.to_string(),
            },
        };
        let mut allowed: Vec<String> = origins.iter().take(MAX_ALLOWED).map(|origin| self.tell(*origin)).collect();
        if origins.len() > MAX_ALLOWED {
            allowed.push(format!("{} others", origins.len() - MAX_ALLOWED));
        }
        let allowed = allowed.join(" or ");
        let sentence = format!(
            "in step {number} {} read {} through {through} and saw {}: {why}; allowed there: {allowed}",
            step.actor,
            pages(*run),
            self.tell_holds(holds, *run),
        );
        let pages = run.to_string();
        self.violation(Violation { rule, step: number, pages, seen: holds.to_string(), allowed, sentence });
    }

    /// An origin for a person: who wrote it, by which step.
    fn tell(&self, origin: Origin) -> String {
        match origin {
            Origin::Zero => "zeroes".to_owned(),
            Origin::Written(Writer::Initial) => "the file's initial content".to_owned(),
            Origin::Written(writer @ Writer::Step(_, number)) => match self.scenario.step(number) {
                Some(step) => format!("{writer} (`{step}`)"),
                None => writer.to_string(),
            },
        }
    }

    fn tell_holds(&self, holds: &Holds, run: Run) -> String {
        match holds {
            Holds::Zero => "zeroes".to_owned(),
            Holds::Stamp { writer, page } if *page == run.first => self.tell(Origin::Written(*writer)),
            Holds::Stamp { writer, page } => format!("{} of page {page}", self.tell(Origin::Written(*writer))),
            Holds::Foreign(bits) => format!("memory of another run ({bits:#x})"),
            Holds::Raw(word) => format!("bytes that no step wrote ({word:#x} first)"),
            other => format!("`{other}`"),
        }
    }
}

/// The origin that a page is a whole copy of.
pub(super) fn origin_of(holds: &Holds, page: u32) -> Option<Origin> {
    match holds {
        Holds::Zero => Some(Origin::Zero),
        Holds::Stamp { writer, page: of } if *of == page => Some(Origin::Written(*writer)),
        _ => None,
    }
}
