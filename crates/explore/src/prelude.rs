//! How many scenarios begin: on their way to states that single steps seldom reach together.

use std::sync::LazyLock;

use cowcheck_model::step::Step;
use cowcheck_model::text::{HEADER, parse};

/// Weights and steps, for seven things in turn: what is there, how it is mapped, what else was asked for it, who shares it,
/// what holds it, what is done to it then, who writes first.
const STAGES: [&[(u32, &str)]; 7] = [
    &[
        (16, "A write all"),
        (2, "A touch all"),
        (1, "A touch all;A write upper"),
        (1, "A write lower"),
        (1, "A write even"),
        (1, "A write all;A free lower"),
        (2, "A write all;A free all"),
        (1, "A write all;A free all;A write all"),
        (1, "A write all;A dontneed page 0"),
        (1, "A write all;A dontneed first;A touch first"),
        (1, "A probe write all"),
    ],
    &[
        (12, ""),
        (18, "A mprotect first ro;A mprotect first rw"),
        (1, "A mprotect all ro"),
        (2, "A mprotect first ro;A mprotect all ro"),
        (1, "A mremap upper"),
        (1, "A munmap last"),
        (2, "A pageout all"),
        (1, "A pageout lower"),
        (1, "A clear-soft-dirty"),
    ],
    &[
        (16, ""),
        (3, "A uffd-wp lower"),
        (3, "A uffd-wp all"),
        (1, "A uffd-wp all;A mremap upper"),
        (2, "A guard first"),
        (1, "A guard odd"),
        (3, "A clear-soft-dirty;A write all"),
        (1, "A clear-soft-dirty;A write lower"),
        (1, "A mlock lower"),
        (1, "A mergeable all;A ksm"),
        (1, "A split all"),
    ],
    &[
        (6, ""),
        (9, "A fork B"),
        (3, "A dontfork upper;A fork B;A dofork all"),
        (2, "A dontfork lower;A fork B;A dofork all"),
        (5, "A dontfork upper;A fork B;A dofork all;A pin rw p0 upper"),
        (4, "A dontfork lower;A fork B;A dofork all;A pin rw p0 lower"),
        (1, "A dontfork rest;A fork B;A dofork all"),
        (1, "A dontfork odd;A fork B;A dofork all"),
        (2, "A fork B;B exit"),
        (1, "A fork B;B fork C;B exit"),
        (1, "A fork B;A fork C"),
        (1, "A fork B;B write lower"),
        (1, "A wipeonfork lower;A fork B"),
        (2, "A mergeable all;A fork B;B probe write all"),
    ],
    &[
        (10, ""),
        (2, "A pin rw p0 all"),
        (2, "A pin rw p0 upper"),
        (1, "A pin rw p0 first"),
        (1, "B pin rw p0 all"),
        (2, "A pin ro p0 all"),
        (1, "A pin ro fast p0 all"),
        (1, "A splice p0 all"),
        (3, "B splice p0 all;B munmap all"),
    ],
    &[
        (8, ""),
        (16, "A collapse all"),
        (1, "B collapse all"),
        (1, "A write first;A pageout first;A collapse all"),
        (2, "A pageout all"),
        (3, "A mprotect first ro;A mprotect first rw"),
        (2, "A mprotect all ro;A mprotect all rw"),
        (1, "A mremap all"),
        (1, "A migrate all"),
        (2, "A split all"),
        (2, "A ksm"),
        (1, "A reclaim"),
        (1, "A swapoff"),
        (3, "A fork D"),
    ],
    &[(6, ""), (4, "A write all"), (2, "B write all"), (1, "A write lower"), (1, "B write upper")],
];

/// Steps, and how often they are chosen.
type Weighed = (u32, Vec<Step>);

/// The same with their steps.
pub(crate) static BEGINNINGS: LazyLock<Vec<Vec<Weighed>>> = LazyLock::new(|| {
    let read = |stage: &&[(u32, &str)]| stage.iter().map(|(weight, text)| (*weight, steps(text))).collect();
    STAGES.iter().map(read).collect()
});

/// The steps of a text; nothing of one that is none, which a test rules out.
pub(crate) fn steps(text: &str) -> Vec<Step> {
    let text = format!("{HEADER}\nmemory anon 4K\n{}\n", text.replace(';', "\n"));
    parse(&text).map(|scenario| scenario.steps).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_has_the_steps_that_it_says() {
        for (_, text) in STAGES.iter().copied().flatten() {
            let lines = text.split(';').filter(|line| !line.is_empty());
            let read: Vec<String> = steps(text).iter().map(ToString::to_string).collect();
            assert_eq!(read, lines.collect::<Vec<_>>());
        }
    }
}
