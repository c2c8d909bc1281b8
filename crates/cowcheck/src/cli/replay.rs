//! `cowcheck replay`

use std::path::Path;

use cowcheck_model::text;

use super::args::ReplayArgs;
use super::exit::{Code, Usage};
use super::{files, run};
use crate::here::Settings;
use crate::suite::check::Check;

/// Runs scenarios from files.
pub fn main(args: ReplayArgs) -> anyhow::Result<Code> {
    let (mut checks, mut bad) = (Vec::new(), false);
    for file in &args.files {
        match read(file) {
            Ok(check) => checks.push(check),
            Err(error) => {
                // One bad file does not keep the others from running.
                eprintln!("error: {error}");
                bad = true;
            }
        }
    }
    if checks.is_empty() {
        return Ok(Code::Usage);
    }
    let settings = if args.provide { Settings::Provided } else { Settings::AsTheyAre };
    let code = run::checks_on_this_machine(checks, settings, &args.running)?;
    Ok(if bad && code != Code::Failure { Code::Usage } else { code })
}

fn read(file: &Path) -> Result<Check, Usage> {
    let name = file.display().to_string();
    let text = files::read(file)?;
    let scenario = text::parse_valid(&text, rustix::param::page_size() as u32)
        .map_err(|error| Usage(error.in_file(&name).to_string()))?;
    Ok(Check::of_file(name, scenario))
}
