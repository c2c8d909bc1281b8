//! Pins and pipes.

use cowcheck_model::pages::{Range, Run};
use cowcheck_model::step::{Op, Pin, PinKind, Step};

use crate::helpers::{
    CLOSE_PIPE, DRAIN, FETCH, GUP, PIPE, READ_PINNED, REGISTER, UNPIN_PAGES, UNREGISTER, WRITE_FIXED,
};
use crate::program::{Held, Program};

/// What holds a pin, in a program that has libc alone.
enum Holder {
    Pipe,
    Uring,
    GupTest,
}

/// Who can take a pin of this kind, or why nobody can.
fn holder(kind: PinKind) -> Result<Holder, &'static str> {
    match kind {
        PinKind::Splice => Ok(Holder::Pipe),
        PinKind::READ_WRITE => Ok(Holder::Uring),
        PinKind::Gup { short: false, .. } => Ok(Holder::GupTest),
        PinKind::Gup { short: true, .. } => Err("only cowcheck's helper module holds a pin without FOLL_LONGTERM"),
    }
}

pub(super) fn sentence(op: &Op, pages: &dyn Fn(&Range) -> String) -> Option<String> {
    Some(match op {
        Op::Pin(PinKind::Splice, pin, range) => format!("splices {} into the pipe {pin}", pages(range)),
        Op::Pin(PinKind::READ_WRITE, pin, range) => {
            format!("registers {} as fixed buffers of the io_uring {pin}", pages(range))
        }
        Op::Pin(PinKind::Gup { write, fast, .. }, pin, range) => {
            let flags = if *write { "FOLL_WRITE | FOLL_LONGTERM" } else { "FOLL_LONGTERM" };
            format!("takes the pin {pin} of {} by GUP{}, {flags}", pages(range), if *fast { "-fast" } else { "" })
        }
        Op::ReadVia(pin) => format!("reads what {pin} holds"),
        Op::WriteVia(pin, range) => format!("writes {} through {pin}", pages(range)),
        Op::Unpin(pin) => format!("releases {pin}"),
        _ => return None,
    })
}

pub(super) fn step(program: &mut Program<'_>, step: &Step) -> Option<Result<Vec<String>, &'static str>> {
    Some(match &step.op {
        Op::Pin(kind, pin, range) => {
            let runs = program.world.runs(range);
            let runs = program.apart(step.actor, &runs);
            pin_pages(program, *kind, *pin, runs)
        }
        Op::ReadVia(pin) => read_via(program, *pin),
        Op::WriteVia(pin, range) => {
            let runs = program.world.runs(range);
            write_via(program, *pin, &runs)
        }
        Op::Unpin(pin) => unpin(program, *pin),
        _ => return None,
    })
}

fn pin_pages(program: &mut Program<'_>, kind: PinKind, pin: Pin, runs: Vec<Run>) -> Result<Vec<String>, &'static str> {
    // A name may be used again once its pin was released.
    let taken = program.taken.entry(pin).and_modify(|times| *times += 1).or_insert(1);
    let name = if *taken == 1 { pin.to_string() } else { format!("{pin}_{taken}") };
    let lines = match holder(kind)? {
        Holder::Pipe => {
            program.add(&PIPE);
            program.globals.push(format!("static struct pipe {name};"));
            let pages: u32 = runs.iter().map(|run| run.count).sum();
            let mut lines = vec![format!("open_pipe(&{name}, {pages});")];
            lines.extend(program.calls(&runs, |first, count| format!("splice_pages(&{name}, {first}, {count});")));
            lines
        }
        Holder::Uring => {
            program.add(&REGISTER);
            program.globals.push(format!("static struct fixed {name};"));
            program.buffers = program.buffers.max(runs.len());
            let mut lines = program.calls(&runs, |first, count| format!("add_buffer(&{name}, {first}, {count});"));
            lines.push(format!("register_buffers(&{name});"));
            lines
        }
        Holder::GupTest => {
            program.add(&GUP);
            let flags = match kind {
                PinKind::Gup { write: true, fast: true, .. } => {
                    "PIN_LONGTERM_TEST_FLAG_WRITE | PIN_LONGTERM_TEST_FLAG_FAST"
                }
                PinKind::Gup { fast: true, .. } => "PIN_LONGTERM_TEST_FLAG_FAST",
                _ => "0",
            };
            let global = match runs.len() {
                1 => format!("static int {name};"),
                _ => format!("static int {name}[NR_PAGES];\t/* by the first page of each range */"),
            };
            program.globals.push(global);
            let several = runs.len() > 1;
            program.calls(&runs, |first, count| {
                format!("{} = pin_pages({first}, {count}, {flags});", place(&name, several, first))
            })
        }
    };
    program.held.insert(pin, Held { name, kind, runs });
    Ok(lines)
}

/// Where the file descriptor of gup_test is that pinned the range from page `first`.
fn place(name: &str, several: bool, first: &str) -> String {
    if several { format!("{name}[{first}]") } else { name.to_owned() }
}

fn read_via(program: &mut Program<'_>, pin: Pin) -> Result<Vec<String>, &'static str> {
    let Some(Held { name, kind, runs }) = program.held.get(&pin).cloned() else { return Ok(vec![]) };
    let (mut lines, through) = match holder(kind)? {
        Holder::Pipe => {
            program.add(&DRAIN);
            let lines = program.calls(&runs, |first, count| format!("drain(&{name}, {first}, {count});"));
            (lines, "the pipe")
        }
        Holder::Uring => {
            program.add(&FETCH);
            let lines = program.calls(&runs, |first, count| format!("fetch(&{name}, {first}, {count});"));
            (lines, "the fixed buffer")
        }
        Holder::GupTest => {
            program.add(&READ_PINNED);
            let several = runs.len() > 1;
            let call = |first: &str, _: &str| format!("read_pinned({}, {first});", place(&name, several, first));
            (program.calls(&runs, call), "the pin")
        }
    };
    for (set, runs) in program.by_set(&runs, |page| program.world.pin_allowed_id(pin, page)) {
        lines.extend(
            program.calls(&runs, |first, count| format!("read_copy({first}, {count}, \"{through} {pin}\", {set});")),
        );
    }
    Ok(lines)
}

fn write_via(program: &mut Program<'_>, pin: Pin, runs: &[Run]) -> Result<Vec<String>, &'static str> {
    let Some(Held { name, kind, .. }) = program.held.get(&pin).cloned() else { return Ok(vec![]) };
    match holder(kind)? {
        Holder::Uring => {
            program.add(&WRITE_FIXED);
            Ok(program.calls(runs, |first, count| format!("write_fixed(&{name}, {first}, {count});")))
        }
        Holder::Pipe | Holder::GupTest => Err("only cowcheck's helper module writes through a pin that it took by GUP"),
    }
}

fn unpin(program: &mut Program<'_>, pin: Pin) -> Result<Vec<String>, &'static str> {
    let Some(Held { name, kind, runs }) = program.held.remove(&pin) else { return Ok(vec![]) };
    Ok(match holder(kind)? {
        Holder::Pipe => {
            program.add(&CLOSE_PIPE);
            vec![format!("close_pipe(&{name});")]
        }
        Holder::Uring => {
            program.add(&UNREGISTER);
            vec![format!("unregister_buffers(&{name});")]
        }
        Holder::GupTest => {
            program.add(&UNPIN_PAGES);
            let several = runs.len() > 1;
            program.calls(&runs, |first, _| format!("unpin_pages({});", place(&name, several, first)))
        }
    })
}
