//! Several things at once on the same pages ([`cowcheck_model::storm`]).
//!
//! The actor has threads in here, and nowhere else for longer than one access. All of them are gone when [`run`] returns:
//! each looks at the time and at the stop sign between two of its rounds, none waits for another without a limit, and
//! whoever hangs in the kernel hangs the step, which the worker's time limit ends.

mod child;
mod field;
mod rivals;
mod writer;

use std::io;
use std::sync::atomic::Ordering::{Relaxed, Release};
use std::thread;
use std::time::{Duration, Instant};

use cowcheck_model::pages::Run;
use cowcheck_model::storm::{Eye, Rival, Rivals, Storm, WRITERS, Went};
use cowcheck_model::trace::Seen;

use super::fault::Fault;
use super::layout::Layout;
use field::Field;

/// A storm lasts so long, if by then everyone has done so many rounds; else longer, for little is done in a time on an
/// emulator or a busy machine; and longest if somebody has done nothing yet.
const TIME: Duration = Duration::from_millis(120);
const ROUNDS: u64 = 16;
const LONGER: Duration = Duration::from_millis(600);
const LONGEST: Duration = Duration::from_secs(4);

/// What is to happen.
pub struct Order<'a> {
    /// Where the pages are.
    pub layout: &'a Layout,
    /// Which pages the writers go round.
    pub runs: &'a [Run],
    /// Who is there besides.
    pub rivals: Rivals,
    /// Tells this run from others.
    pub nonce: u16,
    /// A fault to plant.
    pub fault: Option<Fault>,
}

/// Why there is no record of a storm.
pub enum Broken {
    /// It could not begin.
    Error(io::Error),
    /// A page holds neither a stamp nor zeroes, which the reader's part of the record tells.
    NoBase(u32),
    /// An access to this page raised this signal, which was not due.
    Signal {
        /// The signal.
        signal: i32,
        /// The page.
        page: u32,
    },
}

/// Lets it storm over pages in which `seen` was seen just before.
pub fn run(order: &Order<'_>, seen: &[Seen]) -> Result<Storm, Broken> {
    let field = Field::new(order, seen)?;
    let began = Instant::now();
    let rivals: Vec<Rival> = order.rivals.each().collect();
    let mut counts: Vec<rivals::Count> = rivals.iter().map(|_| rivals::Count::default()).collect();
    let started: io::Result<()> = thread::scope(|scope| {
        let spawn = || -> io::Result<()> {
            for number in 0..WRITERS {
                let field = &field;
                thread::Builder::new().spawn_scoped(scope, move || writer::write(field, number))?;
            }
            for (rival, count) in rivals.iter().zip(&counts) {
                let field = &field;
                thread::Builder::new().spawn_scoped(scope, move || rivals::run(field, *rival, count))?;
            }
            Ok(())
        };
        let started = spawn();
        while started.is_ok() && !field.is_stopped() {
            let least = counts.iter().map(rivals::Count::tried).min().unwrap_or(ROUNDS).min(field.rounds() / 2);
            let limit = match least {
                0 => LONGEST,
                ROUNDS.. => TIME,
                _ => LONGER,
            };
            if began.elapsed() >= limit {
                break;
            }
            thread::sleep(Duration::from_millis(2));
        }
        field.stop();
        started
    });
    started.map_err(Broken::Error)?;
    if let Some((signal, page)) = field.signal() {
        return Err(Broken::Signal { signal, page });
    }
    let rounds = field.rounds();
    last_look(&field)?;
    let (sightings, more) = field.into_sightings();
    let went = |(rival, count): (Rival, &mut rivals::Count)| Went {
        rival,
        rounds: *count.rounds.get_mut(),
        refused: *count.refused.get_mut(),
        errno: *count.errno.get_mut(),
    };
    Ok(Storm {
        micros: began.elapsed().as_micros() as u64,
        cpus: thread::available_parallelism().map_or(1, |cpus| cpus.get() as u32),
        rounds,
        rivals: rivals.into_iter().zip(&mut counts).map(went).collect(),
        sightings,
        more,
    })
}

/// Everyone is gone: what was written last is there, and the rest is as it was.
fn last_look(field: &Field<'_>) -> Result<(), Broken> {
    let size = field.layout.page_size();
    for index in 0..field.pages.len() {
        let (page, offset) = field.pages[index];
        let last = field.written(index);
        let looked = field.layout.area.read(offset, size, |words| field.odd(index, words, Eye::Writer, &last, &last));
        match looked {
            Ok(odd) => odd.into_iter().for_each(|odd| field.saw(odd)),
            Err(signal) => return Err(Broken::Signal { signal: signal.0, page }),
        }
    }
    Ok(())
}

impl rivals::Count {
    fn tried(&self) -> u64 {
        self.rounds.load(Relaxed) + self.refused.load(Relaxed)
    }

    fn note(&self, result: io::Result<()>) {
        match result {
            Ok(()) => self.rounds.fetch_add(1, Release),
            Err(error) => {
                self.errno.store(error.raw_os_error().unwrap_or_default(), Relaxed);
                self.refused.fetch_add(1, Release)
            }
        };
    }
}
