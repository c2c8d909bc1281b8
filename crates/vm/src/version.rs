//! Versions of Debian packages: which is newer (deb-version(7)), and which is meant.

use std::cmp::Ordering;
use std::iter::once;

/// Which of two versions is newer, as dpkg sees it.
pub(crate) fn compare(a: &str, b: &str) -> Ordering {
    let (a, b) = (Parts::of(a), Parts::of(b));
    let epochs = numbers(a.epoch, b.epoch);
    epochs.then_with(|| part(a.upstream, b.upstream)).then_with(|| part(a.revision, b.revision))
}

/// The upstream version: of `6.12.95-1~bpo12+1` it is `6.12.95`.
pub(crate) fn upstream(version: &str) -> &str {
    Parts::of(version).upstream
}

/// The series that a version is of, `(6, 12)`; None where it does not begin with two numbers.
pub(crate) fn series(version: &str) -> Option<(u32, u32)> {
    let mut numbers = upstream(version).split(|each: char| !each.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// The third number, 0 where there is none: of `7.3~rc7` it is 0, too.
pub(crate) fn release(version: &str) -> u32 {
    let upstream = upstream(version);
    let stable = upstream.split('~').next().unwrap_or_default();
    stable.split('.').nth(2).and_then(|third| third.parse().ok()).unwrap_or(0)
}

/// Of versions of one series the one that `wanted` means, by its place: the same, else the nearest release,
/// the newer of two that are equally near, and the newest revision of it.
pub(crate) fn nearest(wanted: &str, there: &[&str]) -> Option<usize> {
    let far = |version: &str| release(version).abs_diff(release(wanted));
    let better = |a: &str, b: &str| {
        let is = |version: &str| version == wanted;
        is(a).cmp(&is(b)).then_with(|| far(b).cmp(&far(a))).then_with(|| compare(a, b))
    };
    (0..there.len()).max_by(|a, b| match (there.get(*a), there.get(*b)) {
        (Some(a), Some(b)) => better(a, b),
        _ => Ordering::Equal,
    })
}

struct Parts<'a> {
    epoch: &'a str,
    upstream: &'a str,
    revision: &'a str,
}

impl Parts<'_> {
    fn of(version: &str) -> Parts<'_> {
        let (epoch, rest) = version.split_once(':').unwrap_or(("", version));
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
        Parts { epoch, upstream, revision }
    }
}

/// Text and number take turns. `~` is before everything, even the end; letters are before other signs.
fn part(mut a: &str, mut b: &str) -> Ordering {
    while !a.is_empty() || !b.is_empty() {
        let (text_a, rest_a) = split(a, |each| !each.is_ascii_digit());
        let (text_b, rest_b) = split(b, |each| !each.is_ascii_digit());
        let (number_a, behind_a) = split(rest_a, |each| each.is_ascii_digit());
        let (number_b, behind_b) = split(rest_b, |each| each.is_ascii_digit());
        let order = weights(text_a).cmp(weights(text_b)).then_with(|| numbers(number_a, number_b));
        if order != Ordering::Equal {
            return order;
        }
        (a, b) = (behind_a, behind_b);
    }
    Ordering::Equal
}

fn split(text: &str, is: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|each| !is(each)).unwrap_or(text.len()))
}

/// The end weighs 0.
fn weights(text: &str) -> impl Iterator<Item = i64> + '_ {
    let weight = |each: char| match each {
        '~' => -1,
        each if each.is_ascii_alphabetic() => i64::from(u32::from(each)),
        each => i64::from(u32::from(each)) + 0x11_0000,
    };
    text.chars().map(weight).chain(once(0))
}

/// Numbers of any length.
fn numbers(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_in_dpkgs_order() {
        let rising = [
            "6.1.99-1",
            "6.1.176-1~deb11u1",
            "6.1.176-1",
            "6.1.176-1+b1",
            "6.1.176-2",
            "6.12.5-1",
            "7.3~rc7-1~exp1",
            "7.3-1~exp1",
            "7.3-1",
            "7.3.4-1~bpo13+1",
            "7.3.4-1",
            "1:5.10-1",
        ];
        for (at, a) in rising.iter().enumerate() {
            for (bt, b) in rising.iter().enumerate() {
                assert_eq!(compare(a, b), at.cmp(&bt), "{a} {b}");
            }
        }
        assert_eq!(compare("6.01-1", "6.1-1"), Ordering::Equal);
        assert_eq!(compare("1.0a-1", "1.0+-1"), Ordering::Less, "letters are before signs");
    }

    #[test]
    fn a_version_is_of_a_series() {
        assert_eq!(series("6.12.95-1~bpo12+1"), Some((6, 12)));
        assert_eq!(series("7.3~rc7-1~exp1"), Some((7, 3)));
        assert_eq!(series("6"), None);
        assert_eq!(series("trixie"), None);
        assert_eq!((release("6.12.95-1"), release("7.3~rc7-1"), release("6.1-1")), (95, 0, 0));
    }

    #[test]
    fn the_nearest_is_taken() {
        let there = ["6.12.43-1", "6.12.95-1~bpo12+1", "6.12.95-1", "6.12.101-1", "6.12.101-2"];
        let nearest = |wanted: &str| nearest(wanted, &there).map(|at| there[at]).unwrap();
        assert_eq!(nearest("6.12.95-1~bpo12+1"), "6.12.95-1~bpo12+1", "exactly this");
        assert_eq!(nearest("6.12.95"), "6.12.95-1", "the newest revision");
        assert_eq!(nearest("6.12.97-1"), "6.12.95-1", "two away, not four");
        assert_eq!(nearest("6.12.98-1"), "6.12.101-2", "the newer of equals");
        assert_eq!(nearest("6.12.1-1"), "6.12.43-1");
        assert_eq!(super::nearest("6.12", &[]), None);
    }
}
