//! Runs a campaign on this machine and tells the news.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cowcheck_model::checker::judge;
use cowcheck_model::memory::{Memory, MemoryKind};
use cowcheck_model::scenario::Scenario;
use cowcheck_model::text;
use cowcheck_model::verdict::{Kind, Verdict};
use serde::{Deserialize, Serialize};

use super::finding::Finding;
use super::news::{News, Tally};
use super::order::{Shard, Subject};
use super::source::{Batch, Ground, Source};
use crate::executor::explore::{Done, Manner, Ran, Work, Wrong};
use crate::executor::fault::Fault;
use crate::executor::pool::{self, Job, Lost, Wish, kernel_name};
use crate::guest::fault::Planted;
use crate::here::{self, Settings};
use crate::known::Known;
use crate::provide::machine::Machine;
use crate::provide::needs::Needs;

/// How many scenarios a worker gets at once.
const BATCH: usize = 32;
/// The same in a guest: if the kernel dies, one of them has done it.
const BATCH_IN_GUEST: usize = 8;

/// How many findings wait to be shrunk. What is found beyond that waits to see whether it is new at all.
const QUEUE: usize = 6;
const LATER: usize = 2000;

/// How many that look like one that is known are shrunk nevertheless; of those behind, every one whose number is a
/// power of two.
const DOUBTS: u64 = 3;

/// From how many scenarios it is told what a campaign needs of the machine.
const SAMPLE: usize = 400;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// Which scenarios.
    pub subject: Subject,
    /// Change those that reached something new, too.
    pub guided: bool,
    /// Which part.
    pub shard: Shard,
    /// Begin with this number.
    pub below: u64,
    /// No number from this one on.
    pub end: Option<u64>,
    /// So many changed ones were made before.
    pub mutants: u64,
    /// How long, in milliseconds.
    pub time_ms: Option<u64>,
    /// How many workers; one for each processor if not given.
    pub jobs: Option<usize>,
    /// The time limit of one run, in milliseconds.
    pub limit_ms: u64,
    /// How long a finding may be shrunk, in milliseconds.
    pub shrink_ms: u64,
    /// A fault to plant in our own executor.
    pub fault: Option<Fault>,
    /// A fault of the guest's, when the scenario with this number begins.
    pub guest_fault: Option<Planted>,
    /// Failures that are known.
    pub known: Known,
    /// What reached something new: name and text.
    pub corpus: BTreeMap<String, String>,
    /// What has been covered.
    pub covered: BTreeSet<String>,
    /// Found before, by signature.
    pub found: BTreeSet<String>,
    /// Found, and not shrunk.
    pub pending: Vec<Finding>,
}

/// Runs it on this machine.
pub fn run(
    order: Order,
    settings: Settings,
    interrupted: &AtomicBool,
    tell: &mut dyn FnMut(News) -> io::Result<()>,
) -> Result<(), here::Error> {
    let sample = order.subject.sample(SAMPLE);
    let needs: Vec<Needs> = sample.iter().map(|scenario| Needs::of(scenario, cowcheck_explore::PAGE)).collect();
    here::with_settings(&needs, order.jobs, settings, |machine, jobs, notes| {
        // Steps at once want more than one processor.
        let settled = !order.subject.at_once;
        let mut campaign = Campaign::new(order, machine, jobs, settings == Settings::ForGood, interrupted, tell);
        for note in notes {
            campaign.tell(News::Note(note));
        }
        campaign.tell(News::Start { kernel: kernel_name(), total: campaign.source.total() });
        pool::serve(&mut campaign, jobs, settled, here::free_hugetlb(machine));
        campaign.finish()
    })
}

/// What a worker is doing.
enum Flight {
    Batch { place: u64, batch: Batch },
    Shrink(Box<Finding>),
}

struct Campaign<'a> {
    source: Source,
    known: Known,
    manner: Manner,
    shrink_ms: u64,
    batch: usize,
    /// Are scenarios told before they are run?
    announces: bool,
    ground: Ground<'a>,
    interrupted: &'a AtomicBool,
    tell: &'a mut dyn FnMut(News) -> io::Result<()>,
    error: Option<io::Error>,
    /// No new batches from here on, and no shrinking from here on.
    deadline: Option<Instant>,
    last_told: Instant,
    flights: BTreeMap<usize, Flight>,
    jobs: usize,
    /// Batches in order: how many have begun, how many were told, and those that were done before their turn.
    begun: u64,
    told: u64,
    ready: BTreeMap<u64, Tally>,
    /// Batches whose worker died, one scenario each.
    again: VecDeque<Batch>,
    covered: BTreeSet<String>,
    /// Signatures, and how many scenarios showed them.
    found: BTreeMap<String, u64>,
    queue: VecDeque<Finding>,
    later: VecDeque<Finding>,
}

impl<'a> Campaign<'a> {
    fn new(
        order: Order,
        machine: &'a Machine,
        width: usize,
        announces: bool,
        interrupted: &'a AtomicBool,
        tell: &'a mut dyn FnMut(News) -> io::Result<()>,
    ) -> Self {
        let mut source = Source::new(&order.subject, order.guided, order.shard, order.below, order.end);
        source.after_mutants(order.mutants);
        order.corpus.iter().for_each(|(name, text)| source.learn(name, text));
        let ground = Ground::new(machine, width, &order.known);
        let now = Instant::now();
        Campaign {
            source,
            known: order.known,
            manner: Manner { limit_ms: order.limit_ms, fault: order.fault, devices: machine.devices() },
            shrink_ms: order.shrink_ms,
            batch: if announces { BATCH_IN_GUEST } else { BATCH },
            announces,
            ground,
            interrupted,
            tell,
            error: None,
            deadline: order.time_ms.map(|time| now + Duration::from_millis(time)),
            last_told: now,
            flights: BTreeMap::new(),
            jobs: 0,
            begun: 0,
            told: 0,
            ready: BTreeMap::new(),
            again: VecDeque::new(),
            covered: order.covered,
            found: order.found.into_iter().map(|signature| (signature, 1)).collect(),
            queue: order.pending.into(),
            later: VecDeque::new(),
        }
    }

    fn tell(&mut self, news: News) {
        if let Err(error) = (self.tell)(news) {
            self.error = self.error.take().or(Some(error));
        }
    }

    fn is_over(&self, grace: Duration) -> bool {
        self.interrupted.load(Ordering::Relaxed)
            || self.deadline.is_some_and(|deadline| Instant::now() >= deadline + grace)
    }

    fn fly(&mut self, work: Work, hugetlb: Option<(u64, u64)>, flight: Flight) -> Job<Work> {
        let index = self.jobs;
        self.jobs += 1;
        self.flights.insert(index, flight);
        Job { index, request: work, hugetlb, alone: false, cost: 0 }
    }

    fn next_shrink(&mut self, free: &BTreeMap<u64, u64>) -> Option<Job<Work>> {
        let shrinking = self.flights.values().filter(|flight| matches!(flight, Flight::Shrink(_))).count();
        if shrinking >= (self.ground.workers / 2).max(1) || self.is_over(Duration::from_millis(2 * self.shrink_ms)) {
            return None;
        }
        let finding = self.queue.pop_front()?;
        let trace = finding.trace.as_ref()?;
        let verdict = judge(trace);
        let step = verdict.violations().first().map_or(0, |violation| violation.step);
        let hugetlb =
            Needs::of(&trace.scenario, self.ground.machine.page_size).hugetlb.map(|need| (need.size, need.pages));
        if !pool::fits(hugetlb, free) {
            self.queue.push_front(finding);
            return None;
        }
        let work = Work::Shrink {
            scenario: finding.as_found.clone(),
            wrong: Wrong::of(&verdict)?,
            step,
            budget_ms: self.shrink_ms,
            manner: self.manner.clone(),
        };
        if self.announces {
            self.tell(News::Begin(vec![(finding.name.clone(), finding.as_found.clone())]));
        }
        Some(self.fly(work, hugetlb, Flight::Shrink(Box::new(finding))))
    }

    fn next_batch(&mut self, free: &BTreeMap<u64, u64>) -> Option<Job<Work>> {
        while !self.is_over(Duration::ZERO) {
            let batch = match self.again.pop_front() {
                Some(batch) => batch,
                None => self.source.batch(self.batch, &self.ground, free)?,
            };
            let place = self.begun;
            self.begun += 1;
            if batch.scenarios.is_empty() {
                self.done(place, &batch, vec![]);
                continue;
            }
            if self.announces {
                self.tell(News::Begin(batch.scenarios.clone()));
            }
            let scenarios = batch.scenarios.iter().map(|(_, text)| text.clone()).collect();
            let work = Work::Batch { scenarios, manner: self.manner.clone() };
            return Some(self.fly(work, batch.hugetlb, Flight::Batch { place, batch }));
        }
        None
    }

    /// A batch is done. What it came to is told in its turn.
    fn done(&mut self, place: u64, batch: &Batch, ran: Vec<Ran>) {
        let mut tally = Tally { below: batch.below, skipped: batch.skipped.clone(), ..Tally::default() };
        let mut found = Vec::new();
        for ((name, text), ran) in batch.scenarios.iter().zip(ran) {
            if ran.kind == Kind::Skip {
                *tally.skipped.entry(ran.why).or_default() += 1;
                continue;
            }
            match name.contains('~') {
                true => tally.mutants += 1,
                false => tally.numbered += 1,
            }
            *tally.verdicts.entry(ran.kind.word().to_owned()).or_default() += 1;
            if ran.kind == Kind::Inconclusive {
                *tally.inconclusive.entry(ran.why).or_default() += 1;
            }
            let before = self.covered.len();
            for key in ran.new {
                if self.covered.insert(key.clone()) {
                    tally.covered.insert(key, name.clone());
                }
            }
            if self.covered.len() > before {
                tally.corpus.insert(name.clone(), text.clone());
                self.source.learn(name, text);
            }
            found.extend(ran.trace.and_then(|trace| Finding::new(name, *trace, &self.known)));
        }
        self.ready.insert(place, tally);
        // Findings first: what is told to be done has told what it found.
        found.into_iter().for_each(|finding| self.consider(finding));
        while let Some(mut tally) = self.ready.remove(&self.told) {
            self.told += 1;
            let now = Instant::now();
            tally.micros = (now - self.last_told).as_micros() as u64;
            self.last_told = now;
            self.tell(News::Ran(Box::new(tally)));
        }
    }

    /// Is it new? Then it is shrunk; else it counts with what it is like.
    fn consider(&mut self, finding: Finding) {
        if let Some(like) = self.found.keys().find(|known| is_like(&finding.signature, known)).cloned() {
            let times = self.found.entry(like.clone()).or_default();
            *times += 1;
            if *times > DOUBTS && !times.is_power_of_two() {
                self.tell(News::Found(Box::new(Finding { signature: like, ..finding })));
                return;
            }
        }
        if self.queue.len() < QUEUE {
            self.tell(News::Pending(Box::new(finding.clone())));
            self.queue.push_back(finding);
        } else if self.later.len() < LATER {
            self.later.push_back(finding);
        } else {
            self.found(finding);
        }
    }

    fn found(&mut self, finding: Finding) {
        *self.found.entry(finding.signature.clone()).or_default() += 1;
        self.tell(News::Found(Box::new(finding)));
    }

    fn shrunk(&mut self, finding: Finding, done: Option<Done>) {
        let finding = match done {
            Some(Done::Shrunk { as_found, smallest: Some(smallest), .. }) => {
                finding.smaller(*smallest, &self.known).unwrap_or(Finding { rate: as_found, ..finding })
            }
            Some(Done::Shrunk { as_found, .. }) => Finding { rate: as_found, ..finding },
            // Its worker died: it stays as it was found.
            _ => finding,
        };
        self.found(finding);
        for waiting in std::mem::take(&mut self.later) {
            self.consider(waiting);
        }
    }

    fn lost(&mut self, place: u64, batch: Batch, lost: &Lost) {
        let (kind, reason) = match lost {
            Lost::Died(reason) => (Kind::Crash, reason),
            Lost::Silent(reason) => (Kind::Timeout, reason),
            Lost::NotStarted(reason) => (Kind::Inconclusive, reason),
        };
        match &batch.scenarios[..] {
            [(name, text)] => {
                let verdict = match kind {
                    Kind::Crash => Verdict::Crash { reason: reason.clone() },
                    _ => Verdict::Timeout { reason: reason.clone() },
                };
                if kind != Kind::Inconclusive {
                    self.found(Finding::fatal(name, &scenario(text), &kernel_name(), &verdict, ""));
                }
                let ran = Ran { kind, why: reason.clone(), new: vec![], trace: None };
                self.done(place, &batch, vec![ran]);
            }
            several => {
                // One of them it was.
                for one in several {
                    let (scenarios, hugetlb, below) = (vec![one.clone()], batch.hugetlb, batch.below);
                    self.again.push_back(Batch { scenarios, hugetlb, below, ..Batch::default() });
                }
                let rest = Batch { scenarios: vec![], ..batch };
                self.done(place, &rest, vec![]);
            }
        }
    }

    /// What was not shrunk is told as it is. What the disk has as pending stays so, for the next time.
    fn finish(mut self) -> io::Result<()> {
        for finding in std::mem::take(&mut self.later) {
            self.found(finding);
        }
        let micros = (Instant::now() - self.last_told).as_micros() as u64;
        let below = 0;
        self.tell(News::Ran(Box::new(Tally { micros, below, ..Tally::default() })));
        self.error.map_or(Ok(()), Err)
    }
}

impl pool::Source<Work> for Campaign<'_> {
    fn next(&mut self, free: &BTreeMap<u64, u64>, _: bool) -> Option<Job<Work>> {
        self.next_shrink(free).or_else(|| self.next_batch(free))
    }

    fn told(&mut self, news: Option<pool::News<Done>>) -> Wish {
        if let Some(pool::News::Done(index, result)) = news {
            match (self.flights.remove(&index), result) {
                (Some(Flight::Batch { place, batch }), Ok(Done::Batch { ran, .. })) => {
                    let missing = batch.scenarios.len().saturating_sub(ran.len());
                    let rest = batch.scenarios[batch.scenarios.len() - missing..].to_vec();
                    if !rest.is_empty() {
                        // The worker could not go on.
                        let (hugetlb, below) = (batch.hugetlb, batch.below);
                        self.again.push_back(Batch { scenarios: rest, hugetlb, below, ..Batch::default() });
                    }
                    self.done(place, &batch, ran);
                }
                (Some(Flight::Batch { place, batch }), Err(lost)) => self.lost(place, batch, &lost),
                (Some(Flight::Shrink(finding)), result) => self.shrunk(*finding, result.ok()),
                _ => {}
            }
        }
        let stop = self.interrupted.load(Ordering::Relaxed)
            || self.error.is_some()
            || self.is_over(Duration::from_millis(4 * self.shrink_ms));
        if stop { Wish::Stop } else { Wish::Continue }
    }
}

fn scenario(text: &str) -> Scenario {
    let empty = Scenario { about: vec![], memory: Memory::new(MemoryKind::Anon, 4096), steps: vec![] };
    text::parse(text).unwrap_or(empty)
}

/// Does the signature of a finding that is not shrunk have all that a known one has?
fn is_like(found: &str, known: &str) -> bool {
    let parts = |signature: &str| -> Option<(String, BTreeSet<String>)> {
        let (head, kinds) = signature.rsplit_once('/')?;
        let rule = head.split('/').nth(1)?;
        Some((rule.to_owned(), kinds.split('+').map(str::to_owned).collect()))
    };
    match (parts(found), parts(known)) {
        (Some((rule, kinds)), Some((other, less))) => rule == other && less.is_subset(&kinds),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_all_steps_of_a_finding_is_like_it() {
        let known = "explore/isolation/anon/fork+read+write";
        assert!(is_like("explore/isolation/thp/collapse+fork+read+write", known));
        assert!(!is_like("explore/integrity/thp/collapse+fork+read+write", known));
        assert!(!is_like("explore/isolation/thp/collapse+fork+write", known));
    }
}
