//! `cowcheck vm`

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;

use super::args::{Format, VmArgs};
use super::exit::{Code, Usage};
use super::outputs::Outputs;
use super::run::{catch_signals, code};
use super::files;
use crate::guest::order::{Checks, Task, What};
use crate::suite::select::{Filter, Selection, select};
use crate::suite::{self, Sizes};
use crate::vm::qemu::{self, Accel, Machine};
use crate::vm::session::{self, Means, ProgramEnd, Spec};
use crate::vm::slim::loaded_part;
use crate::vm::subject;
use crate::wire::Said;

/// Boots kernels and does in each what was asked for.
pub fn main(args: &VmArgs) -> anyhow::Result<Code> {
    let task = task(args)?;
    let interrupted = catch_signals()?;
    let subjects = args.kernels.iter().map(|handle| subject::find(handle)).collect::<Result<Vec<_>, _>>()?;
    let this = fs::read("/proc/self/exe").context("failed to read this program")?;
    let init = loaded_part(&this);
    let machine = Machine {
        accel: args.machine.accel.unwrap_or(Accel::Tcg),
        cpus: args.machine.cpus.unwrap_or(2),
        memory: args.machine.memory.unwrap_or(5 << 30),
        cmdline: args.machine.cmdline.clone(),
    };
    let qemu = qemu::program();
    let directory = std::env::temp_dir().join(format!("cowcheck-vm-{}", std::process::id()));
    let mut last = Code::Success;
    for subject in &subjects {
        let program = match args.program.first() {
            None => None,
            Some(program) => Some(fs::read(program).with_context(|| format!("failed to read {program}"))?),
        };
        let spec = Spec {
            subject,
            machine: machine.clone(),
            qemu: &qemu,
            init: &init,
            program: program.as_deref().map(|bytes| (PROGRAM.to_owned(), bytes)),
            directory: &directory,
            patience: Default::default(),
        };
        last = match &task {
            Task::Checks(checks) => {
                let mut outputs = Outputs::open(&args.running)?;
                let means = Means {
                    sink: &mut outputs.fan,
                    weigh: &|_, verdict| verdict,
                    save_trace: args.running.save_trace.as_deref(),
                    interrupted: &interrupted,
                };
                code(&session::run(&spec, checks, means)?)
            }
            Task::Program(words) => {
                let end = session::run_program(&spec, words, &interrupted, |said| match said {
                    Said::Printed(line) => println!("{line}"),
                    Said::Note(text) => eprintln!("note: {text}"),
                    _ => {}
                })?;
                match end {
                    ProgramEnd::Exit(code) => Code::Command(code as u8),
                    ProgramEnd::Not(why) => {
                        eprintln!("error: {why}");
                        Code::CouldNotTest
                    }
                }
            }
            Task::Shell => {
                let files = spec.prepare(Task::Shell)?;
                fs::File::create(files.results())?;
                Command::new(&qemu).args(machine.arguments(&files, true)).status()?;
                Code::Success
            }
        };
    }
    Ok(last)
}

/// Where the person's program lies in the guest.
const PROGRAM: &str = "/cowcheck/program";

fn task(args: &VmArgs) -> anyhow::Result<Task> {
    if args.machine.shell {
        return Ok(Task::Shell);
    }
    if let Some((_, rest)) = args.program.split_first() {
        let words = std::iter::once(PROGRAM.to_owned()).chain(rest.iter().cloned());
        return Ok(Task::Program(words.collect()));
    }
    let what = if args.scenario.is_empty() {
        let (group, kind, memory, size) = (args.group.clone(), args.kind.clone(), args.on.clone(), args.size.clone());
        let selection = Selection { globs: args.check.clone(), filter: Filter { group, kind, memory, size } };
        // Words that name nothing on any kernel are better known before anything is booted.
        select(suite::catalogue(&Sizes::widest()), &selection).map_err(Usage::from)?;
        What::Selection(selection)
    } else {
        What::Scenarios(args.scenario.iter().map(|file| scenario(file)).collect::<Result<_, _>>()?)
    };
    let running = &args.running;
    Ok(Task::Checks(Checks {
        what,
        repeat: running.repeat,
        jobs: running.jobs.map(usize::from),
        limit_ms: running.timeout.as_millis() as u64,
        fail_fast: running.fail_fast,
        traces: running.save_trace.is_some(),
        peers_only: running.format == Format::Kselftest,
        fault: running.self_test,
        done: Default::default(),
    }))
}

fn scenario(file: &Path) -> anyhow::Result<(String, String)> {
    let name = file.display().to_string();
    let text = files::read(file)?;
    cowcheck_model::text::parse_valid(&text, rustix::param::page_size() as u32)
        .map_err(|error| Usage(error.in_file(&name).to_string()))?;
    Ok((name, text))
}
