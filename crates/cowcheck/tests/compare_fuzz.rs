//! Whatever bytes the readers are given, they answer and do not panic; so does the comparison of what
//! they made of them.

use cowcheck::compare::{compare, parse};
use cowcheck::matrix::{self, Matrix};
use proptest::prelude::*;

/// Pieces of the formats, whole and broken.
const PIECES: &[&str] = &[
    "KTAP version 1",
    "KTAP version 2",
    "TAP version 13",
    "TAP version 14",
    "TAP version ",
    "1..3",
    "1..0 # SKIP",
    "1..",
    "ok 1",
    "ok 1 a",
    "not ok 2 b",
    "ok 3 # SKIP c",
    "ok 4 d # XFAIL e",
    "not ok 5 # TIMEOUT",
    "ok",
    "not ok",
    "ok 18446744073709551615 z",
    "# [RUN] a",
    "# [INFO] x",
    "# Subtest: s",
    "# cowcheck 0.1.0",
    "# kernel: k",
    "# peer: p",
    "# why: w",
    "Bail out! no",
    "[    1.000000] ok 2 b",
    "<6>[ 1.5] 1..2",
    "#",
    "# ",
    "# # ",
    "  ",
    "    ",
    "\t",
    "\n",
    "\n",
    "\n",
    "\r\n",
    " ",
    "ä",
    "\u{2028}",
    "\0",
    "ok 1 \u{1b}[31mred",
    "ok 1 x (repeat 2)",
    "{\"type\":\"start\",\"cowcheck_results\":1,\"kernel\":\"k\",\"planned\":2}\n",
    "{\"type\":\"check\",\"id\":\"a/b/c\",\"verdict\":\"pass\"}\n",
    "{\"type\":\"check\",\"id\":\"a/b/c\",\"repeat\":2,\"description\":\"a\",\"verdict\":\"skip\",\"reason\":\"r\"}\n",
    "{\"type\":\"end\"}\n",
    "{\"type\":\"vm\",\"handle\":\"debian:6.1\",\"package\":\"linux 6.1.192-1\"}\n",
    "{\"type\":\"vm-end\",\"state\":\"panic\",\"reason\":\"<b>\"}\n",
    "{\"type\":\"check\",\"id\":\"a/b/<c>\",\"verdict\":\"fail\",\"violations\":[],\"explanation\":\"<script>\"}\n",
    "{\"type\":",
    "{",
    "\"",
    "\\u00",
    "9999999999999999999999",
];

fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => proptest::sample::select(PIECES).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..8),
    ];
    proptest::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

/// What holds of all results: errors tell where, rows have names, losses have notes.
fn check(bytes: &[u8]) {
    match parse(bytes, "x") {
        Ok(results) => {
            assert!(
                results.rows.iter().all(|row| !row.key.contains(char::is_control) && row.repeat > 0),
                "{results:?}"
            );
            assert!(!results.truncated || !results.notes.is_empty(), "{results:?}");
            let with_itself = compare(&results, &results);
            assert_eq!(with_itself.same, with_itself.matched);
            assert!(!with_itself.differs(), "{with_itself}");
            assert!(serde_json::to_string(&with_itself).is_ok());
        }
        Err(error) => {
            assert!(error.line > 0 && error.column > 0, "{error}");
            assert!(!error.found.is_empty() && !error.expected.is_empty(), "{error}");
            assert!(error.to_string().starts_with("x:"), "{error}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_the_readers_panic(bytes in pieces()) {
        check(&bytes);
    }

    #[test]
    fn any_results_make_a_matrix(a in pieces(), b in pieces()) {
        let mut runs = Vec::new();
        for bytes in [a, b] {
            match matrix::parse(&bytes, "x") {
                Ok(run) => runs.push(run),
                Err(error) => prop_assert!(error.line > 0 && error.to_string().starts_with("x:"), "{}", error),
            }
        }
        let matrix = Matrix::new("t", runs);
        prop_assert!(matrix::text(&matrix, false).ends_with(".\n"));
        prop_assert!(matrix::json(&matrix).is_object());
        let page = matrix::html(&matrix);
        prop_assert!(page.ends_with("</html>\n") && !page.contains("<script") && !page.contains("<b>"));
    }

    #[test]
    fn two_results_can_always_be_compared(a in pieces(), b in pieces()) {
        if let (Ok(a), Ok(b)) = (parse(&a, "a"), parse(&b, "b")) {
            let (ab, ba) = (compare(&a, &b), compare(&b, &a));
            prop_assert_eq!((ab.matched, ab.same, ab.differs()), (ba.matched, ba.same, ba.differs()));
            prop_assert!(ab.to_string().ends_with(".\n"));
        }
    }
}

#[test]
fn long_lines_and_deep_levels_are_bounded() {
    let long = format!("TAP version 13\n1..2\nok 1 {}\n", "x".repeat(1 << 20));
    let results = parse(long.as_bytes(), "x").unwrap();
    assert!(results.rows[0].key.chars().count() <= 513);
    let deep: String = (0..1000).map(|depth| format!("{}1..1\n", "  ".repeat(depth))).collect();
    assert!(parse(deep.as_bytes(), "x").is_err());
    let nested = "[".repeat(100_000);
    assert!(parse(format!("{{\"type\":{nested}").as_bytes(), "x").is_err());
    assert!(parse(format!("{{\"type\":{nested}\n").as_bytes(), "x").is_err());
}
