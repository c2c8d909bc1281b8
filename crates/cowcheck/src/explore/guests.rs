//! The same in virtual machines: a guest explores by itself and tells its news; the host keeps the ledger. A kernel that
//! does not survive a scenario is a finding, too: those that were running are run again, each alone.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cowcheck_model::text;
use cowcheck_model::verdict::{Kind, Verdict};

use super::campaign::Order;
use super::finding::Finding;
use super::ledger::Ledger;
use super::news::{News, Tally};
use crate::guest::fault::Planted;
use crate::guest::order::{Checks, Task, What};
use crate::known::Known;
use crate::report::Sink;
use crate::report::event::Event;
use crate::vm::guest::{End, Heard};
use crate::vm::session::{self, DEATHS, Means, Spec};
use crate::vm::tries::{Ended, Tries};
use crate::wire::Said;

/// Why a guest is ended that somebody has to be rid of.
const INTERRUPTED: &str = "interrupted";
const ENOUGH: &str = "there is enough";

/// Scenarios of so many batches may have been running when a guest died.
fn batches(order: &Order, cpus: u32) -> usize {
    order.jobs.unwrap_or(cpus as usize) + 1
}

/// Fills in what the next guest has to know of the campaign so far.
pub fn go_on(order: &mut Order, ledger: &Ledger) {
    order.below = order.below.max(ledger.below.get(&order.shard).copied().unwrap_or(0));
    order.mutants = ledger.tally.mutants;
    order.corpus.clone_from(&ledger.tally.corpus);
    order.covered = ledger.tally.covered.keys().cloned().collect();
    order.found = ledger.findings.keys().cloned().collect();
    order.pending = ledger.pending.values().cloned().collect();
}

/// Who keeps the ledger.
pub trait Desk {
    /// Takes in news.
    fn take(&mut self, news: News) -> io::Result<()>;

    /// All that is known.
    fn ledger(&self) -> &Ledger;

    /// Is what is known all that was wanted?
    fn has_enough(&self) -> bool {
        false
    }
}

/// Explores in as many guests as it takes. Returns why it was stopped, if it was.
pub fn run(
    spec: &Spec<'_>,
    mut order: Order,
    interrupted: &AtomicBool,
    desk: &mut dyn Desk,
) -> io::Result<Option<String>> {
    let began = Instant::now();
    let time = order.time_ms.map(Duration::from_millis);
    let (mut deaths, mut tries) = (0, Tries::default());
    loop {
        if let Some(time) = time {
            // Booting counts, too.
            let left = time.saturating_sub(began.elapsed());
            if left.is_zero() {
                return Ok(None);
            }
            order.time_ms = Some(left.as_millis() as u64);
        }
        go_on(&mut order, desk.ledger());
        let mut stay = Stay { running: VecDeque::new(), finished: false, refused: None, kernel: String::new() };
        let mut guest = spec.boot(Task::Explore(Box::new(order.clone())))?;
        let most = batches(&order, spec.machine.cpus);
        let end = loop {
            if interrupted.load(Ordering::Relaxed) {
                break End::Stopped(INTERRUPTED.to_owned());
            }
            if desk.has_enough() {
                break End::Stopped(ENOUGH.to_owned());
            }
            match guest.hear() {
                Heard::Nothing => {}
                Heard::End(end) => break end,
                Heard::Said(said) => match stay.said(said, most) {
                    Some(news) => desk.take(news)?,
                    None => continue,
                },
            }
        };
        let ended = Ended { end, was_up: guest.is_up(), console: guest.console().tale() };
        guest.kill();
        spec.keep_console()?;
        match (&ended.end, stay.refused) {
            (End::Stopped(_), _) if desk.has_enough() => return Ok(None),
            (End::Stopped(_), _) => return Ok(Some(ended.end.told())),
            (_, Some(why)) => return Ok(Some(why)),
            (End::Over, _) if stay.finished => return Ok(None),
            _ => {}
        }
        let is_idle = stay.running.is_empty();
        if is_idle && tries.again(&ended) {
            desk.take(News::Note(format!("{}; it is booted again", ended.end.told())))?;
            continue;
        }
        let tries = std::mem::take(&mut tries);
        if is_idle {
            let Ended { end, console, .. } = tries.cause(ended);
            return Ok(Some(format!("{}; the console:\n{console}", end.told())));
        }
        let Ended { end, console, .. } = ended;
        deaths += 1;
        desk.take(News::Note(format!("{}; what ran is run again, each alone", end.told())))?;
        let suspects: Vec<(String, String)> = stay.running.into_iter().flatten().collect();
        for news in try_alone(spec, &order, &suspects, &stay.kernel, &end, &console, interrupted)? {
            desk.take(news)?;
        }
        if desk.has_enough() {
            return Ok(None);
        }
        if deaths == DEATHS {
            return Ok(Some(format!("{DEATHS} guests died")));
        }
    }
}

struct Stay {
    /// Batches that may still run: names and texts.
    running: VecDeque<Vec<(String, String)>>,
    finished: bool,
    refused: Option<String>,
    kernel: String,
}

impl Stay {
    /// What of it is news.
    fn said(&mut self, said: Said, most: usize) -> Option<News> {
        match said {
            Said::Explored(news) => match *news {
                News::Begin(scenarios) => {
                    self.running.push_back(scenarios);
                    if self.running.len() > most {
                        self.running.pop_front();
                    }
                    None
                }
                news => {
                    if let News::Start { kernel, .. } = &news {
                        self.kernel.clone_from(kernel);
                    }
                    Some(news)
                }
            },
            Said::Note(text) => Some(News::Note(text)),
            Said::Refused(why) => {
                self.refused = Some(why);
                None
            }
            Said::Ended { code, .. } => {
                self.finished = code == Some(0);
                None
            }
            _ => None,
        }
    }
}

/// Runs each of the suspects in a guest that runs nothing else at the time.
fn try_alone(
    spec: &Spec<'_>,
    order: &Order,
    suspects: &[(String, String)],
    kernel: &str,
    end: &End,
    console: &str,
    interrupted: &AtomicBool,
) -> io::Result<Vec<News>> {
    let checks = Checks {
        what: What::Scenarios(suspects.to_vec()),
        repeat: 1,
        jobs: Some(1),
        limit_ms: order.limit_ms,
        fail_fast: false,
        confirm: 0,
        traces: false,
        share: None,
        peers_only: false,
        fault: order.fault,
        known: Known::default(),
        guest_fault: order.guest_fault.and_then(|planted| {
            let index = suspects.iter().position(|(name, _)| *name == planted.index.to_string())?;
            Some(Planted { index, ..planted })
        }),
        done: Default::default(),
    };
    let mut verdicts = Verdicts(BTreeMap::new());
    let stop = || interrupted.load(Ordering::Relaxed).then(|| INTERRUPTED.to_owned());
    let means = Means { sink: &mut verdicts, save_trace: None, stop: &stop };
    session::run(spec, &checks, means)?;
    let mut news = Vec::new();
    let mut tally = Tally::default();
    let mut culprits = 0;
    let fatal = |name: &str, text: &str, verdict: &Verdict, console: &str| {
        let scenario = text::parse(text).ok()?;
        Some(News::Found(Box::new(Finding::fatal(name, &scenario, kernel, verdict, console))))
    };
    for (index, (name, text)) in suspects.iter().enumerate() {
        if let Ok(number) = name.parse::<u64>() {
            // It is not run again by the next guest.
            tally.below = tally.below.max(number + 1);
        }
        let Some((verdict, explanation)) = verdicts.0.get(&index) else { continue };
        *tally.verdicts.entry(verdict.kind().word().to_owned()).or_default() += 1;
        match name.contains('~') {
            true => tally.mutants += 1,
            false => tally.numbered += 1,
        }
        if matches!(verdict.kind(), Kind::Crash | Kind::Timeout) {
            culprits += 1;
            news.extend(fatal(name, text, verdict, explanation));
        }
    }
    let is_unexplained = culprits == 0 && !matches!(end, End::StaleCode(_));
    if let Some((name, text)) = suspects.last().filter(|_| is_unexplained) {
        let reason = format!("{}, and none of {} scenarios did it again alone", end.told(), suspects.len());
        let all: Vec<&str> = suspects.iter().map(|(name, _)| name.as_str()).collect();
        let console = format!("one of the scenarios {} ran; the console:\n{console}", all.join(", "));
        let found = fatal(name, text, &Verdict::Crash { reason }, &console);
        news.extend(found.map(|news| match news {
            News::Found(finding) => News::Found(Box::new(Finding { rate: (0, 1), ..*finding })),
            other => other,
        }));
    }
    news.push(News::Ran(Box::new(tally)));
    Ok(news)
}

/// Verdicts and explanations by index.
struct Verdicts(BTreeMap<usize, (Verdict, String)>);

impl Sink for Verdicts {
    fn event(&mut self, event: Event<'_>) -> io::Result<()> {
        if let Event::Outcome(outcome) = event {
            let told = outcome.explanation.clone().unwrap_or_default();
            self.0.insert(outcome.index, (outcome.verdict.clone(), told));
        }
        Ok(())
    }
}
