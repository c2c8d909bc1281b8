//! Makes the inputs, on several threads, and watches what becomes of them.

use std::io::{self, IsTerminal, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use std::{fs, thread};

use fastrand::Rng;

use crate::memory;
use crate::mutate::mutate;
use crate::targets::Target;

/// How long one input may take.
const HANG: Duration = Duration::from_secs(10);

/// How often the progress is looked at.
const TICK: Duration = Duration::from_millis(100);

/// After so many panics the rest tells nothing new.
const ENOUGH_PANICS: u64 = 20;

/// What to do.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    /// How many inputs.
    pub(crate) inputs: u64,
    /// Which ones.
    pub(crate) seed: u64,
    /// How many threads.
    pub(crate) threads: usize,
}

/// Input `number` of a plan, whoever makes it.
fn input(target: &Target, corpus: &[Vec<u8>], seed: u64, number: u64) -> Vec<u8> {
    // Neighbouring seeds of the generator itself give similar first numbers; one step parts them.
    let stream = Rng::with_seed(seed).u64(..);
    let mut rng = Rng::with_seed(stream ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    rng.u64(..);
    mutate(corpus, target.words, &mut rng)
}

/// What the threads share.
struct Progress {
    next: AtomicU64,
    done: AtomicU64,
    panics: AtomicU64,
    stop: AtomicBool,
    /// For each thread: the input it works on, plus 1; 0 if none.
    working: Vec<AtomicU64>,
}

/// Runs a plan; returns how many inputs panicked or hung.
pub(crate) fn run(target: &Target, corpus: &[Vec<u8>], plan: Plan, failures: &Path) -> io::Result<u64> {
    set_hook(Box::new(|_| {}));
    let progress = Progress {
        next: AtomicU64::new(0),
        done: AtomicU64::new(0),
        panics: AtomicU64::new(0),
        stop: AtomicBool::new(false),
        working: (0..plan.threads).map(|_| AtomicU64::new(0)).collect(),
    };
    let start = Instant::now();
    thread::scope(|scope| {
        for slot in &progress.working {
            scope.spawn(|| work(target, corpus, plan, failures, &progress, slot));
        }
        watch(target, corpus, plan, failures, &progress, start);
    });
    let (done, panics) = (progress.done.load(Relaxed), progress.panics.load(Relaxed));
    let rate = done as f64 / start.elapsed().as_secs_f64().max(1e-9);
    let peak = memory::peak_kib().map_or("unknown".to_owned(), |peak| format!("{} MiB", peak >> 10));
    eprintln!("{}: {rate:.0} inputs per second, peak memory {peak}", target.name);
    println!("{}: {done} inputs, {panics} panics", target.name);
    io::stdout().flush().map(|()| panics)
}

fn work(target: &Target, corpus: &[Vec<u8>], plan: Plan, failures: &Path, progress: &Progress, slot: &AtomicU64) {
    while !progress.stop.load(Relaxed) {
        let number = progress.next.fetch_add(1, Relaxed);
        if number >= plan.inputs {
            break;
        }
        slot.store(number + 1, Relaxed);
        let input = input(target, corpus, plan.seed, number);
        if let Err(message) = try_one(target, &input) {
            save(target, number, &input, &message, failures);
            if progress.panics.fetch_add(1, Relaxed) + 1 >= ENOUGH_PANICS {
                progress.stop.store(true, Relaxed);
            }
        }
        progress.done.fetch_add(1, Relaxed);
    }
    slot.store(0, Relaxed);
}

/// The error is the message of the panic.
fn try_one(target: &Target, input: &[u8]) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(|| (target.run)(input))).map_err(|panic| match panic.downcast::<String>() {
        Ok(message) => *message,
        Err(panic) => {
            panic.downcast_ref::<&str>().map_or("a panic without message".to_owned(), |text| (*text).to_owned())
        }
    })
}

fn save(target: &Target, number: u64, input: &[u8], message: &str, failures: &Path) {
    let path = failures.join(format!("{}-{number}", target.name));
    let saved = fs::create_dir_all(failures).and_then(|()| fs::write(&path, input));
    let first: String = message.lines().next().unwrap_or("").chars().take(300).collect();
    eprintln!("{} input {number}: {first}", target.name);
    match saved {
        Ok(()) => eprintln!("  saved as {}", path.display()),
        Err(error) => eprintln!("  failed to save it as {}: {error}", path.display()),
    }
}

/// Shows the progress, and ends the process if an input takes too long: a thread cannot be ended.
fn watch(target: &Target, corpus: &[Vec<u8>], plan: Plan, failures: &Path, progress: &Progress, start: Instant) {
    let mut since: Vec<(u64, Instant)> = vec![(0, start); plan.threads];
    let every = if io::stderr().is_terminal() { 1 } else { 10 };
    let mut shown = start;
    loop {
        thread::sleep(TICK);
        let working: Vec<u64> = progress.working.iter().map(|slot| slot.load(Relaxed)).collect();
        for (since, now) in since.iter_mut().zip(&working) {
            if since.0 != *now {
                *since = (*now, Instant::now());
            } else if let Some(number) = now.checked_sub(1).filter(|_| since.1.elapsed() > HANG) {
                let input = input(target, corpus, plan.seed, number);
                save(target, number, &input, &format!("no end after {} s", HANG.as_secs()), failures);
                std::process::exit(1);
            }
        }
        let done = progress.done.load(Relaxed);
        let finished = done >= plan.inputs || progress.stop.load(Relaxed);
        if finished && working.iter().all(|slot| *slot == 0) {
            return;
        }
        if shown.elapsed() >= Duration::from_secs(every) {
            shown = Instant::now();
            eprintln!("{}: {done} of {} inputs, {} panics", target.name, plan.inputs, progress.panics.load(Relaxed));
        }
    }
}

/// Reads these files once each; returns how many panicked.
pub(crate) fn replay(target: &Target, files: &[PathBuf]) -> io::Result<u64> {
    let mut panics = 0;
    for path in files {
        let input =
            fs::read(path).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
        if let Err(message) = try_one(target, &input) {
            eprintln!("{}: {message}", path.display());
            panics += 1;
        }
    }
    println!("{}: {} inputs, {panics} panics", target.name, files.len());
    Ok(panics)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: Plan = Plan { inputs: 2000, seed: 3, threads: 2 };

    fn run_for(run: fn(&[u8]), name: &'static str) -> (u64, PathBuf) {
        let failures = std::env::temp_dir().join(format!("cowcheck-fuzz-{}-{name}", std::process::id()));
        let target = Target { name, run, words: &["needle"] };
        let panics = super::run(&target, &[b"hay hay hay".to_vec()], PLAN, &failures).unwrap();
        (panics, failures)
    }

    #[test]
    fn a_reader_that_never_panics_is_clean() {
        let (panics, failures) = run_for(|_| {}, "clean");
        assert_eq!(panics, 0);
        assert!(!failures.exists());
    }

    #[test]
    fn a_panic_is_found_and_its_input_saved() {
        let (panics, failures) = run_for(|input| assert!(!input.windows(6).any(|six| six == b"needle")), "needle");
        assert!(panics >= 1);
        let saved: Vec<_> = fs::read_dir(&failures).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(saved.len() as u64, panics);
        for path in saved {
            assert!(fs::read(path).unwrap().windows(6).any(|six| six == b"needle"));
        }
        fs::remove_dir_all(failures).unwrap();
    }

    #[test]
    fn an_input_depends_on_its_seed_and_number_alone() {
        let target = Target { name: "x", run: |_| {}, words: &["needle"] };
        let corpus = [b"hay hay hay".to_vec()];
        assert_eq!(input(&target, &corpus, 1, 7), input(&target, &corpus, 1, 7));
        let of_seed = |seed| -> Vec<Vec<u8>> { (0..100).map(|number| input(&target, &corpus, seed, number)).collect() };
        assert_ne!(of_seed(1), of_seed(2));
    }
}
