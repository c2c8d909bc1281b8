//! Runs the program: a builder for the command line, and what comes of it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;

/// Longer than any test here runs it. A program that hangs is killed and its test fails.
const PATIENCE: Duration = Duration::from_secs(120);

/// Told to every process of a run by its environment, so that a test can find its own.
const TAG: &str = "COWCHECK_TEST_TAG";

/// The program under test.
pub(crate) fn path() -> PathBuf {
    std::env::var_os("COWCHECK").map_or_else(|| env!("CARGO_BIN_EXE_cowcheck").into(), PathBuf::from)
}

/// A command line of the program.
pub(crate) struct Cowcheck {
    /// What stands before the program: `setpriv ...`.
    under: Vec<OsString>,
    program: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    prepare: Option<fn() -> std::io::Result<()>>,
}

impl Cowcheck {
    /// `cowcheck ARGS`
    pub(crate) fn new<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Cowcheck {
        Cowcheck { under: vec![], program: path(), args: vec![], env: vec![], prepare: None }.args(args)
    }

    /// `cowcheck run CHECKS`
    pub(crate) fn run<A: AsRef<OsStr>>(checks: impl IntoIterator<Item = A>) -> Cowcheck {
        Cowcheck::new(["run"]).args(checks)
    }

    /// More arguments.
    pub(crate) fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Cowcheck {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// One more argument.
    pub(crate) fn arg(self, arg: impl AsRef<OsStr>) -> Cowcheck {
        self.args([arg])
    }

    /// Another program, or the same in another place.
    pub(crate) fn program(mut self, program: impl Into<PathBuf>) -> Cowcheck {
        self.program = program.into();
        self
    }

    /// Started by another program: `setpriv --nnp cowcheck ...`. What is said last stands first.
    pub(crate) fn under<A: AsRef<OsStr>>(mut self, words: impl IntoIterator<Item = A>) -> Cowcheck {
        let words: Vec<OsString> = words.into_iter().map(|word| word.as_ref().to_owned()).collect();
        self.under.splice(0..0, words);
        self
    }

    /// Started by a shell, once its commands have succeeded.
    pub(crate) fn after(self, commands: &str) -> Cowcheck {
        self.under(["sh", "-ec", &format!("{commands}\nexec \"$@\""), "sh"])
    }

    /// A variable of its environment.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Cowcheck {
        self.env.push((name.into(), value.as_ref().to_owned()));
        self
    }

    /// Called in the new process before the program is executed.
    pub(crate) fn prepare(mut self, prepare: fn() -> std::io::Result<()>) -> Cowcheck {
        self.prepare = Some(prepare);
        self
    }

    /// Starts it, in a process group of its own.
    pub(crate) fn start(self) -> Running {
        static RUNS: AtomicU32 = AtomicU32::new(0);
        let tag = format!("{}-{}", std::process::id(), RUNS.fetch_add(1, Ordering::Relaxed));
        let words: Vec<OsString> =
            self.under.into_iter().chain([self.program.into_os_string()]).chain(self.args).collect();
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .env_remove("NO_COLOR")
            .env_remove("CLICOLOR_FORCE")
            .env(TAG, &tag)
            .envs(self.env)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(prepare) = self.prepare {
            crate::seccomp::before_exec(&mut command, prepare);
        }
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{words:?}: {error}"));
        let read = |mut from: Box<dyn Read + Send>| {
            std::thread::spawn(move || {
                let mut bytes = Vec::new();
                from.read_to_end(&mut bytes).unwrap();
                String::from_utf8_lossy(&bytes).into_owned()
            })
        };
        let out = read(Box::new(child.stdout.take().unwrap()));
        let err = read(Box::new(child.stderr.take().unwrap()));
        Running { words, tag, child, out: Some(out), err: Some(err) }
    }

    /// Runs it to its end.
    pub(crate) fn output(self) -> Output {
        self.start().wait()
    }

    /// Runs it with `--format json`.
    pub(crate) fn results(self) -> Results {
        self.args(["--format", "json"]).output().results()
    }
}

type Reader = std::thread::JoinHandle<String>;

/// A run under way. It is killed when this goes out of scope.
pub(crate) struct Running {
    words: Vec<OsString>,
    tag: String,
    child: Child,
    out: Option<Reader>,
    err: Option<Reader>,
}

/// A process of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    /// Its id.
    pub(crate) pid: i32,
    /// Its name in ps.
    pub(crate) name: String,
    /// What it is doing: R, S, T, ...
    pub(crate) state: char,
}

impl Running {
    /// The process that was started.
    pub(crate) fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// Every living process of the run, itself and all below it.
    pub(crate) fn processes(&self) -> Vec<Process> {
        processes(&self.tag)
    }

    /// The living processes with that name.
    pub(crate) fn named(&self, name: &str) -> Vec<i32> {
        self.processes().into_iter().filter(|process| process.name == name).map(|process| process.pid).collect()
    }

    /// Waits until the test holds.
    pub(crate) fn until(&self, what: &str, test: impl Fn(&[Process]) -> bool) {
        until(what, Duration::from_secs(30), || {
            let all = self.processes();
            (test(&all), format!("{all:?}"))
        });
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        send(self.pid(), signal);
    }

    /// Sends a signal to its process group, as a terminal does.
    pub(crate) fn signal_group(&self, signal: Signal) {
        kill_process_group(Pid::from_raw(self.pid()).unwrap(), signal).unwrap();
    }

    /// Waits for its end.
    pub(crate) fn wait(mut self) -> Output {
        let end = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > end {
                let all = self.processes();
                self.end();
                let out = self.out.take().unwrap().join().unwrap();
                let err = self.err.take().unwrap().join().unwrap();
                panic!("{:?} has no end; {all:?}\n{out}\n{err}", self.words);
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let left = self.processes();
        let (out, err) = (self.out.take().unwrap(), self.err.take().unwrap());
        // What is left may hold the pipes open.
        self.end();
        Output {
            words: std::mem::take(&mut self.words),
            code: status.code().unwrap_or(-1),
            out: out.join().unwrap(),
            err: err.join().unwrap(),
            left,
        }
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        for process in self.processes() {
            if process.name != "cow-guard" {
                send(process.pid, Signal::KILL);
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// What a run came to.
pub(crate) struct Output {
    words: Vec<OsString>,
    /// The exit code; -1 for a signal.
    pub(crate) code: i32,
    /// Standard output.
    pub(crate) out: String,
    /// Standard error.
    pub(crate) err: String,
    /// Processes that were there when the program had ended.
    pub(crate) left: Vec<Process>,
}

impl Output {
    /// With this exit code, or the test fails.
    #[track_caller]
    pub(crate) fn code(self, code: i32) -> Output {
        assert_eq!(self.code, code, "{:?}\n{}\n{}", self.words, self.out, self.err);
        self
    }

    /// Standard output as the JSON lines of a run.
    #[track_caller]
    pub(crate) fn results(self) -> Results {
        let Output { words, code, out, err, left } = self;
        assert!(!out.is_empty(), "{words:?}: exit code {code}, nothing on standard output\n{err}");
        let mut results = Results::read(&out);
        (results.code, results.err, results.left) = (code, err, left);
        results
    }
}

/// The JSON lines of a run.
#[derive(Debug, Default)]
pub(crate) struct Results {
    /// The exit code.
    pub(crate) code: i32,
    /// Standard error.
    pub(crate) err: String,
    /// Processes that were there when the program had ended.
    pub(crate) left: Vec<Process>,
    /// The line of type `start`.
    pub(crate) start: Value,
    /// Those of type `note`: their texts.
    pub(crate) notes: Vec<String>,
    /// Those of type `check`.
    pub(crate) checks: Vec<Value>,
    /// That of type `end`; null where the run was cut off.
    pub(crate) end: Value,
}

impl Results {
    /// Reads the lines. Every one must be JSON, and there must be one start, and nothing behind the end.
    #[track_caller]
    pub(crate) fn read(text: &str) -> Results {
        let mut results = Results::default();
        for line in text.lines() {
            let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            assert!(results.end.is_null(), "after the end: {line}");
            match value["type"].as_str() {
                Some("start") => {
                    assert!(results.start.is_null(), "twice: {line}");
                    results.start = value;
                }
                Some("vm") => assert!(results.start.is_null(), "late: {line}"),
                Some("note") => results.notes.push(value["text"].as_str().unwrap().to_owned()),
                Some("begin") => assert!(!results.start.is_null(), "early: {line}"),
                Some("check") => results.checks.push(value),
                Some("end") => results.end = value,
                _ => panic!("of an unknown type: {line}"),
            }
        }
        results
    }

    /// The line of a check.
    #[track_caller]
    pub(crate) fn check(&self, id: &str) -> &Value {
        let mut with_id = self.checks.iter().filter(|check| check["id"] == id);
        let Some(check) = with_id.next() else {
            panic!("no {id} among {:?}", self.verdicts());
        };
        check
    }

    /// The verdict of a check.
    #[track_caller]
    pub(crate) fn verdict(&self, id: &str) -> &str {
        self.check(id)["verdict"].as_str().unwrap()
    }

    /// Why a check came to its verdict, where it says so.
    #[track_caller]
    pub(crate) fn reason(&self, id: &str) -> &str {
        self.check(id)["reason"].as_str().unwrap_or("")
    }

    /// Every id with its verdicts.
    pub(crate) fn verdicts(&self) -> BTreeMap<&str, Vec<&str>> {
        let mut all: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for check in &self.checks {
            all.entry(check["id"].as_str().unwrap()).or_default().push(check["verdict"].as_str().unwrap());
        }
        all
    }

    /// The check has this verdict, for a reason in which these words stand.
    #[track_caller]
    pub(crate) fn expect(&self, id: &str, verdict: &str, words: &[&str]) {
        let check = self.check(id);
        assert_eq!(self.verdict(id), verdict, "{check:#}\n{}", self.err);
        for word in words {
            assert!(self.reason(id).contains(word), "no {word} in {check:#}");
        }
    }

    /// The exit code is this one, and no process is left.
    #[track_caller]
    pub(crate) fn ended_with(self, code: i32) -> Results {
        assert_eq!(self.code, code, "{:?}\n{}", self.verdicts(), self.err);
        assert_eq!(self.left, [], "{:?}", self.verdicts());
        self
    }
}

/// Waits until the test holds; it says what it saw.
#[track_caller]
pub(crate) fn until(what: &str, limit: Duration, test: impl Fn() -> (bool, String)) {
    let end = Instant::now() + limit;
    loop {
        let (good, saw) = test();
        if good {
            return;
        }
        assert!(Instant::now() < end, "not within {limit:?}: {what}; {saw}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Sends a signal to a process that may be gone.
pub(crate) fn send(pid: i32, signal: Signal) {
    let _ = kill_process(Pid::from_raw(pid).unwrap(), signal);
}

fn processes(tag: &str) -> Vec<Process> {
    let wanted = format!("{TAG}={tag}").into_bytes();
    let tagged = |dir: &Path| {
        let environment = std::fs::read(dir.join("environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == wanted)
    };
    let look = |dir: PathBuf| {
        let pid = dir.file_name()?.to_str()?.parse().ok()?;
        if !tagged(&dir) {
            return None;
        }
        let stat = std::fs::read_to_string(dir.join("stat")).ok()?;
        let name = stat.split_once('(')?.1.rsplit_once(')')?.0.to_owned();
        let state = stat.rsplit_once(") ")?.1.chars().next()?;
        // A dead process that nobody has reaped does nothing and holds nothing.
        (!matches!(state, 'Z' | 'X')).then_some(Process { pid, name, state })
    };
    let mut found: Vec<Process> =
        std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| look(entry.path())).collect();
    found.sort_by_key(|process| process.pid);
    found
}
