//! Feeds damaged texts to every reader of cowcheck: none may panic, hang or eat the memory.
//!
//! ```text
//! cargo run --profile fuzz -p cowcheck-fuzz -- --target trace --inputs 4000000 --seed 1
//! cargo run --profile fuzz -p cowcheck-fuzz -- --target trace FILE...     # these inputs, as they are
//! ```
//!
//! (The profile `fuzz` is `release` with overflow checks and debug assertions.) An input is made from
//! the seed and its number alone: an entry of `corpus/TARGET`, damaged a few times over. So the same
//! arguments give the same inputs on any machine and any number of threads, without coverage feedback
//! and its compiler flags; the corpus carries what coverage found (see README.md).
//!
//! Exit code 0: no panic. 1: a panic, a hang, or too much memory; the input is saved. 2: wrong use.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

mod corpus;
mod fuzz;
mod memory;
mod mutate;
mod targets;

#[derive(Parser)]
#[command(version, about)]
struct Args {
    /// What reads the inputs; all of them in turn if it is not given.
    #[arg(long, value_parser = targets::names())]
    target: Option<String>,
    /// How many inputs for each target.
    #[arg(long, default_value_t = 1_000_000)]
    inputs: u64,
    /// Other inputs for another seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many threads.
    #[arg(long, default_value_t = std::thread::available_parallelism().map_or(1, usize::from))]
    threads: usize,
    /// Where an input that fails is saved.
    #[arg(long, default_value = "fuzz-failures")]
    failures: PathBuf,
    /// Read these files instead, once each.
    files: Vec<PathBuf>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let chosen = |target: &&targets::Target| args.target.as_ref().is_none_or(|name| name == target.name);
    let mut clean = true;
    for target in targets::TARGETS.iter().filter(chosen) {
        let outcome = match args.files.is_empty() {
            true => corpus::load(target).and_then(|corpus| {
                let plan = fuzz::Plan { inputs: args.inputs, seed: args.seed, threads: args.threads.max(1) };
                fuzz::run(target, &corpus, plan, &args.failures)
            }),
            false => fuzz::replay(target, &args.files),
        };
        match outcome {
            Ok(panics) => clean &= panics == 0,
            Err(error) => {
                eprintln!("{}: {error}", target.name);
                return ExitCode::from(2);
            }
        }
    }
    clean &= memory::is_within_limit();
    if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
