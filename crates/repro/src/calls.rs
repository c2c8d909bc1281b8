//! Runs of pages as calls of C, in as few lines as can be read.

use std::fmt::Write as _;

use cowcheck_model::pages::Run;

/// So many runs without a pattern have a line each; more are a table.
const MOST_LINES: usize = 3;

/// The tables of a program.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    tables: Vec<Vec<Run>>,
}

impl Tables {
    /// The call that `call` makes of a first page and a count, for all of `runs`.
    pub(crate) fn calls(&mut self, runs: &[Run], call: impl Fn(&str, &str) -> String) -> Vec<String> {
        if let Some((stride, count)) = stride(runs) {
            let (first, end) = (runs[0].first, runs[runs.len() - 1].first + 1);
            let call = call("page", &count.to_string());
            return vec![format!("for (int page = {first}; page < {end}; page += {stride})\n\t{}", deeper(&call))];
        }
        if runs.len() <= MOST_LINES {
            return runs.iter().map(|run| call(&run.first.to_string(), &run.count.to_string())).collect();
        }
        let name = self.name(runs);
        let call = call(&format!("{name}[i].first"), &format!("{name}[i].count"));
        vec![format!("for (int i = 0; i < {}; i++)\n\t{}", runs.len(), deeper(&call))]
    }

    fn name(&mut self, runs: &[Run]) -> String {
        let known = self.tables.iter().position(|table| table == runs);
        name(known.unwrap_or_else(|| {
            self.tables.push(runs.to_vec());
            self.tables.len() - 1
        }))
    }

    /// The definitions of the tables.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        if !self.tables.is_empty() {
            text.push_str("/* Pages of some steps. */\nstruct run {\n\tint first, count;\n};\n");
        }
        for (index, table) in self.tables.iter().enumerate() {
            let _ = writeln!(text, "\nstatic const struct run {}[] = {{", name(index));
            for line in table.chunks(6) {
                let runs: Vec<String> = line.iter().map(|run| format!("{{ {}, {} }},", run.first, run.count)).collect();
                let _ = writeln!(text, "\t{}", runs.join(" "));
            }
            text.push_str("};\n");
        }
        text
    }
}

/// What the table with this index is called.
fn name(index: usize) -> String {
    match index {
        0 => "some".to_owned(),
        more => format!("some_{}", more + 1),
    }
}

/// Three runs or more of the same length, at the same distance: the distance and the length.
fn stride(runs: &[Run]) -> Option<(u32, u32)> {
    let [first, second, _, ..] = runs else { return None };
    let stride = second.first - first.first;
    let is_even = runs.windows(2).all(|two| two[1].first - two[0].first == stride)
        && runs.iter().all(|run| run.count == first.count);
    is_even.then_some((stride, first.count))
}

/// A statement within another.
pub(crate) fn deeper(statement: &str) -> String {
    statement.replace('\n', "\n\t")
}
