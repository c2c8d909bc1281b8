//! `cowcheck repro`

use std::io::Write;
use std::path::Path;

use anyhow::Context;
use cowcheck_explore::draft::Draft;
use cowcheck_model::scenario::Scenario;
use cowcheck_model::step::Step;
use cowcheck_model::text;
use cowcheck_model::trace::Trace;

use super::args::{Lang, ReproArgs};
use super::exit::{Code, Usage};
use super::{files, judge, show};

/// Makes a program of a scenario.
pub fn main(args: &ReproArgs) -> anyhow::Result<Code> {
    let here = rustix::param::page_size() as u32;
    let subject = Subject::find(&args.what, here)?;
    let (scenario, page_size, trace) = match &subject {
        Subject::Scenario(scenario) => (scenario, here, None),
        Subject::Trace(trace) => (&trace.scenario, trace.page_size, Some(&**trace)),
    };
    let Lang::C = args.lang;
    let program = cowcheck_repro::c(&shown(scenario), page_size, trace);
    let program = program.map_err(|error| Usage(format!("{}: {error}", args.what.display())))?;
    match &args.output {
        Some(file) => {
            std::fs::write(file, program).with_context(|| format!("failed to write {}", file.display()))?;
        }
        None => std::io::stdout().lock().write_all(program.as_bytes())?,
    }
    Ok(Code::Success)
}

/// What was seen in page tables and page structs alone may be the last step of a finding that was shrunk. A program sees
/// contents, so it has to write and read them.
fn shown(scenario: &Scenario) -> Scenario {
    let mut scenario = scenario.clone();
    let added = Draft::shows_behind(&scenario).into_iter();
    scenario.steps.extend(added.map(|step| Step { note: "added: a program sees contents only".to_owned(), ..step }));
    scenario
}

/// What the program is to be about.
enum Subject {
    Scenario(Scenario),
    Trace(Box<Trace>),
}

impl Subject {
    /// A file is what it looks like; what is no file is a check's id.
    fn find(what: &Path, page_size: u32) -> Result<Subject, Usage> {
        let name = what.display().to_string();
        if what.as_os_str() != "-" && !what.exists() && what.extension().is_none() {
            return show::scenario(&name).map(Subject::Scenario);
        }
        let content = files::read(what)?;
        if content.trim_start().starts_with('{') {
            return judge::parse(what, &content).map(|trace| Subject::Trace(Box::new(trace)));
        }
        let mut scenario =
            text::parse_valid(&content, page_size).map_err(|error| Usage(error.in_file(&name).to_string()))?;
        if scenario.about.is_empty() {
            scenario.about.push(name);
        }
        Ok(Subject::Scenario(scenario))
    }
}
