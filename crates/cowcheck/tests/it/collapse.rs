//! The four checks that cowcheck grew out of, again and again on this kernel: they pass, and the traces
//! show that what they are about was there.

use std::collections::BTreeMap;
use std::fs;

use cowcheck_model::step::{Actor, Op, State};
use cowcheck_model::trace::{Observed, Trace};
use tempfile::TempDir;

use crate::machine::thp;
use crate::program::Cowcheck;

const REPEATS: usize = 50;

const CHECKS: [&str; 4] =
    ["cow/collapse-before-fork", "cow/collapse-fully-shared", "cow/collapse-lower-shared", "cow/collapse-upper-shared"];

/// A's pages as a `require` step saw them: every one of the state, in order; the frame of the first, or
/// 0 where frames are hidden.
#[track_caller]
fn required(trace: &Trace, wanted: State) -> u64 {
    let is_wanted = |op: &Op| matches!(op, Op::Require(state, _) if *state == wanted);
    let (number, _) = trace.scenario.numbered().find(|(_, step)| is_wanted(&step.op)).unwrap();
    let record = trace.records.iter().find(|record| record.step == number).unwrap();
    let mut next = 0;
    let mut first = None;
    // With the helper module it tells of everybody's.
    for Observed { pages, state, pfn, .. } in record.states.iter().filter(|seen| seen.actor == Actor::A) {
        assert_eq!(pages.first, next, "{record:?}");
        assert!(state.present && state.pmd == (wanted == State::PmdMapped), "{record:?}");
        let frame = first.get_or_insert(*pfn);
        // One folio: frame by frame.
        assert_eq!(*pfn, if *frame == 0 { 0 } else { *frame + u64::from(next) }, "{record:?}");
        next = pages.end();
    }
    assert_eq!(next, trace.scenario.memory.pages(trace.page_size), "{record:?}");
    first.unwrap()
}

#[test]
fn collapsing_keeps_the_contract_in_every_repeat() {
    let Some(size) = thp() else { return };
    let dir = TempDir::new().unwrap();
    let results =
        Cowcheck::run(CHECKS).args(["--repeat", &REPEATS.to_string(), "--save-trace"]).arg(dir.path()).results();
    assert_eq!(results.left, []);
    let mut collapsed: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
    for check in &results.checks {
        let id = check["id"].as_str().unwrap();
        match check["verdict"].as_str().unwrap() {
            "pass" => {}
            // A kernel that refuses says with which error.
            "inconclusive" => {
                let reason = check["reason"].as_str().unwrap();
                assert!(reason.contains("`A collapse all`") && reason.contains("was refused: E"), "{check:#}");
                continue;
            }
            "skip" => return,
            _ => panic!("{check:#}"),
        }
        let repeat = match check["repeat"].as_u64().unwrap() {
            1 => String::new(),
            repeat => format!(".{repeat}"),
        };
        let file = dir.path().join(format!("{}{repeat}.trace.json", id.replace('/', "_")));
        let trace = Trace::from_json(&fs::read_to_string(&file).unwrap()).unwrap();
        let before = required(&trace, State::PteMapped);
        let after = required(&trace, State::PmdMapped);
        assert_eq!(before == 0, !rustix::process::geteuid().is_root(), "frames are for root");
        // A huge page lies at a multiple of its size.
        assert_eq!(after % (size / u64::from(trace.page_size)), 0);
        let how = if before == 0 { 2 } else { usize::from(before != after) };
        collapsed.entry(id).or_default()[how] += 1;
    }
    for (id, [in_place, by_copy, unknown]) in &collapsed {
        eprintln!("{id}: collapsed in place {in_place}, by copy {by_copy}, unknown {unknown}");
    }
    assert_eq!(results.checks.len(), CHECKS.len() * REPEATS);
}

/// What happens at the same time is recorded, and nothing of it is an alarm.
#[test]
fn storms_pass_and_tell_what_was_done() {
    if thp().is_none() {
        return;
    }
    let dir = TempDir::new().unwrap();
    let checks = ["collapse/lower/storm+collapse", "collapse/none/storm+collapse+fork+gup"];
    let results = Cowcheck::run(checks).args(["--timeout", "60", "--save-trace"]).arg(dir.path()).results();
    for (check, rivals) in checks.into_iter().zip([1, 3]) {
        match results.verdict(check) {
            "pass" => {}
            // The kernel has no MADV_COLLAPSE.
            "skip" => continue,
            _ => panic!("{:#}", results.check(check)),
        }
        let file = dir.path().join(format!("{}.trace.json", check.replace('/', "_")));
        let trace = Trace::from_json(&fs::read_to_string(&file).unwrap()).unwrap();
        let storm = trace.records.iter().find_map(|record| record.storm.as_ref()).unwrap();
        assert!(storm.rounds >= 2 && storm.sightings.is_empty(), "{storm:?}");
        assert_eq!(storm.rivals.len(), rivals, "{storm:?}");
        assert!(storm.rivals.iter().all(|went| went.rounds + went.refused > 0), "{storm:?}");
        let notes = results.check(check)["notes"].to_string();
        assert!(notes.contains("rounds of writing on"), "{notes}");
    }
}
