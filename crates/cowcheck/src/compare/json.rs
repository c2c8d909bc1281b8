//! Reads the JSON lines of `cowcheck run`; the schema is in `docs/results.md`.

use cowcheck_model::text::SyntaxError;
use cowcheck_model::verdict::Kind;
use serde::Deserialize;

use super::json_line::Line;
use super::results::{MAX_ROWS, Results, Row, Source, clean};

#[derive(Deserialize)]
struct AnyLine {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Start {
    kernel: String,
    planned: u64,
}

#[derive(Deserialize)]
struct Check {
    id: String,
    #[serde(default = "one")]
    repeat: u32,
    description: Option<String>,
    verdict: String,
    reason: Option<String>,
    bug: Option<String>,
    #[serde(default)]
    violations: Vec<Violation>,
}

#[derive(Deserialize)]
struct Violation {
    sentence: String,
}

#[derive(Deserialize)]
struct End {
    stopped: Option<String>,
}

/// How the virtual machine around the run ended.
#[derive(Deserialize)]
struct VmEnd {
    #[serde(default)]
    state: String,
    #[serde(default)]
    reason: String,
}

fn one() -> u32 {
    1
}

pub(super) fn read(text: &str, name: &str) -> Result<Results, SyntaxError> {
    let mut results = Results {
        name: name.to_owned(),
        source: Source::CowcheckJson,
        kernel: None,
        rows: Vec::new(),
        truncated: false,
        notes: Vec::new(),
    };
    let mut planned = None;
    let mut end: Option<End> = None;
    let mut lines = text.lines().enumerate().filter(|(_, text)| !text.trim().is_empty()).peekable();
    while let Some((index, raw)) = lines.next() {
        let line = Line { number: index + 1, text: raw };
        let after = end.is_some().then(|| line.decode::<AnyLine>());
        if after.is_some_and(|any| !any.is_ok_and(|any| any.kind == "vm-end")) {
            return Err(line.error(1, line.shown(1), "the end of the file, after the line of type `end`"));
        }
        // A process that is killed leaves half a line, and only the last can be that.
        let half = lines.peek().is_none() && !text.ends_with('\n');
        if half && line.is_half() {
            if planned.is_none() {
                // Nothing says yet that this is ours.
                return Err(line.error(1, "half a line", "the line of type `start`, which comes first"));
            }
            results.notes.push(format!("line {} is cut off and was not read", line.number));
            break;
        }
        let any: AnyLine = line.decode()?;
        match (any.kind.as_str(), planned) {
            ("start", None) => {
                line.check_version()?;
                let start: Start = line.decode()?;
                planned = Some(start.planned);
                results.kernel = Some(clean(&start.kernel));
            }
            // Of the virtual machine around the run.
            ("vm", None) => {}
            ("vm-end", _) => {
                let VmEnd { state, reason } = line.decode()?;
                if !reason.is_empty() {
                    results.notes.push(format!("the virtual machine: {}: {}", clean(&state), clean(&reason)));
                }
            }
            (other, None) => {
                let found = format!("a line of type `{}`", clean(other));
                return Err(line.error(
                    line.column_of("\"type\""),
                    found,
                    "the line of type `start`, which comes first",
                ));
            }
            ("start", Some(_)) => {
                let expected = "one run a file: only the first line is of type `start`";
                return Err(line.error(line.column_of("\"type\""), "another line of type `start`", expected));
            }
            ("check", _) => {
                if results.rows.len() == MAX_ROWS {
                    return Err(line.error(1, "another check", format!("at most {MAX_ROWS} checks")));
                }
                results.rows.push(row(line.decode()?, &line)?);
            }
            ("end", _) => end = Some(line.decode()?),
            // What a later version of the same schema adds.
            _ => {}
        }
    }
    finish(&mut results, planned.unwrap_or(0), end);
    Ok(results)
}

fn row(check: Check, line: &Line<'_>) -> Result<Row, SyntaxError> {
    let verdict = Kind::from_word(&check.verdict).ok_or_else(|| {
        let expected = cowcheck_model::text::choice(Kind::ALL.map(Kind::word));
        line.error(line.column_of("\"verdict\""), format!("the verdict `{}`", clean(&check.verdict)), expected)
    })?;
    let seen = check.violations.first().map(|violation| violation.sentence.as_str());
    let reason = check.reason.as_deref().or(check.bug.as_deref()).or(seen).unwrap_or("");
    let id = clean(&check.id);
    Ok(Row {
        key: id.clone(),
        id: Some(id),
        description: check.description.as_deref().map(clean),
        repeat: check.repeat,
        verdict,
        reason: clean(reason),
    })
}

fn finish(results: &mut Results, planned: u64, end: Option<End>) {
    let found = results.rows.len() as u64;
    if found < planned {
        results.truncated = true;
        results.notes.push(format!("{found} of {planned} planned checks have a result"));
    } else if found > planned {
        results.notes.push(format!("{found} results for {planned} planned checks"));
    }
    match end {
        None => {
            results.truncated = true;
            results.notes.push("the line of type `end` is missing: the run was cut off".to_owned());
        }
        Some(End { stopped: Some(why) }) => results.notes.push(format!("the run was stopped: {}", clean(&why))),
        Some(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::parse;
    use crate::report::json::Json;
    use crate::report::sample;

    fn ours(count: usize, stopped: Option<&str>) -> String {
        let mut out = Vec::new();
        sample::play_part(&mut Json::new(&mut out), count, stopped);
        String::from_utf8(out).unwrap()
    }

    fn error(text: &str) -> String {
        parse(text.as_bytes(), "x.jsonl").unwrap_err().to_string()
    }

    const START: &str = r#"{"type":"start","cowcheck_results":1,"kernel":"6.1","planned":1}"#;

    #[test]
    fn what_was_written_is_read() {
        let results = parse(ours(8, None).as_bytes(), "x").unwrap();
        assert_eq!((results.source, results.truncated, &results.notes), (Source::CowcheckJson, false, &vec![]));
        assert_eq!(results.kernel.as_deref(), Some("6.18.0 #1 SMP"));
        for (row, outcome) in results.rows.iter().zip(sample::outcomes()) {
            let planned = &sample::start().plan[outcome.index];
            assert_eq!(row.id.as_deref(), Some(planned.id.as_str()));
            assert_eq!((&row.description, row.repeat), (&planned.description, 1));
            assert_eq!((row.verdict, &row.reason), (outcome.verdict.kind(), &outcome.verdict.reason()));
        }
        assert_eq!(results.rows.len(), 8);
    }

    #[test]
    fn a_cut_file_is_read_as_far_as_it_goes() {
        let whole = ours(8, None);
        for end in 0..whole.len() {
            let Ok(results) = parse(&whole.as_bytes()[..end], "x") else {
                assert!(end < whole.lines().next().unwrap().len(), "cut at {end}");
                continue;
            };
            let lines = whole[..end].lines().filter(|line| serde_json::from_str::<AnyLine>(line).is_ok());
            let checks = lines.filter(|line| line.contains(r#""type":"check""#)).count();
            assert_eq!(results.rows.len(), checks, "cut at {end}");
            let complete = end + 1 == whole.len();
            assert_eq!((results.truncated, results.notes.is_empty()), (!complete, complete), "cut at {end}");
        }
    }

    #[test]
    fn a_stopped_run_says_so() {
        let results = parse(ours(3, Some("Ctrl-C")).as_bytes(), "x").unwrap();
        assert!(results.truncated);
        assert_eq!(results.notes, ["3 of 8 planned checks have a result", "the run was stopped: Ctrl-C"]);
    }

    #[test]
    fn an_error_names_line_column_found_and_expected() {
        let newer = START.replace(r#"results":1"#, r#"results":2"#) + "\n";
        assert!(
            error(&newer).starts_with("x.jsonl:1:17: found results of version 2, expected version 1, the only one")
        );
        assert_eq!(
            error("{\"type\":\"note\"}\n"),
            "x.jsonl:1:2: found a line of type `note`, expected the line of type `start`, which comes first"
        );
        assert!(error(&format!("{START}\n{START}\n")).starts_with("x.jsonl:2:2: found another line of type `start`"));
        let verdict = format!("{START}\n{{\"type\":\"check\",\"id\":\"a\",\"verdict\":\"good\"}}\n");
        assert!(error(&verdict).starts_with("x.jsonl:2:26: found the verdict `good`, expected pass, fail, "));
        let no_id = format!("{START}\n{{\"type\":\"check\",\"verdict\":\"pass\"}}\n");
        assert_eq!(error(&no_id), "x.jsonl:2:33: found no `id`, expected a line with `id`");
        let broken = format!("{START}\n{{\"type\":\"note\" \"ä\"}}\n{{}}\n");
        assert!(error(&broken).starts_with("x.jsonl:2:16: found `\"ä\"}`, expected JSON (expected `,` or `}`)"));
        let typed = format!("{START}\n{{\"type\":\"check\",\"id\":7,\"verdict\":\"pass\"}}\n");
        assert!(error(&typed).contains(": found invalid type: integer `7`, expected a string"), "{}", error(&typed));
        let after = format!("{START}\n{{\"type\":\"end\"}}\nmore\n");
        assert!(error(&after).starts_with("x.jsonl:3:1: found `more`, expected the end of the file"));
        // Half a line in the middle is no truncation.
        assert!(error(&format!("{START}\n{{\"type\":\n{{\"type\":\"end\"}}\n")).starts_with("x.jsonl:2:"));
    }

    #[test]
    fn the_records_of_a_virtual_machine_are_no_results() {
        let vm = r#"{"type":"vm","handle":"debian:6.1"}"#;
        let panic = r#"{"type":"vm-end","state":"panic","reason":"Oops"}"#;
        let results = parse(format!("{vm}\n{}{panic}\n", ours(8, None)).as_bytes(), "x").unwrap();
        assert_eq!((results.rows.len(), results.truncated), (8, false));
        assert_eq!(results.notes, ["the virtual machine: panic: Oops"]);
        assert!(parse(format!("{vm}\n{panic}\n").as_bytes(), "x").unwrap().truncated);
    }

    #[test]
    fn what_is_added_later_is_passed_over() {
        let text = format!(
            "{START}\n{{\"type\":\"weather\",\"x\":[1]}}\n{{\"type\":\"check\",\"id\":\"a\",\"verdict\":\"pass\",\"new\":{{}}}}\n{{\"type\":\"end\"}}\n"
        );
        let results = parse(text.as_bytes(), "x").unwrap();
        assert_eq!((results.rows.len(), results.notes.len()), (1, 0));
    }
}
