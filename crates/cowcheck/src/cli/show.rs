//! `cowcheck show`

use std::io::Write;

use super::args::ShowArgs;
use super::exit::{Code, Usage};
use crate::here::look;
use crate::provide::roots::Roots;
use crate::suite::select::unknown_id;
use crate::suite::{self, Sizes};

/// Prints a check as a `.cow` file.
pub fn main(args: &ShowArgs) -> anyhow::Result<Code> {
    let catalogue = suite::catalogue(&Sizes::of(&look(&Roots::default())));
    let Some(check) = catalogue.iter().find(|check| check.id == args.id) else {
        return Err(Usage(unknown_id(&args.id, &catalogue)).into());
    };
    let mut scenario = check.scenario.clone();
    scenario.about.push(check.id.clone());
    scenario.about.extend(check.description.clone());
    write!(std::io::stdout().lock(), "{scenario}")?;
    Ok(Code::Success)
}
