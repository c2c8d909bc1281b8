//! The explorer against the reference kernel of the model: what it makes can be done, a correct kernel passes it, every
//! planted bug is found by it and shrunk.

#[path = "../../model/tests/contract/reference.rs"]
mod reference;

use std::collections::{BTreeMap, BTreeSet};

use cowcheck_explore::PAGE;
use cowcheck_explore::coverage::{self, GOALS};
use cowcheck_explore::exhaustive::Sequences;
use cowcheck_explore::generate::Generator;
use cowcheck_explore::menu::{MEMORIES, STEPS, word_of};
use cowcheck_explore::mutate::mutate;
use cowcheck_explore::random::Random;
use cowcheck_explore::shrink::{Answer, shrink};
use cowcheck_explore::signature::signature;
use cowcheck_model::checker::judge;
use cowcheck_model::contract::Rule;
use cowcheck_model::memory::{Memory, MemoryKind};
use cowcheck_model::scenario::Scenario;
use cowcheck_model::step::{Actor, Advice, Op, Prot, Step, groups};
use cowcheck_model::text::parse_valid;
use cowcheck_model::verdict::{Kind, Verdict};
use proptest::prelude::*;
use reference::{Bug, Choices, run, run_with};

const SMALL: Memory = Memory { kind: MemoryKind::Anon, size: 4096, count: 8 };

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// FNV-1a, 64 bits.
fn hash(texts: impl Iterator<Item = String>) -> u64 {
    let bytes = texts.flat_map(String::into_bytes);
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[test]
fn a_seed_means_the_same_scenarios_for_ever() {
    let generator = Generator::new(1, vec![]);
    let found = hash((0..1000).map(|number| generator.scenario(number).to_string()));
    // A word that is new on the menu, or another weight, changes it: campaigns of before cannot go on then.
    assert_eq!(found, 0x6d6e_dc06_33fa_b5a6, "{found:#x}");
}

#[test]
fn with_steps_at_once_a_seed_means_the_same_for_ever_too() {
    let generator = Generator::new(1, vec![]).at_once(true);
    let scenarios: Vec<Scenario> = (0..1000).map(|number| generator.scenario(number)).collect();
    let found = hash(scenarios.iter().map(ToString::to_string));
    assert_eq!(found, 0xf995_1dbe_a4e8_aa8d, "{found:#x}");
    let with = scenarios.iter().filter(|scenario| scenario.steps.iter().any(|step| step.at_once)).count();
    assert!(with > 970, "{with} of 1000");
    let beside = |one: fn(&Op) -> bool, other: fn(&Op) -> bool| {
        let both = |group: &[Step]| {
            let has = |test: fn(&Op) -> bool| group.len() > 1 && group.iter().any(|step| test(&step.op));
            has(one) && has(other) && group.iter().all(|step| step.actor == group[0].actor)
        };
        scenarios.iter().filter(|scenario| groups(&scenario.steps).any(both)).count()
    };
    let (fork, write) = (|op: &Op| matches!(op, Op::Fork(_)), |op: &Op| matches!(op, Op::Write(_)));
    let collapse = |op: &Op| matches!(op, Op::Advise(Advice::Collapse, _));
    let counts = [
        beside(fork, |op| matches!(op, Op::Pin(..))),
        beside(fork, write),
        beside(collapse, write),
        beside(|op| matches!(op, Op::Advise(Advice::PageOut, _)), write),
        beside(fork, collapse),
    ];
    assert!(counts.iter().all(|count| *count >= 40), "{counts:?}");
}

#[test]
fn every_word_and_memory_of_the_menu_is_used() {
    let generator = Generator::new(3, vec![]);
    let scenarios: Vec<Scenario> = (0..3000).map(|number| generator.scenario(number)).collect();
    let steps = || scenarios.iter().flat_map(|scenario| &scenario.steps);
    let words: BTreeSet<&str> = steps().filter_map(|step| Some(word_of(&step.op)?.word)).collect();
    assert_eq!(words, STEPS.iter().map(|word| word.word).collect());
    let memories: BTreeSet<Memory> = scenarios.iter().map(|scenario| scenario.memory).collect();
    assert_eq!(memories.len(), MEMORIES.len());
    assert!(steps().all(|step| word_of(&step.op).is_some()));
    let mean = steps().count() / scenarios.len();
    assert!((10..40).contains(&mean), "{mean} steps");
}

#[test]
fn nothing_is_waited_for_in_vain() {
    let generator = Generator::new(3, vec![]);
    for scenario in (0..3000).map(|number| generator.scenario(number)) {
        let first = |wanted: fn(&Op) -> bool| scenario.steps.iter().position(|step| wanted(&step.op));
        let comes_after = |what: Option<usize>, before: Option<usize>| {
            what.is_none_or(|what| before.is_some_and(|before| before < what))
        };
        let (mergeable, ksm) = (first(|op| matches!(op, Op::Advise(Advice::Mergeable, _))), first(|op| *op == Op::Ksm));
        let swaps = first(|op| matches!(op, Op::Advise(Advice::PageOut, _) | Op::Reclaim));
        assert!(comes_after(ksm, mergeable) && comes_after(first(|op| *op == Op::Swapoff), swaps), "{scenario}");
    }
}

fn can_be_done(scenario: &Scenario) -> Result<(), TestCaseError> {
    let text = scenario.to_string();
    let read = parse_valid(&text, PAGE).map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
    prop_assert_eq!(&read, scenario);
    Ok(())
}

proptest! {
    #![proptest_config(config(1500))]

    #[test]
    fn what_is_made_can_be_done(seed: u64, number: u64) {
        let scenario = Generator::new(seed, vec![]).scenario(number);
        can_be_done(&scenario)?;
        // Where nobody may read anything, nobody does.
        let hides = |op: &Op| matches!(op, Op::Munmap(_) | Op::Mprotect(_, Prot::None) | Op::Advise(Advice::Guard, _));
        prop_assert!(scenario.has(|op| matches!(op, Op::Read(_) | Op::ReadVia(_))) || scenario.has(hides));
        let mut mutant = scenario;
        let mut random = Random::of(seed, number);
        for _ in 0..3 {
            mutant = mutate(&mutant, &mut random);
            can_be_done(&mutant)?;
        }
        mutant = Generator::new(seed, vec![]).at_once(true).scenario(number);
        for _ in 0..3 {
            can_be_done(&mutant)?;
            mutant = mutate(&mutant, &mut random);
        }
    }

    #[test]
    fn a_correct_kernel_passes_with_steps_at_once(seed: u64, number in 0..1_000_000_u64, choices: u64) {
        let scenario = Generator::new(seed, vec![SMALL]).at_once(true).scenario(number);
        let verdict = judge(&run(&scenario, Choices::Random(choices)));
        prop_assert!(matches!(verdict, Verdict::Pass | Verdict::Inconclusive { .. }), "{}\n{:#?}", scenario, verdict);
    }

    #[test]
    fn a_correct_kernel_passes(seed: u64, number in 0..1_000_000_u64, choices: u64) {
        let scenario = Generator::new(seed, vec![SMALL]).scenario(number);
        prop_assert_eq!(judge(&run(&scenario, Choices::Random(choices))), Verdict::Pass, "{}", scenario);
    }

    #[test]
    fn shrinking_keeps_validity_and_what_was_asked_for(seed: u64, number: u64, pieces in 1..3_u64, last in 0..12_u32) {
        // The finding is that these words come in this order, which cannot be had with fewer steps.
        let scenario = Generator::new(seed, vec![]).scenario(number);
        let mut wanted: Vec<&str> = Vec::new();
        for piece in 0..pieces {
            let at = Random::of(seed, piece).below(scenario.steps.len() as u32) as usize;
            wanted.extend(word_of(&scenario.steps[at].op).map(|word| word.word));
        }
        let shows = |scenario: &Scenario| {
            let mut left = wanted.as_slice();
            for step in &scenario.steps {
                if let [first, rest @ ..] = left && word_of(&step.op).is_some_and(|word| word.word == *first) {
                    left = rest;
                }
            }
            left.is_empty()
        };
        prop_assume!(shows(&scenario));
        let mut wrong = None;
        let shrunk = shrink(&scenario, last, &mut |candidate| {
            wrong = wrong.take().or(can_be_done(candidate).err());
            if shows(candidate) { Answer::Yes } else { Answer::No }
        });
        prop_assert!(wrong.is_none(), "{wrong:?}");
        can_be_done(&shrunk.scenario)?;
        prop_assert!(shows(&shrunk.scenario) && shrunk.finished);
        // Each word may want an actor or a pin, and a pin may want it back.
        prop_assert!(shrunk.scenario.steps.len() <= 5 * pieces as usize, "{}", shrunk.scenario);
        // Nothing is left to be left out.
        let again = shrink(&shrunk.scenario, 0, &mut |candidate| if shows(candidate) { Answer::Yes } else { Answer::No });
        prop_assert!(again.scenario.steps.len() == shrunk.scenario.steps.len());
    }
}

#[test]
fn one_gigabyte_can_be_asked_for() {
    let generator = Generator::new(5, vec![Memory::new(MemoryKind::Hugetlb, 1 << 30)]);
    for number in 0..12 {
        let scenario = generator.scenario(number);
        scenario.validate(PAGE).unwrap_or_else(|error| panic!("{error}\n{scenario}"));
    }
}

#[test]
fn when_time_is_up_shrinking_keeps_what_it_has() {
    let scenario = Generator::new(9, vec![SMALL]).scenario(0);
    let mut left = 3;
    let shrunk = shrink(&scenario, 0, &mut |_| {
        left -= 1;
        if left == 0 { Answer::Enough } else { Answer::Yes }
    });
    assert_eq!((shrunk.asked, shrunk.finished), (3, false));
    assert!(shrunk.scenario.steps.len() < scenario.steps.len());
    shrunk.scenario.validate(PAGE).unwrap();
}

/// Who is dropped takes along what others do to its pages, and who is renamed is named so there, too.
#[test]
fn whose_pages_are_collapsed_is_renamed_and_dropped_with_it() {
    const STEPS: &str = "A write all\nA fork D\nD write first\nA fork C\nC collapse all of D\nA collapse lower of C\n";
    let scenario = parse_valid(&format!("cowcheck scenario 1\nmemory thp 16K\n{STEPS}"), PAGE).unwrap();
    let of = |scenario: &Scenario, wanted: Actor| {
        scenario.has(|op| matches!(op, Op::CollapseOf(_, owner) if *owner == wanted))
    };
    let mut wrong = None;
    let shrunk = shrink(&scenario, 0, &mut |candidate| {
        wrong = wrong.take().or(can_be_done(candidate).err());
        // Until it is the only one there is, it is called C.
        let name = Actor::from_letter('C').unwrap();
        if of(candidate, name) { Answer::Yes } else { Answer::No }
    });
    assert!(wrong.is_none(), "{wrong:?}");
    let lines: Vec<String> = shrunk.scenario.steps.iter().map(ToString::to_string).collect();
    assert_eq!(lines, ["A fork B", "A collapse all of B"]);
}

/// The rule that this scenario breaks on the reference kernel with this bug, and in which step.
fn broken(scenario: &Scenario, bug: Bug) -> Option<(Rule, u32)> {
    let verdict = judge(&run_with(scenario, Choices::Plain, Some(bug)));
    verdict.violations().first().map(|violation| (violation.rule, violation.step))
}

/// The first finding of some scenarios, shrunk.
fn find(scenarios: impl Iterator<Item = Scenario>, bug: Bug) -> Option<(usize, Scenario)> {
    for (number, scenario) in scenarios.enumerate() {
        if let Some((rule, step)) = broken(&scenario, bug) {
            let shrunk = shrink(&scenario, step, &mut |candidate| match broken(candidate, bug) {
                Some((other, _)) if other == rule => Answer::Yes,
                _ => Answer::No,
            });
            return Some((number, shrunk.scenario));
        }
    }
    None
}

#[test]
fn every_planted_bug_is_found_and_shrunk_to_a_handful_of_steps() {
    let generator = Generator::new(11, vec![SMALL, Memory::new(MemoryKind::Memfd, 16384)]);
    for bug in Bug::ALL {
        let found = find((0..3000).map(|number| generator.scenario(number)), bug);
        let Some((number, scenario)) = found else { panic!("{bug:?} was not found") };
        println!("{bug:?}: scenario {number}, {}", signature("x", &scenario));
        assert!(scenario.steps.len() <= 6, "{bug:?}: {scenario}");
        assert!(scenario.memory.pages(PAGE) <= 4, "{bug:?}: {scenario}");
    }
}

/// A race shows in some orders only, so each scenario is run several times.
#[test]
fn every_planted_race_is_found_and_shrunk_to_steps_at_once() {
    let generator = Generator::new(19, vec![SMALL]).at_once(true);
    for bug in Bug::RACES {
        let broken = |scenario: &Scenario| {
            (0..24).find_map(|choices| {
                let verdict = judge(&run_with(scenario, Choices::Random(choices), Some(bug)));
                verdict.violations().first().map(|violation| (violation.rule, violation.step))
            })
        };
        let first =
            (0..400).map(|number| generator.scenario(number)).find_map(|scenario| Some((broken(&scenario)?, scenario)));
        let Some(((rule, step), scenario)) = first else { panic!("{bug:?} was not found") };
        let shrunk = shrink(&scenario, step, &mut |candidate| match broken(candidate) {
            Some((other, _)) if other == rule => Answer::Yes,
            _ => Answer::No,
        });
        let scenario = shrunk.scenario;
        println!("{bug:?}: {}\n{scenario}", signature("x", &scenario));
        assert!(scenario.steps.iter().any(|step| step.at_once) && scenario.steps.len() <= 6, "{bug:?}: {scenario}");
    }
}

#[test]
fn a_bug_that_needs_no_race_is_shrunk_to_steps_in_turn() {
    let generator = Generator::new(23, vec![SMALL]).at_once(true);
    let (_, shrunk) = find((0..200).map(|number| generator.scenario(number)), Bug::ForkShares).unwrap();
    assert!(shrunk.steps.iter().all(|step| !step.at_once) && shrunk.steps.len() <= 5, "{shrunk}");
}

#[test]
fn the_same_bug_has_few_signatures() {
    let generator = Generator::new(13, vec![SMALL]);
    let mut signatures: BTreeMap<String, u32> = BTreeMap::new();
    for number in 0..400 {
        let scenario = generator.scenario(number);
        if let Some((_, shrunk)) = find(std::iter::once(scenario), Bug::ForkShares) {
            *signatures.entry(signature("isolation", &shrunk)).or_default() += 1;
        }
    }
    let found: u32 = signatures.values().sum();
    assert!(found > 50 && signatures.len() <= 8, "{signatures:#?}");
}

#[test]
fn the_number_of_sequences_is_pinned() {
    let count = |kind, size, count, most| Sequences::new(Memory { kind, size, count }, most).total();
    let anon: Vec<u64> = (1..=4).map(|most| count(MemoryKind::Anon, 4096, 2, most)).collect();
    let thp: Vec<u64> = (1..=3).map(|most| count(MemoryKind::Thp, 16384, 1, most)).collect();
    assert_eq!((anon, thp), (vec![14, 209, 3391, 64_256], vec![16, 270, 4931]));
}

#[test]
fn sequences_are_all_different_and_can_be_done() {
    let all: Vec<Scenario> = Sequences::new(Memory::new(MemoryKind::Thp, 16384), 2).collect();
    let texts: BTreeSet<String> = all.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), all.len());
    assert_eq!(all.len() as u64, Sequences::new(Memory::new(MemoryKind::Thp, 16384), 2).total());
    all.iter().for_each(|scenario| scenario.validate(PAGE).unwrap());
}

/// CVE-2020-29374: the child's pipe shows what the parent writes, once nobody else maps the page.
#[test]
fn four_steps_reach_the_bug_that_this_began_with() {
    let story = "A fork B\nB splice p0 all\nB munmap all\nA write all\n";
    let is_it = |scenario: &Scenario| scenario.to_string().contains(story);
    let found = Sequences::new(Memory::new(MemoryKind::Anon, 4096), 4).find(is_it).unwrap();
    assert!(found.to_string().ends_with("B read via p0\n"), "{found}");
}

#[test]
fn short_sequences_find_every_planted_bug_that_their_menu_is_about() {
    let missed: Vec<Bug> = Bug::ALL
        .into_iter()
        .filter(|bug| find(Sequences::new(Memory::new(MemoryKind::Thp, 16384), 3), *bug).is_none())
        .collect();
    // Not on that menu: wipeonfork, probes of what must fault, forced writes, soft-dirty bits; userfaultfd, guard pages, locks, KSM.
    let others = [
        Bug::WipeIgnored,
        Bug::DontForkIgnored,
        Bug::ProtIgnored,
        Bug::PokeBreaksNoCow,
        Bug::CollapseCleans,
        Bug::CollapseUnprotects,
        Bug::SwapUnprotects,
        Bug::ForkKeepsProtection,
        Bug::MremapKeepsProtection,
        Bug::CollapseFillsGuards,
        Bug::ForkDropsGuards,
        Bug::GuardKeepsPage,
        Bug::SwapsLocked,
        Bug::KsmKeepsWritable,
        Bug::KsmMergesOthers,
    ];
    assert_eq!(missed, others);
}

#[test]
fn what_is_new_is_told_once_and_goals_can_be_met() {
    let generator = Generator::new(17, vec![SMALL]);
    let keys: BTreeSet<String> = (0..300)
        .flat_map(|number| {
            coverage::keys(&coverage::transitions(&run(&generator.scenario(number), Choices::Random(number))))
        })
        .collect();
    assert!(
        keys.contains("fork: pte exclusive writable soft-dirty -> pte shared not-exclusive soft-dirty"),
        "{keys:#?}"
    );
    // Here nothing is mapped by a PMD and there are no files.
    let met: Vec<&str> =
        GOALS.iter().map(|goal| goal.name).filter(|name| keys.contains(&coverage::goal_key(name))).collect();
    assert!(met.contains(&"a shared page that a PTE maps was written by a child"), "{met:?}");
    assert!(!met.contains(&"mprotect() split a THP"));
    assert_eq!(Kind::Pass, judge(&run(&generator.scenario(0), Choices::Plain)).kind());
}
