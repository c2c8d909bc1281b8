//! `cowcheck list`

use std::io::{BufWriter, Write};

use serde::Serialize;

use super::args::{ListArgs, TextOrJson};
use super::exit::{Code, Usage};
use crate::here::look;
use crate::provide::roots::Roots;
use crate::suite::select::select;
use crate::suite::{self, Sizes};

/// A line of the JSON form.
#[derive(Serialize)]
struct Line<'a> {
    id: &'a str,
    group: &'a str,
    kind: &'a str,
    memory: &'a str,
    size: u64,
    description: Option<&'a str>,
    tags: &'a [&'static str],
}

/// Lists the checks.
pub fn main(args: &ListArgs) -> anyhow::Result<Code> {
    let checks =
        select(suite::catalogue(&Sizes::of(&look(&Roots::default()))), &args.selection).map_err(Usage::from)?;
    let mut out = BufWriter::new(std::io::stdout().lock());
    for check in &checks {
        match args.format {
            TextOrJson::Text => writeln!(out, "{:<48} {}", check.id, check.description.as_deref().unwrap_or(""))?,
            TextOrJson::Json => {
                let line = Line {
                    id: &check.id,
                    group: check.group,
                    kind: &check.kind,
                    memory: check.memory,
                    size: check.size,
                    description: check.description.as_deref(),
                    tags: &check.tags,
                };
                writeln!(out, "{}", serde_json::to_string(&line)?)?;
            }
        }
    }
    out.flush()?;
    Ok(Code::Success)
}
