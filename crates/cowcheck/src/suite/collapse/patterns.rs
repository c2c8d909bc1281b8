//! Which pages are shared when the collapse comes, and with whom.

use super::pages::Pages;

/// How pages come to be shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// Nobody was forked.
    Nobody,
    /// With B; the others were under MADV_DONTFORK.
    Child,
    /// With B, which has exited: previously shared.
    ChildGone,
    /// With C, a child of B, which has exited.
    Grandchild,
    /// All of them with B and with C.
    TwoChildren,
    /// The lower half with B, the upper with C.
    HalfEach,
    /// With B, which then unmapped the upper half: shared below, previously shared above.
    HalfUnmapped,
}

/// A pattern of sharing.
#[derive(Debug)]
pub(super) struct Pattern {
    /// In the id.
    pub(super) name: &'static str,
    /// How they are shared.
    pub(super) how: How,
    /// Is page `page` of `pages` shared by the fork?
    pub(super) shared: fn(page: u32, pages: u32) -> bool,
}

/// All of them.
pub(super) const PATTERNS: [Pattern; 16] = [
    Pattern { name: "none", how: How::Nobody, shared: |_, _| false },
    Pattern { name: "all", how: How::Child, shared: |_, _| true },
    Pattern { name: "lower", how: How::Child, shared: |page, pages| page < pages / 2 },
    Pattern { name: "upper", how: How::Child, shared: |page, pages| page >= pages / 2 },
    Pattern { name: "first", how: How::Child, shared: |page, _| page == 0 },
    Pattern { name: "last", how: How::Child, shared: |page, pages| page == pages - 1 },
    Pattern { name: "middle", how: How::Child, shared: |page, pages| page == pages / 2 - 1 },
    Pattern { name: "all-but-one", how: How::Child, shared: |page, pages| page != pages / 2 - 1 },
    Pattern { name: "every-other", how: How::Child, shared: |page, _| page % 2 == 0 },
    Pattern { name: "runs", how: How::Child, shared: |page, pages| page / (pages / 16) % 2 == 1 },
    Pattern { name: "child-gone", how: How::ChildGone, shared: |_, _| true },
    Pattern { name: "lower-child-gone", how: How::ChildGone, shared: |page, pages| page < pages / 2 },
    Pattern { name: "grandchild", how: How::Grandchild, shared: |_, _| true },
    Pattern { name: "two-children", how: How::TwoChildren, shared: |_, _| true },
    Pattern { name: "half-each", how: How::HalfEach, shared: |_, _| true },
    Pattern { name: "half-unmapped", how: How::HalfUnmapped, shared: |_, _| true },
];

impl Pattern {
    /// The pages that a fork shares.
    fn forked(&self, pages: u32) -> Pages {
        Pages::of(pages, |page| (self.shared)(page, pages))
    }

    /// The steps that share them.
    pub(super) fn lines(&self, pages: u32) -> Vec<String> {
        let kept = self.never_shared(pages);
        let with = |fork: &[&str]| {
            let mut lines: Vec<String> = fork.iter().map(|line| (*line).to_owned()).collect();
            if !kept.is_empty() {
                lines.insert(0, format!("A dontfork {}", kept.text(pages)));
                lines.push("A dofork all # makes it one mapping again, else it cannot be collapsed".to_owned());
            }
            lines
        };
        match self.how {
            How::Nobody => vec![],
            How::Child => with(&["A fork B"]),
            How::ChildGone => with(&["A fork B", "B exit"]),
            How::Grandchild => with(&["A fork B", "B fork C", "B exit"]),
            How::TwoChildren => with(&["A fork B", "A fork C"]),
            How::HalfEach => with(&[
                "A dontfork upper",
                "A fork B",
                "A dofork upper",
                "A dontfork lower",
                "A fork C",
                "A dofork all # makes it one mapping again, else it cannot be collapsed",
            ]),
            How::HalfUnmapped => with(&["A fork B", "B munmap upper"]),
        }
    }

    /// The child that reads and writes; `None` where nobody lives that was forked before the collapse.
    pub(super) fn child(&self) -> Option<char> {
        match self.how {
            How::Nobody | How::ChildGone => None,
            How::Child | How::HalfUnmapped => Some('B'),
            How::Grandchild | How::TwoChildren | How::HalfEach => Some('C'),
        }
    }

    /// Another child that only reads, and what it has.
    pub(super) fn bystander(&self, pages: u32) -> Option<(char, Pages)> {
        match self.how {
            How::TwoChildren => Some(('B', Pages::of(pages, |_| true))),
            How::HalfEach => Some(('B', Pages::of(pages, |page| page < pages / 2))),
            _ => None,
        }
    }

    /// What the child has.
    pub(super) fn of_child(&self, pages: u32) -> Pages {
        match self.how {
            How::Nobody | How::ChildGone => Pages::of(pages, |_| true),
            How::Child | How::Grandchild | How::TwoChildren => self.forked(pages),
            How::HalfEach => Pages::of(pages, |page| page >= pages / 2),
            How::HalfUnmapped => Pages::of(pages, |page| page < pages / 2),
        }
    }

    /// Those that `A` shares with somebody who lives, before anyone has written.
    pub(super) fn shared_now(&self, pages: u32) -> Pages {
        match self.how {
            How::Nobody | How::ChildGone => Pages::of(pages, |_| false),
            How::HalfUnmapped => self.of_child(pages),
            How::Child | How::Grandchild | How::TwoChildren | How::HalfEach => self.forked(pages),
        }
    }

    /// Those that were never shared.
    pub(super) fn never_shared(&self, pages: u32) -> Pages {
        Pages::of(pages, |_| true).without(&self.forked(pages))
    }

    /// What a pin is taken of: the pages that nobody shares. Where all are shared, the upper half.
    pub(super) fn pinned(&self, pages: u32) -> Pages {
        let exclusive = Pages::of(pages, |_| true).without(&self.shared_now(pages));
        if exclusive.is_empty() { Pages::of(pages, |page| page >= pages / 2) } else { exclusive }
    }

    /// Has the child the whole range, so that it can collapse it?
    pub(super) fn child_has_all(&self, pages: u32) -> bool {
        self.child().is_some() && self.of_child(pages) == Pages::of(pages, |_| true)
    }
}
