//! Our KTAP, read by the kernel's own parser (tools/testing/kunit/kunit_parser.py), which
//! `peer/build.sh` puts under `target/peer`.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use super::ktap::Ktap;
use super::sample;

/// Prints `STATUS name`, one test a line, then the counts and how many errors the parser met.
const SCRIPT: &str = r#"
import io, sys
sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])
import kunit_parser
from kunit_printer import Printer
test = kunit_parser.parse_run_tests(sys.stdin, Printer(output=io.StringIO()))
def tell(test, path):
    for sub in test.subtests:
        print(sub.status.name, path + sub.name)
        tell(sub, path + sub.name + ": ")
tell(test, "")
print(test.counts)
print("errors", test.counts.errors)
"#;

/// What the parser makes of `ktap`, or nothing where there is no parser.
fn parsed(ktap: &[u8]) -> Option<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/peer/kunit");
    if !folder.join("kunit_parser.py").exists() {
        eprintln!("not run: target/peer/kunit is missing; to run it: peer/build.sh");
        return None;
    }
    let mut python = Command::new("python3");
    let python = python.arg("-c").arg(SCRIPT).arg(&folder).stdin(Stdio::piped()).stdout(Stdio::piped());
    let Ok(mut child) = python.spawn() else {
        eprintln!("not run: there is no python3");
        return None;
    };
    child.stdin.take().unwrap().write_all(ktap).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn the_parser_of_the_kernel_finds_every_name_and_no_error() {
    let mut out = Vec::new();
    sample::play(&mut Ktap::new(&mut out));
    let Some(text) = parsed(&out) else { return };
    let expected = "FAILURE cow\n\
        SUCCESS cow: cow/fork-write/base\n\
        SKIPPED cow: cow/fork-write/base-swapped\n\
        SUCCESS cow: cow/vmsplice/hugetlb\n\
        FAILURE cow: cow/collapse-all/thp\n\
        SKIPPED cow: cow/file-write/memfd\n\
        SKIPPED cow: cow/file-pin/memfd\n\
        FAILURE own\n\
        FAILURE own: own/swap/thp\n\
        FAILURE own: own/stale/thp\n\
        Ran 8 tests: passed: 2, failed: 3, skipped: 3\n\
        errors 0\n";
    assert_eq!(text, expected);
}

#[test]
fn the_parser_of_the_kernel_reads_a_stopped_run_and_repeats() {
    let mut out = Vec::new();
    sample::play_part(&mut Ktap::new(&mut out), 2, Some("Ctrl-C"));
    let Some(text) = parsed(&out) else { return };
    assert!(text.contains("FAILURE own: own/stale/thp\n"), "{text}");
    assert!(text.ends_with("Ran 8 tests: passed: 1, failed: 7\nerrors 0\n"), "{text}");
    let mut out = Vec::new();
    sample::play_repeated(&mut Ktap::new(&mut out));
    let Some(text) = parsed(&out) else { return };
    assert!(text.contains("SUCCESS own (repeat 2): own/stale/thp (repeat 2)\n"), "{text}");
    assert!(text.ends_with("Ran 16 tests: passed: 16\nerrors 0\n"), "{text}");
}
