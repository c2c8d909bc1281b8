//! The sinks that the arguments ask for.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, LineWriter, Write};
use std::path::Path;
use std::rc::Rc;

use super::args::{Format, Running};
use super::exit::Usage;
use crate::report::Sink;
use crate::report::event::Event;
use crate::report::fan::Fan;
use crate::report::json::Json;
use crate::report::junit::Junit;
use crate::report::kselftest::Kselftest;
use crate::report::ktap::Ktap;
use crate::report::terminal::{self, Terminal};

/// Every output of a run.
pub struct Outputs {
    /// Passes the events on.
    pub fan: Fan<'static>,
    kselftest: Option<Rc<RefCell<Kselftest<io::Stdout>>>>,
}

impl Outputs {
    /// Standard output, and every file of `--output`.
    pub fn open(args: &Running) -> Result<Outputs, Usage> {
        let mut fan = Fan::new();
        let mut kselftest = None;
        match args.format {
            Format::Kselftest => {
                let sink = Rc::new(RefCell::new(Kselftest::new(io::stdout())));
                kselftest = Some(Rc::clone(&sink));
                fan.add("standard output", Shared(sink));
            }
            format => fan.add("standard output", sink(format, io::stdout(), terminal_options(args))),
        }
        for (format, path) in &args.output {
            add(&mut fan, *format, path, args.verbose)?;
        }
        Ok(Outputs { fan, kselftest })
    }

    /// What the kernel's own program would exit with.
    pub fn kselftest_exit_code(&self) -> u8 {
        self.kselftest.as_ref().map_or(0, |sink| sink.borrow().totals().exit_code())
    }
}

/// Adds a file.
pub fn add(fan: &mut Fan<'_>, format: Format, path: &Path, verbose: bool) -> Result<(), Usage> {
    let file = File::create(path).map_err(|error| Usage(format!("{}: cannot be written: {error}", path.display())))?;
    let plain = terminal::Options { verbose, ..terminal::Options::default() };
    fan.add(path.display().to_string(), sink(format, LineWriter::new(file), plain));
    Ok(())
}

fn terminal_options(args: &Running) -> terminal::Options {
    terminal::Options::for_stream(&io::stdout(), args.verbose)
}

fn sink(format: Format, out: impl Write + 'static, terminal: terminal::Options) -> Box<dyn Sink> {
    match format {
        Format::Terminal => Box::new(Terminal::new(out, terminal)),
        Format::Ktap => Box::new(Ktap::new(out)),
        Format::Json => Box::new(Json::new(out)),
        Format::Junit => Box::new(Junit::new(out)),
        Format::Kselftest => Box::new(Kselftest::new(out)),
    }
}

/// A sink that is asked for its result afterwards.
struct Shared<S>(Rc<RefCell<S>>);

impl<S: Sink> Sink for Shared<S> {
    fn event(&mut self, event: Event<'_>) -> io::Result<()> {
        self.0.borrow_mut().event(event)
    }
}
