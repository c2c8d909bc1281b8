//! What the helper module tells of the page tables of a whole family.

use std::io;

use cowcheck_model::pages::Run;
use cowcheck_model::step::Actor;
use cowcheck_model::trace::{Observed, PageState};
use cowcheck_sys::helper::{self, Helper, flag};

use super::fault::Fault;
use super::turns::Turns;

/// Consecutive pages at consecutive addresses of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Which pages.
    pub pages: Run,
    /// Where the first is.
    pub address: usize,
}

/// The open device. A forked child may go on using it.
#[derive(Debug)]
pub struct Look {
    helper: Helper,
    page_size: usize,
    /// Tell a lie, to see that it is found out.
    lies: bool,
}

impl Look {
    /// Opens the device.
    pub fn open(device: &str, page_size: usize, fault: Option<Fault>) -> io::Result<Look> {
        let helper = Helper::open(device)?;
        Ok(Look { helper, page_size, lies: fault == Some(Fault::FalseMark) })
    }

    /// The states of the pages of one actor, the process `pid` (0: this one), as few runs as possible.
    pub fn of(&self, actor: Actor, pid: i32, places: &[Place]) -> io::Result<Vec<Observed>> {
        let mut found = Vec::new();
        for place in places {
            let mut next = place.pages.first;
            let len = place.pages.count as usize * self.page_size;
            self.helper.look(pid, place.address, len, |run| {
                let first = place.pages.first + ((run.addr as usize - place.address) / self.page_size) as u32;
                let pages = Run { first, count: run.count };
                let hole = Run { first: next, count: first - next };
                push(&mut found, observed(actor, hole, &helper::Run::default()));
                push(&mut found, observed(actor, pages, run));
                next = pages.end();
            })?;
            let rest = Run { first: next, count: place.pages.end() - next };
            push(&mut found, observed(actor, rest, &helper::Run::default()));
        }
        if self.lies {
            found.iter_mut().filter_map(|seen| seen.state.exclusive.as_mut()).for_each(|mark| *mark = true);
        }
        Ok(found)
    }

    /// The states of all pages of every actor that lives. Everybody waits meanwhile, save who asks.
    pub fn family(&self, turns: &Turns) -> Vec<Observed> {
        let living = (0..).map_while(Actor::new).filter(|actor| turns.lives(*actor));
        // One that is being killed has no page table any more.
        living.flat_map(|actor| self.of(actor, turns.pid(actor), &turns.places(actor)).unwrap_or_default()).collect()
    }
}

/// Appends a run, or lets the last one go on.
fn push(found: &mut Vec<Observed>, next: Observed) {
    match found.last_mut() {
        _ if next.pages.count == 0 => {}
        Some(last) if last.is_continued_by(&next) => last.pages.count += next.pages.count,
        _ => found.push(next),
    }
}

fn observed(actor: Actor, pages: Run, run: &helper::Run) -> Observed {
    let has = |flag: u64| run.flags & flag != 0;
    let present = has(flag::PRESENT);
    // A mark is something that only these have.
    let is_marked = present && has(flag::ANON) || has(flag::SWAPPED | flag::MIGRATING);
    let is_whole = has(flag::PMD | flag::PUD) || has(flag::HUGETLB);
    let is_page = present && !has(flag::SPECIAL);
    let number = |number: i32| u32::try_from(number).ok().filter(|_| is_page);
    let state = PageState {
        present,
        swapped: has(flag::SWAPPED),
        file: is_page && !has(flag::ANON | flag::ZERO),
        mapped_once: number(run.mapcount) == Some(1),
        soft_dirty: has(flag::SOFT_DIRTY),
        uffd_wp: has(flag::UFFD_WP),
        guard: has(flag::GUARD),
        pmd: present && is_whole,
        exclusive: (has(flag::MARKS_KNOWN) && is_marked).then(|| has(flag::EXCLUSIVE)),
        // In a hugetlb folio nobody looks at tails.
        tail_exclusive: present
            && has(flag::PMD | flag::PUD)
            && !has(flag::HUGETLB)
            && run.index != 0
            && has(flag::OWN_EXCLUSIVE),
        writable: present.then(|| has(flag::WRITABLE)),
        pinned: is_page.then(|| has(flag::PINNED)),
        dirty: has(flag::DIRTY),
        zero: has(flag::ZERO),
        ksm: has(flag::KSM),
        swapcache: has(flag::SWAPCACHE),
        migrating: has(flag::MIGRATING),
        special: has(flag::SPECIAL),
        order: is_page.then_some(run.order),
        mapcount: number(run.mapcount).filter(|_| !has(flag::ZERO)),
        refcount: number(run.refcount).filter(|_| !has(flag::ZERO)),
    };
    let pfn = if is_page { run.pfn } else { 0 };
    let index = if is_page { run.index } else { 0 };
    Observed { actor, pages, state, pfn, swap: has(flag::SWAPPED).then_some(run.swap), index }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(runs: &[helper::Run]) -> Vec<Observed> {
        let mut found = Vec::new();
        let mut first = 0;
        for run in runs {
            push(&mut found, observed(Actor::A, Run { first, count: run.count }, run));
            first += run.count;
        }
        found
    }

    const ANON: u64 = flag::PRESENT | flag::ANON | flag::MARKS_KNOWN;

    fn run(flags: u64, count: u32, pfn: u64, index: u32) -> helper::Run {
        helper::Run { flags, count, pfn, index, order: 9, mapcount: 1, refcount: 1, ..helper::Run::default() }
    }

    #[test]
    fn a_huge_page_is_one_run_though_its_head_has_the_mark() {
        let head = run(ANON | flag::PMD | flag::EXCLUSIVE | flag::OWN_EXCLUSIVE, 1, 512, 0);
        let tails = run(ANON | flag::PMD | flag::EXCLUSIVE, 511, 513, 1);
        let found = all(&[head, tails]);
        let [whole] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((whole.pages, whole.pfn, whole.index), (Run { first: 0, count: 512 }, 512, 0));
        assert_eq!((whole.state.exclusive, whole.state.pmd, whole.state.tail_exclusive), (Some(true), true, false));
        // A mark on a tail is another matter, but not in a hugetlb folio nor where PTEs map it.
        let marked = run(ANON | flag::PMD | flag::EXCLUSIVE | flag::OWN_EXCLUSIVE, 511, 513, 1);
        let found = all(&[head, marked]);
        assert_eq!(found.iter().map(|seen| seen.state.tail_exclusive).collect::<Vec<_>>(), [false, true]);
        let hugetlb = run(ANON | flag::PMD | flag::HUGETLB | flag::OWN_EXCLUSIVE, 511, 513, 1);
        assert!(!all(&[hugetlb])[0].state.tail_exclusive);
        assert!(!all(&[run(ANON | flag::OWN_EXCLUSIVE | flag::EXCLUSIVE, 511, 513, 1)])[0].state.tail_exclusive);
    }

    #[test]
    fn runs_go_on_where_frames_places_and_entries_do() {
        let page = |pfn, index| run(ANON, 1, pfn, index);
        assert_eq!(all(&[page(7, 3), page(8, 4)]).len(), 1);
        assert_eq!(all(&[page(7, 3), page(9, 4)]).len(), 2);
        assert_eq!(all(&[page(7, 3), page(8, 0)]).len(), 2);
        // The next folio, just behind.
        assert_eq!(all(&[page(1023, 511), page(1024, 0), page(1025, 1)]).len(), 1);
        let small = |pfn| helper::Run { order: 0, ..page(pfn, 0) };
        assert_eq!(all(&[small(7), small(8), small(9)]).len(), 1);
        let entry = |swap| helper::Run { swap, ..run(flag::SWAPPED | flag::MARKS_KNOWN, 1, 0, 0) };
        assert_eq!(all(&[entry(0), entry(1), entry(2)]).len(), 1);
        assert_eq!(all(&[entry(0), entry(2)]).len(), 2);
        assert_eq!(all(&[entry(0)])[0].state.exclusive, Some(false));
        let nothing = run(flag::MARKS_KNOWN, 4, 0, 0);
        assert_eq!(all(&[nothing, nothing]).len(), 1);
    }

    #[test]
    fn only_what_can_have_a_mark_has_one() {
        let state = |flags| all(&[run(flags, 1, 7, 0)])[0].state;
        // The same bit has another meaning on a page of a file.
        let file = state(flag::PRESENT | flag::MARKS_KNOWN | flag::EXCLUSIVE | flag::WRITABLE);
        assert_eq!((file.exclusive, file.file, file.writable), (None, true, Some(true)));
        let zero = state(flag::PRESENT | flag::MARKS_KNOWN | flag::ZERO);
        assert_eq!((zero.exclusive, zero.file, zero.zero, zero.mapcount), (None, false, true, None));
        // Before Linux 5.19.
        assert_eq!(state(flag::PRESENT | flag::ANON | flag::WRITABLE).exclusive, None);
        assert_eq!(state(flag::MARKS_KNOWN), PageState::default());
    }
}
