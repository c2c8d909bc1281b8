//! A comparison as text, for people.

use std::collections::HashMap;
use std::fmt;

use cowcheck_model::verdict::Kind;

use super::comparison::{Change, Compared, Comparison, Group, MatchedBy, Side};

/// How many names of a group are listed before it says how many more there are.
const MAX_NAMES: usize = 10;

impl fmt::Display for MatchedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            MatchedBy::Id => "id",
            MatchedBy::Description => "the name that cow.c gives them",
            MatchedBy::Path => "their names and those of their subtests",
        })
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        side(f, "a", &self.a)?;
        side(f, "b", &self.b)?;
        if self.a.words != self.b.words {
            for (letter, side) in [("a", &self.a), ("b", &self.b)] {
                writeln!(f, "words of {letter}: {}", side.words)?;
            }
        }
        writeln!(f, "\n{:<14}{:>7}{:>7}", "", "a", "b")?;
        for kind in Kind::ALL {
            let (a, b) = (self.a.counts.of(kind), self.b.counts.of(kind));
            if a + b > 0 {
                writeln!(f, "{:<14}{a:>7}{b:>7}", kind.word())?;
            }
        }
        if !self.changed.is_empty() {
            writeln!(f, "\n{} changed:", self.changed.len())?;
            let mut kinds = alike(&self.changed);
            kinds.sort_by_key(|changes| !(is_bad(changes[0].b.verdict) || is_bad(changes[0].a.verdict)));
            kinds.iter().try_for_each(|changes| told(f, changes))?;
        }
        if !self.explained.is_empty() {
            writeln!(f, "\n{} untested on both sides, in different words; no difference:", self.explained.len())?;
            explained(f, &self.explained)?;
        }
        let cut = |other: &Side| if other.truncated { ", which is not complete" } else { "" };
        groups(f, &self.only_a, &format!("only in a, missing in b{}", cut(&self.b)), true)?;
        groups(f, &self.only_b, &format!("only in b, missing in a{}", cut(&self.a)), true)?;
        groups(f, &self.beyond_a, "in a that cow.c does not have; no difference", false)?;
        groups(f, &self.beyond_b, "in b that cow.c does not have; no difference", false)?;
        writeln!(f, "\n{}", self.answer())
    }
}

impl Comparison {
    /// The comparison in one sentence.
    pub fn answer(&self) -> String {
        let missing = |groups: &[Group]| groups.iter().map(|group| group.checks.len()).sum::<usize>();
        let mut parts = Vec::new();
        let mut say = |count: usize, what: &str| {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        };
        say(self.changed.len(), "changed");
        say(missing(&self.only_a), "only in a");
        say(missing(&self.only_b), "only in b");
        say(self.explained.len(), "untested on both sides in different words");
        let tail = if parts.is_empty() { String::new() } else { format!("; {}", parts.join(", ")) };
        format!(
            "The same verdict in {} of {} checks that both have, matched by {}{tail}.",
            self.same, self.matched, self.matched_by
        )
    }
}

fn side(f: &mut fmt::Formatter<'_>, letter: &str, side: &Side) -> fmt::Result {
    write!(f, "{letter}: {}: {}", side.name, side.source)?;
    if let Some(kernel) = &side.kernel {
        write!(f, ", kernel {kernel}")?;
    }
    writeln!(f, ", {} results", side.counts.total())?;
    side.notes.iter().try_for_each(|note| writeln!(f, "   note: {note}"))
}

fn name(change: &Change) -> String {
    let mut name = change.name.clone();
    if change.repeat > 1 {
        name += &format!(" (repeat {})", change.repeat);
    }
    match &change.description {
        Some(description) => format!("{name} ({description})"),
        None => name,
    }
}

/// Those with the same verdicts for the same reasons, in the order of the first of each.
fn alike(changes: &[Change]) -> Vec<Vec<&Change>> {
    let mut kinds: Vec<Vec<&Change>> = Vec::new();
    let mut known: HashMap<(&Compared, &Compared), usize> = HashMap::new();
    for change in changes {
        let index = *known.entry((&change.a, &change.b)).or_insert_with(|| {
            kinds.push(Vec::new());
            kinds.len() - 1
        });
        kinds[index].push(change);
    }
    kinds
}

/// Verdicts that someone must look at.
fn is_bad(kind: Kind) -> bool {
    matches!(kind, Kind::Fail | Kind::Timeout | Kind::Crash)
}

/// Verdicts and reasons once, then every name.
fn told(f: &mut fmt::Formatter<'_>, changes: &[&Change]) -> fmt::Result {
    let first = changes[0];
    writeln!(f, "  {} {} -> {}", changes.len(), first.a.verdict.word(), first.b.verdict.word())?;
    for (letter, side) in [("a", &first.a), ("b", &first.b)] {
        if !side.reason.is_empty() {
            writeln!(f, "    {letter}: {}", side.reason)?;
        }
    }
    changes.iter().try_for_each(|change| writeln!(f, "      {}", name(change)))
}

/// Verdicts and reasons with a count and an example.
fn explained(f: &mut fmt::Formatter<'_>, changes: &[Change]) -> fmt::Result {
    let kinds = alike(changes);
    for changes in kinds.iter().take(MAX_NAMES) {
        let side = |side: &Compared| match side.reason.as_str() {
            "" => side.verdict.word().to_owned(),
            reason => format!("{} ({reason})", side.verdict.word()),
        };
        let first = changes[0];
        writeln!(f, "  {}: a {}, b {}; as {}", changes.len(), side(&first.a), side(&first.b), first.name)?;
    }
    let more: usize = kinds.iter().skip(MAX_NAMES).map(Vec::len).sum();
    if more > 0 {
        writeln!(f, "  and {more} with other reasons")?;
    }
    Ok(())
}

fn groups(f: &mut fmt::Formatter<'_>, groups: &[Group], what: &str, names: bool) -> fmt::Result {
    let count: usize = groups.iter().map(|group| group.checks.len()).sum();
    if count == 0 {
        return Ok(());
    }
    writeln!(f, "\n{count} {what}:")?;
    for group in groups {
        let title = if group.group.is_empty() { "(no group)" } else { &group.group };
        writeln!(f, "  {title}: {}", group.checks.len())?;
        if !names {
            continue;
        }
        for check in group.checks.iter().take(MAX_NAMES) {
            writeln!(f, "      {check}")?;
        }
        if group.checks.len() > MAX_NAMES {
            writeln!(f, "      and {} more", group.checks.len() - MAX_NAMES)?;
        }
    }
    Ok(())
}
