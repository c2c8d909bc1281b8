//! `cowcheck compare`

use std::io::Write;

use super::args::{CompareArgs, TextOrJson};
use super::exit::{Code, Usage};
use crate::compare::{compare, read};

/// Tells two results apart.
pub fn main(args: &CompareArgs) -> anyhow::Result<Code> {
    let a = read(&args.a).map_err(|error| Usage(error.to_string()))?;
    let b = read(&args.b).map_err(|error| Usage(error.to_string()))?;
    let comparison = compare(&a, &b);
    let mut out = std::io::stdout().lock();
    match args.format {
        TextOrJson::Text => write!(out, "{comparison}")?,
        TextOrJson::Json => writeln!(out, "{}", serde_json::to_string(&comparison)?)?,
    }
    Ok(if comparison.differs() { Code::Failure } else { Code::Success })
}
