//! Texts in and out: scenarios shown and replayed, traces saved and judged, words that mean nothing.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use cowcheck::suite::{Sizes, cow};
use predicates::prelude::*;
use serde_json::Value;
use tempfile::TempDir;

use crate::machine::{suffix, thp};
use crate::program::{self, Cowcheck, Output};

/// Files in a directory of their own.
struct Files(TempDir);

impl Files {
    fn new() -> Files {
        Files(TempDir::new().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        fs::write(self.path(name), text).unwrap();
        self.path(name).to_str().unwrap().to_owned()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }
}

#[track_caller]
fn says(output: &Output, words: &[&str]) {
    for word in words {
        assert!(output.err.contains(word), "no {word:?} in\n{}", output.err);
    }
}

#[test]
fn a_program_of_what_ends_unread_writes_and_reads_in_the_end() {
    let files = Files::new();
    let program = |lines: &str| {
        let file = files.write("it.cow", format!("cowcheck scenario 1\nmemory anon 4K\n{lines}"));
        Cowcheck::new(["repro", &file]).output().code(0).out
    };
    let pinned = program("A pin rw p0 all\nA write all\n");
    for step in
        ["3   A read all                # added: ", "5   A write all", "7   A read via p0             # added: "]
    {
        assert!(pinned.contains(step), "{step}: {pinned}");
    }
    assert!(!program("A pin rw p0 all\nA write all\nA read all\n").contains("added: "));
}

#[test]
fn what_is_shown_can_be_replayed() {
    let files = Files::new();
    let mut ids: Vec<String> =
        ["cow/fork-write/base", "cow/vmsplice-child/base", "cow/uring-fork/base"].map(String::from).into();
    ids.extend(["cow/file-write/memfd", "cow/file-write/zero"].map(String::from));
    if let Some(size) = thp() {
        ids.extend(["cow/collapse-lower-shared".to_owned(), format!("cow/fork-write/thp-mremap-{}", suffix(size))]);
    }
    for (index, id) in ids.iter().enumerate() {
        let shown = Cowcheck::new(["show", id]).output().code(0).out;
        assert!(shown.starts_with(&format!("cowcheck scenario 1\n# {id}\n# ")), "{shown}");
        let file = files.write(&format!("{index}.cow"), &shown);
        // The same scenario: what the replay saved is what the catalogue's run saves.
        let traces = |of: &str| files.path(&format!("{index}-{of}"));
        let saved = |dir: &Path| {
            let file = fs::read_dir(dir).unwrap().next().unwrap().unwrap().path();
            serde_json::from_str::<Value>(&fs::read_to_string(file).unwrap()).unwrap()
        };
        let replay = Cowcheck::new(["replay", &file, "--save-trace"]).arg(traces("replay")).results();
        let run = Cowcheck::run([id]).arg("--save-trace").arg(traces("run")).results();
        assert_eq!(replay.verdict(&file), run.verdict(id));
        if run.verdict(id) == "skip" {
            continue;
        }
        let steps = |trace: &Value| {
            let text = trace["scenario"].as_str().unwrap().to_owned();
            text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(steps(&saved(&traces("replay"))), steps(&saved(&traces("run"))));
        // And what is printed again is what was read.
        assert_eq!(saved(&traces("replay"))["scenario"], shown);
    }
}

const GOOD: &str = "cowcheck scenario 1\nmemory anon 4K\nA write all\nA fork B\nB read all\n";

#[test]
fn a_bad_file_is_told_where_and_the_others_run() {
    let files = Files::new();
    let good = files.write("good.cow", GOOD);
    let cases: [(&str, &[u8], &str); 9] = [
        ("empty.cow", b"", "empty.cow:1:1: found the end of the text, expected `cowcheck scenario 1`"),
        ("version.cow", b"cowcheck scenario 2\n", "version.cow:1:19: found `2`, expected version 1"),
        ("size.cow", b"cowcheck scenario 1\nmemory anon 4Q\n", "size.cow:2:13: found `4Q`, expected a size in bytes"),
        (
            "memory.cow",
            b"cowcheck scenario 1\nmemory anno 4K\n",
            "memory.cow:2:8: found `anno`, expected `anon`, or another of ",
        ),
        (
            "word.cow",
            b"cowcheck scenario 1\nmemory anon 4K\n\nA wirte all # oops\n",
            "word.cow:4:3: found `wirte`, expected `write` or another step",
        ),
        (
            "end.cow",
            b"cowcheck scenario 1\nmemory anon 4K\nA write\n",
            "end.cow:3:8: found the end of the line, expected which pages",
        ),
        (
            "more.cow",
            b"cowcheck scenario 1\nmemory anon 4K\nA write all all\n",
            "more.cow:3:13: found `all`, expected the end of the line",
        ),
        (
            "nobody.cow",
            b"cowcheck scenario 1\nmemory anon 4K\nA write all\nB read all\n",
            "nobody.cow:4:1: found `B read all`, which cannot be done, expected a step by an actor that is alive",
        ),
        (
            "bytes.cow",
            b"cowcheck scenario 1\nmem\xffory\n",
            "bytes.cow:2:4: found a byte that is no UTF-8, expected text",
        ),
    ];
    let names: Vec<String> = cases.iter().map(|(name, text, _)| files.write(name, text)).collect();
    let missing = files.path("missing.cow");
    let output = Cowcheck::new(["replay", "--format", "json"]).args(&names).arg(&missing).arg(&good).output().code(2);
    for (_, _, told) in cases {
        says(&output, &[told]);
    }
    says(&output, &["missing.cow: cannot be read: No such file or directory"]);
    assert_eq!(output.err.lines().count(), names.len() + 1, "{}", output.err);
    let results = output.results();
    assert_eq!(results.checks.len(), 1);
    results.expect(&good, "pass", &[]);
    // A failure tells more than a bad file does.
    Cowcheck::new(["replay", &names[0], &good, "--self-test", "lost-write"]).output().code(1);
    Cowcheck::new(["replay", &names[0]]).output().code(2);
}

#[test]
fn standard_input_is_a_file_too() {
    assert_cmd::Command::new(program::path())
        .args(["replay", "-", "--format", "ktap"])
        .write_stdin(GOOD)
        .assert()
        .code(0)
        .stdout(predicate::str::contains("ok 1 -\n").or(predicate::str::contains("ok 1 - -\n")));
    assert_cmd::Command::new(program::path())
        .args(["replay", "-"])
        .write_stdin("cowcheck")
        .assert()
        .code(2)
        .stderr(predicate::str::contains("-:1:9: found the end of the line, expected `cowcheck scenario 1`"));
}

#[test]
fn a_word_that_means_nothing_gets_the_nearest_one() {
    let cases: [(&[&str], &[&str]); 9] = [
        (&["cow/fork-wrote/base"], &["no check is called `cow/fork-wrote/base`", "did you mean cow/fork-write/base?"]),
        (&["uring-fork"], &["did you mean cow/uring-fork/base"]),
        (&["nonsense*"], &["no check is called `nonsense*`", "cowcheck list"]),
        (&["--kind", "fork-wriet"], &["--kind fork-wriet: did you mean fork-write?", "vmsplice-child"]),
        (&["--memory", "memdf"], &["--on memdf: did you mean memfd?", "tmpfile"]),
        (&["--group", "cwo"], &["--group cwo: did you mean cow?"]),
        (&["--size", "5K"], &["--size 5K: this machine has pages of", "4K"]),
        (&["--size", "big"], &["--size big: expected a size, as in 4K, 2M or 1G"]),
        (&["--kind", "file-write", "--memory", "base"], &["no check is meant by all of these words together"]),
    ];
    for (words, told) in cases {
        for command in ["run", "list"] {
            let output = Cowcheck::new([command]).args(words).output().code(2);
            says(&output, told);
            assert_eq!(output.out, "", "{words:?}");
        }
    }
    let output = Cowcheck::new(["show", "cow/collapse-lower-share"]).output().code(2);
    says(&output, &["did you mean cow/collapse-lower-shared?"]);
}

fn traces_of(files: &Files, args: &[&str]) -> Vec<(String, String)> {
    let dir = files.path("traces");
    let results = Cowcheck::run(args).arg("--save-trace").arg(&dir).results();
    let ran = results.checks.iter().filter(|check| check["verdict"] != "skip");
    ran.map(|check| {
        let name = format!("{}.trace.json", check["id"].as_str().unwrap().replace('/', "_"));
        (dir.join(name).to_str().unwrap().to_owned(), check["verdict"].as_str().unwrap().to_owned())
    })
    .collect()
}

fn judged(paths: &[&str]) -> (Vec<Value>, Output) {
    let output = Cowcheck::new(["judge", "--format", "json"]).args(paths).output();
    let lines = output.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (lines, output)
}

#[test]
fn a_saved_trace_is_judged_as_the_run_was() {
    for args in [
        &["cow/*/base", "cow/*/memfd"][..],
        &["cow/fork-write/base", "cow/file-write/memfd", "--self-test", "wrong-byte"],
        &["cow/fork-write/base", "cow/file-write/memfd", "--self-test", "crash"],
        &["cow/fork-write/base", "--self-test", "spin", "--timeout", "0.2"],
    ] {
        let files = Files::new();
        let saved = traces_of(&files, args);
        assert!(!saved.is_empty());
        let paths: Vec<&str> = saved.iter().map(|(path, _)| path.as_str()).collect();
        let (lines, output) = judged(&paths);
        let told: Vec<(String, String)> = lines
            .iter()
            .map(|line| (line["file"].as_str().unwrap().to_owned(), line["verdict"].as_str().unwrap().to_owned()))
            .collect();
        assert_eq!(told, saved);
        let has = |verdict: &str| saved.iter().any(|(_, each)| each == verdict);
        let code = if has("fail") { 1 } else { i32::from(has("crash") || has("timeout")) * 3 };
        output.code(code);
    }
}

#[test]
fn a_trace_that_was_doctored_fails_with_an_explanation() {
    let files = Files::new();
    let (path, verdict) = traces_of(&files, &["cow/fork-write/base"]).remove(0);
    assert_eq!(verdict, "pass");
    let mut trace: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let text = trace["scenario"].as_str().unwrap();
    assert!(text.ends_with("A write all\nB read all\nA read all\n"), "{text}");
    // B's last read sees what A wrote after the fork, which is what A's last read saw.
    let records = trace["records"].as_array_mut().unwrap();
    let count = records.len();
    let leaked = records[count - 1]["seen"].clone();
    assert_ne!(records[count - 2]["seen"], leaked);
    records[count - 2]["seen"] = leaked;
    let doctored = files.write("doctored.json", trace.to_string());
    let output = Cowcheck::new(["judge", &path, &doctored]).output().code(1);
    assert!(output.out.starts_with(&format!("{path}: pass\n{doctored}: fail\n")), "{}", output.out);
    for words in ["isolation broken", "in step 5 B read page 0", "`A write all`", ">   5  B read all", "A fork B"] {
        assert!(output.out.contains(words), "no {words} in\n{}", output.out);
    }
}

#[test]
fn a_trace_that_cannot_be_read_is_told_as_such() {
    let files = Files::new();
    let (path, _) = traces_of(&files, &["cow/fork-write/base"]).remove(0);
    let whole = fs::read_to_string(&path).unwrap();
    let half = &whole[..whole.len() / 2];
    let (column, first) = (half.len(), whole.lines().count());
    assert_eq!(first, 1, "the column below is that of a trace in one line");
    let newer = whole.replacen("\"cowcheck_trace\":1", "\"cowcheck_trace\":2", 1);
    assert_ne!(newer, whole);
    let cases = [
        (files.write("half.json", half), format!("half.json:1:{column}: the text ends in the middle of a trace")),
        (files.write("newer.json", newer), "newer.json: trace format 2, expected 1".to_owned()),
        (files.write("text.json", "{\n  \"x\": nonsense\n}\n"), "text.json:2:9: expected a trace: ".to_owned()),
        (files.write("other.json", "{\"type\":\"start\"}"), "expected a trace: missing field".to_owned()),
        (files.path("missing.json").to_str().unwrap().to_owned(), "missing.json: cannot be read".to_owned()),
    ];
    let mut paths: Vec<&str> = cases.iter().map(|(path, _)| path.as_str()).collect();
    paths.push(&path);
    let (lines, output) = judged(&paths);
    let output = output.code(2);
    for (_, told) in &cases {
        says(&output, &[told]);
    }
    assert_eq!(output.err.lines().count(), cases.len(), "{}", output.err);
    assert_eq!(lines.len(), 1, "the good one is judged");
    assert_eq!(lines[0]["verdict"], "pass");
}

#[test]
fn repeats_have_traces_of_their_own() {
    let files = Files::new();
    Cowcheck::run(["cow/fork-write/base"])
        .args(["--repeat", "3", "--save-trace"])
        .arg(files.path("all"))
        .output()
        .code(0);
    let mut names: Vec<String> = fs::read_dir(files.path("all"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let expected = ["", ".2", ".3"].map(|repeat| format!("cow_fork-write_base{repeat}.trace.json"));
    let mut expected = expected.to_vec();
    expected.sort();
    assert_eq!(names, expected);
    assert!(files.read("all/cow_fork-write_base.2.trace.json").starts_with("{\"cowcheck_trace\":1,"));
}

#[test]
fn the_list_has_every_field() {
    let text = Cowcheck::new(["list", "--group", "cow"]).output().code(0).out;
    let json = Cowcheck::new(["list", "--group", "cow", "--format", "json"]).output().code(0).out;
    let lines: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ids: Vec<&str> = text.lines().map(|line| line.split_whitespace().next().unwrap()).collect();
    assert_eq!(ids, lines.iter().map(|line| line["id"].as_str().unwrap()).collect::<Vec<_>>());
    for line in &lines {
        let text = |field: &str| line[field].as_str().unwrap_or_else(|| panic!("no {field} in {line}"));
        assert!(text("id").starts_with(&format!("{}/{}", text("group"), text("kind"))), "{line}");
        assert!(line["size"].as_u64().unwrap().is_power_of_two(), "{line}");
        let is_swapped = text("memory").ends_with("swapped");
        assert_eq!(line["tags"].as_array().unwrap().contains(&"swap".into()), is_swapped, "{line}");
        assert_eq!(line.as_object().unwrap().len(), 7, "{line}");
        for field in ["memory", "description"] {
            assert!(!text(field).is_empty());
        }
    }
    let unique = |field: &str| lines.iter().map(|line| line[field].as_str().unwrap()).collect::<HashSet<_>>().len();
    assert_eq!((unique("id"), unique("description")), (lines.len(), lines.len()));
    // What is listed is what runs, by the same words.
    let chosen = Cowcheck::new(["list", "--kind", "fork-write", "--memory", "base", "--format", "json"]).output();
    assert_eq!(chosen.code(0).out.lines().count(), 1);
}

/// The ids are what results are compared by, so they may not change; new ones may come.
#[test]
fn the_ids_are_what_they_were() {
    let sizes = Sizes {
        page: 4 << 10,
        pmd: 2 << 20,
        thp: (14..=21).map(|shift| 1 << shift).collect(),
        hugetlb: vec![2 << 20, 1 << 30],
    };
    let ids: Vec<String> = cow::checks(&sizes).into_iter().map(|check| check.id).collect();
    insta::assert_snapshot!(ids.join("\n"));
}
