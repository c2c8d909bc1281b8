//! `cowcheck lab explore`: guests that are played by a script; real ones are in docs/explore.md.

use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;

use crate::program::{Cowcheck, Output};
use crate::vm::tree;

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

    fn results(&self) -> PathBuf {
        self.directory.path().join("out")
    }

    /// `None` where no module can be built here: then it was told.
    fn explore(&self, fake: &str, args: &[&str]) -> Option<Output> {
        let mutants = ["in-place-none-marked", "in-place-tails-marked", "in-place-mixed-marked"];
        let output = Cowcheck::new(["lab", "explore", "--accel", "tcg", "--time", "60s", "--kernel", &self.tree])
            .args(mutants)
            .arg("--results")
            .arg(self.results())
            .args(args)
            .env("COWCHECK_QEMU", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/fake-mutants"))
            .env("COWCHECK_CACHE", self.directory.path())
            .env("FAKE", fake)
            .output();
        if output.err.contains("building a module needs") {
            assert_eq!(output.code, 3);
            return None;
        }
        Some(output)
    }

    fn table(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.results().join("explored.json")).unwrap()).unwrap()
    }
}

fn outcomes(rows: &Value) -> Vec<&str> {
    rows.as_array().unwrap().iter().map(|row| row["outcome"].as_str().unwrap()).collect()
}

#[test]
fn a_mutant_is_left_at_its_first_finding_that_shows_again() {
    let lab = Lab::new();
    let Some(output) = lab.explore("mutants", &["--jobs", "2"]) else { return };
    let output = output.code(1);
    let table = lab.table();
    assert_eq!(outcomes(&table["references"]), ["nothing", "nothing"], "{table:#}");
    assert_eq!(outcomes(&table["mutants"]), ["nothing", "found", "nothing"], "{}{}", output.out, output.err);
    let found = &table["mutants"][1];
    assert_eq!(found["signature"], "explore/isolation/thp/collapse+fork+write");
    assert_eq!((&found["after_scenarios"], found["rate"].to_string().as_str()), (&Value::from(8), "[3,3]"));
    // What was seen once is told, and is no finding on a mutant.
    let once = table["mutants"].as_array().unwrap().iter().filter(|row| row["unconfirmed"].is_array());
    assert_eq!(once.count(), 1, "{table:#}");
    assert!(output.out.contains("1 of 3 mutants found without any check"), "{}", output.out);
    for name in ["explored.md", "explored.txt", "lab.jsonl"] {
        assert!(lab.results().join(name).exists(), "{name}");
    }
    // Each campaign is there with all it found.
    let kept = std::fs::read_dir(lab.results()).unwrap().filter_map(|entry| entry.ok());
    let campaigns = kept.filter(|entry| entry.path().join("campaign.json").exists()).count();
    assert_eq!(campaigns, 5);
    // Nothing is booted for what is known; without a line that was cut off, that one is explored again.
    let again = lab.explore("none", &["--resume", "--jobs", "1"]).unwrap().code(1);
    assert!(again.out.contains("1 of 3 mutants found without any check"), "{}{}", again.out, again.err);
    let file = lab.results().join("lab.jsonl");
    let lines = std::fs::read(&file).unwrap();
    std::fs::write(&file, &lines[..lines.len() - 9]).unwrap();
    let cut = lab.explore("none", &["--resume", "--jobs", "1"]).unwrap().code(1);
    let left = outcomes(&lab.table()["mutants"]).iter().filter(|outcome| **outcome == "unfinished").count();
    assert_eq!(left, 1, "{}{}", cut.out, cut.err);
}

#[test]
fn what_is_found_without_a_bug_is_a_false_alarm_and_ends_it() {
    let lab = Lab::new();
    let Some(output) = lab.explore("alarm", &[]) else { return };
    let output = output.code(1);
    assert!(output.out.contains("FALSE ALARM  in-place-correct"), "{}", output.out);
    assert!(output.out.contains("1 false alarm."), "{}", output.out);
    assert_eq!(outcomes(&lab.table()["mutants"]), ["unfinished"; 3]);
}

#[test]
fn bad_arguments_are_told() {
    let explore = |args: &[&str]| Cowcheck::new(["lab", "explore"]).args(args).output().code(2).err;
    assert!(explore(&["in-place-none"]).contains("did you mean in-place-none-marked"));
    assert!(explore(&["--on", "thp 3M x"]).contains("expected a memory as the language writes it"));
    assert!(explore(&["--time", "soon"]).contains("expected a time, as in 60s"));
}
