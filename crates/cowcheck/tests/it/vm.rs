//! `cowcheck vm`: guests that go wrong, each in its own way. A script stands in for QEMU; what real kernels do is in
//! scripts/guests.

use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::program::{Cowcheck, Results};

const IDS: [&str; 4] =
    ["cow/collapse-before-fork", "cow/collapse-fully-shared", "cow/collapse-lower-shared", "cow/collapse-upper-shared"];

/// An ELF file that passes for a kernel: a PVH note, and the text that says which version it is.
pub(crate) fn kernel(directory: &Path) -> String {
    let mut file = vec![0; 64 + 56];
    file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    file[16] = 2;
    file[18] = 62;
    file[32] = 64;
    file[54] = 56;
    file[56] = 1;
    file[64] = 4;
    file[64 + 8] = 64 + 56;
    file[64 + 32] = 24;
    let note: [&[u8]; 4] = [&4u32.to_le_bytes(), &8u32.to_le_bytes(), &18u32.to_le_bytes(), b"Xen\0\0\0\0\0\0\0\0\0"];
    file.extend(note.concat());
    file.extend(b"Linux version 6.99.0-fake (somebody@somewhere)\0");
    let path = directory.join("vmlinux");
    std::fs::write(&path, file).unwrap();
    path.display().to_string()
}

fn vm(directory: &TempDir, how: &str, args: &[&str]) -> Cowcheck {
    let fake = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/fake-qemu");
    Cowcheck::new(["vm", "--accel", "tcg", "--check", "cow/collapse*"])
        .arg(kernel(directory.path()))
        .args(args)
        .env("COWCHECK_QEMU", fake)
        .env("COWCHECK_CACHE", directory.path())
        .env("FAKE", how)
}

/// What the checks came to, one for each, and the results with everything else.
fn verdicts(how: &str) -> ([String; 4], Results) {
    let directory = TempDir::new().unwrap();
    let results = vm(&directory, how, &[]).results();
    let verdict = |id: &str| {
        results.checks.iter().find(|check| check["id"] == id).map_or("none", |check| check["verdict"].as_str().unwrap())
    };
    (IDS.map(|id| verdict(id).to_owned()), results)
}

fn reason(results: &Results, index: usize) -> &str {
    results.reason(IDS[index])
}

fn stopped(results: &Results) -> &str {
    results.end["stopped"].as_str().unwrap_or("")
}

/// One check is lost by what `how` says, for a reason that has these words; all others pass.
fn one_is_lost(how: &str, verdict: &str, words: &str) {
    let (all, results) = verdicts(how);
    assert_eq!(all, ["pass", verdict, "pass", "pass"], "{how}: {}", results.err);
    assert!(reason(&results, 1).contains(words), "{how}: {}", reason(&results, 1));
    assert_eq!(results.code, 3);
    assert_eq!(stopped(&results), "", "{how}");
}

#[test]
fn a_good_guest_is_told_as_it_is() {
    let (all, results) = verdicts("good");
    assert_eq!((all, results.code), (["pass"; 4].map(str::to_owned), 0));
    assert!(results.notes.iter().any(|note| note == "a note"), "{:?}", results.notes);
}

#[test]
fn a_check_that_kills_its_guest_costs_only_itself() {
    one_is_lost("panic", "crash", "the guest's kernel panicked: Kernel panic - not syncing: planted");
    one_is_lost("off", "crash", "went off before it was done");
    one_is_lost("rubbish", "crash", "garbled");
    one_is_lost("twice", "crash", "garbled: `check 0 of 4, or twice`");
    one_is_lost("beyond", "crash", "garbled: `check 9 of 4, or twice`");
    one_is_lost("killed", "crash", "the process that runs the checks was killed by signal 9");
    one_is_lost("half", "crash", "panicked");
}

#[test]
fn a_guest_that_ran_stale_code_is_run_again() {
    let of = |how: &str, cpus: &str| {
        let directory = TempDir::new().unwrap();
        let results = vm(&directory, how, &["--cpus", cpus]).results();
        let all: Vec<String> =
            results.checks.iter().map(|check| check["verdict"].as_str().unwrap().to_owned()).collect();
        (all, results)
    };
    for how in ["stale-early", "stale-once"] {
        let (all, results) = of(how, "2");
        assert_eq!((all, results.code), (vec!["pass".to_owned(); 4], 0), "{how}: {}", results.err);
        let is_told = |note: &&String| note.starts_with("QEMU ran a breakpoint") && note.ends_with("is run again");
        assert_eq!(results.notes.iter().filter(is_told).count(), 1, "{how}: {:?}", results.notes);
    }
    let (all, results) = of("stale", "2");
    assert_eq!(all.iter().filter(|verdict| *verdict == "inconclusive").count(), 1, "{all:?}");
    assert_eq!(all.iter().filter(|verdict| *verdict == "pass").count(), 3, "{all:?}");
    assert!(reason(&results, 1).ends_with("3 times in a row"), "{}", reason(&results, 1));
    // Nobody is charged with what is QEMU's.
    let (all, results) = of("stale-together", "2");
    assert_eq!(all, ["pass"; 4], "{:?}", results.notes);
    // Nor does it hide what a kernel does at every boot.
    let (all, results) = of("no-boot-stale", "2");
    assert!(all.is_empty(), "{all:?}");
    let panicked = "no boot: the guest's kernel panicked: Kernel panic - not syncing: planted";
    assert!(stopped(&results).contains(panicked), "{}", stopped(&results));
    // One processor cannot change code behind its own back: that is the kernel's.
    let (all, _) = of("stale", "1");
    assert_eq!(all.iter().filter(|verdict| *verdict == "crash").count(), 1, "{all:?}");
}

#[test]
fn a_line_without_end_is_rubbish() {
    one_is_lost("endless", "crash", "garbled: `a line without end`");
}

#[test]
fn a_silent_guest_is_killed() {
    one_is_lost("halt", "timeout", "the guest hung: idle and silent for");
    one_is_lost("spin", "timeout", "the guest hung: busy, but silent for");
}

#[test]
fn of_several_the_one_is_found_that_does_it_again() {
    let (all, results) = verdicts("together-again");
    assert_eq!(all, ["pass", "crash", "pass", "pass"]);
    let ran = "ran; they are run one at a time";
    assert!(results.notes.iter().any(|note| note.contains(ran)), "{:?}", results.notes);
}

#[test]
fn of_several_all_are_charged_if_none_does_it_again() {
    let (all, results) = verdicts("together");
    assert_eq!(all, ["crash", "crash", "pass", "pass"]);
    assert!(reason(&results, 0).contains("run alone, none of them did it again"), "{}", reason(&results, 0));
}

#[test]
fn a_kernel_that_does_not_boot_is_told_with_its_console() {
    for (how, words) in [
        ("no-boot", "no boot: the guest's kernel panicked: Kernel panic - not syncing: planted"),
        ("triple", "no boot: the guest's processor was reset by a triple fault"),
        ("broken", "no boot: QEMU failed: qemu: no such machine"),
        ("memory", "the guest ran out of memory: cowcheck invoked oom-killer"),
        ("refused", "no check is meant"),
        ("other-plan", "a plan of 7 checks, not 4"),
    ] {
        let (all, results) = verdicts(how);
        assert_eq!(all, ["none"; 4]);
        assert!(stopped(&results).contains(words), "{how}: {}", stopped(&results));
        assert_eq!(results.code, 3, "{how}");
        if how == "no-boot" {
            let console = "console: BUG: kernel NULL pointer dereference";
            assert!(results.notes.iter().any(|note| note == console), "{:?}", results.notes);
        }
    }
}

#[test]
fn a_guest_that_dies_after_the_last_check_is_told() {
    let (all, results) = verdicts("late");
    assert_eq!((all, results.code), (["pass"; 4].map(str::to_owned), 3));
    assert!(stopped(&results).starts_with("after the last check the guest's kernel panicked"), "{}", stopped(&results));
}

#[test]
fn a_warning_in_the_kernel_log_is_told() {
    let (_, results) = verdicts("warned");
    let warning = "kernel log, warning: WARNING: CPU: 0 PID: 7 at mm/memory.c:1 do_wp_page";
    assert!(results.notes.iter().any(|note| note == warning), "{:?}", results.notes);
}

#[test]
fn several_kernels_give_one_table_and_a_page() {
    let directory = TempDir::new().unwrap();
    let out = directory.path().join("out");
    let kernel = kernel(directory.path());
    let args = ["--results", out.to_str().unwrap(), &kernel];
    let output = vm(&directory, "panic", &args).output().code(3);
    assert!(output.out.contains("2 kernels, 4 checks"), "{}{}", output.out, output.err);
    for name in ["6.99.0-fake.jsonl", "6.99.0-fake-2.jsonl", "6.99.0-fake.console.log", "matrix.html", "matrix.txt"] {
        assert!(out.join(name).exists(), "{name}");
    }
    let matrix: Value = serde_json::from_slice(&std::fs::read(out.join("matrix.json")).unwrap()).unwrap();
    assert_eq!(matrix["cowcheck_matrix"], 1);
    let console = std::fs::read_to_string(out.join("6.99.0-fake.console.log")).unwrap();
    assert_eq!(console.matches("Linux version").count(), 2, "those of both guests: {console}");
}

#[test]
fn what_is_no_kernel_is_refused_with_what_it_is() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("notes.txt");
    std::fs::write(&file, "not a kernel at all").unwrap();
    let refused = |handle: &str| {
        let output = Cowcheck::new(["vm", handle]).env("COWCHECK_CACHE", directory.path()).output().code(2);
        output.err
    };
    let error = refused(file.to_str().unwrap());
    assert!(error.contains("notes.txt") && error.contains("not a ke"), "{error}");
    let error = refused("/no/such/bzImage");
    assert!(error.contains("/no/such/bzImage: there is no such file") && error.contains("debian:"), "{error}");
}

#[test]
fn words_that_mean_nothing_are_refused_before_anything_is_booted() {
    let directory = TempDir::new().unwrap();
    let refused = |args: &[&str]| vm(&directory, "broken", args).output().code(2).err;
    assert!(refused(&["--kind", "fork-wrote"]).contains("did you mean fork-write"));
    assert!(refused(&["--memory", "7"]).contains("between 96M and 1024G"));
    assert!(refused(&["--memory", "1000G"]).contains("available"));
    assert!(refused(&["--dry-run"]).contains("--keep"));
    assert!(refused(&["x", "--format", "ktap"]).contains("with several kernels"));
}

#[test]
fn a_dry_run_prints_a_command_and_leaves_its_files() {
    let directory = TempDir::new().unwrap();
    let keep = directory.path().join("keep");
    let output = vm(&directory, "good", &["--dry-run", "--keep", keep.to_str().unwrap()]).output().code(0);
    assert_eq!(output.out.lines().count(), 1);
    let (_, rest) = output.out.split_once(" -initrd ").expect("an initramfs");
    let initramfs = rest.split(' ').next().unwrap();
    let bytes = std::fs::read(initramfs).unwrap();
    assert!(bytes.starts_with(b"070701"));
    assert!(initramfs.starts_with(keep.canonicalize().unwrap().to_str().unwrap()));
}

#[test]
fn without_headers_it_goes_on_without_the_helper_module() {
    let directory = TempDir::new().unwrap();
    let keep = directory.path().join("keep");
    let err = |more: &[&str]| {
        let args = [&["--dry-run", "--keep", keep.to_str().unwrap()], more].concat();
        vm(&directory, "good", &args).output().code(0).err
    };
    let told = err(&[]);
    assert!(told.contains("going on without the helper module: no headers of 6.99.0-fake"), "{told}");
    assert_eq!(err(&["--no-helper"]), "");
}

/// A build tree that is no more than these tests need.
pub(crate) fn tree(directory: &Path) -> String {
    let tree = directory.join("tree");
    std::fs::create_dir_all(tree.join("arch/x86")).unwrap();
    std::fs::rename(kernel(directory), tree.join("vmlinux")).unwrap();
    std::fs::write(tree.join(".config"), "CONFIG_MODULES=y\n").unwrap();
    std::fs::write(
        tree.join("Makefile"),
        "modules:\n\tcat $(M)/*.c | tee $(M)/cowcheck.ko > $(M)/cowcheck_in_place.ko\n",
    )
    .unwrap();
    tree.display().to_string()
}

#[test]
fn the_helper_module_is_built_once_and_goes_into_the_guest() {
    let directory = TempDir::new().unwrap();
    let tree = tree(directory.path());
    let kmod = || Cowcheck::new(["kmod", "build", &tree]).env("COWCHECK_CACHE", directory.path()).output();
    let first = kmod();
    if first.err.contains("building a module needs") {
        // No compiler, and it was told.
        first.code(3);
        return;
    }
    let first = first.code(0);
    let file = first.out.lines().next().unwrap();
    assert!(first.out.contains(&format!("for 6.99.0-fake; to load it: sudo insmod {file}")), "{}", first.out);
    assert!(std::fs::read_to_string(file).unwrap().contains("module_init"));
    assert!(first.err.contains("building the module"), "{}", first.err);
    let second = kmod().code(0);
    assert_eq!((second.out, second.err.as_str()), (first.out, ""), "it was there");

    let keep = directory.path().join("keep");
    Cowcheck::new(["vm", &tree, "--accel", "tcg", "--dry-run", "--keep", keep.to_str().unwrap()])
        .env("COWCHECK_CACHE", directory.path())
        .output()
        .code(0);
    let guest = std::fs::read_dir(&keep).unwrap().next().unwrap().unwrap().path();
    let initramfs = std::fs::read(guest.join("initramfs.cpio")).unwrap();
    let name = b"cowcheck/modules/00-cowcheck.ko";
    assert!(initramfs.windows(name.len()).any(|bytes| bytes == name));
}

#[test]
fn a_module_of_ones_own_goes_into_the_guest_with_its_parameters() {
    let directory = TempDir::new().unwrap();
    let keep = directory.path().join("keep");
    let module = directory.path().join("mine.ko");
    let file = module.to_str().unwrap();
    let with = |word: &str| {
        let args = ["--module", word, "--no-helper", "--dry-run", "--keep", keep.to_str().unwrap()];
        vm(&directory, "good", &args).output()
    };
    assert!(with(file).code(2).err.contains("mine.ko: cannot be read"));
    std::fs::write(&module, "\x1f\u{8b}, packed").unwrap();
    assert!(with(file).code(2).err.contains("mine.ko: no kernel module"));
    assert!(with("bug=3").code(2).err.contains("expected FILE.ko or FILE.ko:PARAMETERS"));

    std::fs::write(&module, "\x7fELF of mine").unwrap();
    let output = with(&format!("{file}:bug=3 name=a:b")).code(0);
    let (_, rest) = output.out.split_once(" -initrd ").expect("an initramfs");
    let initramfs = std::fs::read(rest.split(' ').next().unwrap()).unwrap();
    let initramfs = String::from_utf8_lossy(&initramfs);
    assert!(initramfs.contains("\x7fELF of mine"));
    let order = r#"{"path":"/cowcheck/modules/00-mine.ko","parameters":"bug=3 name=a:b","required":true}"#;
    assert!(initramfs.contains(order), "the order has {order}");
}

#[test]
fn headers_that_are_nowhere_are_told_with_what_to_do() {
    let directory = TempDir::new().unwrap();
    let build =
        |handle: &str| Cowcheck::new(["kmod", "build", handle]).env("COWCHECK_CACHE", directory.path()).output();
    let told = build(&kernel(directory.path())).code(3).err;
    assert!(told.contains("no headers of 6.99.0-fake") && told.contains("give its build tree"), "{told}");
    assert!(build("/no/such/bzImage").code(2).err.contains("there is no such file"));
}
