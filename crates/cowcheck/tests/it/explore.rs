//! The explorer: what it finds, what it leaves on the disk, what goes on after it was killed.

use std::fs;
use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::program::{Cowcheck, Output};
use crate::vm;

/// Memory that every machine has.
const ON: [&str; 2] = ["--on", "anon 4K x4"];

fn explore(args: &[&str], results: &Path) -> Cowcheck {
    Cowcheck::new(["explore", "--jobs", "2"]).args(ON).args(args).arg("--results").arg(results)
}

fn campaign(store: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(store.join("campaign.json")).unwrap()).unwrap()
}

fn findings(store: &Path) -> Vec<String> {
    let Ok(all) = fs::read_dir(store.join("findings")) else { return vec![] };
    let mut names: Vec<String> = all.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn this_kernel_keeps_the_contract() {
    let dir = TempDir::new().unwrap();
    let output = explore(&["--scenarios", "60", "--seed", "3"], dir.path()).output().code(0);
    let campaign = campaign(dir.path());
    assert_eq!((&campaign["below"]["0/1"], &campaign["cowcheck_campaign"]), (&Value::from(60), &Value::from(1)));
    assert!(campaign["tally"]["verdicts"]["pass"].as_u64() >= Some(20), "{campaign:#}");
    assert_eq!(findings(dir.path()), [] as [&str; 0], "{}", output.out);
    let coverage = fs::read_to_string(dir.path().join("coverage.json")).unwrap();
    assert!(coverage.contains("\"goal: a shared page"), "{coverage}");
    let corpus = fs::read_to_string(dir.path().join("corpus.jsonl")).unwrap();
    assert!(corpus.lines().count() > 10);
}

#[test]
fn a_planted_fault_is_found_and_shrunk_to_a_handful_of_steps() {
    let dir = TempDir::new().unwrap();
    explore(&["--scenarios", "40", "--self-test", "lost-write"], dir.path()).output().code(1);
    let found = findings(dir.path());
    let place = dir.path().join("findings").join("integrity_anon_read+write");
    assert!(place.exists(), "{found:?}");
    let finding: Value = serde_json::from_str(&fs::read_to_string(place.join("finding.json")).unwrap()).unwrap();
    assert_eq!((&finding["shrunk"], finding["rate"].to_string().as_str()), (&Value::from(true), "[3,3]"));
    let scenario = fs::read_to_string(place.join("scenario.cow")).unwrap();
    assert_eq!(scenario, "cowcheck scenario 1\nmemory anon 4K\nA write all\nA read all\n");
    // Everything that is kept can be used by itself.
    let judged = Cowcheck::new(["judge"]).arg(place.join("trace.json")).output().code(1);
    assert!(judged.out.contains("integrity broken"), "{}", judged.out);
    Cowcheck::new(["replay"]).arg(place.join("as-found.cow")).output().code(0);
    let told = fs::read_to_string(place.join("explanation.txt")).unwrap();
    assert!(told.contains(">   2  A read all"), "{told}");
}

#[test]
fn steps_at_once_keep_the_contract_here() {
    let dir = TempDir::new().unwrap();
    let output = explore(&["--scenarios", "60", "--seed", "3", "--at-once"], dir.path()).output().code(0);
    let campaign = campaign(dir.path());
    assert_eq!(campaign["subject"]["at_once"], true, "{campaign:#}");
    assert!(campaign["tally"]["verdicts"]["pass"].as_u64() >= Some(20), "{campaign:#}");
    assert_eq!(findings(dir.path()), [] as [&str; 0], "{}", output.out);
    let corpus = fs::read_to_string(dir.path().join("corpus.jsonl")).unwrap();
    assert!(corpus.contains("\\n| A "), "{corpus}");
}

#[test]
fn a_write_that_is_lost_at_once_is_found_and_shrunk() {
    let dir = TempDir::new().unwrap();
    let args = ["--scenarios", "40", "--at-once", "--unguided", "--self-test", "lost-at-once"];
    explore(&args, dir.path()).output().code(1);
    let place = dir.path().join("findings/integrity_anon_at-once+read+write");
    assert!(place.exists(), "{:?}", findings(dir.path()));
    let scenario = fs::read_to_string(place.join("scenario.cow")).unwrap();
    assert!(scenario.contains("\n| A ") && scenario.lines().count() <= 5, "{scenario}");
    let told = fs::read_to_string(place.join("explanation.txt")).unwrap();
    assert!(told.contains("the page is torn"), "{told}");
}

#[test]
fn shards_put_together_equal_the_run() {
    let dir = TempDir::new().unwrap();
    let at = |name: &str| dir.path().join(name);
    let run = |shard: &str, name: &str| {
        explore(&["--scenarios", "36", "--unguided", "--self-test", "lost-write", "--shard", shard], &at(name))
            .output()
            .code(1);
    };
    run("0/1", "run");
    (0..3).for_each(|index| run(&format!("{index}/3"), &format!("part{index}")));
    let merge = |parts: &[&str], into: &str| -> Output {
        Cowcheck::new(["explore", "merge"]).args(parts.iter().map(|part| at(part))).arg("--into").arg(at(into)).output()
    };
    // What goes on does so with its shard.
    let more = ["explore", "--jobs", "1", "--scenarios", "39", "--self-test", "lost-write", "--resume"];
    Cowcheck::new(more).arg(at("part2")).output().code(1);
    assert_eq!(campaign(&at("part2"))["below"], serde_json::json!({"2/3": 41}));
    fs::remove_dir_all(at("part2")).unwrap();
    run("2/3", "part2");
    merge(&["part0", "part1", "part2"], "whole").code(1);
    let (whole, run) = (campaign(&at("whole")), campaign(&at("run")));
    for what in ["subject", "below"] {
        assert_eq!(whole[what], run[what], "{whole:#}\n{run:#}");
    }
    for what in ["numbered", "mutants", "verdicts", "skipped"] {
        assert_eq!(whole["tally"][what], run["tally"][what], "{whole:#}\n{run:#}");
    }
    // None of these looks like so many others that it is not shrunk.
    assert_eq!(findings(&at("whole")), findings(&at("run")));
    let twice = merge(&["part0", "part0"], "twice").code(2);
    assert!(twice.err.contains("both have shard 0/3"), "{}", twice.err);
}

#[test]
fn a_campaign_goes_on_after_it_was_killed() {
    let dir = TempDir::new().unwrap();
    let running = explore(&["--time", "100s", "--unguided", "--self-test", "lost-write"], dir.path()).start();
    let finding = dir.path().join("findings/integrity_anon_read+write/finding.json");
    running.until("a finding is saved", |_| finding.exists());
    running.signal(Signal::KILL);
    let output = running.wait();
    assert_eq!(output.code, -1, "{}", output.err);
    let before = campaign(dir.path())["below"]["0/1"].as_u64().unwrap_or(0);
    let end = (before + 10).to_string();
    let resume = ["explore", "--jobs", "2", "--self-test", "lost-write", "--scenarios", &end, "--resume"];
    Cowcheck::new(resume).arg(dir.path()).output().code(1);
    let campaign = campaign(dir.path());
    assert_eq!(campaign["below"]["0/1"], before + 10, "{campaign:#}");
    assert!(finding.exists());
    assert!(!dir.path().join("pending").exists() || fs::read_dir(dir.path().join("pending")).unwrap().count() == 0);
}

#[test]
fn every_short_sequence_is_run() {
    let dir = TempDir::new().unwrap();
    let args = ["explore", "--jobs", "2", "--exhaustive", "1", "--on", "anon 4K x2", "--on", "memfd 8K", "--results"];
    let output = Cowcheck::new(args).arg(dir.path()).output();
    assert!(output.err.contains("28 sequences of up to 1 step on anon 4K x2 and memfd 8K"), "{}", output.err);
    let campaign = campaign(dir.path());
    let skipped =
        campaign["tally"]["skipped"].as_object().map_or(0, |all| all.values().filter_map(Value::as_u64).sum());
    assert_eq!(campaign["tally"]["numbered"].as_u64().unwrap() + skipped, 28, "{campaign:#}");
    assert_eq!(campaign["below"]["0/1"], 28);
}

/// A guest that is a script, in which a scenario panics the kernel.
fn in_a_guest(fake: &str) -> (TempDir, Output) {
    let dir = TempDir::new().unwrap();
    let qemu = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/fake-explorer");
    let args = ["explore", "--accel", "tcg", "--cpus", "1", "--scenarios", "9", "--vm", &vm::kernel(dir.path())];
    let explore = Cowcheck::new(args).arg("--results").arg(dir.path().join("store"));
    let output = explore.env("COWCHECK_QEMU", qemu).env("COWCHECK_CACHE", dir.path()).env("FAKE", fake).output();
    (dir, output)
}

#[test]
fn a_scenario_that_kills_its_guest_is_a_finding_and_the_next_guest_goes_on() {
    let (dir, output) = in_a_guest("always");
    let store = dir.path().join("store");
    assert_eq!(findings(&store), ["crash_anon_read+write"], "{}\n{}", output.out, output.err);
    let place = store.join("findings/crash_anon_read+write");
    let scenario = fs::read_to_string(place.join("scenario.cow")).unwrap();
    assert_eq!(scenario, "cowcheck scenario 1\nmemory anon 4K\nA write all\nA read all\n");
    let told = fs::read_to_string(place.join("explanation.txt")).unwrap();
    assert!(told.contains("Kernel panic - not syncing: planted"), "{told}");
    let campaign = campaign(&store);
    assert_eq!((&campaign["below"]["0/1"], &campaign["tally"]["numbered"]), (&Value::from(9), &Value::from(9)));
    assert_eq!(campaign["tally"]["verdicts"]["crash"], 1, "{campaign:#}");
    output.code(1);
}

#[test]
fn a_guest_that_died_once_is_a_finding_too() {
    let (dir, output) = in_a_guest("once");
    let finding = dir.path().join("store/findings/crash_anon_read+write/finding.json");
    let finding: Value = serde_json::from_str(&fs::read_to_string(finding).unwrap()).unwrap();
    assert_eq!(finding["rate"].to_string(), "[0,1]");
    let told = "none of 2 scenarios did it again alone";
    assert!(finding["sentence"].as_str().unwrap().contains(told), "{finding:#}");
    output.code(1);
}

#[test]
fn what_a_child_maps_does_not_get_to_where_fork_left_a_hole() {
    let dir = TempDir::new().unwrap();
    let (file, traces) = (dir.path().join("hole.cow"), dir.path().join("traces"));
    let steps = "A write all\nA dontfork last\nA fork B\nB pin rw p0 first\nB read first\n";
    fs::write(&file, format!("cowcheck scenario 1\nmemory anon 4K x2\n{steps}")).unwrap();
    Cowcheck::new(["replay"]).arg(&file).arg("--save-trace").arg(&traces).output();
    let trace = fs::read_dir(&traces).unwrap().next().unwrap().unwrap().path();
    let trace: Value = serde_json::from_str(&fs::read_to_string(trace).unwrap()).unwrap();
    let records = trace["records"].as_array().unwrap();
    if records.iter().any(|record| record["step"] == 4 && record["result"] != "ok" && !record["result"].is_null()) {
        eprintln!("no fixed buffer could be pinned: not tested");
        return;
    }
    let states = records.iter().flat_map(|record| record["states"].as_array().into_iter().flatten());
    let of_b: Vec<&Value> = states.filter(|seen| seen["actor"] == "B").collect();
    assert!(!of_b.is_empty(), "{trace:#}");
    let is_there = |seen: &&&Value| seen["present"] == true && seen["pages"] != "0";
    assert_eq!(of_b.iter().find(is_there), None);
}

#[test]
fn what_makes_no_sense_is_refused() {
    for (args, told) in [
        (&["--on", "thp 3M x"][..], "expected a memory as the language writes it"),
        (&["--shard", "4/4"], "expected I/N with I below N"),
        (&["--time", "soon"], "expected a time, as in 60s"),
        (&["--cpus", "2"], "--vm <KERNEL>"),
        (&["--resume", "/nowhere/at/all", "--seed", "2"], "cannot be used with"),
    ] {
        let output = Cowcheck::new(["explore"]).args(args).output().code(2);
        assert!(output.err.contains(told), "{args:?}: {}", output.err);
    }
}
