//! What the steps of a trace did to the state of pages.
//!
//! A transition is a step's word, whether the page is that of whoever did it, and the page's state before and after. What
//! can be told of a state depends on the machine: without the helper module there are no exclusive marks, no
//! pins and no folio sizes, and only the pages of whoever did the step are seen.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use cowcheck_model::pages::Run;
use cowcheck_model::step::{Actor, Op};
use cowcheck_model::trace::{Observed, PageState, Trace};

use crate::menu;

/// The word of a transition that steps at once made together.
const AT_ONCE: &str = "at once";

/// The state of a page as far as it matters here, in bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Look(u32);

const WORDS: [&str; 18] = [
    "pte",
    "pmd",
    "swapped",
    "migrating",
    "marker",
    "shared",
    "exclusive",
    "not-exclusive",
    "writable",
    "pinned",
    "file",
    "zero-page",
    "ksm",
    "large",
    "uffd-wp",
    "guard",
    "soft-dirty",
    "swap-cache",
];

impl Look {
    /// Of a page that was looked at.
    pub fn of(state: &PageState) -> Look {
        let shared = match state.mapcount {
            Some(count) => count > 1,
            // A page of a file may be mapped by its backing, too.
            None => !state.mapped_once && !state.file,
        };
        let bits = [
            state.present && !state.pmd,
            state.present && state.pmd,
            state.swapped,
            state.migrating,
            state.special && !state.guard,
            state.present && shared,
            state.exclusive == Some(true),
            state.exclusive == Some(false),
            state.writable == Some(true),
            state.pinned == Some(true),
            state.file,
            state.zero,
            state.ksm,
            state.order.is_some_and(|order| order > 0),
            state.uffd_wp,
            state.guard,
            state.soft_dirty,
            state.swapcache,
        ];
        Look(bits.iter().enumerate().map(|(at, on)| u32::from(*on) << at).sum())
    }

    /// Has it this word of the table?
    pub fn has(self, word: &str) -> bool {
        WORDS.iter().position(|each| *each == word).is_some_and(|at| self.0 >> at & 1 == 1)
    }
}

/// `pte shared soft-dirty`, or `nothing`.
impl fmt::Display for Look {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<&str> =
            WORDS.iter().enumerate().filter(|(at, _)| self.0 >> at & 1 == 1).map(|(_, word)| *word).collect();
        f.write_str(if words.is_empty() { "nothing".to_owned() } else { words.join(" ") }.as_str())
    }
}

/// What a step did to a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Transition {
    /// The step's word.
    pub word: &'static str,
    /// Was it done by another actor than A?
    pub by_child: bool,
    /// Is the page another actor's?
    pub of_other: bool,
    /// Before.
    pub before: Look,
    /// After.
    pub after: Look,
}

/// `child's collapse: pte shared -> pmd`
impl fmt::Display for Transition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = if self.by_child { "child's " } else { "" };
        let whose = if self.of_other { ", another's page" } else { "" };
        write!(f, "{who}{}{whose}: {} -> {}", self.word, self.before, self.after)
    }
}

/// Something that should happen sometimes: where it never does, the campaign is blind there.
pub struct Goal {
    /// What.
    pub name: &'static str,
    is_met: fn(&Transition) -> bool,
}

/// The goals.
pub const GOALS: [Goal; 14] = [
    Goal {
        name: "a shared THP that PTEs map was collapsed",
        is_met: |it| own(it, "collapse") && it.before.has("shared") && it.after.has("pmd"),
    },
    Goal {
        name: "a THP that PTEs map was collapsed by a child",
        is_met: |it| own(it, "collapse") && it.by_child && it.before.has("pte") && it.after.has("pmd"),
    },
    Goal {
        name: "a collapse filled a hole",
        is_met: |it| own(it, "collapse") && it.before == Look::default() && it.after.has("pmd"),
    },
    Goal {
        name: "a collapse brought a page back from swap",
        is_met: |it| own(it, "collapse") && it.before.has("swapped") && it.after.has("pmd"),
    },
    Goal {
        name: "mprotect() split a THP",
        is_met: |it| own(it, "mprotect") && it.before.has("pmd") && it.after.has("pte"),
    },
    Goal {
        name: "mremap() split a THP",
        is_met: |it| own(it, "mremap") && it.before.has("pmd") && it.after.has("pte"),
    },
    Goal {
        name: "a THP was forked while a PMD mapped it",
        is_met: |it| own(it, "fork") && it.before.has("pmd") && it.after.has("pmd"),
    },
    Goal {
        name: "a shared page that a PMD maps was written",
        is_met: |it| own(it, "write") && it.before.has("pmd") && it.before.has("shared"),
    },
    Goal {
        name: "a shared page that a PTE maps was written by a child",
        is_met: |it| own(it, "write") && it.by_child && it.before.has("pte") && it.before.has("shared"),
    },
    Goal {
        name: "a page was swapped out",
        is_met: |it| own(it, "pageout") && it.before.has("pte") && it.after.has("swapped"),
    },
    Goal {
        name: "a THP was swapped out",
        is_met: |it| own(it, "pageout") && it.before.has("pmd") && it.after.has("swapped"),
    },
    Goal { name: "a swapped page was forked", is_met: |it| own(it, "fork") && it.before.has("swapped") },
    Goal {
        name: "a child faulted a swapped page in again",
        is_met: |it| it.by_child && !it.of_other && it.before.has("swapped") && it.after.has("pte"),
    },
    Goal {
        name: "a write to a page of a file made a copy",
        is_met: |it| own(it, "write") && it.before.has("file") && !it.after.has("file"),
    },
];

fn own(it: &Transition, word: &str) -> bool {
    it.word == word && !it.of_other
}

/// How a goal is told among the transitions.
pub fn goal_key(name: &str) -> String {
    format!("goal: {name}")
}

/// The transitions, and the goals that they meet, as texts that the next release understands, too.
pub fn keys(transitions: &BTreeSet<Transition>) -> BTreeSet<String> {
    let goals = GOALS.iter().filter(|goal| transitions.iter().any(goal.is_met)).map(|goal| goal_key(goal.name));
    goals.chain(transitions.iter().map(ToString::to_string)).collect()
}

/// What the steps of a trace did.
pub fn transitions(trace: &Trace) -> BTreeSet<Transition> {
    let mut known: BTreeMap<Actor, Vec<(Run, Look)>> = BTreeMap::new();
    let mut found = BTreeSet::new();
    for record in &trace.records {
        let Some(step) = trace.scenario.step(record.step) else { continue };
        // Page states come with the last of steps at once, and tell what all of them did.
        let word = match trace.scenario.group(record.step).len() {
            1 => menu::word_of(&step.op).map_or("other", |word| word.word),
            _ => AT_ONCE,
        };
        for seen in record.states.chunk_by(|one, next| one.actor == next.actor) {
            let Some(actor) = seen.first().map(|observed| observed.actor) else { continue };
            let now = looks(seen);
            let before = known.get(&actor).map_or(&[][..], Vec::as_slice);
            for (before, after) in pairs(before, &now) {
                let (by_child, of_other) = (step.actor != Actor::A, actor != step.actor);
                found.insert(Transition { word, by_child, of_other, before, after });
            }
            known.insert(actor, now);
        }
        match step.op {
            // It has what its parent has, as far as nobody looks.
            Op::Fork(child) => {
                if let (Some(of_parent), None) = (known.get(&step.actor).cloned(), known.get(&child)) {
                    known.insert(child, of_parent);
                }
            }
            Op::Exit => drop(known.remove(&step.actor)),
            _ => {}
        }
    }
    found
}

fn looks(seen: &[Observed]) -> Vec<(Run, Look)> {
    let mut all: Vec<(Run, Look)> = seen.iter().map(|observed| (observed.pages, Look::of(&observed.state))).collect();
    all.sort_by_key(|(run, _)| run.first);
    all
}

/// What each page was and is, each pair once. Pages of which nothing is told are nothing.
fn pairs(before: &[(Run, Look)], after: &[(Run, Look)]) -> BTreeSet<(Look, Look)> {
    let mut pairs = BTreeSet::new();
    let (mut old, mut new) = (before.iter().peekable(), after.iter().peekable());
    let mut at = 0;
    loop {
        // Runs that lie behind.
        while old.next_if(|(run, _)| run.end() <= at).is_some() {}
        while new.next_if(|(run, _)| run.end() <= at).is_some() {}
        // The run that this page is in, or that comes next, and up to where that is so.
        let look = |run: Option<&&(Run, Look)>| match run {
            Some((run, look)) if run.first <= at => (*look, run.end()),
            Some((run, _)) => (Look::default(), run.first),
            None => (Look::default(), u32::MAX),
        };
        let ((before, until_old), (after, until_new)) = (look(old.peek()), look(new.peek()));
        let end = until_old.min(until_new);
        if before != Look::default() || after != Look::default() {
            pairs.insert((before, after));
        }
        if end == u32::MAX {
            return pairs;
        }
        at = end;
    }
}
