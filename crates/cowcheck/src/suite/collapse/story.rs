//! A cell as lines of the language.

use super::cells::{Aftermath, Cell, Contents, Pin, Who, Writer, touched};
use super::pages::Pages;

/// The page that an aftermath is about.
const SPLIT_AT: u32 = 9;

/// A process and the pages that it has.
struct Process {
    letter: char,
    has: Pages,
}

struct Story<'a> {
    cell: &'a Cell,
    pages: u32,
    lines: Vec<String>,
    parent: Process,
    /// `None` before it is forked and after it has exited.
    child: Option<Process>,
    bystander: Option<Process>,
    /// Everyone else that is forked after the collapse.
    late: Option<Process>,
    /// What the pin holds and who has it.
    pinned: Option<(char, Pages)>,
}

/// The steps of a cell on memory of `pages` pages.
pub(super) fn lines(cell: &Cell, pages: u32) -> Vec<String> {
    let all = Pages::of(pages, |_| true);
    let mut story = Story {
        cell,
        pages,
        lines: vec![],
        parent: Process { letter: 'A', has: all },
        child: None,
        bystander: None,
        late: None,
        pinned: None,
    };
    story.set_up();
    story.collapse();
    story.write();
    story.aftermath();
    story.read();
    if cell.pin.is_pipe() {
        story.read_pin();
    }
    story.lines
}

/// A has one THP, whose sub-pages PTEs map.
pub(super) fn mapped_by_ptes() -> Vec<String> {
    let lines = [
        "A write first # the first touch gives the whole THP",
        "A require folio all",
        "A write all",
        "A mprotect page 1 ro # splits the PMD",
        "A mprotect page 1 rw",
        "A require pte-mapped all",
    ];
    lines.map(str::to_owned).to_vec()
}

impl Story<'_> {
    fn say(&mut self, line: impl Into<String>) {
        self.lines.push(line.into());
    }

    /// `A write upper`, as far as there are such pages.
    fn on(&mut self, letter: char, what: &str, pages: &Pages) {
        if !pages.is_empty() {
            let line = format!("{letter} {what} {}", pages.text(self.pages));
            self.say(line);
        }
    }

    /// Who collapses.
    fn me(&self) -> char {
        match (self.cell.who, &self.child) {
            (Who::Child, Some(child)) => child.letter,
            _ => 'A',
        }
    }

    /// The pages of whoever collapses.
    fn mine(&self) -> Pages {
        self.process(self.me()).map_or_else(|| Pages::of(self.pages, |_| false), |process| process.has.clone())
    }

    fn process(&self, letter: char) -> Option<&Process> {
        let everyone = [Some(&self.parent), self.child.as_ref(), self.bystander.as_ref(), self.late.as_ref()];
        everyone.into_iter().flatten().find(|process| process.letter == letter)
    }

    /// The one of parent and child that does not collapse.
    fn other(&self) -> Option<(char, Pages)> {
        match self.me() {
            'A' => self.child.as_ref().map(|child| (child.letter, child.has.clone())),
            _ => Some(('A', self.parent.has.clone())),
        }
    }

    fn set_up(&mut self) {
        let Story { cell, pages, .. } = *self;
        let touched = touched(pages);
        self.lines.extend(mapped_by_ptes());
        match cell.contents {
            Contents::Swapped => {
                self.on('A', "pageout", &touched);
                self.on('A', "require swapped", &touched);
            }
            Contents::Locked => self.say("A mlock all"),
            Contents::Ksm => self.say("A mergeable all"),
            _ => {}
        }
        if cell.pin == Pin::UringBeforeFork {
            self.pin("pin rw");
        }
        self.lines.extend(cell.pattern.lines(pages));
        let child = |letter| Process { letter, has: cell.pattern.of_child(pages) };
        self.child = cell.pattern.child().map(child);
        self.bystander = cell.pattern.bystander(pages).map(|(letter, has)| Process { letter, has });
        self.sharing(&touched);
        self.contents(&touched);
        match cell.pin {
            Pin::UringAfterFork | Pin::UringOfChild => self.pin("pin rw"),
            Pin::Splice | Pin::SpliceOfChild => self.pin("splice"),
            Pin::ReadOnly => self.pin("pin ro"),
            Pin::None | Pin::UringBeforeFork | Pin::UringAfterCollapse => {}
        }
    }

    /// Observes that the pattern is there. Under a pin that was taken before, fork copies.
    fn sharing(&mut self, touched: &Pages) {
        let Cell { pattern, pin, contents, .. } = *self.cell;
        if pin == Pin::UringBeforeFork {
            return;
        }
        let (mut shared, mut exclusive) = (pattern.shared_now(self.pages), pattern.never_shared(self.pages));
        if contents == Contents::Swapped {
            (shared, exclusive) = (shared.without(touched), exclusive.without(touched));
        }
        self.on('A', "require shared", &shared);
        self.on('A', "require exclusive", &exclusive);
    }

    fn contents(&mut self, touched: &Pages) {
        let me = self.me();
        match self.cell.contents {
            Contents::Whole | Contents::Swapped | Contents::ReadOnly | Contents::Locked => {}
            // These come after the pin.
            Contents::UffdWp | Contents::Guard => {}
            Contents::Copies => self.on(me, "write", touched),
            Contents::OtherCopies => {
                if let Some((other, has)) = self.other() {
                    self.on(other, "write", &has.and(touched));
                }
            }
            Contents::Holes => self.on(me, "dontneed", touched),
            Contents::Freed => self.on(me, "free", touched),
            Contents::ZeroPage => {
                self.on(me, "dontneed", touched);
                self.on(me, "touch", touched);
                self.on(me, "require zero-page", touched);
            }
            Contents::Refilled => {
                self.on(me, "dontneed", touched);
                self.on(me, "write", touched);
            }
            Contents::Moved => self.say(format!("{me} mremap all")),
            Contents::Ksm => {
                if let Some((other, has)) = self.other() {
                    let both = has.and(touched);
                    // A copy that is the same to the last byte.
                    self.on(other, "probe write", &both);
                    self.say(format!("{me} ksm"));
                    self.on(me, "require ksm", &both);
                }
            }
            Contents::SoftDirty => {
                self.say(format!("{me} clear-soft-dirty"));
                self.on(me, "write", touched);
            }
        }
    }

    fn pin(&mut self, how: &str) {
        let (owner, pages) = match (&self.child, self.cell.pin.is_parents()) {
            (Some(child), false) => (child.letter, child.has.clone()),
            _ => ('A', self.cell.pattern.pinned(self.pages)),
        };
        self.on(owner, &format!("{how} p0"), &pages);
        if how != "splice" {
            self.on(owner, "require pinned", &pages);
        }
        self.pinned = Some((owner, pages));
    }

    fn collapse(&mut self) {
        let me = self.me();
        let touched = touched(self.pages);
        let there = match self.cell.contents {
            Contents::Holes | Contents::Freed | Contents::Swapped | Contents::Guard => self.mine().without(&touched),
            _ => self.mine(),
        };
        match self.cell.contents {
            Contents::ReadOnly => self.say(format!("{me} mprotect all ro")),
            Contents::UffdWp => self.on(me, "uffd-wp", &touched),
            Contents::Guard => self.on(me, "guard", &touched),
            _ => {}
        }
        self.on(me, "require pte-mapped", &there);
        let other = self.child.as_ref().map(|child| child.letter);
        match (self.cell.who, other) {
            (Who::ByProcess, Some(other)) => self.say(format!("{other} collapse all of {me}")),
            (Who::ByKhugepaged, _) => self.say(format!("{me} khugepaged all")),
            _ => self.say(format!("{me} collapse all # in place, by copy or not at all: as the kernel likes")),
        }
        match self.cell.contents {
            Contents::ReadOnly => self.say(format!("{me} mprotect all rw")),
            Contents::UffdWp => {
                self.on(me, "probe write", &touched);
                self.on(me, "probe read", &touched);
                self.say(format!("{me} uffd-unwp all"));
                self.on(me, "probe write", &touched);
            }
            Contents::Guard => {
                self.on(me, "probe read", &touched);
                self.say(format!("{me} unguard all"));
            }
            _ => {}
        }
        if self.cell.pin == Pin::UringAfterCollapse {
            self.pin("pin rw");
        }
        if self.child.is_none() {
            self.say("A fork D");
            self.child = Some(Process { letter: 'D', has: self.parent.has.clone() });
        }
        self.read();
    }

    /// Everyone reads what they have, through the pin, too, unless that would empty a pipe.
    fn read(&mut self) {
        let everyone = [Some(&self.parent), self.child.as_ref(), self.bystander.as_ref(), self.late.as_ref()];
        let reads: Vec<(char, Pages)> =
            everyone.into_iter().flatten().map(|process| (process.letter, process.has.clone())).collect();
        for (letter, has) in reads {
            self.on(letter, "read", &has);
        }
        if !self.cell.pin.is_pipe() {
            self.read_pin();
        }
    }

    fn read_pin(&mut self) {
        if let Some((owner, _)) = self.pinned {
            self.say(format!("{owner} read via p0"));
        }
    }

    fn write_pin(&mut self) {
        if let Some((owner, pages)) = self.pinned.clone() {
            self.on(owner, "write via p0", &pages);
            self.read();
        }
    }

    fn write(&mut self) {
        let parent = |story: &mut Self| {
            let has = story.parent.has.clone();
            story.on('A', "write", &has);
            story.read();
        };
        let child = |story: &mut Self| {
            if let Some((letter, has)) = story.child.as_ref().map(|child| (child.letter, child.has.clone())) {
                story.on(letter, "write", &has);
                story.read();
            }
        };
        match self.cell.writer {
            Writer::Parent => parent(self),
            Writer::ParentPages => {
                let Cell { pattern, .. } = self.cell;
                let two = pattern.of_child(self.pages).one().with(&pattern.pinned(self.pages).one());
                self.on('A', "write", &two);
                self.read();
            }
            Writer::Child => child(self),
            Writer::ParentThenChild => {
                parent(self);
                child(self);
            }
            Writer::ChildThenParent => {
                child(self);
                parent(self);
            }
            Writer::Pin => {
                self.write_pin();
                parent(self);
            }
        }
        if self.cell.pin.writes() {
            self.write_pin();
        }
    }

    fn aftermath(&mut self) {
        let me = self.me();
        let split = Pages::of(self.pages, |page| page == SPLIT_AT);
        match self.cell.aftermath {
            Aftermath::None => return,
            Aftermath::Split => self.split(me),
            Aftermath::Munmap => {
                self.on(me, "munmap", &split);
                let left = self.mine().without(&split);
                match (&mut self.child, me) {
                    (Some(child), letter) if child.letter == letter => child.has = left,
                    _ => self.parent.has = left,
                }
            }
            Aftermath::Mremap => self.say(format!("{me} mremap upper")),
            Aftermath::Fork => {
                self.say(format!("{me} fork E"));
                self.late = Some(Process { letter: 'E', has: self.mine() });
            }
            Aftermath::Swap => {
                let mine = self.mine();
                self.on(me, "pageout", &mine);
            }
            Aftermath::CollapseAgain => {
                self.split(me);
                self.say(format!("{me} collapse all"));
            }
            Aftermath::Exit => {
                if let Some(child) = self.child.take() {
                    self.say(format!("{} exit", child.letter));
                    self.pinned = self.pinned.take().filter(|(owner, _)| *owner != child.letter);
                }
            }
            Aftermath::ForkSplit => {
                self.say(format!("{me} fork E"));
                self.late = Some(Process { letter: 'E', has: self.mine() });
                self.split(me);
                self.split('E');
            }
            Aftermath::SplitFolio => {
                let mine = self.mine();
                self.on(me, "split", &mine);
            }
            Aftermath::Migrate => {
                let mine = self.mine();
                self.on(me, "migrate", &mine);
            }
            Aftermath::UffdWp => {
                let mine = self.mine();
                self.on(me, "uffd-wp", &mine);
                self.on(me, "probe write", &mine);
                self.on(me, "uffd-unwp", &split);
                self.on(me, "probe write", &mine);
                self.on(me, "uffd-unwp", &mine);
            }
            Aftermath::Guard => {
                self.on(me, "guard", &split);
                self.say(format!("{me} fork E"));
                self.late = Some(Process { letter: 'E', has: self.mine() });
                for letter in [me, 'E'] {
                    self.on(letter, "probe read", &split);
                    self.on(letter, "unguard", &split);
                }
            }
            Aftermath::Unpin => {
                if let Some((owner, _)) = self.pinned.take() {
                    self.say(format!("{owner} unpin p0"));
                }
            }
        }
        let mine = self.mine();
        self.on(me, "write", &mine);
        self.read();
        if let Some((other, has)) = self.other() {
            self.on(other, "write", &has);
        }
        if let Some((late, has)) = self.late.as_ref().map(|late| (late.letter, late.has.clone())) {
            self.on(late, "write", &has);
        }
    }

    fn split(&mut self, me: char) {
        self.say(format!("{me} mprotect page {SPLIT_AT} ro"));
        self.say(format!("{me} mprotect page {SPLIT_AT} rw"));
    }
}
