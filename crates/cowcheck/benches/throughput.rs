//! Scenarios per second on one core, through a real worker, beside a bare loop of the same system calls.
//!
//! ```text
//! cargo bench -p cowcheck --bench throughput              # tells
//! cargo bench -p cowcheck --bench throughput -- --check   # exit code 1 below a goal
//! ```
//!
//! The bare loop has no stamps (one store a page), compares nothing, looks at no page state and keeps no
//! record: what is above it is what cowcheck costs. Both are pinned to the same core and take turns, and
//! the best round of each counts, because other programs only ever make a round slower. Processor time
//! is told beside it: on a busy machine it is the truer number.

use std::error::Error;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use cowcheck::executor::pool::WORKER_ARG;
use cowcheck::executor::processors;
use cowcheck::executor::request::{Devices, Request, Response};
use cowcheck_model::step::{Advice, Prot};
use cowcheck_sys::area::{Area, Source};
use cowcheck_sys::board::{self, Board};
use cowcheck_sys::probe;
use cowcheck_sys::process::{self, Fork};

const ROUNDS: u32 = 5;
const PAGE: usize = 4096;
const HUGE: usize = 2 << 20;

/// A scenario, the bare loop beside it, and what is asked of it.
struct Case {
    name: &'static str,
    /// Scenarios per second.
    goal: f64,
    /// How many in a round.
    count: u32,
    scenario: &'static str,
    bare: fn(&Board) -> io::Result<()>,
}

const CASES: [Case; 2] = [
    Case {
        name: "collapse of a PTE-mapped 2 MiB THP after fork",
        goal: 1000.0,
        count: 1500,
        scenario: "cowcheck scenario 1\nmemory thp 2M\nA write all\nA mprotect page 1 ro\nA mprotect page 1 rw\n\
                   A require pte-mapped all\nA fork B\nA collapse all\nA require pmd-mapped all\nA write all\n\
                   B read all\nA read all\n",
        bare: collapse,
    },
    Case {
        name: "write to a base page after fork",
        goal: 3000.0,
        count: 4000,
        scenario: "cowcheck scenario 1\nmemory anon 4K\nA write all\nA fork B\nA write all\nB read all\nA read all\n",
        bare: base_page,
    },
];

/// One run of the same system calls as the first case's.
fn collapse(board: &Board) -> io::Result<()> {
    let area = Area::reserve(HUGE, HUGE)?;
    area.map(0, HUGE, Source::Anonymous, Prot::Rw)?;
    area.advise(0, HUGE, Advice::HugePage)?;
    store(&area)?;
    area.protect(PAGE, PAGE, Prot::Ro)?;
    area.protect(PAGE, PAGE, Prot::Rw)?;
    let child = fork(board, &area)?;
    // Refusals that pass are tried again, as the executor does.
    while let Err(error) = area.advise(0, HUGE, Advice::Collapse) {
        if !matches!(error.raw_os_error(), Some(11 | 12 | 16)) {
            return Err(error);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    store(&area)?;
    finish(board, child)?;
    load(&area)
}

/// One run of the same system calls as the second case's.
fn base_page(board: &Board) -> io::Result<()> {
    let area = Area::reserve(PAGE, PAGE)?;
    area.map(0, PAGE, Source::Anonymous, Prot::Rw)?;
    area.advise(0, PAGE, Advice::NoHugePage)?;
    store(&area)?;
    let child = fork(board, &area)?;
    store(&area)?;
    finish(board, child)?;
    load(&area)
}

/// The child waits for its turn, loads a word of each page, and is gone.
fn fork(board: &Board, area: &Area) -> io::Result<i32> {
    board.word(0).store(0, Ordering::Release);
    match process::fork()? {
        Fork::Parent(child) => Ok(child),
        Fork::Child => {
            while board.word(0).load(Ordering::Acquire) == 0 {
                board::wait(board.word(0), 0, Duration::from_secs(1));
            }
            process::exit_now(i32::from(load(area).is_err()))
        }
    }
}

fn finish(board: &Board, child: i32) -> io::Result<()> {
    board::post(board.word(0), 1);
    match process::wait(child, true)? {
        Some(process::Exit::Code(0)) => Ok(()),
        other => Err(io::Error::other(format!("the child ended with {other:?}"))),
    }
}

fn pages(area: &Area) -> impl Iterator<Item = usize> {
    (0..).step_by(PAGE).take_while(|offset| area.offset(area.address(*offset)).is_some())
}

fn store(area: &Area) -> io::Result<()> {
    pages(area).try_for_each(|at| area.store(at)).map_err(|fault| io::Error::other(format!("{fault:?}")))
}

fn load(area: &Area) -> io::Result<()> {
    pages(area).try_for_each(|at| area.load(at)).map_err(|fault| io::Error::other(format!("{fault:?}")))
}

/// `cowcheck __worker`, and the lines to and from it.
struct Worker {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Worker {
    fn start() -> Result<Worker, Box<dyn Error>> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cowcheck"));
        let mut child = command.arg(WORKER_ARG).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let to = child.stdin.take().ok_or("no pipe to the worker")?;
        let from = BufReader::new(child.stdout.take().ok_or("no pipe from the worker")?);
        Ok(Worker { child, to, from })
    }

    fn run(&mut self, scenario: &str, repeat: u32) -> Result<Response, Box<dyn Error>> {
        let scenario = scenario.to_owned();
        let request =
            Request { scenario, limit_ms: 10_000, states: false, repeat, fault: None, devices: Devices::default() };
        writeln!(self.to, "{}", serde_json::to_string(&request)?)?;
        let mut line = String::new();
        self.from.read_line(&mut line)?;
        Ok(serde_json::from_str(&line)?)
    }

    /// Its processor time and its families' is known to the kernel only when it has been waited for.
    fn end(self) -> io::Result<()> {
        let Worker { mut child, to, from } = self;
        drop((to, from));
        child.wait().map(drop)
    }
}

/// Processor time of this process and of its children that were waited for, in seconds.
fn processor_time() -> Result<f64, Box<dyn Error>> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit_once(") ").ok_or("no /proc/self/stat")?.1.split(' ').collect();
    let ticks = |range: std::ops::Range<usize>| -> Result<u64, Box<dyn Error>> {
        let fields = fields.get(range).ok_or("short /proc/self/stat")?;
        Ok(fields.iter().map(|field| field.parse::<u64>()).sum::<Result<u64, _>>()?)
    };
    // proc_pid_stat(5): utime, stime, cutime, cstime are fields 14 to 17, the state is field 3.
    Ok(ticks(11..15)? as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// The best of some rounds: scenarios per second of time that passed, and of processor time.
#[derive(Clone, Copy, Default)]
struct Rate {
    wall: f64,
    processor: f64,
}

impl Rate {
    fn round(&mut self, count: u32, round: impl FnOnce() -> Result<(), Box<dyn Error>>) -> Result<(), Box<dyn Error>> {
        let (began, used) = (Instant::now(), processor_time()?);
        round()?;
        self.wall = self.wall.max(f64::from(count) / began.elapsed().as_secs_f64());
        self.processor = self.processor.max(f64::from(count) / (processor_time()? - used));
        Ok(())
    }
}

fn measure(case: &Case, board: &Board) -> Result<(Rate, Rate), Box<dyn Error>> {
    let (mut ours, mut bare) = (Rate::default(), Rate::default());
    for _ in 0..ROUNDS {
        ours.round(case.count, || {
            let mut worker = Worker::start()?;
            let response = worker.run(case.scenario, case.count)?;
            if let Some(trace) = response.traces.first() {
                return Err(format!("{} runs were no pass, as {}", response.traces.len(), trace.to_json()).into());
            }
            Ok(worker.end()?)
        })?;
        bare.round(case.count, || Ok((0..case.count).try_for_each(|_| (case.bare)(board))?))?;
    }
    Ok((ours, bare))
}

fn run(check: bool) -> Result<bool, Box<dyn Error>> {
    // Pages that nobody else of this process has touched, so that a fork costs what it costs a worker.
    probe::install()?;
    let board = Board::new(1, 0)?;
    let core = processors::allowed()?.pop().ok_or("no core to run on")?;
    processors::stay_on(&[core])?;

    let mut good = true;
    println!(
        "scenarios per second on core {core}, best of {ROUNDS} rounds (in brackets: per second of processor time)"
    );
    for case in &CASES {
        // Without THP, collapse or memory there is nothing to measure.
        if let Err(error) = (case.bare)(&board) {
            println!("{}: cannot be run here: {error}", case.name);
            continue;
        }
        let (ours, bare) = measure(case, &board)?;
        println!(
            "{}: cowcheck {:.0} ({:.0}), bare system calls {:.0} ({:.0}); a scenario takes {:.2} times the bare time; \
             goal {:.0}",
            case.name,
            ours.wall,
            ours.processor,
            bare.wall,
            bare.processor,
            bare.processor / ours.processor,
            case.goal
        );
        if check && ours.wall < case.goal {
            println!("{}: below the goal", case.name);
            good = false;
        }
    }
    Ok(good)
}

fn main() -> ExitCode {
    // cargo bench adds --bench.
    let check = std::env::args().any(|arg| arg == "--check");
    match run(check) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}
