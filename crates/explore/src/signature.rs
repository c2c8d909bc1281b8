//! What makes two findings the same.

use std::collections::BTreeSet;

use cowcheck_model::pages::Range;
use cowcheck_model::scenario::Scenario;
use cowcheck_model::step::Op;

/// `explore/RULE/MEMORY/STEP+STEP+...`: what is wrong, on what kind of memory, and the kinds of steps that it takes. Of a
/// scenario in which some happen at once has the word `at-once` among them. Of a scenario that was shrunk this is the same whatever it was found in. It has the form of a check's id, so a known
/// bug can name it by a pattern.
pub fn signature(wrong: &str, scenario: &Scenario) -> String {
    let mut kinds: BTreeSet<String> = scenario.steps.iter().map(|step| kind(&step.op)).collect();
    kinds.extend(scenario.steps.iter().any(|step| step.at_once).then(|| "at-once".to_owned()));
    let kinds: Vec<String> = kinds.into_iter().collect();
    format!("explore/{}/{}/{}", dashed(wrong), scenario.memory.kind.word(), kinds.join("+"))
}

fn dashed(text: &str) -> String {
    text.replace(' ', "-")
}

/// `mprotect-ro`, `pin-ro-fast`, `fork`: the step without actors, pins and pages.
pub fn kind(op: &Op) -> String {
    let mut op = op.clone();
    if let Some(range) = op.range_mut() {
        *range = Range::All;
    }
    let text = op.to_string();
    let is_name = |word: &str| {
        word == "all" || word.chars().all(|char| char.is_ascii_uppercase()) || {
            let number = word.strip_prefix('p').unwrap_or_default();
            !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
        }
    };
    text.split(' ').filter(|word| !is_name(word)).collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_pages_make_no_difference() {
        let of = |steps: &str| {
            let text = format!("cowcheck scenario 1\nmemory thp 2M\n{}\n", steps.replace("; ", "\n"));
            signature("pin coherence", &cowcheck_model::text::parse(&text).unwrap())
        };
        let first = of("A write all; A pin ro fast p0 page 3; A fork B; A mprotect lower ro; A read via p0");
        assert_eq!(first, "explore/pin-coherence/thp/fork+mprotect-ro+pin-ro-fast+read-via+write");
        assert_eq!(
            first,
            of("A fork C; C write first; A write odd; A pin ro fast p9 all; A mprotect all ro; A read via p9")
        );
        assert_eq!(of("A fork B; B collapse lower of A"), "explore/pin-coherence/thp/collapse-of+fork");
        assert_ne!(first, of("A write all; A pin ro p0 page 3; A fork B; A mprotect lower ro; A read via p0"));
    }
}
