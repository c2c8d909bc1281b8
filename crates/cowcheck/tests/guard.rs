//! The guard puts things back whatever dies. No root is needed: a file stands for a setting.
//!
//! The tests in `provide_root.rs` do the same with the settings of the machine.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use cowcheck::provide::guard::{ProcessId, journals, leftovers, recover};
use rustix::process::{Pid, Signal, kill_process};

/// A directory with one file in it, which holds `old`.
struct Scene {
    dir: PathBuf,
}

impl Scene {
    fn new(name: &str) -> Scene {
        let dir = std::env::temp_dir().join(format!("cowcheck-guard-{}-{name}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("setting"), "old").unwrap();
        Scene { dir }
    }

    fn run(&self) -> PathBuf {
        self.dir.join("run")
    }

    fn setting(&self) -> String {
        fs::read_to_string(self.dir.join("setting")).unwrap()
    }

    fn hold(&self) -> Hold {
        let tests = std::env::current_exe().unwrap();
        let example = tests.parent().and_then(Path::parent).unwrap().join("examples/provide_hold");
        let mut child = Command::new(example)
            .arg(self.run())
            .arg("plain")
            .arg(self.dir.join("setting"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("first: cargo build -p cowcheck --example provide_hold");
        let from = BufReader::new(child.stdout.take().unwrap());
        Hold { child, from, guard: 0 }
    }

    fn wait_until_restored(&self) {
        let end = Instant::now() + Duration::from_secs(5);
        while self.setting() != "old" || !journals(&self.run()).is_empty() {
            assert!(Instant::now() < end, "{} {:?}", self.setting(), journals(&self.run()));
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

struct Hold {
    child: Child,
    from: BufReader<ChildStdout>,
    guard: u32,
}

impl Hold {
    fn until(&mut self, beginning: &str) -> String {
        let mut all = String::new();
        loop {
            let mut line = String::new();
            assert_ne!(self.from.read_line(&mut line).unwrap(), 0, "ended after {all}");
            if let Some(pid) = line.strip_prefix("guard: ") {
                self.guard = pid.trim().parse().unwrap();
            }
            if line.starts_with(beginning) {
                return line.trim_end().to_owned();
            }
            all += &line;
        }
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn kill_guard(&self) {
        kill_process(Pid::from_raw(self.guard as i32).unwrap(), Signal::KILL).unwrap();
        while ProcessId::of(self.guard).is_some() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

#[test]
fn when_asked() {
    let scene = Scene::new("asked");
    let mut hold = scene.hold();
    hold.until("ready");
    assert_eq!(scene.setting(), "changed");
    writeln!(hold.child.stdin.take().unwrap()).unwrap();
    assert_eq!(hold.until("restored"), "restored: 1 put back, 0 stuck");
    assert_eq!(scene.setting(), "old");
    assert!(journals(&scene.run()).is_empty());
    assert!(hold.child.wait().unwrap().success());
}

#[test]
fn when_the_tool_is_killed() {
    let scene = Scene::new("killed");
    let mut hold = scene.hold();
    hold.until("ready");
    hold.kill();
    scene.wait_until_restored();
}

#[test]
fn when_the_guard_is_killed_the_tool_does_it() {
    let scene = Scene::new("guard");
    let mut hold = scene.hold();
    hold.until("ready");
    hold.kill_guard();
    writeln!(hold.child.stdin.take().unwrap()).unwrap();
    assert_eq!(hold.until("restored"), "restored: 1 put back, 0 stuck");
    assert_eq!(scene.setting(), "old");
    hold.child.wait().unwrap();
}

#[test]
fn when_both_are_killed_the_next_one_does_it() {
    let scene = Scene::new("both");
    let mut hold = scene.hold();
    hold.until("ready");
    assert!(leftovers(&scene.run()).is_empty(), "its owner lives");
    hold.kill_guard();
    hold.kill();
    assert_eq!(scene.setting(), "changed");
    assert_eq!(leftovers(&scene.run()).len(), 1);
    let restored = recover(&scene.run());
    assert_eq!((restored.put_back.len(), restored.stuck.len()), (1, 0));
    scene.wait_until_restored();
}

#[test]
fn a_second_one_is_refused_while_the_first_lives() {
    let scene = Scene::new("second");
    let mut first = scene.hold();
    first.until("ready");
    let mut second = scene.hold();
    let error = second.until("error");
    assert!(error.contains(&format!("another cowcheck (process {})", first.child.id())), "{error}");
    second.child.wait().unwrap();
    assert_eq!(scene.setting(), "changed", "the first one's setting stays");
    first.kill();
    scene.wait_until_restored();
}
