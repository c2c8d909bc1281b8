//! The program. What it does is in the library; this is only the way in.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use cowcheck::cli;
use cowcheck::executor::{pool, worker};
use cowcheck::guest::{init, work};
use cowcheck::provide::guard;

fn main() -> ExitCode {
    // What the kernel does not know of its command line it hands to its first process.
    if init::is_guest() {
        init::main();
    }
    // This program started again by itself, with an argument that no person gives.
    match std::env::args().nth(1).as_deref() {
        Some(pool::WORKER_ARG) => match worker::main(std::env::args().nth(2).and_then(|number| number.parse().ok())) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Some(guard::ARGUMENT) => guard::main(std::env::args().skip(2)),
        Some(work::ARGUMENT) => work::main(),
        _ => cli::main().into(),
    }
}
