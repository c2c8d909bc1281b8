//! The version of a kernel: what it is called in a narrow column, and where it stands among others.

use std::cmp::Ordering;

/// The longest name of a kernel, in characters: six have to fit beside each other.
const MAX_LABEL: usize = 14;

/// A version, as `6.1.192` or `7.3.0-rc2`. Ordered as the kernels came out; what has no version comes last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Version {
    numbers: Vec<u64>,
    candidate: Option<u64>,
    /// What people call it.
    pub(crate) label: String,
}

impl Version {
    /// From the kernel's release and version string and the package that it came from; `name` is for
    /// what says nothing of the kind.
    pub(crate) fn of(kernel: Option<&str>, package: Option<&str>, handle: Option<&str>, name: &str) -> Version {
        let kernel = kernel.unwrap_or("");
        let (release, rest) = kernel.split_once(' ').unwrap_or((kernel, ""));
        let package = package.unwrap_or("");
        if numbers(release).len() >= 2 {
            return Version::by_release(release, &format!("{rest} {package}"));
        }
        let words = package.split([' ', '_']).chain(handle.unwrap_or("").split([':', '/']));
        match words.filter(|word| numbers(word).len() >= 2).max_by_key(|word| numbers(word).len()) {
            Some(word) => {
                // Behind its version a package has a revision, which is none of the kernel's.
                let (version, behind) = word.split_once('-').unwrap_or((word, ""));
                let kept = if behind.starts_with("rc") { word } else { version };
                Version::by_release(&kept.replacen("~rc", "-rc", 1), "")
            }
            None => {
                Version { numbers: Vec::new(), candidate: None, label: short(name.rsplit('/').next().unwrap_or(name)) }
            }
        }
    }

    /// Of a text that is a version and nothing else, as in `6.12` or `7.3-rc2`.
    pub(crate) fn read(text: &str) -> Option<Version> {
        let plain = text.split_once("-rc").map_or(text, |(version, _)| version);
        let all = numbers(text);
        let whole =
            plain.split('.').count() == all.len() && plain.chars().all(|char| char.is_ascii_digit() || char == '.');
        (whole && all.len() >= 2).then(|| Version::by_release(text, ""))
    }

    /// Where it stands, whatever it is called: 7.3-rc2 comes before 7.3, and 7.3 is 7.3.0.
    pub(crate) fn key(&self) -> (bool, Vec<u64>, bool, Option<u64>) {
        let mut numbers = self.numbers.clone();
        numbers.resize(4, 0);
        (self.numbers.is_empty(), numbers, self.candidate.is_none(), self.candidate)
    }

    /// Has it a number at all?
    pub(crate) fn is_known(&self) -> bool {
        !self.numbers.is_empty()
    }

    /// A distribution keeps `6.1.0-32-amd64` as the release of every 6.1.y; the y is elsewhere.
    fn by_release(release: &str, elsewhere: &str) -> Version {
        let own = numbers(release);
        let same = |word: &&str| numbers(word).get(..2) == own.get(..2) && numbers(word).len() >= 3;
        let words = elsewhere.split(|char: char| char.is_whitespace() || "()~_,+".contains(char));
        let told = words.filter(same).max_by_key(|word| numbers(word));
        let candidate = release.split_once("-rc").and_then(|(_, rest)| leading(rest)).map(|(number, _)| number);
        match told {
            Some(word) if numbers(word) > own => {
                let all = numbers(word);
                let label = all.iter().take(3).map(u64::to_string).collect::<Vec<_>>().join(".");
                Version { numbers: all, candidate, label: short(&label) }
            }
            _ => Version { label: short(&named(release, &own)), numbers: own, candidate },
        }
    }
}

/// `7.3.0-rc2` of `7.3.0-rc2-custom`, `6.8.0-45` of `6.8.0-45-generic`: the version and the number behind it.
fn named(release: &str, numbers: &[u64]) -> String {
    let mut label = numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(".");
    let next = release.split('-').nth(1).unwrap_or("");
    if next.starts_with(|char: char| char.is_ascii_digit()) || next.starts_with("rc") {
        label = format!("{label}-{next}");
    }
    label
}

fn short(text: &str) -> String {
    let mut kept: String = text.chars().take(MAX_LABEL).collect();
    if kept.len() < text.len() {
        kept.pop();
        kept.push('…');
    }
    kept
}

fn leading(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|char: char| !char.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}

/// The numbers at the start, as far as dots join them.
fn numbers(text: &str) -> Vec<u64> {
    let mut all = Vec::new();
    let mut rest = text;
    while let Some((number, tail)) = leading(rest) {
        all.push(number);
        match tail.strip_prefix('.') {
            Some(tail) if all.len() < 4 => rest = tail,
            _ => break,
        }
    }
    all
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key()).then_with(|| self.label.cmp(&other.label))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kernel: &str) -> Version {
        Version::of(Some(kernel), None, None, "x.jsonl")
    }

    #[test]
    fn a_kernel_is_called_by_its_upstream_version() {
        let label = |kernel| of(kernel).label;
        assert_eq!(label("6.18.44 #1 SMP PREEMPT_DYNAMIC"), "6.18.44");
        assert_eq!(label("6.1.0-32-amd64 #1 SMP PREEMPT_DYNAMIC Debian 6.1.129-1 (2025-03-06)"), "6.1.129");
        assert_eq!(label("6.8.0-45-generic #45-Ubuntu SMP"), "6.8.0-45");
        assert_eq!(label("7.3.0-rc2-mine+ #1 SMP 8.1.99"), "7.3.0-rc2");
        assert_eq!(label("5.10 #1"), "5.10");
        assert_eq!(label("6.18.44-fc-v595 #1"), "6.18.44");
    }

    #[test]
    fn what_never_booted_is_called_by_its_package() {
        let of = |package, handle| Version::of(None, package, handle, "dir/file.jsonl").label;
        assert_eq!(of(Some("linux-image-6.1.0-44-amd64 6.1.192-1"), Some("debian:6.1")), "6.1.192");
        assert_eq!(of(Some("linux-image 7.1~rc4-1~exp1"), None), "7.1-rc4");
        assert_eq!(of(Some("linux 7.4.0-rc1"), None), "7.4.0-rc1");
        assert_eq!(of(None, Some("debian:6.1")), "6.1");
        assert_eq!(of(None, None), "file.jsonl");
        assert_eq!(of(None, Some("a very long name of a kernel")), "file.jsonl");
    }

    #[test]
    fn versions_are_numbers() {
        let mut all =
            ["6.12.1", "5.10.251", "7.3.0-rc10", "6.1.0-3-amd64 #1 Debian 6.1.192-1", "7.3", "7.3.0-rc2", "6.6.1"]
                .map(of);
        all.sort();
        let labels: Vec<&str> = all.iter().map(|version| version.label.as_str()).collect();
        assert_eq!(labels, ["5.10.251", "6.1.192", "6.6.1", "6.12.1", "7.3.0-rc2", "7.3.0-rc10", "7.3"]);
        assert!(of("99999999999999999999.1") > of("7.3"));
    }
}
