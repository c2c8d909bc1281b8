//! What is written: every format, whole and in agreement with the others, and the exit codes.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::machine::skipped;
use crate::program::{self, Cowcheck, Output, Results};

/// A few checks of every part of the catalogue that run anywhere, and some that may be skipped.
const FEW: [&str; 4] = ["cow/*/base", "cow/file-*/memfd", "cow/file-write/*", "cow/fork-write/*"];

/// What `peer/build.sh` has left, if it was run.
fn peer(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/peer").join(name);
    let found = path.exists().then_some(path);
    if found.is_none() {
        skipped("there is no such file below target/peer; to make them: peer/build.sh");
    }
    found
}

/// Every planned check has one outcome, or is counted as not run.
#[track_caller]
fn nothing_is_missing(results: &Results) {
    let planned = results.start["planned"].as_u64().unwrap();
    let not_run = results.end["not_run"].as_u64().unwrap();
    assert_eq!(planned, results.checks.len() as u64 + not_run);
    let mut seen = HashMap::new();
    for check in &results.checks {
        let twice = seen.insert((check["id"].to_string(), check["repeat"].as_u64().unwrap()), check);
        assert!(twice.is_none(), "{twice:?} and {check}");
    }
    for (verdict, count) in results.end["counts"].as_object().unwrap() {
        let told = results.checks.iter().filter(|check| check["verdict"] == verdict.as_str()).count();
        assert_eq!(count, told, "{verdict}");
    }
    assert_eq!(results.end["stopped"].is_null(), not_run == 0, "{}", results.end);
}

#[test]
fn all_formats_at_once_agree() {
    let dir = TempDir::new().unwrap();
    let formats = ["json", "ktap", "kselftest", "junit", "terminal"];
    let run = formats.iter().fold(Cowcheck::run(FEW), |run, format| {
        run.arg("--output").arg(format!("{format}={}", dir.path().join(format).display()))
    });
    let output = run.args(["--format", "json"]).output();
    let read = |format: &str| fs::read_to_string(dir.path().join(format)).unwrap();
    assert_eq!(read("json"), output.out);
    let results = output.results();
    nothing_is_missing(&results);
    let of = |verdict: &str| results.end["counts"][verdict].as_u64().unwrap() as usize;
    let planned = results.checks.len();
    let count = |format: &str, test: &dyn Fn(&str) -> bool| read(format).lines().filter(|line| test(line)).count();

    let skips = of("skip") + of("inconclusive");
    assert_eq!(count("ktap", &|line| line.starts_with("  ok ") || line.starts_with("  not ok ")), planned);
    assert_eq!(count("ktap", &|line| line.starts_with("  ok ") && line.contains(" # SKIP ")), skips);
    assert_eq!(count("kselftest", &|line| line.starts_with("ok ") || line.starts_with("not ok ")), planned);
    let totals = format!(
        "# Totals: pass:{} fail:{} xfail:{} xpass:0 skip:{skips} error:0",
        of("pass"),
        of("fail") + of("timeout") + of("crash"),
        of("xfail"),
    );
    assert_eq!(read("kselftest").lines().last(), Some(totals.as_str()));
    assert_eq!(read("junit").matches("<testcase ").count(), planned);
    assert_eq!(read("junit").matches("<skipped").count(), skips + of("xfail"));
    for (verdict, word) in [("pass", " pass\n"), ("skip", " skip\n")] {
        let told = read("terminal");
        assert_eq!(told.contains(&format!(" {}{word}", of(verdict))), of(verdict) > 0, "{told}");
    }
    // The order is the plan's in those that have one.
    let plan = Cowcheck::new(["list"]).args(FEW).output().code(0).out;
    let ids: Vec<&str> = plan.lines().map(|line| line.split_whitespace().next().unwrap()).collect();
    let ktap = read("ktap");
    let results_in = |line: &str| line.split_once(" - ").map(|(_, name)| name.split(" #").next().unwrap().to_owned());
    let told: Vec<String> = ktap
        .lines()
        .filter(|line| line.starts_with("  ok ") || line.starts_with("  not ok "))
        .map(|line| results_in(line).unwrap_or_else(|| line.split_whitespace().nth(2).unwrap().to_owned()))
        .collect();
    assert_eq!(told, ids);
}

#[test]
fn every_repeat_has_its_outcome() {
    let results = Cowcheck::run(["cow/*/base"]).args(["--repeat", "4"]).results().ended_with(0);
    nothing_is_missing(&results);
    assert_eq!(results.verdicts().len() * 4, results.checks.len());
    for (id, verdicts) in results.verdicts() {
        assert!(verdicts.iter().all(|verdict| *verdict == verdicts[0]), "{id}: {verdicts:?}");
    }
}

#[test]
fn what_fail_fast_leaves_out_is_counted() {
    let results = Cowcheck::run(["cow/fork-write/base"])
        .args(["--repeat", "50", "--jobs", "1", "--fail-fast", "--self-test", "lost-write"])
        .results()
        .ended_with(1);
    nothing_is_missing(&results);
    assert_eq!(results.checks.len(), 1);
    assert_eq!(results.end["not_run"], 49);
    assert_eq!(results.end["stopped"], "a check failed, and --fail-fast was given");
}

/// Prints the status and name of each test that the parser has found, then how many errors it met.
const PARSE: &str = r#"
import io, sys
sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])
import kunit_parser
from kunit_printer import Printer
test = kunit_parser.parse_run_tests(sys.stdin, Printer(output=io.StringIO()))
def tell(test):
    for sub in test.subtests:
        if not sub.subtests:
            print(sub.status.name, sub.name)
        tell(sub)
tell(test)
print("errors", test.counts.errors)
"#;

#[test]
fn the_parser_of_the_kernel_reads_a_run() {
    let Some(parser) = peer("kunit") else { return };
    let dir = TempDir::new().unwrap();
    let json = format!("json={}", dir.path().join("out.jsonl").display());
    let run = Cowcheck::run(FEW).args(["--self-test", "wrong-byte", "--format", "ktap", "--output", &json]);
    let ktap = run.output().code(1).out;
    let python =
        Command::new("python3").arg("-c").arg(PARSE).arg(parser).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut python) = python else { return skipped("there is no python3") };
    python.stdin.take().unwrap().write_all(ktap.as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    let results = Results::read(&fs::read_to_string(dir.path().join("out.jsonl")).unwrap());
    let mut expected: Vec<String> = results
        .checks
        .iter()
        .map(|check| {
            let status = match check["verdict"].as_str().unwrap() {
                "pass" | "xfail" => "SUCCESS",
                "skip" | "inconclusive" => "SKIPPED",
                _ => "FAILURE",
            };
            format!("{status} {}", check["id"].as_str().unwrap())
        })
        .collect();
    let mut found: Vec<String> = told.lines().map(str::to_owned).collect();
    assert_eq!(found.pop().as_deref(), Some("errors 0"));
    assert!(found.iter().any(|line| line.starts_with("FAILURE")));
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
}

/// The names in the result lines of TAP.
fn names(tap: &str) -> Vec<String> {
    let name = |line: &str| {
        let (head, rest) = line.split_once(' ')?;
        let rest = if head == "not" { rest.strip_prefix("ok ")? } else { rest };
        let (number, name) = rest.split_once(' ')?;
        if !matches!(head, "ok" | "not") || number.parse::<u32>().is_err() {
            return None;
        }
        let name = ["# SKIP ", "# XFAIL ", "# error "].iter().find_map(|word| name.strip_prefix(word)).unwrap_or(name);
        Some(name.to_owned())
    };
    tap.lines().filter_map(name).collect()
}

#[test]
fn the_kselftest_format_is_that_of_the_kernels_own_program() {
    let output = Cowcheck::run(["cow/*/base", "cow/file-*/memfd", "cow/file-*/tmpfile"])
        .args(["--format", "kselftest"])
        .output();
    let text = output.code(0).out;
    let ours = names(&text);
    assert_eq!(ours.len(), 14 + 3 + 3, "{text}");
    assert!(text.starts_with("TAP version 13\n# [INFO] detected "), "{text}");
    assert!(text.contains("\n1..20\n# [INFO] Anonymous memory tests in private mappings\n# [RUN] "), "{text}");
    let Some(transcript) = peer("run-noswap.tap") else { return };
    let theirs = names(&fs::read_to_string(transcript).unwrap());
    let order: Vec<Option<usize>> = ours.iter().map(|name| theirs.iter().position(|their| their == name)).collect();
    assert!(order.iter().all(Option::is_some) && order.is_sorted(), "{:?}", ours.iter().zip(order).collect::<Vec<_>>());
}

#[test]
fn the_exit_codes_are_those_of_the_help() {
    let help = Cowcheck::new(["--help"]).output().code(0).out;
    for line in ["0  every check that ran passed", "1  the kernel broke", "2  the arguments", "3  nothing broke"] {
        assert!(help.contains(line), "no {line:?} in\n{help}");
    }
    assert!(help.contains("--format kselftest: 0 pass, 1 fail, 4 skip"), "{help}");

    let code = |args: &[&str]| Cowcheck::new(args).output().code;
    let (pass, fail) = (["run", "cow/fork-write/base"], ["--self-test", "wrong-byte"]);
    let (crash, kselftest) = (["--self-test", "die"], ["--format", "kselftest"]);
    assert_eq!(code(&pass), 0);
    assert_eq!(code(&[&pass[..], &fail].concat()), 1);
    assert_eq!(code(&[&pass[..], &crash].concat()), 3);
    assert_eq!(code(&[&pass[..], &kselftest].concat()), 0);
    assert_eq!(code(&[&pass[..], &kselftest, &fail].concat()), 1);
    assert_eq!(code(&[&pass[..], &kselftest, &crash].concat()), 1);
    for wrong in [&["run", "--nonsense"][..], &["nonsense"], &[], &["run", "--timeout", "0"], &["run", "--repeat", "0"]]
    {
        assert_eq!(code(wrong), 2, "{wrong:?}");
    }
    // A file of one's own is no check of cow.c's: there is nothing to run.
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("mine.cow");
    fs::write(&file, "cowcheck scenario 1\nmemory anon 4K\nA write all\n").unwrap();
    assert_eq!(code(&["replay", file.to_str().unwrap(), "--format", "kselftest"]), 4);
}

#[test]
fn nothing_ran_is_no_success() {
    let results = Cowcheck::run(["cow/*/hugetlb-2m"]).results();
    if results.end["counts"]["skip"] != results.start["planned"] {
        return skipped("this machine has hugetlb pages");
    }
    results.ended_with(3);
}

#[test]
fn a_file_that_cannot_be_written_is_told_before_anything_runs() {
    let output = Cowcheck::run(["cow/fork-write/base", "--output", "json=/nowhere/x"]).output().code(2);
    assert_eq!(output.out, "");
    assert!(output.err.contains("/nowhere/x: cannot be written: No such file or directory"), "{}", output.err);
    for wrong in ["json", "json=", "xml=x", "=x"] {
        let output = Cowcheck::run(["cow/fork-write/base", "--output", wrong]).output().code(2);
        assert!(output.err.contains("expected FORMAT=FILE, FORMAT being one of "), "{}", output.err);
    }
}

#[test]
fn results_that_cannot_be_written_are_no_success() {
    let output = Cowcheck::run(["cow/fork-write/base", "--output", "json=/dev/full"]).output().code(3);
    assert!(output.err.contains("cannot write /dev/full: No space left on device"), "{}", output.err);
    assert_eq!(output.left, []);
}

#[test]
fn what_is_no_terminal_gets_no_escape_sequences() {
    for args in [&["run", "cow/*/base"][..], &["list"], &["doctor"], &["--help"], &["run", "--nonsense"]] {
        let Output { out, err, .. } = Cowcheck::new(args).env("TERM", "xterm-256color").output();
        for text in [out, err] {
            assert!(!text.contains('\x1b'), "{args:?}: {text:?}");
        }
    }
}

/// On a terminal that script(1) makes.
fn on_a_terminal(no_color: Option<&str>) -> String {
    let command = format!("{} run cow/*/base --self-test lost-write", program::path().display());
    let run = Cowcheck::new(["-qec", &command, "/dev/null"]).program("script").env("TERM", "xterm-256color");
    let run = no_color.into_iter().fold(run, |run, value| run.env("NO_COLOR", value));
    run.output().code(1).out
}

#[test]
fn a_terminal_gets_colours_unless_they_are_not_wanted() {
    if !Path::new("/usr/bin/script").exists() {
        return skipped("there is no script(1)");
    }
    // `ESC [ ... m`, with anything but the reset.
    let coloured = |text: &str| {
        let mut parts = text.split("\x1b[").skip(1);
        parts.any(|part| {
            part.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';').starts_with('m')
                && !part.starts_with("0m")
        })
    };
    let with = on_a_terminal(None);
    assert!(coloured(&with), "{with:?}");
    let without = on_a_terminal(Some("1"));
    assert!(without.contains("cow/fork-write/base") && !coloured(&without), "{without:?}");
}

#[test]
fn a_reader_who_has_seen_enough_is_no_fault() {
    for format in ["terminal", "json", "ktap", "kselftest", "junit"] {
        let run = Cowcheck::run(["cow/*/base"]).args(["--repeat", "20", "--format", format]);
        let output =
            run.under(["sh", "-c", "{ \"$@\"; echo \"ended with $?\" >&2; } | head -n 1", "sh"]).output().code(0);
        assert_eq!(output.out.lines().count(), 1);
        // What was written before the reader left may be all of it.
        assert_eq!(output.err, "ended with 0\n", "{format}");
        assert_eq!(output.left, []);
    }
    let output = Cowcheck::new(["list"])
        .under(["sh", "-c", "{ \"$@\"; echo \"ended with $?\" >&2; } | head -n 1", "sh"])
        .output();
    assert_eq!((output.out.lines().count(), output.err.as_str()), (1, "ended with 0\n"));
}

#[test]
fn two_runs_of_the_same_checks_do_not_differ() {
    let dir = TempDir::new().unwrap();
    let file = |name: &str| dir.path().join(name).display().to_string();
    for name in ["a", "b"] {
        Cowcheck::run(["cow/*/base"]).arg("--output").arg(format!("json={}", file(name))).output().code(0);
    }
    Cowcheck::run(["cow/*/base", "--self-test", "lost-write"])
        .arg("--output")
        .arg(format!("ktap={}", file("c")))
        .output()
        .code(1);
    Cowcheck::new(["compare", &file("a"), &file("b")]).output().code(0);
    let differ = Cowcheck::new(["compare", &file("a"), &file("c"), "--format", "json"]).output().code(1);
    let comparison: Value = serde_json::from_str(&differ.out).unwrap();
    assert!(!comparison["changed"].as_array().unwrap().is_empty(), "{comparison}");
}
