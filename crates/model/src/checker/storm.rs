//! What was seen while several things happened at once.

use super::{Judge, pages};
use crate::contract::Rule;
use crate::errno;
use crate::pages::Run;
use crate::step::Step;
use crate::storm::{Eye, Rival, Rivals, Sighting, Storm};
use crate::verdict::Violation;

/// A writer that went round less often has met none of its rivals for sure.
const LEAST_ROUNDS: u64 = 2;

impl Judge<'_> {
    pub(super) fn storm(&mut self, number: u32, step: &Step, rivals: Rivals, storm: Option<&Storm>) {
        let Some(storm) = storm else {
            self.unreached.push(format!("step {number}, `{step}`: the trace does not say what was seen"));
            return;
        };
        for sighting in storm.sightings.iter().filter(|sighting| !sighting.is_right()) {
            self.sighting(number, step, sighting);
        }
        if storm.sightings.iter().any(|sighting| !sighting.is_right()) {
            self.unlisted += storm.more;
        }
        if storm.rounds < LEAST_ROUNDS {
            let rounds = storm.rounds;
            self.unreached.push(format!("step {number}, `{step}`: the writers went round {rounds} times only"));
        }
        for rival in rivals.each() {
            let went = storm.rivals.iter().find(|went| went.rival == rival);
            let why = match went {
                Some(went) if went.rounds > 0 => continue,
                Some(went) if went.refused > 0 => format!("was refused: {}", errno::name(went.errno)),
                _ => "was not done once".to_owned(),
            };
            let why = format!("step {number}, `{step}`: {} {why}", rival.word());
            match rival {
                // A refusal is the kernel's right.
                Rival::Collapse if went.is_some_and(|went| went.refused > 0) => self.refused = Some(why),
                _ => self.unreached.push(why),
            }
        }
    }

    fn sighting(&mut self, number: u32, step: &Step, sighting: &Sighting) {
        let Sighting { eye, page, offset, least, most, count, ref word } = *sighting;
        let actor = step.actor;
        let is_old = count.is_some_and(|count| count < least);
        let (rule, who) = match eye {
            Eye::Writer => (Rule::Integrity, format!("{actor}'s writer of the word came back to it")),
            Eye::Snapshot if is_old => (Rule::Integrity, format!("a child that {actor} forked meanwhile looked")),
            Eye::Snapshot => (Rule::Isolation, format!("a child that {actor} forked meanwhile looked")),
            Eye::Again if is_old => (Rule::Integrity, format!("a child that {actor} forked meanwhile looked again")),
            Eye::Again => (Rule::Isolation, format!("a child that {actor} forked meanwhile looked again")),
            Eye::Gup => (Rule::Integrity, format!("{actor} read by GUP")),
            Eye::Pin => (Rule::PinCoherence, format!("{actor} read through a fixed buffer")),
            Eye::Unpinned => {
                (Rule::PinCoherence, format!("{actor} looked for what it had written through a fixed buffer"))
            }
            Eye::Protected => (Rule::Markers, format!("{actor} wrote")),
            Eye::Rest => (Rule::Integrity, format!("{actor} or a child looked")),
        };
        let (seen, allowed) = match (eye, count) {
            (Eye::Protected, _) => ("no fault".to_owned(), "a fault: the page was read-only all the while".to_owned()),
            (Eye::Rest, _) => (format!("{word}, which nobody wrote"), "what was there before".to_owned()),
            (_, None) => (format!("{word}, no count of that word"), counts(least, most)),
            (_, Some(count)) => (format!("count {count}"), counts(least, most)),
        };
        let why = match (eye, count) {
            (Eye::Protected | Eye::Rest, _) | (_, None) => "",
            (Eye::Again, Some(_)) => "; its snapshot changed",
            (_, Some(count)) if count < least => "; a write was lost, or an old page shown",
            (_, Some(_)) => "; that was not written yet",
        };
        let at = pages(Run { first: page, count: 1 });
        let sentence = format!(
            "in step {number}, `{step}`, {who} at byte {offset} of {at} and saw {seen}{why}; allowed: {allowed}"
        );
        self.violation(Violation { rule, step: number, pages: page.to_string(), seen, allowed, sentence });
    }
}

fn counts(least: u32, most: u32) -> String {
    if least == most { format!("count {least}") } else { format!("count {least} to {most}") }
}
