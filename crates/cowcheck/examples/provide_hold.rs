//! Holds what the providers set up until a line comes on stdin. For the tests in
//! `tests/provide_root.rs`, which kill it in every way.
//!
//! ```text
//! provide_hold RUN-DIRECTORY [swap|file|panic] [--worker SECONDS]
//! ```

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use cowcheck::provide::roots::Roots;
use cowcheck::provide::{Provided, Wanted, guard};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == guard::ARGUMENT) {
        return guard::main(&args[1..]);
    }
    let (Some(run), mode) = (args.first(), args.get(1).map_or("", String::as_str)) else {
        eprintln!("usage: provide_hold RUN-DIRECTORY [swap|file|panic] [--worker SECONDS]");
        return ExitCode::FAILURE;
    };
    let mut roots = Roots { run: run.into(), ..Roots::default() };
    let mut wanted = Wanted { swap: 64 << 20, ..Wanted::default() };
    match mode {
        "swap" => {}
        "file" => {
            // Without a sign of zram and RAM disks.
            roots.dev = Path::new(run).join("no-devices");
            let no_zram = Path::new(run).join("no-sys");
            roots.sys = no_zram;
        }
        _ => {
            wanted.thp = true;
            wanted.debugfs = true;
            wanted.hugetlb = BTreeMap::from([(2 << 20, 4), (1 << 30, 2)]);
        }
    }
    let provided = match Provided::set_up(&roots, &wanted) {
        Ok(provided) => provided,
        Err(error) => {
            println!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    for sentence in &provided.did {
        println!("did: {sentence}");
    }
    for refusal in &provided.could_not {
        println!("could not: {refusal}");
    }
    if let Some(at) = args.iter().position(|arg| arg == "--worker")
        && let Some(seconds) = args.get(at + 1)
    {
        // A process that outlives this one and holds what it inherited.
        let worker = Command::new("sleep").arg(seconds).stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        println!("worker: {:?}", worker.map(|worker| worker.id()));
    }
    println!("guard: {}", provided.guard().map_or(0, guard::Guard::pid));
    println!("ready");
    let mut line = String::new();
    let _ = std::io::stdin().read_line(&mut line);
    assert_ne!(mode, "panic", "as asked for");
    match provided.restore() {
        Ok(put_back) => {
            for what in put_back {
                println!("put back: {what}");
            }
            println!("restored");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
