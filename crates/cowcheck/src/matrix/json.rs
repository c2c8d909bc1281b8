//! The matrix as JSON. The schema is in `docs/results.md`; what is added later stays readable by this
//! version, what is not gets a new [`VERSION`].

use serde_json::{Map, Value, json};

use super::cell::Cell;
use super::change::{Change, Trend};
use super::collapses::{Row, rows};
use super::kernel::{Kernel, State};
use super::sheet::{Check, Matrix};
use super::untested::Untested;

/// The version of the schema.
const VERSION: u32 = 1;

/// The report as one JSON object.
pub fn json(matrix: &Matrix) -> Value {
    let changes = |steady: bool| -> Vec<Value> {
        let wanted = matrix.changes.iter().filter(|change| (change.trend == Trend::Steady) == steady);
        wanted.map(|change| of_change(matrix, change)).collect()
    };
    json!({
        "cowcheck_matrix": VERSION,
        "title": matrix.title,
        "answer": matrix.answer(),
        "kernels": matrix.kernels.iter().map(of_kernel).collect::<Vec<_>>(),
        "checks": matrix.checks.iter().map(of_check).collect::<Vec<_>>(),
        "changes": changes(false),
        "steady": changes(true),
        "collapses": rows(matrix).iter().map(of_row).collect::<Vec<_>>(),
        "untested": matrix.untested.iter().map(of_untested).collect::<Vec<_>>(),
    })
}

fn of_kernel(kernel: &Kernel) -> Value {
    let why = match &kernel.state {
        State::Complete => None,
        State::Stopped(why) | State::CutOff(why) | State::NotBooted(why) => {
            Some(why.as_str()).filter(|why| !why.is_empty())
        }
    };
    let mut object = object(json!({
        "label": kernel.label,
        "file": kernel.file,
        "state": kernel.state.word().replace(' ', "-"),
        "counts": kernel.counts,
        "notes": kernel.notes,
    }));
    put(&mut object, "kernel", kernel.kernel.as_deref());
    put(&mut object, "machine", kernel.machine.as_deref());
    put(&mut object, "handle", kernel.handle.as_deref());
    put(&mut object, "package", kernel.package.as_deref());
    put(&mut object, "accel", kernel.accel.as_deref());
    put(&mut object, "why", why);
    put(&mut object, "micros", kernel.micros);
    Value::Object(object)
}

fn of_check(check: &Check) -> Value {
    let mut object = object(json!({
        "id": check.id,
        "results": check.cells.iter().map(|cell| cell.as_ref().map(of_cell)).collect::<Vec<_>>(),
    }));
    put(&mut object, "description", check.description.as_deref());
    Value::Object(object)
}

fn of_cell(cell: &Cell) -> Value {
    let mut object = object(json!({ "verdict": cell.verdict.word(), "micros": cell.micros }));
    let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    put(&mut object, "reason", text(&cell.reason));
    put(&mut object, "remedy", text(&cell.remedy));
    put(&mut object, "sentences", Some(&cell.sentences).filter(|all| !all.is_empty()).cloned());
    put(&mut object, "explanation", cell.explanation.as_deref());
    if cell.runs > 1 {
        put(&mut object, "runs", Some(cell.runs));
        put(&mut object, "alike", Some(cell.alike));
    }
    Value::Object(object)
}

fn of_change(matrix: &Matrix, change: &Change) -> Value {
    let ids: Vec<&str> = change.checks.iter().map(|index| matrix.checks[*index].id.as_str()).collect();
    json!({ "trend": change.trend.word(), "sentence": change.sentence, "checks": ids })
}

fn of_row(row: &Row<'_>) -> Value {
    json!({ "sharing": row.pattern, "how": row.how, "counts": row.counts })
}

fn of_untested(untested: &Untested) -> Value {
    json!({
        "verdict": untested.verdict.word(),
        "reason": untested.reason,
        "remedy": untested.remedy,
        "counts": untested.counts,
    })
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

/// A field that may be absent.
fn put(object: &mut Map<String, Value>, name: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        object.insert(name.to_owned(), value.into());
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn the_schema_is_as_documented() {
        insta::assert_snapshot!(serde_json::to_string_pretty(&json(&sample::matrix())).unwrap());
    }
}
