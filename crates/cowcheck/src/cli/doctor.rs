//! `cowcheck doctor`

use std::io::Write;

use super::args::{DoctorArgs, TextOrJson};
use super::exit::Code;
use crate::here::look;
use crate::provide::doctor::doctor;
use crate::provide::roots::Roots;

/// Tells what this machine can check.
pub fn main(args: &DoctorArgs) -> anyhow::Result<Code> {
    let report = doctor(&look(&Roots::default()));
    let mut out = std::io::stdout().lock();
    match args.format {
        TextOrJson::Text => write!(out, "{report}")?,
        TextOrJson::Json => writeln!(out, "{}", serde_json::to_string(&report)?)?,
    }
    Ok(Code::Success)
}
