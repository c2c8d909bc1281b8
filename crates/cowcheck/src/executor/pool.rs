//! Worker processes, as many as jobs may run at once, and who gets which job.
//!
//! A worker is this program again, started afresh: it has one thread and little memory, which is
//! what makes its forks cheap and safe. When one dies or hangs it is replaced, and only the job it
//! had is lost.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use super::request::{Request, Response};

/// The hidden first argument that makes this program a worker.
pub const WORKER_ARG: &str = "__worker";

/// How much longer than its time limits a worker may take before it is given up.
const GRACE: Duration = Duration::from_secs(20);

/// The kernel, as uname(2) has it.
pub fn kernel_name() -> String {
    let name = rustix::system::uname();
    format!("{} {}", name.release().to_string_lossy(), name.version().to_string_lossy())
}

/// Something to run.
#[derive(Debug, Clone)]
pub struct Job {
    /// The caller's number for it.
    pub index: usize,
    /// What to run.
    pub request: Request,
    /// Hugetlb pages it takes while it runs: bytes of a page, and how many.
    pub hugetlb: Option<(u64, u64)>,
    /// How long it takes, compared with others: the longest begin first.
    pub cost: u64,
}

/// What happens to a job.
#[derive(Debug)]
pub enum News {
    /// A worker has it.
    Begun(usize),
    /// It is done; or its worker died, for this reason.
    Done(usize, Result<Response, String>),
}

/// What the caller wants after some news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Go on.
    Continue,
    /// Begin nothing new, and kill what runs.
    Stop,
}

/// Runs the jobs in at most `width` workers. `free` says how many hugetlb pages of each size there
/// are. `told` gets the news, in order, and every so often `None`, to be asked for its wish.
/// Returns the jobs that were not done.
pub fn run(
    jobs: Vec<Job>,
    width: usize,
    mut free: BTreeMap<u64, u64>,
    mut told: impl FnMut(Option<News>) -> Wish,
) -> io::Result<Vec<usize>> {
    let mut waiting = jobs;
    // The queue is taken from its end.
    waiting.sort_by_key(|job| (job.cost, std::cmp::Reverse(job.index)));
    let (send, news) = mpsc::channel();
    let mut seats: Vec<Seat> =
        (0..width.max(1).min(waiting.len().max(1))).map(|number| Seat::new(number, send.clone())).collect();
    let mut stopped = false;
    loop {
        if !stopped {
            for seat in seats.iter_mut().filter(|seat| seat.job.is_none()) {
                let Some(position) = waiting.iter().rposition(|job| fits(job, &free)) else { break };
                let job = waiting.remove(position);
                if let Some((size, pages)) = job.hugetlb {
                    free.entry(size).and_modify(|free| *free -= pages);
                }
                stopped |= told(Some(News::Begun(job.index))) == Wish::Stop;
                seat.begin(job)?;
            }
        }
        if stopped || seats.iter().all(|seat| seat.job.is_none()) {
            let mut left: Vec<usize> = waiting.iter().map(|job| job.index).collect();
            left.extend(seats.iter().filter_map(|seat| seat.job.as_ref()).map(|job| job.index));
            return Ok(left);
        }
        match receive(&news) {
            Some((number, generation, result)) => {
                let Some(job) = seats[number].end(generation) else { continue };
                if let Some((size, pages)) = job.hugetlb {
                    free.entry(size).and_modify(|free| *free += pages);
                }
                if result.as_ref().map_or(true, |response| response.spent) {
                    seats[number].replace();
                }
                stopped |= told(Some(News::Done(job.index, result))) == Wish::Stop;
            }
            None => {
                stopped |= told(None) == Wish::Stop;
                seats.iter_mut().for_each(Seat::look);
            }
        }
    }
}

fn fits(job: &Job, free: &BTreeMap<u64, u64>) -> bool {
    job.hugetlb.is_none_or(|(size, pages)| free.get(&size).is_some_and(|free| *free >= pages))
}

fn receive(news: &Receiver<Message>) -> Option<Message> {
    match news.recv_timeout(Duration::from_millis(100)) {
        Ok(news) => Some(news),
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => None,
    }
}

/// What a reading thread says: which seat, which of its workers, and what that said.
type Message = (usize, u32, Result<Response, String>);

/// A place for one worker, and the thread that reads what it says.
struct Seat {
    number: usize,
    /// Which worker sits here: one that was replaced may still be heard of.
    generation: u32,
    news: Sender<Message>,
    worker: Option<Child>,
    job: Option<Job>,
    deadline: Instant,
}

impl Seat {
    fn new(number: usize, news: Sender<Message>) -> Seat {
        Seat { number, generation: 0, news, worker: None, job: None, deadline: Instant::now() }
    }

    fn begin(&mut self, job: Job) -> io::Result<()> {
        let mut line = serde_json::to_vec(&job.request).map_err(io::Error::other)?;
        line.push(b'\n');
        let limit = Duration::from_millis(job.request.limit_ms).saturating_mul(job.request.repeat.max(1));
        self.deadline = Instant::now() + limit + GRACE;
        self.job = Some(job);
        if self.worker.is_none() {
            self.worker = Some(self.start()?);
        }
        let stdin = self.worker.as_mut().and_then(|worker| worker.stdin.as_mut());
        let written = stdin.map(|stdin| stdin.write_all(&line).and_then(|()| stdin.flush()));
        if !matches!(written, Some(Ok(()))) {
            // It died; the reading thread says so.
            self.kill();
        }
        Ok(())
    }

    fn start(&self) -> io::Result<Child> {
        let mut command = Command::new("/proc/self/exe");
        command.arg(WORKER_ARG).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut worker = command.spawn()?;
        let stdout = worker.stdout.take().ok_or_else(|| io::Error::other("no pipe to the worker"))?;
        let (number, generation, news) = (self.number, self.generation, self.news.clone());
        std::thread::spawn(move || {
            let mut lines = BufReader::new(stdout).lines();
            loop {
                let said = match lines.next() {
                    Some(Ok(line)) => {
                        serde_json::from_str(&line).map_err(|error| format!("the worker spoke nonsense: {error}"))
                    }
                    Some(Err(error)) => Err(format!("the worker cannot be read: {error}")),
                    None => Err("the worker process died".to_owned()),
                };
                let last = said.is_err();
                if news.send((number, generation, said)).is_err() || last {
                    break;
                }
            }
        });
        Ok(worker)
    }

    /// The job that was running in the worker of that generation.
    fn end(&mut self, generation: u32) -> Option<Job> {
        if generation == self.generation { self.job.take() } else { None }
    }

    /// Kills a worker that is far over its time.
    fn look(&mut self) {
        if self.job.is_some() && Instant::now() >= self.deadline {
            self.kill();
        }
    }

    fn kill(&mut self) {
        if let Some(worker) = &mut self.worker {
            let _ = worker.kill();
        }
    }

    /// The worker is no good any more.
    fn replace(&mut self) {
        self.generation += 1;
        self.kill();
        if let Some(mut worker) = self.worker.take() {
            let _ = worker.wait();
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        match &self.job {
            Some(_) => self.kill(),
            // Its input ends, and so does it.
            None => drop(self.worker.as_mut().and_then(|worker| worker.stdin.take())),
        }
        if let Some(mut worker) = self.worker.take() {
            let _ = worker.wait();
        }
    }
}
