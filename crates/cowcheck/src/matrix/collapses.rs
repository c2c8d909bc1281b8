//! What each kernel's collapses did, by the pattern of sharing.

use super::sheet::Matrix;

/// The group whose kinds are patterns of sharing.
const GROUP: &str = "collapse/";

/// One pattern and one thing that a collapse did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row<'a> {
    /// The pattern.
    pub(super) pattern: &'a str,
    /// As in `copied` or `EAGAIN`.
    pub(super) how: &'a str,
    /// In how many checks, by kernel.
    pub(super) counts: Vec<usize>,
}

/// The rows, patterns in the order of the catalogue; none where no check of the group ran.
pub(super) fn rows(matrix: &Matrix) -> Vec<Row<'_>> {
    let mut rows: Vec<Row<'_>> = Vec::new();
    let mut patterns: Vec<&str> = Vec::new();
    for check in &matrix.checks {
        let Some(pattern) = check.name.kind.strip_prefix(GROUP) else { continue };
        if !patterns.contains(&pattern) {
            patterns.push(pattern);
        }
        for (kernel, cell) in check.cells.iter().enumerate() {
            let Some(how) = cell.as_ref().and_then(|cell| cell.collapse.as_deref()) else { continue };
            match rows.iter_mut().find(|row| (row.pattern, row.how) == (pattern, how)) {
                Some(row) => row.counts[kernel] += 1,
                None => {
                    let mut counts = vec![0; matrix.kernels.len()];
                    counts[kernel] = 1;
                    rows.push(Row { pattern, how, counts });
                }
            }
        }
    }
    rows.sort_by_key(|row| (patterns.iter().position(|pattern| *pattern == row.pattern), row.how));
    rows
}

#[cfg(test)]
mod tests {
    use super::super::read::parse;
    use super::*;

    fn file(kernel: &str, checks: &[(&str, &str)]) -> String {
        let mut text = format!(
            "{{\"type\":\"start\",\"cowcheck_results\":1,\"kernel\":\"{kernel}\",\"planned\":{}}}\n",
            checks.len()
        );
        for (id, how) in checks {
            text += &format!(
                "{{\"type\":\"check\",\"id\":\"{id}\",\"verdict\":\"pass\",\"collapses\":[{{\"how\":{how}}}]}}\n"
            );
        }
        text
    }

    #[test]
    fn what_kernels_did_stands_side_by_side() {
        let old = [("collapse/all/a", r#""refused","errno":"EINVAL""#), ("collapse/none/a", r#""copied""#)];
        let new = [("collapse/all/a", r#""copied""#), ("collapse/none/a", r#""in-place""#), ("cow/x/y", r#""copied""#)];
        let runs = [file("6.1.0 #1", &old), file("6.18.0 #1", &new)];
        let matrix = Matrix::new("x", runs.iter().map(|text| parse(text.as_bytes(), "x").unwrap()).collect());
        let row = |pattern, how, counts: [usize; 2]| Row { pattern, how, counts: counts.to_vec() };
        let expected = [
            row("none", "copied", [1, 0]),
            row("none", "in place", [0, 1]),
            row("all", "EINVAL", [1, 0]),
            row("all", "copied", [0, 1]),
        ];
        assert_eq!(rows(&matrix), expected);
        let text = super::super::text::text(&matrix, false);
        assert!(text.contains("none copied          1       .\n     in place        .       1\n"), "{text}");
        assert!(super::super::html::html(&matrix).contains("What collapses did"));
    }
}
