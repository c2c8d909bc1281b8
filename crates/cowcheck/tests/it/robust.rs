//! Whatever is killed, refused or full: the check that it hits says so, the others do not suffer, the
//! run ends, and nothing is left behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::machine::{alone, lonely_user, public_copy, public_dir, root, settings, skipped, suffix, thp};
use crate::program::{self, Cowcheck, Output, Process, Results, Running, until};
use crate::seccomp::{Refusal, refuse};

/// In the first there is a B to plant a fault in, in the second there is none.
const WITH_B: &str = "cow/fork-write/base";
const WITHOUT_B: &str = "cow/file-write/memfd";

fn hanging(fault: &str, limit: &str) -> Cowcheck {
    Cowcheck::run([WITH_B]).args(["--self-test", fault, "--timeout", limit, "--format", "json"])
}

fn b_hangs(all: &[Process]) -> bool {
    all.iter().any(|process| process.name == "cow-B" && "RT".contains(process.state))
}

/// Starts a run and waits until B hangs in it.
fn start_hanging(command: Cowcheck) -> Running {
    let run = command.start();
    run.until("B hangs", b_hangs);
    run
}

#[test]
fn a_worker_that_is_killed_costs_its_check_only() {
    for fault in ["stop", "spin"] {
        let run = start_hanging(hanging(fault, "60").args([WITHOUT_B, "--jobs", "1"]));
        let [worker] = run.named("cow-worker")[..] else { panic!("{:?}", run.processes()) };
        crate::program::send(worker, Signal::KILL);
        let results = run.wait().results().ended_with(3);
        results.expect(WITH_B, "crash", &["the worker process died", "SIGKILL"]);
        results.expect(WITHOUT_B, "pass", &[]);
    }
}

/// Takes longer than all others together: a worker is given 20 s beyond the limit.
#[test]
fn a_worker_that_is_stopped_is_killed_in_the_end() {
    let run = start_hanging(hanging("stop", "2").args([WITHOUT_B, "--jobs", "1"]));
    let [worker] = run.named("cow-worker")[..] else { panic!("{:?}", run.processes()) };
    program::send(worker, Signal::STOP);
    let results = run.wait().results().ended_with(3);
    results.expect(WITH_B, "timeout", &["the worker process gave no answer for 22 s and was killed"]);
    results.expect(WITHOUT_B, "pass", &[]);
}

#[test]
fn when_the_program_is_killed_all_its_processes_vanish() {
    for fault in ["stop", "spin"] {
        let run = start_hanging(hanging(fault, "60"));
        run.signal(Signal::KILL);
        until("all are gone", Duration::from_secs(2), || {
            let left = run.processes();
            (left.is_empty(), format!("{fault}: {left:?}"))
        });
    }
}

#[test]
fn when_an_actor_is_killed_by_hand_the_run_goes_on() {
    let run = start_hanging(hanging("stop", "60").args([WITHOUT_B, "--jobs", "1"]));
    let [a] = run.named("cow-A")[..] else { panic!("{:?}", run.processes()) };
    crate::program::send(a, Signal::KILL);
    let results = run.wait().results().ended_with(3);
    results.expect(WITH_B, "crash", &["A died in step 3", "SIGKILL"]);
    results.expect(WITHOUT_B, "pass", &[]);
}

/// Ends in order: what was known is written, everywhere.
#[track_caller]
fn ended_in_order(output: Output, dir: &Path) -> Results {
    let results = output.results().ended_with(3);
    assert_eq!(results.end["stopped"], "interrupted");
    assert_eq!(results.end["not_run"], 1);
    assert_eq!(results.end["counts"]["crash"], 0, "{:?}", results.verdicts());
    results.expect(WITHOUT_B, "pass", &[]);
    let written = |name: &str| fs::read_to_string(dir.join(name)).unwrap();
    assert_eq!(Results::read(&written("out.jsonl")).end["stopped"], "interrupted");
    assert!(written("out.xml").contains("not-run"), "{}", written("out.xml"));
    assert!(written("out.ktap").contains("ERROR not run: interrupted"), "{}", written("out.ktap"));
    assert!(written("out.txt").contains("interrupted"), "{}", written("out.txt"));
    results
}

fn with_outputs(command: Cowcheck, dir: &Path) -> Cowcheck {
    let outputs = ["json=out.jsonl", "junit=out.xml", "ktap=out.ktap", "terminal=out.txt"];
    outputs.iter().fold(command, |command, output| {
        let (format, name) = output.split_once('=').unwrap();
        command.arg("--output").arg(format!("{format}={}", dir.join(name).display()))
    })
}

#[test]
fn ctrl_c_ends_the_run_in_order() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let dir = TempDir::new().unwrap();
        let run = with_outputs(hanging("stop", "60"), dir.path()).args([WITHOUT_B, "--jobs", "2"]).start();
        // Both have begun, and the one that does not hang has ended.
        run.until("B hangs and the other is done", |all| {
            let told = fs::read_to_string(dir.path().join("out.jsonl")).unwrap_or_default();
            b_hangs(all) && told.contains(WITHOUT_B)
        });
        // As a terminal does it: to every process of the foreground group.
        run.signal_group(signal);
        ended_in_order(run.wait(), dir.path());
    }
}

#[test]
fn ctrl_c_puts_the_settings_back() {
    if !root() {
        return;
    }
    let _alone = alone();
    // Another cowcheck on this machine may change settings at the same time. It does not three times.
    for attempt in 1..=3 {
        let before = settings();
        let run = hanging("stop", "60").args(["--provide", "cow/fork-write/base-swapped", "--jobs", "2"]).start();
        let during = loop {
            match run.processes() {
                all if b_hangs(&all) => break Some(settings()),
                all if all.is_empty() => break None,
                _ => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        run.signal_group(Signal::INT);
        let output = run.wait();
        let Some(during) = during else {
            assert!(output.err.contains("another cowcheck"), "{}", output.err);
            std::thread::sleep(Duration::from_secs(10));
            continue;
        };
        let results = output.results().ended_with(3);
        assert_eq!(results.end["stopped"], "interrupted");
        let after = settings();
        if before == after {
            assert_ne!(before, during, "nothing was provided");
            return;
        }
        assert_ne!(attempt, 3, "{before:?}\n{after:?}");
    }
}

#[test]
fn a_full_file_system_is_told_as_such() {
    if !root() {
        return;
    }
    let dir = TempDir::new().unwrap();
    let at = dir.path().display();
    // Room for one page, and that is taken.
    let fill = format!("mount -t tmpfs -o size=4k none {at}; head -c 4096 /dev/zero > {at}/taken");
    let results = Cowcheck::run(["cow/file-write/tmpfile", WITHOUT_B, WITH_B])
        .env("TMPDIR", dir.path())
        .after(&fill)
        .under(["unshare", "--mount"])
        .results()
        .ended_with(3);
    results.expect("cow/file-write/tmpfile", "inconclusive", &["making the file", "No space left on device"]);
    results.expect(WITHOUT_B, "pass", &[]);
    results.expect(WITH_B, "pass", &[]);
}

#[test]
fn a_directory_that_is_not_there_is_told_as_such() {
    let results = Cowcheck::run(["cow/file-write/tmpfile", WITHOUT_B]).env("TMPDIR", "/nowhere").results();
    let results = results.ended_with(3);
    results.expect("cow/file-write/tmpfile", "inconclusive", &["making the file", "No such file or directory"]);
    results.expect(WITHOUT_B, "pass", &[]);
}

/// As a user without rights, of whom there may be so many processes.
fn with_processes(copy: PathBuf, limit: u32) -> Results {
    let user = lonely_user();
    Cowcheck::run([WITH_B, WITHOUT_B])
        .args(["--jobs", "1"])
        .program(copy)
        .under(["prlimit".to_owned(), format!("--nproc={limit}:{limit}")])
        .under(["setpriv", "--reuid", &user, "--regid", &user, "--clear-groups"])
        .results()
}

#[test]
fn a_refused_fork_makes_the_check_inconclusive() {
    if !root() {
        return;
    }
    let (_dir, copy) = public_copy();
    // The program and its thread, the worker, A, B: each may be the one too many.
    for limit in 1..=5 {
        let results = with_processes(copy.clone(), limit).ended_with(if limit < 5 { 3 } else { 0 });
        match limit {
            1 | 2 => results.expect(WITH_B, "inconclusive", &["no worker process could be started", "os error 11"]),
            3 => results.expect(WITH_B, "inconclusive", &["no process could be made", "os error 11"]),
            4 => results.expect(WITH_B, "inconclusive", &["`A fork B`", "EAGAIN"]),
            _ => results.expect(WITH_B, "pass", &[]),
        }
        assert_eq!(results.verdict(WITHOUT_B), if limit < 4 { "inconclusive" } else { "pass" });
    }
}

#[test]
fn locked_memory_that_is_refused_is_told_as_such() {
    if !root() {
        return;
    }
    let (_dir, copy) = public_copy();
    let user = lonely_user();
    let results = Cowcheck::run(["cow/uring-ro/base", WITH_B])
        .program(copy)
        .under(["prlimit", "--memlock=0:0"])
        .under(["setpriv", "--reuid", &user, "--regid", &user, "--clear-groups"])
        .results()
        .ended_with(0);
    results.expect(WITH_B, "pass", &[]);
    results.expect("cow/uring-ro/base", "skip", &["locked memory is limited to 0"]);
    let remedy = results.check("cow/uring-ro/base")["remedy"].as_str().unwrap();
    assert!(remedy.contains("root") && remedy.contains("ulimit -l"), "{remedy}");
}

#[test]
fn a_switched_off_io_uring_is_told_as_such() {
    let switch = Path::new("/proc/sys/kernel/io_uring_disabled");
    if !root() || !switch.exists() {
        return;
    }
    // Seen by this run only; the kernel's own switch would be seen by everybody.
    let dir = TempDir::new().unwrap();
    let two = dir.path().join("two");
    fs::write(&two, "2\n").unwrap();
    let results = Cowcheck::run(["cow/uring-ro/base", WITH_B])
        .after(&format!("mount --bind {} {}", two.display(), switch.display()))
        .under(["unshare", "--mount"])
        .results()
        .ended_with(0);
    results.expect(WITH_B, "pass", &[]);
    results.expect("cow/uring-ro/base", "skip", &["io_uring_disabled is 2"]);
    assert_eq!(results.check("cow/uring-ro/base")["remedy"], "sudo sysctl kernel.io_uring_disabled=0");
}

#[test]
fn an_io_uring_that_a_sandbox_refuses_is_told_as_such() {
    let results = Cowcheck::run(["cow/uring-ro/base", WITH_B])
        .prepare(|| refuse(&[Refusal { call: libc::SYS_io_uring_setup, only: &[], errno: libc::EPERM }]))
        .results()
        .ended_with(0);
    results.expect(WITH_B, "pass", &[]);
    results.expect("cow/uring-ro/base", "skip", &["no io_uring", "Operation not permitted"]);
    assert!(results.check("cow/uring-ro/base")["remedy"].as_str().unwrap().contains("sandbox"));
}

#[test]
fn a_pin_that_is_refused_late_makes_the_check_inconclusive() {
    let results = Cowcheck::run(["cow/uring-ro/base", "cow/vmsplice-child/base", WITH_B])
        .prepare(|| {
            let refused = |call, errno| Refusal { call, only: &[], errno };
            refuse(&[refused(libc::SYS_io_uring_register, libc::EOPNOTSUPP), refused(libc::SYS_vmsplice, libc::EPERM)])
        })
        .results()
        .ended_with(3);
    results.expect("cow/uring-ro/base", "inconclusive", &["`A pin rw p0 all`", "EOPNOTSUPP"]);
    results.expect("cow/vmsplice-child/base", "inconclusive", &["`B splice p0 all`", "EPERM"]);
    results.expect(WITH_B, "pass", &[]);
}

#[test]
fn a_file_in_memory_that_is_refused_makes_the_check_inconclusive() {
    let results = Cowcheck::run([WITHOUT_B, WITH_B])
        .prepare(|| refuse(&[Refusal { call: libc::SYS_memfd_create, only: &[], errno: libc::ENOSYS }]))
        .results()
        .ended_with(3);
    results.expect(WITHOUT_B, "inconclusive", &["making the file", "Function not implemented"]);
    results.expect(WITH_B, "pass", &[]);
}

/// Linux 6.1 refuses to collapse what a child shares; the checks cannot be reached there.
#[test]
fn a_collapse_that_is_refused_makes_the_check_inconclusive() {
    // The length of the THP, and the advice.
    const COLLAPSE: &[(u32, u32)] = &[(1, 2 << 20), (2, libc::MADV_COLLAPSE as u32)];
    let id = "cow/collapse-fully-shared";
    if thp() != Some(2 << 20) {
        return skipped("the refusal is written for THPs of 2 MiB");
    }
    let results = Cowcheck::run([id, WITH_B])
        .prepare(|| refuse(&[Refusal { call: libc::SYS_madvise, only: COLLAPSE, errno: libc::EINVAL }]))
        .results()
        .ended_with(3);
    results.expect(WITH_B, "pass", &[]);
    results.expect(id, "inconclusive", &["`A collapse all`", "EINVAL"]);
}

#[test]
fn a_kernel_that_cannot_collapse_skips_the_checks() {
    if thp().is_none() {
        return;
    }
    const COLLAPSE: &[(u32, u32)] = &[(2, libc::MADV_COLLAPSE as u32)];
    let results = Cowcheck::run(["cow/collapse-fully-shared", WITH_B])
        .prepare(|| refuse(&[Refusal { call: libc::SYS_madvise, only: COLLAPSE, errno: libc::EINVAL }]))
        .results()
        .ended_with(0);
    results.expect(WITH_B, "pass", &[]);
    results.expect("cow/collapse-fully-shared", "skip", &["kernel without MADV_COLLAPSE"]);
}

#[test]
fn without_rights_nothing_fails() {
    if !root() {
        return;
    }
    let (dir, copy) = public_copy();
    let user = lonely_user();
    let results =
        Cowcheck::run(["cow/*/base", "cow/*-2m", "cow/*/zero", "cow/*/memfd", "cow/*/tmpfile", "cow/collapse-*"])
            .program(copy)
            .env("TMPDIR", dir.path())
            .under(["setpriv", "--reuid", &user, "--regid", &user, "--clear-groups", "--inh-caps", "-all"])
            .results()
            .ended_with(0);
    assert_eq!(results.end["counts"]["fail"], 0, "{:?}", results.verdicts());
    for id in [WITH_B, WITHOUT_B, "cow/vmsplice-child/base", "cow/file-write/tmpfile"] {
        results.expect(id, "pass", &[]);
    }
    results.expect("cow/ro-pin-shared/base", "skip", &["root"]);
    if let Some(size) = thp() {
        results.expect(&format!("cow/fork-write/thp-pte-{}", suffix(size)), "pass", &[]);
    }
}

/// A memory control group that is removed when this goes out of scope.
struct Cgroup(PathBuf);

impl Cgroup {
    /// With so many bytes and no swap; none where there is no controller to be had.
    fn new(name: &str, bytes: u64) -> Option<Cgroup> {
        let (v1, v2) = (Path::new("/sys/fs/cgroup/memory"), Path::new("/sys/fs/cgroup"));
        let is_v2 = fs::read_to_string(v2.join("cgroup.controllers")).is_ok_and(|all| all.contains("memory"));
        if is_v2 {
            // In a container that is not ours to give; then the file below is missing.
            let _ = fs::write(v2.join("cgroup.subtree_control"), "+memory");
        }
        let dir = if is_v2 { v2 } else { v1 }.join(format!("cowcheck-{name}-{}", std::process::id()));
        fs::create_dir(&dir).ok()?;
        let group = Cgroup(dir);
        let set = |file: &str, value: u64| fs::write(group.0.join(file), value.to_string());
        match is_v2 {
            true => {
                set("memory.max", bytes).ok()?;
                let _ = set("memory.swap.max", 0);
            }
            false => {
                set("memory.limit_in_bytes", bytes).ok()?;
                let _ = set("memory.swappiness", 0);
                let _ = set("memory.memsw.limit_in_bytes", bytes);
            }
        }
        Some(group)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Dead processes leave it a moment later.
        for _ in 0..100 {
            if fs::remove_dir(&self.0).is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn an_actor_for_which_there_is_no_memory_is_a_crash() {
    if !root() {
        return;
    }
    let Some(group) = Cgroup::new("oom", 48 << 20) else { return skipped("no memory control group") };
    let dir = TempDir::new().unwrap();
    let file = |name: &str, pages: u32| {
        let path = dir.path().join(name);
        fs::write(&path, format!("cowcheck scenario 1\nmemory anon 4K x{pages}\nA write all\nA read all\n")).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (large, small) = (file("large.cow", 32768), file("small.cow", 16));
    let results = Cowcheck::new(["replay", &large, &small, "--jobs", "1"])
        .after(&format!("echo $$ > {}/cgroup.procs", group.0.display()))
        .results()
        .ended_with(3);
    results.expect(&large, "crash", &["A died in step 1, `A write all`", "SIGKILL", "out of memory"]);
    results.expect(&small, "pass", &[]);
}

#[test]
fn without_proc_the_reason_is_told() {
    if !root() {
        return;
    }
    let dir = public_dir();
    fs::copy(program::path(), dir.path().join("cowcheck")).unwrap();
    let output = Cowcheck::run([WITH_B]).program("/cowcheck").under(["chroot", dir.path().to_str().unwrap()]).output();
    let told = format!("{}{}", output.out, output.err);
    assert_eq!(output.code, 3, "{told}");
    assert!(told.contains("no worker process could be started: /proc/self/exe: "), "{told}");
}
