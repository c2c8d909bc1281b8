//! Faults planted in the executor itself: each must be reported as what it is. A tool that has never
//! been seen to fail has never been seen to work.

use std::fs;

use cowcheck_sys::helper::{DEVICE, Helper};
use serde_json::Value;
use tempfile::TempDir;

use crate::machine::{suffix, thp};
use crate::program::{Cowcheck, Results};

/// Checks over every way in which a page is looked at, and the last page of each that A writes last.
fn checks() -> Vec<(String, u64)> {
    let mut all: Vec<(String, u64)> =
        ["cow/fork-write/base", "cow/uring-fork/base", "cow/file-write/memfd", "cow/file-write/zero"]
            .map(|id| (id.to_owned(), 0))
            .to_vec();
    if let Some(size) = thp() {
        let last = size / rustix::param::page_size() as u64 - 1;
        all.push((format!("cow/fork-write/thp-pte-{}", suffix(size)), last));
        all.push((format!("cow/fork-write/thp-mremap-{}", suffix(size)), last));
        let collapse = ["before-fork", "fully-shared", "lower-shared", "upper-shared"];
        all.extend(collapse.map(|kind| (format!("cow/collapse-{kind}"), last)));
    }
    all
}

fn run_with(fault: &str, ids: &[String]) -> Results {
    Cowcheck::run(ids).args(["--self-test", fault]).results()
}

#[test]
fn what_fails_is_run_again_until_it_has_failed_again() {
    let id = "cow/fork-write/base";
    let again = |fault: &[&str]| {
        let results = Cowcheck::run([id, "cow/uring-fork/base"]).args(["--confirm", "5"]).args(fault).results();
        (results.check(id)["again"].clone(), results.code)
    };
    assert_eq!(again(&["--self-test", "wrong-byte"]), (serde_json::json!({ "failed": 2, "runs": 2 }), 1));
    assert_eq!(again(&[]).0, Value::Null, "what passes is not run again");
}

/// Every check fails for a page that A wrote, and says which and where.
#[track_caller]
fn each_is_told(fault: &str, seen: fn(u64) -> String) {
    let checks = checks();
    let ids: Vec<String> = checks.iter().map(|(id, _)| id.clone()).collect();
    let results = run_with(fault, &ids).ended_with(1);
    for (id, page) in &checks {
        if results.reason(id).contains("io_uring") {
            continue;
        }
        let check = results.check(id);
        assert_eq!(results.verdict(id), "fail", "{check:#}");
        let violations = check["violations"].as_array().unwrap();
        let explanation = check["explanation"].as_str().unwrap();
        for violation in violations {
            assert_eq!(violation["pages"], page.to_string(), "{violation:#}");
            assert!(violation["seen"].as_str().unwrap().contains(&seen(*page)), "{violation:#}");
            let step = violation["step"].as_u64().unwrap();
            let sentence = violation["sentence"].as_str().unwrap();
            assert!(sentence.starts_with(&format!("in step {step} A read page {page} ")), "{sentence}");
            assert!(explanation.contains(&format!("\n> {step:>3}  A read ")), "{explanation}");
            assert!(explanation.contains(sentence), "{explanation}");
        }
        assert!(explanation.contains("cowcheck replay FILE"), "{explanation}");
    }
}

#[test]
fn a_wrong_byte_is_told() {
    each_is_told("wrong-byte", |page| format!("of page {page};"));
}

#[test]
fn a_lost_write_is_told() {
    // What was there before: zeroes, an older stamp, or what the file held.
    each_is_told("lost-write", |_| String::new());
}

#[test]
fn a_swapped_page_is_told() {
    // The page before it; of a single page, the halves.
    each_is_told("swapped-page", |page| match page {
        0 => "raw 0x".to_owned(),
        page => format!("of page {}", page - 1),
    });
}

/// What a fault that is in B does to a check in which there is a B, and to one in which there is none.
#[track_caller]
fn only_where_b_is(fault: &str, verdict: &str, words: &[&str]) {
    let (with, without) = (["cow/fork-write/base", "cow/vmsplice-before-fork/base"], "cow/file-write/memfd");
    let results = Cowcheck::run(with).args([without, "--self-test", fault, "--timeout", "0.5"]).results().ended_with(3);
    for id in with {
        results.expect(id, verdict, words);
        let explanation = results.check(id)["explanation"].as_str().unwrap();
        assert!(explanation.contains("A fork B\n"), "{explanation}");
        assert!(explanation.contains("not reached"), "{explanation}");
    }
    results.expect(without, "pass", &[]);
    assert_eq!(results.end["not_run"], 0);
}

#[test]
fn an_actor_that_is_killed_is_a_crash() {
    only_where_b_is("die", "crash", &["B died in step", "SIGKILL", "out of memory"]);
}

#[test]
fn an_actor_that_crashes_is_a_crash() {
    only_where_b_is("crash", "crash", &["B died in step", "SIGSEGV"]);
}

#[test]
fn an_actor_that_is_stopped_is_a_timeout() {
    only_where_b_is("stop", "timeout", &["no end after 0.5 s", "B was in step", "it is stopped"]);
}

#[test]
fn an_actor_that_spins_is_a_timeout() {
    only_where_b_is("spin", "timeout", &["no end after 0.5 s", "B was in step", "it is running"]);
}

/// Only the helper module can lie about marks.
#[test]
fn a_false_mark_is_told() {
    let (with, without) = ("cow/fork-write/base", "cow/file-write/memfd");
    let results = Cowcheck::run([with, without]).args(["--self-test", "false-mark"]).results();
    results.expect(without, "pass", &[]);
    if Helper::open(DEVICE).is_err() {
        results.expect(with, "pass", &[]);
        return;
    }
    let check = results.check(with);
    assert_eq!(results.verdict(with), "fail", "{check:#}");
    for (violation, [of, other]) in check["violations"].as_array().unwrap().iter().zip([["A", "B"], ["B", "A"]]) {
        assert_eq!((&violation["rule"], &violation["pages"]), (&"exclusivity".into(), &"0".into()), "{violation:#}");
        let sentence = violation["sentence"].as_str().unwrap();
        assert!(sentence.starts_with(&format!("after step 2 (`A fork B`) page 0 of {of} (frame 0x")), "{sentence}");
        assert!(sentence.ends_with(&format!("is marked exclusive, but {other} maps the same frame")), "{sentence}");
    }
}

/// Each kind of look in a storm sees what it is there for.
#[test]
fn faults_in_a_storm_are_told() {
    let Some(_) = thp() else { return };
    let of = |id: &str, fault: &str, rule: &str, words: &str| {
        let results = run_with(fault, &[format!("collapse/none/{id}")]);
        let id = format!("collapse/none/{id}");
        if results.verdict(&id) == "skip" {
            return;
        }
        assert_eq!(results.verdict(&id), "fail", "{:#}", results.check(&id));
        let violation = &results.check(&id)["violations"][0];
        assert_eq!(violation["rule"], rule, "{violation:#}");
        assert!(violation["sentence"].as_str().unwrap().contains(words), "{violation:#}");
    };
    of("storm+collapse", "lost-increment", "integrity", "A's writer of the word came back");
    of("storm+collapse+fork", "leaky-snapshot", "isolation", "its snapshot changed");
    of("storm+collapse+fork+gup", "stale-read", "integrity", "A read by GUP");
    of("storm+collapse+pin", "lost-pin-write", "pin-coherence", "through a fixed buffer");
    of("storm+collapse+mprotect", "not-protected", "markers", "read-only all the while");
}

#[test]
fn faults_in_a_file_are_told_too() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("mine.cow");
    fs::write(&file, "cowcheck scenario 1\nmemory anon 4K x3\nA write all\nA fork B\nB write first\nA read all\n")
        .unwrap();
    let name = file.to_str().unwrap();
    let replay = |fault: &str| Cowcheck::new(["replay", name, "--timeout", "0.5", "--self-test", fault]).results();
    let results = replay("wrong-byte").ended_with(1);
    assert_eq!(results.check(name)["violations"][0]["pages"], "2");
    replay("die").ended_with(3).expect(name, "crash", &["step 3", "`B write first`"]);
    replay("stop").ended_with(3).expect(name, "timeout", &["step 3", "`B write first`"]);
}

#[test]
fn a_fault_is_told_in_every_repeat() {
    let results = Cowcheck::run(["cow/fork-write/base"]).args(["--repeat", "5", "--self-test", "lost-write"]).results();
    let verdicts: Vec<&Value> = results.checks.iter().map(|check| &check["verdict"]).collect();
    assert_eq!(verdicts, ["fail"; 5]);
    results.ended_with(1);
}
