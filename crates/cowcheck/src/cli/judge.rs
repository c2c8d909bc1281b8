//! `cowcheck judge`

use std::io::Write;
use std::path::Path;

use cowcheck_model::checker::judge;
use cowcheck_model::explain::explain;
use cowcheck_model::trace::{Trace, TraceError};
use cowcheck_model::verdict::{Kind, Verdict};
use serde::Serialize;

use super::args::{JudgeArgs, TextOrJson};
use super::exit::{Code, Usage};
use super::files;

#[derive(Serialize)]
struct Line<'a> {
    file: &'a Path,
    #[serde(flatten)]
    verdict: &'a Verdict,
}

/// Judges saved traces.
pub fn main(args: &JudgeArgs) -> anyhow::Result<Code> {
    let mut out = std::io::stdout().lock();
    let mut code = Code::Success;
    let mut bad = None;
    for file in &args.files {
        let trace = match read(file) {
            Ok(trace) => trace,
            Err(error) => {
                // One bad file does not lose the verdicts of the others.
                eprintln!("error: {error}");
                bad = Some(Code::Usage);
                continue;
            }
        };
        let verdict = judge(&trace);
        code = match verdict.kind() {
            Kind::Fail => Code::Failure,
            Kind::Pass | Kind::Xfail => code,
            _ if code == Code::Failure => code,
            _ => Code::CouldNotTest,
        };
        match args.format {
            TextOrJson::Json => writeln!(out, "{}", serde_json::to_string(&Line { file, verdict: &verdict })?)?,
            TextOrJson::Text => {
                writeln!(out, "{}: {}", file.display(), verdict.kind().word())?;
                if verdict.kind() != Kind::Pass {
                    for line in explain(&trace, &verdict).lines() {
                        writeln!(out, "  {line}")?;
                    }
                }
            }
        }
    }
    Ok(bad.filter(|_| code != Code::Failure).unwrap_or(code))
}

fn read(file: &Path) -> Result<Trace, Usage> {
    parse(file, &files::read(file)?)
}

/// A trace from the text of a file.
pub(super) fn parse(file: &Path, text: &str) -> Result<Trace, Usage> {
    Trace::from_json(text).map_err(|error| {
        let has_place = matches!(error, TraceError::Malformed { .. } | TraceError::Truncated { .. });
        Usage(format!("{}:{}{error}", file.display(), if has_place { "" } else { " " }))
    })
}
