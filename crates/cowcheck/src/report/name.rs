//! Names and reasons as the line formats want them.

/// The name of a check: what `base` says, and which repeat it is where that is not the first.
pub(super) fn with_repeat(base: &str, repeat: u32) -> String {
    match repeat {
        0 | 1 => plain(base),
        _ => format!("{} (repeat {repeat})", plain(base)),
    }
}

/// Takes apart what [`with_repeat`] made.
pub(crate) fn split_repeat(name: &str) -> (&str, u32) {
    let split = || {
        let (base, rest) = name.rsplit_once(" (repeat ")?;
        let repeat = rest.strip_suffix(')')?.parse().ok()?;
        (repeat > 1).then_some((base, repeat))
    };
    split().unwrap_or((name, 1))
}

/// A name or reason on one line and without the `#` that would begin a directive in KTAP.
pub(super) fn plain(text: &str) -> String {
    line(text).replace('#', "_")
}

/// A text on one line, without control characters.
pub(super) fn line(text: &str) -> String {
    let spaced: String = text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
    spaced.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The lines of a text, each without control characters, blanks at the head kept.
pub(super) fn lines(text: &str) -> impl Iterator<Item = String> {
    text.lines().map(|line| {
        let plain: String = line.chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
        plain.trim_end().to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeat_is_read_as_it_was_written() {
        for (name, repeat) in [("cow/x", 1), ("cow/x", 2), ("Basic COW ... with THP (16 kB)", 17)] {
            assert_eq!(split_repeat(&with_repeat(name, repeat)), (name, repeat));
        }
        assert_eq!(split_repeat("odd (repeat x)"), ("odd (repeat x)", 1));
        assert_eq!(split_repeat("odd (repeat 1)"), ("odd (repeat 1)", 1));
    }

    #[test]
    fn what_would_end_a_name_is_replaced() {
        assert_eq!(plain("a #SKIP\nb\t c\u{1b}[31m"), "a _SKIP b c [31m");
    }
}
