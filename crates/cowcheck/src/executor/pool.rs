//! Worker processes, as many as jobs may run at once, and who gets which job.
//!
//! A worker is this program again, started afresh: it has one thread and little memory, which is
//! what makes its forks cheap and safe. When one dies or hangs it is replaced, and only the job it
//! had is lost.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::processors;
use super::request::{Request, Response};

/// The hidden first argument that makes this program a worker. A second one is the processor that it stays on.
pub const WORKER_ARG: &str = "__worker";

/// This very program, wherever it lies and whatever has been put in its place since.
const MYSELF: &str = "/proc/self/exe";

/// How much longer than its time limits a worker may take before it is given up.
const GRACE: Duration = Duration::from_secs(20);

/// How long a worker may take to end once it was told to, or was killed: longer than it waits itself for
/// a family that it has killed.
const DYING: Duration = Duration::from_secs(7);

/// The kernel, as uname(2) has it.
pub fn kernel_name() -> String {
    let name = rustix::system::uname();
    format!("{} {}", name.release().to_string_lossy(), name.version().to_string_lossy())
}

/// What a worker can be asked.
pub trait Ask: Serialize {
    /// What it says then.
    type Answer: Answer;

    /// How long it may take.
    fn limit(&self) -> Duration;
}

/// What a worker says.
pub trait Answer: DeserializeOwned + Send + 'static {
    /// Is the worker no longer good?
    fn is_last(&self) -> bool;
}

impl Ask for Request {
    type Answer = Response;

    fn limit(&self) -> Duration {
        Duration::from_millis(self.limit_ms).saturating_mul(self.repeat.max(1))
    }
}

impl Answer for Response {
    fn is_last(&self) -> bool {
        self.spent
    }
}

/// Something to run.
#[derive(Debug, Clone)]
pub struct Job<Q = Request> {
    /// The caller's number for it.
    pub index: usize,
    /// What to run.
    pub request: Q,
    /// Hugetlb pages it takes while it runs: bytes of a page, and how many.
    pub hugetlb: Option<(u64, u64)>,
    /// Nothing else runs beside it.
    pub alone: bool,
    /// How long it takes, compared with others: the longest begin first.
    pub cost: u64,
}

/// Why there is no response to a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lost {
    /// It was never run: no worker could be started, for this reason.
    NotStarted(String),
    /// Its worker died, as this tells.
    Died(String),
    /// Its worker was killed: it gave no answer for long after every time limit.
    Silent(String),
}

/// What happens to a job.
#[derive(Debug)]
pub enum News<A = Response> {
    /// It is given to a worker.
    Begun(usize),
    /// It is done.
    Done(usize, Result<A, Lost>),
}

/// What the caller wants after some news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Go on.
    Continue,
    /// Begin nothing new, and end what runs.
    Stop,
}

/// Where jobs come from, and who wants to know what becomes of them.
pub trait Source<Q: Ask> {
    /// The next job, which must take no more hugetlb pages than are free; one that must be alone only if nothing else
    /// runs (`is_idle`). `None` is asked again when another job is done; where none runs, it is the end.
    fn next(&mut self, free: &BTreeMap<u64, u64>, is_idle: bool) -> Option<Job<Q>>;

    /// News, in order, and every so often `None`, to be asked for its wish.
    fn told(&mut self, news: Option<News<Q::Answer>>) -> Wish;
}

/// Runs the jobs in at most `width` workers. `free` says how many hugetlb pages of each size there
/// are. `told` gets the news. Returns the jobs that were not done.
pub fn run(
    jobs: Vec<Job>,
    width: usize,
    free: BTreeMap<u64, u64>,
    told: impl FnMut(Option<News>) -> Wish,
) -> Vec<usize> {
    let mut list = List { waiting: jobs, told };
    // The queue is taken from its end.
    list.waiting.sort_by_key(|job| (job.cost, std::cmp::Reverse(job.index)));
    let width = width.min(list.waiting.len().max(1));
    let running = serve(&mut list, width, false, free);
    list.waiting.iter().map(|job| job.index).chain(running).collect()
}

/// Jobs that are all known beforehand.
struct List<F> {
    waiting: Vec<Job>,
    told: F,
}

impl<F: FnMut(Option<News>) -> Wish> Source<Request> for List<F> {
    fn next(&mut self, free: &BTreeMap<u64, u64>, is_idle: bool) -> Option<Job> {
        let may = |job: &Job| fits(job.hugetlb, free) && (is_idle || !job.alone);
        let position = self.waiting.iter().rposition(may)?;
        Some(self.waiting.remove(position))
    }

    fn told(&mut self, news: Option<News>) -> Wish {
        (self.told)(news)
    }
}

/// The same for jobs that come one by one. Returns those that were begun and not done. If they are `settled`, each worker
/// stays on a processor of its own, where there are enough.
pub fn serve<Q: Ask>(
    source: &mut dyn Source<Q>,
    width: usize,
    settled: bool,
    mut free: BTreeMap<u64, u64>,
) -> Vec<usize> {
    let (send, news) = mpsc::channel();
    let processors = if settled { processors::allowed().unwrap_or_default() } else { vec![] };
    let seat = |number| {
        let processor = processors.get(number).copied().filter(|_| (2..=processors.len()).contains(&width));
        Seat::new(number, processor, send.clone())
    };
    let mut seats: Vec<Seat<Q>> = (0..width.max(1)).map(seat).collect();
    let mut stopped = false;
    loop {
        let mut had_job = false;
        if !stopped {
            for number in 0..seats.len() {
                if seats[number].job.is_some() {
                    continue;
                }
                if seats.iter().any(|seat| seat.job.as_ref().is_some_and(|job| job.alone)) {
                    break;
                }
                let is_idle = seats.iter().all(|seat| seat.job.is_none());
                let Some(job) = source.next(&free, is_idle) else { break };
                let seat = &mut seats[number];
                had_job = true;
                if let Some((size, pages)) = job.hugetlb {
                    free.entry(size).and_modify(|free| *free = free.saturating_sub(pages));
                }
                stopped |= source.told(Some(News::Begun(job.index))) == Wish::Stop;
                let index = job.index;
                if let Err(error) = seat.begin(job) {
                    let lost = Lost::NotStarted(format!("no worker process could be started: {error}"));
                    give_back(seat.job.take().as_ref(), &mut free);
                    seat.replace();
                    stopped |= source.told(Some(News::Done(index, Err(lost)))) == Wish::Stop;
                }
            }
        }
        let is_idle = seats.iter().all(|seat| seat.job.is_none());
        if is_idle && had_job && !stopped {
            // None of them could be begun; the next ones may.
            continue;
        }
        if stopped || is_idle {
            let left = seats.iter().filter_map(|seat| seat.job.as_ref()).map(|job| job.index).collect();
            // All at once, before each is waited for.
            seats.iter_mut().for_each(Seat::dismiss);
            return left;
        }
        let received = receive(&news);
        if received.is_none() {
            stopped |= source.told(None) == Wish::Stop;
        }
        let given_up = seats.iter_mut().filter_map(|seat| Some((seat.number, seat.generation, seat.look()?)));
        for (number, generation, result) in received.into_iter().chain(given_up.collect::<Vec<_>>()) {
            let seat = &mut seats[number];
            let Some(job) = seat.end(generation) else { continue };
            give_back(Some(&job), &mut free);
            let result = match result {
                Ok(response) => {
                    if response.is_last() {
                        seat.replace();
                    }
                    Ok(response)
                }
                Err(why) => {
                    let silent = seat.overdue(&job);
                    let status = seat.replace();
                    Err(match (silent, status) {
                        (Some(told), _) => Lost::Silent(told),
                        (None, Some(status)) => Lost::Died(format!("{why}: {status}")),
                        (None, None) => Lost::Died(why),
                    })
                }
            };
            stopped |= source.told(Some(News::Done(job.index, result))) == Wish::Stop;
        }
    }
}

fn give_back<Q>(job: Option<&Job<Q>>, free: &mut BTreeMap<u64, u64>) {
    if let Some((size, pages)) = job.and_then(|job| job.hugetlb) {
        free.entry(size).and_modify(|free| *free += pages);
    }
}

/// Are so many hugetlb pages free?
pub fn fits(hugetlb: Option<(u64, u64)>, free: &BTreeMap<u64, u64>) -> bool {
    hugetlb.is_none_or(|(size, pages)| free.get(&size).is_some_and(|free| *free >= pages))
}

fn receive<A>(news: &Receiver<Message<A>>) -> Option<Message<A>> {
    news.recv_timeout(Duration::from_millis(100)).ok()
}

/// What a reading thread says: which seat, which of its workers, and what that said; or why it says
/// no more.
type Message<A> = (usize, u32, Result<A, String>);

/// A place for one worker, and the thread that reads what it says.
struct Seat<Q: Ask> {
    number: usize,
    /// Where its worker stays.
    processor: Option<usize>,
    /// Which worker sits here: one that was replaced may still be heard of.
    generation: u32,
    news: Sender<Message<Q::Answer>>,
    worker: Option<Child>,
    job: Option<Job<Q>>,
    /// When the worker is killed.
    deadline: Instant,
}

impl<Q: Ask> Seat<Q> {
    fn new(number: usize, processor: Option<usize>, news: Sender<Message<Q::Answer>>) -> Self {
        Seat { number, processor, generation: 0, news, worker: None, job: None, deadline: Instant::now() }
    }

    fn begin(&mut self, job: Job<Q>) -> io::Result<()> {
        let mut line = serde_json::to_vec(&job.request).map_err(io::Error::other)?;
        line.push(b'\n');
        self.deadline = Instant::now() + job.request.limit() + GRACE;
        self.job = Some(job);
        if self.worker.is_none() {
            self.start()?;
        }
        let stdin = self.worker.as_mut().and_then(|worker| worker.stdin.as_mut());
        let written = stdin.map(|stdin| stdin.write_all(&line).and_then(|()| stdin.flush()));
        if !matches!(written, Some(Ok(()))) {
            // It died; the reading thread says so.
            self.kill();
        }
        Ok(())
    }

    fn start(&mut self) -> io::Result<()> {
        let mut command = Command::new(MYSELF);
        // Its own group, so that Ctrl-C reaches this process only, which ends the run in order.
        command.arg0("cowcheck").arg(WORKER_ARG).process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        command.args(self.processor.map(|processor| processor.to_string()));
        let spawned = command.spawn().map_err(|error| io::Error::new(error.kind(), format!("{MYSELF}: {error}")));
        let worker = self.worker.insert(spawned?);
        let stdout = worker.stdout.take().ok_or_else(|| io::Error::other("no pipe to it"))?;
        let (number, generation, news) = (self.number, self.generation, self.news.clone());
        let listen = move || {
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
        };
        std::thread::Builder::new().spawn(listen).map(drop)
    }

    /// The job that was running in the worker of that generation.
    fn end(&mut self, generation: u32) -> Option<Job<Q>> {
        if generation == self.generation { self.job.take() } else { None }
    }

    /// Is its worker far over its time? If so, in words.
    fn overdue(&self, job: &Job<Q>) -> Option<String> {
        let limit = job.request.limit();
        (Instant::now() >= self.deadline)
            .then(|| format!("the worker process gave no answer for {} s and was killed", (limit + GRACE).as_secs()))
    }

    /// Kills a worker that is far over its time, and gives up one that does not even die.
    fn look(&mut self) -> Option<Result<Q::Answer, String>> {
        let over = Instant::now().checked_duration_since(self.deadline)?;
        self.job.as_ref()?;
        self.kill();
        (over >= DYING).then(|| Err("the worker process could not be killed".to_owned()))
    }

    fn kill(&mut self) {
        if let Some(worker) = &mut self.worker {
            let _ = worker.kill();
        }
    }

    /// The worker is no good any more. Tells how it ended.
    fn replace(&mut self) -> Option<ExitStatus> {
        self.generation += 1;
        let mut worker = self.worker.take()?;
        // One that is dead, or about to exit, tells more by itself.
        let ended = wait(&mut worker, Duration::from_millis(100));
        if ended.is_none() {
            let _ = worker.kill();
        }
        ended.or_else(|| wait(&mut worker, DYING))
    }

    /// Tells the worker that nothing more will come: it ends its family and itself.
    fn dismiss(&mut self) {
        drop(self.worker.as_mut().and_then(|worker| worker.stdin.take()));
    }
}

/// Waits for its end, at most so long.
fn wait(worker: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let end = Instant::now() + limit;
    loop {
        match worker.try_wait() {
            Ok(None) if Instant::now() < end => std::thread::sleep(Duration::from_millis(1)),
            Ok(status) => return status,
            Err(_) => return None,
        }
    }
}

impl<Q: Ask> Drop for Seat<Q> {
    fn drop(&mut self) {
        self.dismiss();
        let Some(mut worker) = self.worker.take() else { return };
        if wait(&mut worker, DYING).is_none() {
            let _ = worker.kill();
            wait(&mut worker, DYING);
        }
    }
}
