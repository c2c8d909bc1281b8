//! Edits of C sources. They are anchored at lines of named functions, so that no kernel code has to be carried along,
//! and what no longer fits is told instead of guessed.

use std::fmt::Write as _;
use std::ops::Range;

use crate::mutant::{Edit, Put};

/// In an edit's text: true when its mutant is chosen.
pub const BUG: &str = "@bug@";
/// In the text of [`Put::Instead`]: the fragment that it takes the place of.
pub const AT: &str = "@at@";

/// An edit and whose it is.
#[derive(Debug, Clone, Copy)]
pub struct Planted<'a> {
    /// The mutant's name.
    pub mutant: &'a str,
    /// What `cowcheck_bug` is when it is chosen.
    pub number: u32,
    /// What it does.
    pub edit: &'a Edit,
}

/// An edit that does not fit the sources.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the mutant {mutant} does not fit these sources: in {file}, function {function}, {why}; look there, and mend \
     lab/mutants/{mutant}.toml"
)]
pub struct Misfit {
    /// Its name.
    pub mutant: String,
    /// From the top of the sources.
    pub file: String,
    /// Where the anchor was looked for.
    pub function: String,
    /// What was looked for, and what was found.
    pub why: String,
}

/// The file with all edits made. Each is anchored in the text as it was, so none depends on another; several
/// mutants may replace the same fragment, and each then has its bug alone.
pub fn apply(text: &str, edits: &[Planted<'_>]) -> Result<String, Misfit> {
    let lines = lines(text);
    let mut changes: Vec<Change<'_>> = Vec::new();
    for planted in edits {
        let misfit = |why: String| Misfit {
            mutant: planted.mutant.to_owned(),
            file: planted.edit.file.clone(),
            function: planted.edit.function.clone(),
            why,
        };
        let (line, start) = find(text, &lines, planted.edit).map_err(misfit)?;
        let place = match planted.edit.put {
            Put::Before => line.start..line.start,
            Put::After => line.end..line.end,
            Put::Instead => start..start + planted.edit.at.len(),
        };
        let overlaps = |other: &&Change<'_>| {
            let is_apart = other.place.end <= place.start || place.end <= other.place.start;
            other.place != place && !is_apart
        };
        if let Some(other) = changes.iter().find(overlaps) {
            return Err(misfit(format!(
                "`{}` overlaps what the mutant {} replaces there: both must replace the same",
                planted.edit.at, other.planted.mutant
            )));
        }
        changes.push(Change { place, planted: *planted });
    }
    // Of those at one place the first comes first.
    changes.sort_by_key(|change| (change.place.start, change.place.end));
    Ok(rewrite(text, &changes))
}

struct Change<'a> {
    place: Range<usize>,
    planted: Planted<'a>,
}

fn rewrite(text: &str, changes: &[Change<'_>]) -> String {
    let mut out = String::with_capacity(text.len() + 200 * changes.len());
    let mut at = 0;
    let slice = |range: Range<usize>| text.get(range).unwrap_or_default();
    for same in changes.chunk_by(|a, b| a.place == b.place) {
        let Some(first) = same.first() else { continue };
        out.push_str(slice(at..first.place.start));
        at = first.place.end;
        let mut replaced = slice(first.place.clone()).to_owned();
        for Change { planted, .. } in same {
            let lines = planted.edit.text.trim_end().replace(BUG, &is_chosen(planted.number));
            match planted.edit.put {
                Put::Instead => replaced = lines.replace(AT, &replaced),
                Put::Before | Put::After => {
                    let _ = writeln!(out, "{lines}");
                }
            }
        }
        out.push_str(&replaced);
    }
    out.push_str(slice(at..text.len()));
    out
}

/// It needs no header, and stands wherever an expression may.
fn is_chosen(number: u32) -> String {
    format!("unlikely(({{ extern int cowcheck_bug; cowcheck_bug == {number}; }}))")
}

/// The line (with its end) that an edit is anchored at, and where its fragment begins.
fn find(text: &str, lines: &[Range<usize>], edit: &Edit) -> Result<(Range<usize>, usize), String> {
    let line = |range: &Range<usize>| text.get(range.clone()).unwrap_or_default();
    let bodies = bodies(text, lines, &edit.function);
    if bodies.is_empty() {
        return Err("which is not there".to_owned());
    }
    let found: Vec<_> = bodies
        .into_iter()
        .flat_map(|body| lines.get(body).unwrap_or_default())
        .filter_map(|range| Some((range.clone(), range.start + line(range).find(&edit.at)?)))
        .collect();
    let wanted = edit.nth.unwrap_or(1);
    match found.get(wanted - 1) {
        None if found.is_empty() => Err(format!("no line has `{}`", edit.at)),
        None => Err(format!("only {} lines have `{}`, and it should be number {wanted}", found.len(), edit.at)),
        Some(_) if edit.nth.is_none() && found.len() > 1 => {
            let all: Vec<_> = found.iter().map(|(range, _)| format!("`{}`", line(range).trim())).collect();
            Err(format!(
                "{} lines have `{}`: {}; say more of the line, or which it is (nth)",
                found.len(),
                edit.at,
                all.join(", ")
            ))
        }
        Some(found) => Ok(found.clone()),
    }
}

/// Each line with its end.
fn lines(text: &str) -> Vec<Range<usize>> {
    let mut at = 0;
    text.split_inclusive('\n')
        .map(|line| {
            at += line.len();
            at - line.len()..at
        })
        .collect()
}

/// The lines of each definition of the function, as the kernel's style has it: its name stands in a line that begins
/// at the margin, and braces at the margin are around its body. There are several where the configuration chooses.
fn bodies(text: &str, lines: &[Range<usize>], function: &str) -> Vec<Range<usize>> {
    let line = |at: usize| lines.get(at).and_then(|range| text.get(range.clone())).unwrap_or_default();
    let mut found = Vec::new();
    for head in (0..lines.len()).filter(|at| names(line(*at), function)) {
        let open = (head..lines.len()).find(|at| line(*at).starts_with('{') || line(*at).trim_end().ends_with(';'));
        let Some(open) = open.filter(|at| line(*at).starts_with('{')) else { continue };
        if let Some(close) = (open..lines.len()).find(|at| line(*at).starts_with('}')) {
            found.push(open + 1..close);
        }
    }
    found
}

/// Does a definition or declaration of the function begin in this line?
fn names(line: &str, function: &str) -> bool {
    let is_word = |each: char| each.is_alphanumeric() || each == '_';
    let at_margin = line.starts_with(is_word);
    at_margin
        && line.match_indices(function).any(|(at, _)| {
            let (before, after) =
                (line.get(..at).unwrap_or_default(), line.get(at + function.len()..).unwrap_or_default());
            !before.ends_with(is_word) && after.starts_with('(')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "\
static int one(int x);

static int one(int x)
{
	int y = twice(x);

	if (x &&
	    y)
		return y;
	return call(x) + call(y);
}

static __always_inline int
two(int x,
    int y)
	__releases(lock)
{
	return one(x);
}

#define call(x) one(x)
";

    fn edit(function: &str, at: &str, put: Put, text: &str) -> Edit {
        Edit { file: "mm/a.c".into(), function: function.into(), at: at.into(), nth: None, put, text: text.into() }
    }

    fn edited(edits: &[(&str, u32, Edit)]) -> Result<String, String> {
        let planted: Vec<_> =
            edits.iter().map(|(mutant, number, edit)| Planted { mutant, number: *number, edit }).collect();
        apply(SOURCE, &planted).map_err(|misfit| misfit.to_string())
    }

    fn one_edit(edit: Edit) -> Result<String, String> {
        edited(&[("m", 7, edit)])
    }

    /// The lines that an edit adds, and those that it takes away.
    fn difference(text: &str) -> (Vec<&str>, Vec<&'static str>) {
        let new = text.lines().filter(|line| !SOURCE.lines().any(|old| old == *line)).collect();
        let gone = SOURCE.lines().filter(|line| !text.lines().any(|new| new == *line)).collect();
        (new, gone)
    }

    #[test]
    fn lines_are_put_before_and_after() {
        let text = one_edit(edit("one", "int y = twice", Put::After, "\tif (@bug@)\n\t\ty = 0;\n")).unwrap();
        let bug = "\tif (unlikely(({ extern int cowcheck_bug; cowcheck_bug == 7; })))";
        assert_eq!(difference(&text), (vec![bug, "\t\ty = 0;"], vec![]));
        assert!(text.contains(&format!("twice(x);\n{bug}\n\t\ty = 0;\n\n")));
        let text = one_edit(edit("two", "return one", Put::Before, "a;")).unwrap();
        assert!(text.contains("{\na;\n\treturn one(x);\n"), "{text}");
    }

    #[test]
    fn a_fragment_is_replaced_and_can_be_kept() {
        let text = one_edit(edit("one", "call(y)", Put::Instead, "(@bug@ ? 0 : @at@)")).unwrap();
        let bug = "unlikely(({ extern int cowcheck_bug; cowcheck_bug == 7; }))";
        assert!(text.contains(&format!("\treturn call(x) + ({bug} ? 0 : call(y));\n")), "{text}");
        assert_eq!(difference(&text).1, ["\treturn call(x) + call(y);"]);
    }

    #[test]
    fn mutants_share_a_place_and_are_apart() {
        let condition = |text| edit("one", "y)", Put::Instead, text);
        let text = edited(&[
            ("a", 1, Edit { nth: Some(2), ..condition("A(@at@, @bug@)") }),
            ("b", 2, Edit { nth: Some(2), ..condition("B(@at@, @bug@)") }),
            ("c", 3, edit("one", "return y", Put::Before, "c;")),
            ("d", 4, edit("one", "return y", Put::Before, "d;")),
        ]);
        let bug = |number| is_chosen(number);
        let expected = format!("call(x) + call(B(A(y), {}), {});\n", bug(1), bug(2));
        let text = text.unwrap();
        assert!(text.contains(&expected), "{text}");
        assert!(text.contains("y)\nc;\nd;\n\t\treturn y;"), "{text}");
        let error = edited(&[
            ("a", 1, edit("one", "call(y)", Put::Instead, "@bug@")),
            ("b", 2, edit("one", "+ call(y)", Put::Instead, "@bug@")),
        ]);
        assert!(error.unwrap_err().contains("the mutant b does not fit these sources: in mm/a.c, function one, `+ call(y)` overlaps what the mutant a replaces"));
    }

    #[test]
    fn an_anchor_that_does_not_fit_is_told() {
        let fails = |function: &str, at: &str, nth: Option<usize>, wanted: &str| {
            let error = one_edit(Edit { nth, ..edit(function, at, Put::Before, "x") }).unwrap_err();
            assert!(error.contains(wanted), "{error}");
            assert!(error.contains("in mm/a.c, function ") && error.contains("lab/mutants/m.toml"), "{error}");
        };
        fails("three", "x", None, "function three, which is not there");
        fails("call", "x", None, "which is not there");
        fails("two", "twice(", None, "no line has `twice(`");
        fails("one", "return", None, "2 lines have `return`: `return y;`, `return call(x) + call(y);`");
        fails("one", "return", Some(3), "only 2 lines have `return`, and it should be number 3");
        assert!(
            one_edit(Edit { nth: Some(2), ..edit("one", "return", Put::Before, "x;") })
                .unwrap()
                .contains("x;\n\treturn call")
        );
    }

    #[test]
    fn a_function_that_the_configuration_chooses_is_looked_for_in_both() {
        let source = "#ifdef A\nint f(void)\n{\n\treturn 1;\n}\n#else\nint f(void)\n{\n\treturn 2;\n}\n#endif\nint f2(void)\n{\n\treturn 3;\n}\n";
        let put = |at: &str| {
            let edit = edit("f", at, Put::Before, "\tx;");
            apply(source, &[Planted { mutant: "m", number: 1, edit: &edit }])
        };
        assert_eq!(put("2").unwrap(), source.replace("\treturn 2", "\tx;\n\treturn 2"));
        assert!(put("return").unwrap_err().why.starts_with("2 lines have"));
        assert!(put("3").is_err());
    }
}
