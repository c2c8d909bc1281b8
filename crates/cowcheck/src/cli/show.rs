//! `cowcheck show`

use std::io::Write;

use cowcheck_model::scenario::Scenario;

use super::args::ShowArgs;
use super::exit::{Code, Usage};
use crate::here::look;
use crate::provide::roots::Roots;
use crate::suite::select::unknown_id;
use crate::suite::{self, Sizes};

/// Prints a check as a `.cow` file.
pub fn main(args: &ShowArgs) -> anyhow::Result<Code> {
    write!(std::io::stdout().lock(), "{}", scenario(&args.id)?)?;
    Ok(Code::Success)
}

/// The scenario of a check, with what it is called and about at its head.
pub(super) fn scenario(id: &str) -> Result<Scenario, Usage> {
    let catalogue = suite::catalogue(&Sizes::of(&look(&Roots::default())));
    let check = catalogue.iter().find(|check| check.id == id).ok_or_else(|| Usage(unknown_id(id, &catalogue)))?;
    let mut scenario = check.scenario.clone();
    scenario.about.push(check.id.clone());
    scenario.about.extend(check.description.clone());
    Ok(scenario)
}
