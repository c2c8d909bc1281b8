//! What differs between kernels, as sentences.

use cowcheck_model::verdict::Kind;

use super::cell::is_tested;

/// Which way it went, by the newest kernel that tested it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trend {
    /// Broken, and an older kernel kept it.
    Broke,
    /// Broken, and it was broken in another way before.
    Moved,
    /// Kept, and an older kernel broke it.
    Mended,
    /// Broken in the same way on all that tested it.
    Steady,
}

impl Trend {
    /// One word.
    pub fn word(self) -> &'static str {
        match self {
            Trend::Broke => "broke",
            Trend::Moved => "moved",
            Trend::Mended => "mended",
            Trend::Steady => "steady",
        }
    }
}

/// What happened to some checks over the kernels; the same to all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Which way it went.
    pub trend: Trend,
    /// The whole of it: `broken on 5.10.251, passes since 6.1.192`.
    pub sentence: String,
    /// Indices of the checks, in the order of the matrix.
    pub checks: Vec<usize>,
}

/// Neighbouring kernels with one verdict; those between them that tested nothing are passed over.
struct Span {
    verdict: Kind,
    first: usize,
    last: usize,
}

/// What happened to a check with these verdicts, in the order of `labels`. Nothing, if all that tested
/// it say that it passes.
pub(super) fn told(labels: &[&str], verdicts: &[Option<Kind>]) -> Option<(Trend, String)> {
    let mut spans: Vec<Span> = Vec::new();
    let mut untested = Vec::new();
    for (index, verdict) in verdicts.iter().enumerate() {
        match (verdict.filter(|verdict| is_tested(*verdict)), spans.last_mut()) {
            (None, _) => untested.push(labels[index]),
            (Some(verdict), Some(span)) if span.verdict == verdict => span.last = index,
            (Some(verdict), _) => spans.push(Span { verdict, first: index, last: index }),
        }
    }
    let trend = match spans.as_slice() {
        [] | [Span { verdict: Kind::Pass, .. }] => return None,
        [_] => Trend::Steady,
        [.., Span { verdict: Kind::Pass, .. }] => Trend::Mended,
        all if all.iter().any(|span| span.verdict == Kind::Pass) => Trend::Broke,
        _ => Trend::Moved,
    };
    let mut text = match trend {
        Trend::Steady => format!("{} {}", says(spans[0].verdict), everywhere(labels, &spans[0], untested.is_empty())),
        _ => spans
            .iter()
            .enumerate()
            .map(|(at, span)| part(labels, span, at, spans.len()))
            .collect::<Vec<_>>()
            .join(", "),
    };
    if !untested.is_empty() {
        text += &format!("; not tested on {}", untested.join(", "));
    }
    Some((trend, text))
}

fn everywhere(labels: &[&str], span: &Span, all_tested: bool) -> String {
    match () {
        () if span.first == span.last => format!("on {}", labels[span.first]),
        () if all_tested => "on every kernel".to_owned(),
        () => "on every kernel that tested it".to_owned(),
    }
}

fn part(labels: &[&str], span: &Span, at: usize, count: usize) -> String {
    let (first, last) = (labels[span.first], labels[span.last]);
    let says = says(span.verdict);
    match () {
        () if at + 1 == count => format!("{says} since {first}"),
        () if span.first == span.last => format!("{says} on {first}"),
        () if at == 0 => format!("{says} up to {last}"),
        () => format!("{says} from {first} to {last}"),
    }
}

fn says(verdict: Kind) -> &'static str {
    match verdict {
        Kind::Pass => "passes",
        Kind::Fail => "broken",
        Kind::Xfail => "broken as known",
        Kind::Timeout => "out of time",
        Kind::Crash => "crashes",
        Kind::Skip | Kind::Inconclusive => "not tested",
    }
}

/// The changes of all checks, those with the same sentence together: what broke first, then by how
/// many there are.
pub(super) fn grouped(labels: &[&str], checks: impl Iterator<Item = Vec<Option<Kind>>>) -> Vec<Change> {
    let mut changes: Vec<Change> = Vec::new();
    let mut known = std::collections::HashMap::new();
    for (index, verdicts) in checks.enumerate() {
        let Some((trend, sentence)) = told(labels, &verdicts) else { continue };
        let at = *known.entry(sentence.clone()).or_insert_with(|| {
            changes.push(Change { trend, sentence, checks: Vec::new() });
            changes.len() - 1
        });
        changes[at].checks.push(index);
    }
    changes.sort_by_key(|change| (change.trend, std::cmp::Reverse(change.checks.len())));
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABELS: [&str; 5] = ["5.10", "6.1", "6.6", "6.12", "6.18"];

    /// A letter a kernel: Pass, Fail, Xfail, Skip, Inconclusive, Timeout, Crash, `-` no result.
    fn of(letters: &str) -> (Trend, String) {
        told(&LABELS, &verdicts(letters)).unwrap_or((Trend::Steady, String::new()))
    }

    fn verdicts(letters: &str) -> Vec<Option<Kind>> {
        letters.chars().map(|letter| Kind::ALL.into_iter().find(|kind| kind.word().starts_with(letter))).collect()
    }

    fn says(letters: &str) -> String {
        of(letters).1
    }

    #[test]
    fn neighbours_that_differ_are_a_sentence() {
        assert_eq!(of("fpppp"), (Trend::Mended, "broken on 5.10, passes since 6.1".to_owned()));
        assert_eq!(of("ppppf"), (Trend::Broke, "passes up to 6.12, broken since 6.18".to_owned()));
        assert_eq!(of("ffppp"), (Trend::Mended, "broken up to 6.1, passes since 6.6".to_owned()));
        assert_eq!(of("pfppp"), (Trend::Mended, "passes on 5.10, broken on 6.1, passes since 6.6".to_owned()));
        assert_eq!(says("pffpp"), "passes on 5.10, broken from 6.1 to 6.6, passes since 6.12");
        assert_eq!(of("xffff").0, Trend::Moved);
        assert_eq!(says("pptcc"), "passes up to 6.1, out of time on 6.6, crashes since 6.12");
    }

    #[test]
    fn what_tested_nothing_is_neither_pass_nor_fail() {
        assert_eq!(says("fspis"), "broken on 5.10, passes since 6.6; not tested on 6.1, 6.12, 6.18");
        assert_eq!(says("pp-pp"), "");
        assert_eq!(says("sssii"), "");
        assert_eq!(says("p-i-f"), "passes on 5.10, broken since 6.18; not tested on 6.1, 6.6, 6.12");
    }

    #[test]
    fn what_stays_broken_is_told_once() {
        assert_eq!(of("fffff"), (Trend::Steady, "broken on every kernel".to_owned()));
        assert_eq!(says("xsxxx"), "broken as known on every kernel that tested it; not tested on 6.1");
        assert_eq!(says("---f-"), "broken on 6.12; not tested on 5.10, 6.1, 6.6, 6.18");
    }

    #[test]
    fn the_same_sentence_is_told_once_and_what_broke_first() {
        let all = ["fpppp", "ppppp", "fpppp", "xxxxx", "ppppf"].map(verdicts);
        let changes = grouped(&LABELS, all.into_iter());
        let told: Vec<_> = changes.iter().map(|change| (change.trend, change.checks.as_slice())).collect();
        assert_eq!(told, [(Trend::Broke, &[4][..]), (Trend::Mended, &[0, 2]), (Trend::Steady, &[3])]);
    }
}
