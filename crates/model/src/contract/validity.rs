//! What can be done at all, however the kernel behaves.

use super::marks::Marks;
use super::pins::PinCell;
use super::world::World;
use crate::pages::Run;
use crate::step::{Actor, Advice, Op, Pin, PinKind, Prot, Step, Treatment};
use crate::storm::{Rival, Rivals};

/// How many pages all actors that are alive may have together: 16 of them with 1 GiB each.
const MAX_CELLS: u64 = 1 << 22;

impl World {
    /// Can this step be done by that actor on those pages? The error says what would be right.
    pub fn check(&self, step: &Step) -> Result<(), String> {
        let actor = step.actor;
        if self.sets.are_too_many() {
            return Err("fewer writes that pipes may follow: what may be seen is beyond counting".to_owned());
        }
        match self.space(actor) {
            None => return Err(format!("a step by an actor that is alive: {actor} has not been forked")),
            Some(space) if !space.alive => {
                return Err(format!("a step by an actor that is alive: {actor} has exited"));
            }
            Some(_) => {}
        }
        let runs = step.op.range().map(|range| range.runs(self.pages())).unwrap_or_default();
        if step.op.range().is_some() {
            self.check_range(&step.op, &runs)?;
        }
        self.check_memory(&step.op)?;
        match &step.op {
            Op::Fork(child) => self.check_fork(*child),
            Op::Exit if actor == Actor::A => Err("a step by another actor: A is the last to exit, by itself".into()),
            Op::Pin(_, pin, _) if self.pin_owner(*pin).is_some() => {
                Err(format!("the name of a new pin: {pin} exists already"))
            }
            Op::CollapseOf(_, owner) => self.check_collapse_of(actor, *owner, &runs),
            Op::ReadVia(pin) | Op::WriteVia(pin, _) | Op::Unpin(pin) => self.check_pin(actor, *pin, &step.op, &runs),
            Op::Storm(_, rivals) => self.check_storm(actor, &runs, *rivals),
            Op::Write(_) | Op::Pin(PinKind::Gup { write: true, .. }, ..) => self.check_prot(actor, &runs, Prot::Rw),
            // No protection of the mapping is asked, but what userfaultfd or a guard page say.
            Op::Poke(_) => {
                self.check_prot(actor, &runs, Prot::None)?;
                self.check_unguarded(actor, &runs)?;
                self.check_unprotected(actor, &runs)
            }
            Op::Read(_) | Op::Touch(_) | Op::Pin(..) => self.check_prot(actor, &runs, Prot::Ro),
            Op::Advise(Advice::DontNeed | Advice::Free | Advice::Guard, _) => self.check_unlocked(actor, &runs),
            Op::Treat(Treatment::Mlock, _) => {
                self.check_prot(actor, &runs, Prot::Ro)?;
                self.check_unprotected(actor, &runs)
            }
            Op::Mprotect(..)
            | Op::Advise(..)
            | Op::Treat(..)
            | Op::Khugepaged(_)
            | Op::Munmap(_)
            | Op::Mremap(_)
            | Op::Require(..) => self.check_prot(actor, &runs, Prot::None),
            Op::ReadBacking(_)
            | Op::WriteBacking(_)
            | Op::Probe(..)
            | Op::Exit
            | Op::ClearSoftDirty
            | Op::Reclaim
            | Op::Swapoff
            | Op::Ksm => Ok(()),
        }
    }

    fn check_range(&self, op: &Op, runs: &[Run]) -> Result<(), String> {
        if runs.is_empty() || runs.iter().any(|run| run.count == 0) {
            return Err("at least one page: the range is empty".into());
        }
        if runs.windows(2).any(|two| two[1].first < two[0].end()) {
            return Err("pages in ascending order".into());
        }
        let pages = self.pages();
        if runs.iter().any(|run| run.end() > pages) {
            return Err(format!("pages below {pages}: the memory has {pages} pages"));
        }
        let maps = matches!(op, Op::Mprotect(..) | Op::Advise(..) | Op::Munmap(_) | Op::Mremap(_) | Op::Treat(..));
        let huge = ((self.memory().size / u64::from(self.page_size)) as u32).max(1);
        if maps
            && self.memory().kind.is_hugetlb()
            && runs.iter().any(|run| run.first % huge != 0 || run.count % huge != 0)
        {
            return Err(format!("whole hugetlb pages: multiples of {huge} pages"));
        }
        Ok(())
    }

    /// Is there such an operation on this kind of memory?
    fn check_memory(&self, op: &Op) -> Result<(), String> {
        let memory = self.memory();
        match op {
            Op::ReadBacking(_) if !memory.kind.has_backing() => Err(format!(
                "memory with a backing (zero, huge-zero, memfd, shmem-thp, tmpfile, memfd-hugetlb), not {memory}"
            )),
            Op::WriteBacking(_) if !memory.kind.has_file() => {
                Err(format!("memory with a file (memfd, shmem-thp, tmpfile, memfd-hugetlb), not {memory}"))
            }
            Op::Advise(Advice::Free | Advice::WipeOnFork, _) if memory.kind.has_file() || memory.kind.is_hugetlb() => {
                Err(format!("anonymous memory without hugetlb pages: the kernel refuses this advice on {memory}"))
            }
            Op::Advise(Advice::Guard | Advice::Unguard, _) if memory.kind.has_file() || memory.kind.is_hugetlb() => {
                Err(format!("anonymous memory without hugetlb pages: there are no guard pages in {memory}"))
            }
            Op::Poke(_) if memory.kind.is_hugetlb() => {
                Err(format!("memory without hugetlb pages, where the kernel forces no write: {memory}"))
            }
            Op::Treat(Treatment::Mlock, _) if memory.kind.is_hugetlb() => {
                Err(format!("memory without hugetlb pages, which are not locked: {memory}"))
            }
            _ => Ok(()),
        }
    }

    fn check_fork(&self, child: Actor) -> Result<(), String> {
        if self.space(child).is_some() {
            return Err(format!("the name of a new actor: {child} exists already"));
        }
        let family = self.alive().count() as u64 + 1;
        if family * u64::from(self.pages()) > MAX_CELLS {
            return Err(format!(
                "a family that has at most {MAX_CELLS} pages together, not {family} times {}",
                self.pages()
            ));
        }
        Ok(())
    }

    /// Whose pages are collapsed must be there, and somebody else.
    fn check_collapse_of(&self, actor: Actor, owner: Actor, runs: &[Run]) -> Result<(), String> {
        if owner == actor {
            return Err(format!("pages of another actor: `collapse` alone is for those of {actor}"));
        }
        match self.space(owner) {
            Some(space) if space.alive => self.check_prot(owner, runs, Prot::None),
            _ => Err(format!("pages of an actor that is alive: {owner} is not")),
        }
    }

    /// What writers find must be certain, and a child must have it.
    fn check_storm(&self, actor: Actor, runs: &[Run], rivals: Rivals) -> Result<(), String> {
        if self.memory().kind.is_hugetlb() {
            return Err("memory of small pages or THPs: hugetlb pages can run out in a storm".into());
        }
        self.check_prot(actor, runs, Prot::Rw)?;
        for (page, cell) in self.cells(actor, runs) {
            if self.sets.get(cell.set).len() > 1 {
                return Err(format!("pages whose content is certain: that of page {page} is for the kernel to choose"));
            }
            let loose = |pin| matches!(self.held(pin), Some(held) if held.owner == actor && held.follows(page));
            if let Some(pin) = (0..).map_while(Pin::new).find(|pin| loose(*pin)) {
                // It could hold any count.
                return Err(format!("pages whose writes no pin or pipe may or may not follow: {pin} has page {page}"));
            }
            if rivals.has(Rival::Fork) && (cell.dont_fork || cell.wipe_on_fork) {
                return Err(format!("pages that a child gets as they are, for `fork`: page {page} is not one"));
            }
        }
        Ok(())
    }

    fn check_prot(&self, actor: Actor, runs: &[Run], wanted: Prot) -> Result<(), String> {
        match self.cells(actor, runs).find(|(_, cell)| !cell.mapped || cell.prot < wanted) {
            Some((page, cell)) if cell.mapped => {
                let access = if wanted == Prot::Rw { "write" } else { "read" };
                return Err(format!("pages that {actor} may {access}: page {page} is protected"));
            }
            Some((page, _)) => return Err(format!("pages that {actor} has mapped: page {page} is not")),
            None => {}
        }
        if wanted > Prot::None {
            self.check_unguarded(actor, runs)?;
        }
        if wanted == Prot::Rw { self.check_unprotected(actor, runs) } else { Ok(()) }
    }

    fn check_unguarded(&self, actor: Actor, runs: &[Run]) -> Result<(), String> {
        match self.marked(actor, runs, &[Marks::GUARD]) {
            Some(page) => Err(format!("pages that {actor} may read: page {page} is a guard page")),
            None => Ok(()),
        }
    }

    /// Is a write sure to be done, as far as userfaultfd goes?
    fn check_unprotected(&self, actor: Actor, runs: &[Run]) -> Result<(), String> {
        match self.marked(actor, runs, &[Marks::PROTECTED, Marks::PERHAPS_PROTECTED]) {
            Some(page) => Err(format!("pages that {actor} may write: page {page} is protected by userfaultfd")),
            None => Ok(()),
        }
    }

    /// The kernel discards nothing that is locked.
    fn check_unlocked(&self, actor: Actor, runs: &[Run]) -> Result<(), String> {
        self.check_prot(actor, runs, Prot::None)?;
        match self.marked(actor, runs, &[Marks::LOCKED]) {
            Some(page) => Err(format!("pages that are not locked: the kernel refuses this for page {page}")),
            None => Ok(()),
        }
    }

    fn check_pin(&self, actor: Actor, pin: Pin, op: &Op, runs: &[Run]) -> Result<(), String> {
        let Some(pinned) = self.held(pin) else { return Err(format!("a pin that was taken: {pin} was not")) };
        if pinned.owner != actor {
            return Err(format!("a step by {}, who took {pin}", pinned.owner));
        }
        match op {
            Op::ReadVia(_) if pinned.runs.is_empty() => Err(format!("a pipe that holds pages: {pin} is empty")),
            Op::WriteVia(..) if !pinned.kind.writes() => Err(format!("a read/write pin: {pin} is read-only")),
            Op::WriteVia(..) => {
                let mut pages = runs.iter().flat_map(|run| run.pages());
                match pages.find(|page| pinned.cell(*page) == PinCell::Absent) {
                    Some(page) => Err(format!("pages under {pin}: page {page} is not")),
                    None => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }
}
