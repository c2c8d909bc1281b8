//! The command: its options, its exit codes, and nothing else.

pub mod args;
pub mod compare;
pub mod doctor;
pub mod exit;
pub mod explore;
pub mod files;
pub mod judge;
pub mod kmod;
pub mod lab;
pub mod lab_args;
mod lab_explore;
pub mod lab_run;
pub mod list;
pub mod matrix;
pub mod outputs;
pub mod provide;
pub mod replay;
pub mod repro;
pub mod run;
pub mod show;
pub mod vm;

use clap::Parser;

use args::{Args, Command};
use exit::Code;

/// Reads the arguments, does what they say, and tells how it went.
pub fn main() -> Code {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { Code::Usage } else { Code::Success };
        }
    };
    let result = match args.command {
        Command::Run(args) => run::main(args),
        Command::List(args) => list::main(&args),
        Command::Doctor(args) => doctor::main(&args),
        Command::Replay(args) => replay::main(args),
        Command::Explore(args) => explore::main(&args),
        Command::Repro(args) => repro::main(&args),
        Command::Show(args) => show::main(&args),
        Command::Vm(args) => vm::main(&args),
        Command::Kmod(args) => kmod::main(&args),
        Command::Lab(args) => lab::main(&args),
        Command::Judge(args) => judge::main(&args),
        Command::Compare(args) => compare::main(&args),
        Command::Matrix(args) => matrix::main(&args),
        Command::Provide(args) => Ok(provide::main(&args)),
    };
    result.unwrap_or_else(|error| {
        if broken_pipe(&error) {
            // Whoever read our output has seen enough.
            return Code::Success;
        }
        eprintln!("error: {error:#}");
        match error.downcast_ref::<exit::Usage>() {
            Some(_) => Code::Usage,
            None => Code::CouldNotTest,
        }
    })
}

fn broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>());
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
