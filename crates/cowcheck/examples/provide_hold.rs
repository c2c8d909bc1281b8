//! Holds what the providers set up until a line comes on stdin. For the tests in
//! `tests/provide_root.rs` and `tests/guard.rs`, which kill it in every way.
//!
//! ```text
//! provide_hold RUN-DIRECTORY [swap|file|panic] [--worker SECONDS]
//! provide_hold RUN-DIRECTORY plain FILE    (no root: changes the content of a file)
//! ```

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use cowcheck::provide::guard::{self, Guard};
use cowcheck::provide::roots::Roots;
use cowcheck::provide::undo::{Ledger, Undo};
use cowcheck::provide::{Pages, Provided, Wanted};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == guard::ARGUMENT) {
        return guard::main(&args[1..]);
    }
    let (Some(run), mode) = (args.first(), args.get(1).map_or("", String::as_str)) else {
        eprintln!("usage: provide_hold RUN-DIRECTORY [swap|file|panic] [--worker SECONDS]");
        return ExitCode::FAILURE;
    };
    if let ("plain", Some(file)) = (mode, args.get(2)) {
        return match plain(Path::new(run), Path::new(file)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                println!("error: {error}");
                ExitCode::FAILURE
            }
        };
    }
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
            wanted.hugetlb =
                BTreeMap::from([(2 << 20, Pages { least: 4, best: 4 }), (1 << 30, Pages { least: 2, best: 2 })]);
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
    println!("guard: {}", provided.guard().map_or(0, Guard::pid));
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

/// The guard alone, with a file of the test's instead of a setting of the machine.
fn plain(run: &Path, file: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let (mut guard, before) = Guard::start(run)?;
    for what in before.put_back {
        println!("did: put back {what}");
    }
    let old = std::fs::read_to_string(file)?;
    guard.promise(Undo::WriteFile { path: file.to_owned(), old })?;
    std::fs::write(file, "changed")?;
    println!("guard: {}", guard.pid());
    println!("ready");
    std::io::stdin().read_line(&mut String::new())?;
    let restored = guard.restore(Duration::from_secs(10));
    println!("restored: {} put back, {} stuck", restored.put_back.len(), restored.stuck.len());
    Ok(())
}
