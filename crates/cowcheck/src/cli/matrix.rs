//! `cowcheck matrix`

use std::io::Write;

use super::args::{MatrixArgs, MatrixFormat};
use super::exit::{Code, Usage};
use crate::matrix::{self, Matrix};
use crate::report::terminal;

/// What a report is called that nobody gave a title.
const TITLE: &str = "Does copy-on-write keep its promise?";

/// One report of the results of several kernels.
pub fn main(args: &MatrixArgs) -> anyhow::Result<Code> {
    let read = |path| matrix::read(path).map_err(|error| Usage(error.to_string()));
    let runs = args.files.iter().map(|path| read(path)).collect::<Result<Vec<_>, _>>()?;
    let matrix = Matrix::new(args.title.as_deref().unwrap_or(TITLE), runs);
    for (format, path) in &args.output {
        let written = std::fs::write(path, told(&matrix, *format, false)?);
        written.map_err(|error| Usage(format!("{}: cannot be written: {error}", path.display())))?;
    }
    let mut out = std::io::stdout().lock();
    let color = terminal::Options::for_stream(&out, false).color;
    out.write_all(told(&matrix, args.format, color)?.as_bytes())?;
    out.flush()?;
    Ok(code(&matrix))
}

fn told(matrix: &Matrix, format: MatrixFormat, color: bool) -> anyhow::Result<String> {
    Ok(match format {
        MatrixFormat::Terminal => matrix::text(matrix, color),
        MatrixFormat::Json => serde_json::to_string(&matrix::json(matrix))? + "\n",
        MatrixFormat::Html => matrix::html(matrix),
    })
}

/// As for a run: is any kernel broken, and if none is, is anything missing?
pub fn code(matrix: &Matrix) -> Code {
    match () {
        () if matrix.is_broken() => Code::Failure,
        () if matrix.is_incomplete() => Code::CouldNotTest,
        () => Code::Success,
    }
}
