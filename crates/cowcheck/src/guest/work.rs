//! The child of process 1: carries out the order. What it says to its standard output goes to the host.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::fault::Planted;
use super::order::{self, Checks, Order, Task};
use super::shell;
use crate::explore::campaign;
use crate::explore::news::News;
use crate::here::{self, Plan, Settings};
use crate::provide::needs::Needs;
use crate::provide::roots::Roots;
use crate::provide::{self, Wanted};
use crate::report::Sink;
use crate::report::event::Event;
use crate::suite::{self, Sizes};
use crate::wire::{Said, Wire};

/// The hidden first argument that makes this program the child.
pub const ARGUMENT: &str = "__guest";

/// Carries out the order.
pub fn main() -> ExitCode {
    match carry_out() {
        Ok(code) => code,
        Err(error) => {
            let _ = say(&Said::Refused(format!("{error:#}")));
            ExitCode::FAILURE
        }
    }
}

fn carry_out() -> anyhow::Result<ExitCode> {
    let order: Order = serde_json::from_slice(&fs::read(order::PLACE)?)?;
    match order.task {
        Task::Checks(checks) => run(*checks),
        Task::Program(args) => program(&args),
        Task::Explore(order) => explore(*order),
        Task::Shell => Ok(shell::main()),
    }
}

fn say(said: &Said) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(&said.line())?;
    out.flush()
}

fn run(order: Checks) -> anyhow::Result<ExitCode> {
    let sizes = Sizes::of(&here::look(&Roots::default()));
    let checks = order.checks(&sizes)?;
    let wire = Wire::new(io::stdout(), order.traces, sizes);
    let mut wire = Saboteur { wire, planted: order.guest_fault };
    let plan = Plan {
        checks,
        repeat: order.repeat,
        jobs: order.jobs,
        limit: Duration::from_millis(order.limit_ms),
        fail_fast: order.fail_fast,
        confirm: order.confirm,
        save_trace: None,
        fault: order.fault,
        settings: Settings::ForGood,
        known: order.known,
        done: order.done,
    };
    here::run(plan, &AtomicBool::new(false), &mut wire)?;
    Ok(ExitCode::SUCCESS)
}

fn explore(order: campaign::Order) -> anyhow::Result<ExitCode> {
    let planted = order.guest_fault;
    let mut tell = |news| {
        let begins = |number: usize| matches!(&news, News::Begin(all) if all.iter().any(|(name, _)| *name == number.to_string()));
        let fault = planted.filter(|planted| begins(planted.index));
        say(&Said::Explored(Box::new(news)))?;
        fault.into_iter().for_each(|planted| planted.fault.commit());
        Ok(())
    };
    campaign::run(order, Settings::ForGood, &AtomicBool::new(false), &mut tell)?;
    Ok(ExitCode::SUCCESS)
}

/// Passes everything on, and commits the planted fault when its time has come.
struct Saboteur<W> {
    wire: Wire<W>,
    planted: Option<Planted>,
}

impl<W: Write> Sink for Saboteur<W> {
    fn event(&mut self, event: Event<'_>) -> io::Result<()> {
        self.wire.event(event)?;
        if let (Event::Begin(begun), Some(Planted { fault, index })) = (event, self.planted)
            && begun == index
        {
            fault.commit();
        }
        Ok(())
    }
}

/// Runs a program with everything set up that the catalogue needs.
fn program(args: &[String]) -> anyhow::Result<ExitCode> {
    let machine = here::look(&Roots::default());
    let checks = suite::catalogue(&Sizes::of(&machine));
    let needs: Vec<Needs> = checks.iter().map(|check| Needs::of(&check.scenario, machine.page_size)).collect();
    let (did, could_not) = provide::for_good(&Roots::default(), &Wanted::by(&needs, 1));
    for note in did.into_iter().chain(could_not.iter().map(ToString::to_string)) {
        say(&Said::Note(note))?;
    }
    let (program, rest) = args.split_first().ok_or_else(|| anyhow::anyhow!("no program was given"))?;
    let (read, write) = io::pipe()?;
    let mut command = Command::new(program);
    command.args(rest).stdin(Stdio::null()).stdout(write.try_clone()?).stderr(write);
    let mut child = command.spawn().map_err(|error| anyhow::anyhow!("{program} cannot be run: {error}"))?;
    // It holds the writing end.
    drop(command);
    for line in BufReader::new(read).split(b'\n') {
        say(&Said::Printed(String::from_utf8_lossy(&line?).into_owned()))?;
    }
    let code = child.wait()?.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
