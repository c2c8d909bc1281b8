//! Providers on this very machine. They need root and change its settings, so they run only when
//! asked for:
//!
//! ```text
//! cargo build -p cowcheck --example provide_hold
//! sudo -E cargo test -p cowcheck --test provide_root -- --ignored
//! ```
//!
//! Every one ends by comparing all settings with what they were.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use cowcheck::provide::guard::{ProcessId, journals, leftovers, recover};
use cowcheck::provide::machine::{Machine, Setting};
use cowcheck::provide::roots::Roots;
use rustix::process::{Pid, Signal, kill_process};

/// One at a time: they share the machine.
static MACHINE: Mutex<()> = Mutex::new(());

/// Everything that a provider may change, as text.
fn settings() -> Vec<(String, String)> {
    let thp = "/sys/kernel/mm/transparent_hugepage";
    let mut files: Vec<PathBuf> = ["enabled", "defrag", "use_zero_page", "khugepaged/scan_sleep_millisecs"]
        .iter()
        .map(|name| Path::new(thp).join(name))
        .collect();
    for (parent, name) in [(thp, "enabled"), ("/sys/kernel/mm/hugepages", "nr_hugepages")] {
        let mut dirs: Vec<_> = fs::read_dir(parent).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        dirs.sort();
        files.extend(dirs.into_iter().map(|dir| dir.join(name)).filter(|file| file.exists()));
    }
    files.extend(
        ["/proc/swaps", "/proc/self/mounts", "/proc/modules", "/proc/sys/vm/min_free_kbytes"].map(PathBuf::from),
    );
    let mut all: Vec<_> = files
        .into_iter()
        .map(|file| (file.display().to_string(), fs::read_to_string(&file).unwrap_or_default()))
        .collect();
    for dir in ["/sys/block", "/var/tmp"] {
        let mut names: Vec<_> = fs::read_dir(dir)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        all.push((dir.to_owned(), names.join(" ")));
    }
    all
}

/// A run directory, the settings from before, and the machine to ourselves.
struct Scene {
    run: PathBuf,
    before: Vec<(String, String)>,
    _alone: MutexGuard<'static, ()>,
}

impl Scene {
    fn new() -> Scene {
        let alone = MACHINE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        assert!(rustix::process::geteuid().is_root(), "needs root");
        // The usual place: so that no cowcheck that somebody runs gets in between.
        let run = Roots::default().run;
        let end = Instant::now() + Duration::from_secs(120);
        while journals(&run).iter().any(|journal| journal.keeper().is_some()) {
            assert!(Instant::now() < end, "another cowcheck has changed settings: {:?}", journals(&run));
            std::thread::sleep(Duration::from_millis(100));
        }
        Scene { run, before: settings(), _alone: alone }
    }

    fn hold(&self, args: &[&str]) -> Hold {
        let tests = std::env::current_exe().unwrap();
        let example = tests.parent().and_then(Path::parent).unwrap().join("examples/provide_hold");
        let mut child = Command::new(example)
            .arg(&self.run)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("first: cargo build -p cowcheck --example provide_hold");
        let to = child.stdin.take();
        let from = BufReader::new(child.stdout.take().unwrap());
        Hold { child, to, from, said: Vec::new() }
    }

    /// The settings are as before and no journal is left. They are given some time to.
    fn is_restored_within(&self, limit: Duration) -> Duration {
        let start = Instant::now();
        loop {
            let (now, journals) = (settings(), self.journals());
            if now == self.before && journals.is_empty() {
                return start.elapsed();
            }
            if start.elapsed() > limit {
                let differ: Vec<_> = now.iter().zip(&self.before).filter(|(now, before)| now != before).collect();
                panic!("not restored: {differ:#?} {journals:?}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The guard first, and only when it is dead the tool: else it would do its work.
    fn kill_both(&self, hold: &mut Hold) {
        let guard = hold.guard();
        send(guard, Signal::KILL);
        let end = Instant::now() + SECONDS;
        while ProcessId::of(guard).is_some() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(1));
        }
        hold.signal(Signal::KILL);
    }

    fn journals(&self) -> Vec<PathBuf> {
        journals(&self.run).iter().map(|journal| journal.path().to_owned()).collect()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // After a failed test there can be something left to do.
        let end = Instant::now() + Duration::from_secs(15);
        while !self.journals().is_empty() && Instant::now() < end {
            recover(&self.run);
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// A running `provide_hold`.
struct Hold {
    child: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
    said: Vec<String>,
}

impl Hold {
    /// Reads until a line with this beginning.
    fn until(&mut self, beginning: &str) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(self.from.read_line(&mut line).unwrap(), 0, "ended after {:#?}", self.said);
            let line = line.trim_end().to_owned();
            self.said.push(line.clone());
            if line.starts_with(beginning) {
                return line;
            }
        }
    }

    fn go_on(&mut self) {
        writeln!(self.to.as_mut().unwrap()).unwrap();
    }

    fn guard(&self) -> u32 {
        self.said.iter().find_map(|line| line.strip_prefix("guard: ")).unwrap().parse().unwrap()
    }

    fn signal(&mut self, signal: Signal) {
        send(self.child.id(), signal);
        self.child.wait().unwrap();
    }
}

fn send(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid as i32).unwrap(), signal).unwrap();
}

fn look() -> Machine {
    Machine::look(&Roots::default(), || Ok(()))
}

const SECONDS: Duration = Duration::from_secs(5);

#[test]
#[ignore = "needs root and changes settings, which it puts back"]
fn what_is_wanted_is_there_and_then_as_before() {
    let scene = Scene::new();
    let mut hold = scene.hold(&[]);
    hold.until("ready");
    println!("{:#?}", hold.said);
    let machine = look();
    assert!(machine.thp.iter().all(|size| size.setting != Setting::Never), "{:?}", machine.thp);
    assert!(machine.huge_zero_page && machine.debugfs);
    assert!(machine.free_swap() >= 60 << 20);
    assert!(machine.hugetlb_size(2 << 20).is_some_and(|size| size.available() >= 4));
    let gigantic = machine.hugetlb_size(1 << 30).map(|size| size.available());
    let told = hold.said.iter().any(|line| line.starts_with("could not: could not provide 1G"));
    assert_eq!(gigantic.unwrap_or(0) < 2, told, "{gigantic:?} {:#?}", hold.said);
    assert_eq!(scene.journals().len(), 1);
    hold.go_on();
    hold.until("restored");
    // At once: restore() has waited.
    scene.is_restored_within(Duration::ZERO);
    println!("{:#?}", hold.said);
    assert!(hold.child.wait().unwrap().success());
}

/// Does this process ignore the signal, and so will its children? proc_pid_status(5).
fn is_ignored(signal: Signal) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap().trim();
    u64::from_str_radix(mask, 16).unwrap() >> (signal.as_raw() - 1) & 1 == 1
}

#[test]
#[ignore = "needs root and changes settings, which it puts back"]
fn killed_the_guard_puts_everything_back() {
    let scene = Scene::new();
    for signal in [Signal::KILL, Signal::INT, Signal::TERM, Signal::HUP] {
        if is_ignored(signal) {
            println!("{signal:?} is ignored here, as under nohup");
            continue;
        }
        let mut hold = scene.hold(&[]);
        hold.until("ready");
        hold.signal(signal);
        println!("{signal:?}: restored after {:?}", scene.is_restored_within(SECONDS));
    }
}

#[test]
#[ignore = "needs root and changes settings, which it puts back"]
fn a_signal_to_the_whole_group_does_not_reach_the_guard() {
    let scene = Scene::new();
    let mut hold = scene.hold(&[]);
    hold.until("ready");
    let guard = hold.guard();
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        send(guard, signal);
    }
    let name = fs::read_to_string(format!("/proc/{guard}/comm")).unwrap();
    assert_eq!(name.trim(), "cow-guard");
    let line = fs::read_to_string(format!("/proc/{guard}/cmdline")).unwrap();
    assert!(line.starts_with("cow-guard\0__guard\0") && !line.contains("cowcheck"), "{line:?}");
    let session = rustix::process::getsid(Pid::from_raw(guard as i32)).unwrap();
    assert_eq!(session.as_raw_nonzero().get(), guard as i32);
    assert_eq!(scene.journals().len(), 1, "it must not have acted yet");
    hold.signal(Signal::KILL);
    scene.is_restored_within(SECONDS);
}

#[test]
#[ignore = "needs root and changes settings, which it puts back"]
fn workers_that_live_on_are_waited_for() {
    let scene = Scene::new();
    let mut hold = scene.hold(&["swap", "--worker", "3"]);
    hold.until("ready");
    hold.signal(Signal::KILL);
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(scene.journals().len(), 1, "it must wait for the worker");
    let took = scene.is_restored_within(SECONDS);
    assert!(took > Duration::from_secs(1), "{took:?}");
}

#[test]
#[ignore = "needs root and changes settings, which it puts back"]
fn workers_that_hang_are_not_waited_for_for_ever() {
    let scene = Scene::new();
    let mut hold = scene.hold(&["swap", "--worker", "30"]);
    let worker = hold.until("worker: ");
    hold.until("ready");
    hold.signal(Signal::KILL);
    let took = scene.is_restored_within(Duration::from_secs(15));
    assert!(took > Duration::from_secs(9), "{took:?}");
    let worker: String = worker.chars().filter(char::is_ascii_digit).collect();
    send(worker.parse().unwrap(), Signal::KILL);
}

#[test]
#[ignore = "needs root and changes settings, which it puts back"]
fn with_the_guard_killed_the_tool_does_it_itself() {
    let scene = Scene::new();
    let mut hold = scene.hold(&[]);
    hold.until("ready");
    send(hold.guard(), Signal::KILL);
    std::thread::sleep(Duration::from_millis(100));
    hold.go_on();
    hold.until("restored");
    scene.is_restored_within(Duration::ZERO);
}

#[test]
#[ignore = "needs root and changes settings, which it puts back"]
fn with_both_killed_the_next_one_recovers() {
    let scene = Scene::new();
    let mut hold = scene.hold(&[]);
    hold.until("ready");
    let journal = leftovers(&scene.run);
    assert!(journal.is_empty(), "its owner lives: {journal:?}");
    scene.kill_both(&mut hold);
    assert_eq!(leftovers(&scene.run).len(), 1);
    let restored = recover(&scene.run);
    println!("{restored:#?}");
    assert!(restored.stuck.is_empty() && restored.put_back.len() >= 4, "{restored:?}");
    scene.is_restored_within(Duration::ZERO);

    // And the next to provide does the same before it starts.
    let mut hold = scene.hold(&["swap"]);
    hold.until("ready");
    scene.kill_both(&mut hold);
    let mut next = scene.hold(&["swap"]);
    next.until("did: put back what a killed cowcheck had left: zram");
    next.until("ready");
    next.go_on();
    next.until("restored");
    scene.is_restored_within(Duration::ZERO);
}

#[test]
#[ignore = "needs root and changes settings, which it puts back"]
fn a_second_one_is_refused_with_the_first_ones_process() {
    let scene = Scene::new();
    let mut first = scene.hold(&["swap"]);
    first.until("ready");
    let mut second = scene.hold(&["swap"]);
    let error = second.until("error: ");
    assert!(error.contains(&format!("another cowcheck (process {})", first.child.id())), "{error}");
    first.go_on();
    first.until("restored");
    scene.is_restored_within(Duration::ZERO);
}

#[test]
#[ignore = "needs root and changes settings, which it puts back"]
fn one_that_comes_while_a_guard_is_at_work_waits_for_it() {
    let scene = Scene::new();
    let mut first = scene.hold(&["swap", "--worker", "2"]);
    first.until("ready");
    first.signal(Signal::KILL);
    let mut second = scene.hold(&["swap"]);
    second.until("ready");
    second.go_on();
    second.until("restored");
    scene.is_restored_within(Duration::ZERO);
}

#[test]
#[ignore = "needs root and changes settings, which it puts back"]
fn a_panic_restores() {
    let scene = Scene::new();
    let mut hold = scene.hold(&["panic"]);
    hold.until("ready");
    hold.go_on();
    assert!(!hold.child.wait().unwrap().success());
    scene.is_restored_within(Duration::ZERO);
}

#[test]
#[ignore = "needs root and changes settings, which it puts back"]
fn a_file_serves_as_swap_where_nothing_else_does() {
    let scene = Scene::new();
    for signal in [None, Some(Signal::KILL)] {
        let mut hold = scene.hold(&["file"]);
        hold.until("ready");
        println!("{:#?}", hold.said);
        let machine = look();
        assert!(machine.swaps.iter().any(|area| area.path.starts_with("/var/tmp")), "{:?}", hold.said);
        match signal {
            Some(signal) => hold.signal(signal),
            None => {
                hold.go_on();
                hold.until("restored");
            }
        }
        scene.is_restored_within(SECONDS);
    }
}
