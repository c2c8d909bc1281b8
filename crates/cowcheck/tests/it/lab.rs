//! `cowcheck lab`: mutants that are played by a script that stands in for QEMU; real ones are in scripts/lab.

use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::program::{Cowcheck, Output};
use crate::vm::tree;

const ALL: [&str; 7] = [
    "in-place-correct",
    "in-place-none-marked",
    "in-place-tails-marked",
    "in-place-mixed-marked",
    "in-place-mixed-cleared",
    "in-place-mark-of-first",
    "in-place-never-marked",
];

struct Lab {
    directory: TempDir,
    tree: String,
}

impl Lab {
    fn new() -> Lab {
        let directory = TempDir::new().unwrap();
        let tree = tree(directory.path());
        Lab { directory, tree }
    }

    fn results(&self) -> std::path::PathBuf {
        self.directory.path().join("out")
    }

    /// `None` where no module can be built here: then it was told.
    fn run(&self, how: &str, args: &[&str]) -> Option<Output> {
        let fake = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/fake-qemu");
        let output = Cowcheck::new(["lab", "run", "--accel", "tcg", "--no-peer", "--check", "cow/collapse*"])
            .args(["--kernel", &self.tree, "--results"])
            .arg(self.results())
            .args(args)
            .env("COWCHECK_QEMU", fake)
            .env("COWCHECK_CACHE", self.directory.path())
            .env("FAKE", how)
            .output();
        if output.err.contains("building a module needs") {
            assert_eq!(output.code, 3);
            return None;
        }
        Some(output)
    }

    fn kills(&self) -> Value {
        read(&self.results().join("kills.json"))
    }
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn row<'a>(kills: &'a Value, mutant: &str) -> &'a Value {
    kills["rows"].as_array().unwrap().iter().find(|row| row["mutant"] == mutant).unwrap()
}

#[test]
fn each_fate_is_told_and_stays_known() {
    let lab = Lab::new();
    for fast in [&["--fast"][..], &[]] {
        let Some(output) = lab.run("lab", &[&ALL[..], fast].concat()) else { return };
        let output = output.code(1);
        let kills = lab.kills();
        let fates = ALL[1..].iter().map(|mutant| row(&kills, mutant)["fate"].as_str().unwrap()).collect::<Vec<_>>();
        // Fails again, crashes again, fails once only, passes, panics before its first program, panics with checks only
        // in company.
        assert_eq!(
            fates,
            ["caught", "caught", "missed", "missed", "unviable", "missed"],
            "{}{}",
            output.out,
            output.err
        );
        let failed = &row(&kills, ALL[1])["kills"][0];
        // The second in the order, which with `--fast` is the mutant's own.
        assert!(failed["check"].as_str().unwrap().starts_with("cow/collapse-"), "{failed}");
        assert_eq!((&failed["rules"][0], &failed["rate"]["runs"]), (&"isolation".into(), &2.into()));
        let crashed = &row(&kills, ALL[2])["kills"][0];
        assert_eq!((&crashed["verdict"], &crashed["rate"]["failed"]), (&"crash".into(), &2.into()));
        assert_eq!(row(&kills, ALL[3])["unconfirmed"].as_array().unwrap().len(), 1);
        let why = row(&kills, ALL[5])["reason"].as_str().unwrap();
        assert!(why.contains("Kernel panic - not syncing: planted"), "{why}");
        assert!(output.out.contains("2 of 6 mutants caught, 3 missed, 1 could not be judged."), "{}", output.out);
        assert_eq!(kills["grounds"][0]["references"], serde_json::json!(["baseline", "in-place-correct"]));
        for name in ["kills.html", "kills.md", "kills.txt", "lab.jsonl"] {
            assert!(lab.results().join(name).exists(), "{name}");
        }
    }
    // Nothing is booted for what is known, but what could not be judged is tried again.
    let again = lab.run("broken", &[&ALL[..5], &["--resume"]].concat()).unwrap().code(1);
    assert!(again.out.contains("2 of 4 mutants caught, 2 missed."), "{}{}", again.out, again.err);
}

#[test]
fn nothing_is_judged_where_something_fails_without_a_bug() {
    let lab = Lab::new();
    let Some(output) = lab.run("lab-control", &["--fast", ALL[0], ALL[1]]) else { return };
    let output = output.code(3);
    assert!(output.out.contains("FAULT in-place-correct on "), "{}", output.out);
    assert!(output.out.contains("cow/collapse-fully-shared fail (2 of 2): B saw what A wrote"), "{}", output.out);
    assert_eq!(row(&lab.kills(), ALL[1])["fate"], "unfinished");
    // By what is left, on request; it stays no success.
    let kept = lab.run("lab-control", &["--fast", "--keep-going", ALL[0], ALL[1]]).unwrap().code(1);
    assert!(kept.out.contains("1 missed, 1 faults without a bug"), "{}", kept.out);
}

#[test]
fn what_cannot_be_had_is_told_with_what_to_do() {
    let directory = TempDir::new().unwrap();
    let run = |args: &[&str]| Cowcheck::new(["lab", "run"]).args(args).env("COWCHECK_CACHE", directory.path()).output();
    let told = run(&["in-place-none", "--fast"]).code(2).err;
    assert!(told.contains("did you mean in-place-none-marked"), "{told}");
    assert!(run(&["--check", "cow/nothing*"]).code(2).err.contains("cow/nothing"));
    let told = run(&["in-place-correct", "in-place-dirty", "--kernel", "/no/such/kernel", "--peer", "/no/cow"]).code(3);
    assert!(told.err.contains("there is no such file"), "{}", told.err);
    assert!(told.err.contains("peer/build.sh builds it"), "{}", told.err);
    assert!(told.out.contains("not done: "), "{}", told.out);
}

#[test]
fn mutants_are_listed_and_shown() {
    let list = Cowcheck::new(["lab", "list", "in-place-*"]).output().code(0);
    assert!(list.out.lines().count() >= 20 && list.out.contains("(correct)"), "{}", list.out);
    let json = Cowcheck::new(["lab", "list", "in-place-correct", "--format", "json"]).output().code(0);
    assert_eq!(serde_json::from_str::<Value>(&json.out).unwrap()["control"], true);
    let show = Cowcheck::new(["lab", "show", "in-place-mixed-cleared"]).output().code(0);
    assert!(show.out.contains("breaks:   pin coherence") && show.out.contains("bug=4"), "{}", show.out);
    assert!(Cowcheck::new(["lab", "show", "in-place"]).output().code(2).err.contains("did you mean"));
}
