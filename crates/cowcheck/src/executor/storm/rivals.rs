//! What goes on beside the writers.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicI32, AtomicU64};
use std::time::Duration;

use cowcheck_model::pages::{Run, runs_of};
use cowcheck_model::step::{Advice, Prot};
use cowcheck_model::storm::{Eye, Rival, WRITERS};
use cowcheck_sys::area::Fault as Signal;
use cowcheck_sys::process;
use cowcheck_sys::splice::vmsplice;
use cowcheck_sys::uring::FixedBuffers;
use rustix::fs::MemfdFlags;

use super::child;
use super::field::{ChildWord, Counts, Field, Odd, PINNED};
use crate::executor::fault::Fault;

/// How long a rival waits for the writers between two rounds.
const PACE: Duration = Duration::from_millis(1);
/// How long it waits for them to be there at all.
const BEGIN: Duration = Duration::from_millis(50);
/// How many pages are read or pinned at once.
const SOME: usize = 4;
/// How many pages are protected or paged out at once, at most.
const MANY: usize = 64;
/// How long the pin rival holds nothing between two rounds, so that others have pages without a pin, too: a ring's end is
/// some time before that of its pins.
const UNPINNED: Duration = Duration::from_millis(4);
/// How often a pin is written through.
const WRITES: u32 = 8;

/// What a rival did.
#[derive(Default)]
pub(super) struct Count {
    pub(super) rounds: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) errno: AtomicI32,
}

/// Does its own until it is over.
pub(super) fn run(field: &Field<'_>, rival: Rival, count: &Count) {
    field.wait_a_round(BEGIN);
    let mut dice = fastrand::Rng::with_seed(u64::from(field.nonce) << 8 | rival as u64);
    let mut own = Own { field, pinned: vec![0; field.pages.len()], words: vec![], pipe: None, scratch: None };
    while !field.is_stopped() {
        let result = match rival {
            Rival::Collapse => own.split(&mut dice).and_then(|()| own.collapse()),
            Rival::Fork => own.fork(),
            Rival::Gup => own.gup(&mut dice),
            Rival::Split => own.split(&mut dice),
            Rival::Pageout => own.page_out(&mut dice),
            Rival::Pin => own.pin(&mut dice),
            Rival::Mprotect => own.protect(&mut dice),
        };
        count.note(result);
        if rival == Rival::Pin {
            std::thread::sleep(UNPINNED);
        }
        // Most often the writers get on in between, but not always.
        if dice.u8(0..4) > 0 {
            field.wait_a_round(PACE);
        }
    }
}

/// What one rival has.
struct Own<'a> {
    field: &'a Field<'a>,
    /// The counts that went through its pins, by page.
    pinned: Vec<u32>,
    /// Room for what children see.
    words: Vec<[u64; WRITERS as usize]>,
    pipe: Option<(File, std::os::fd::OwnedFd)>,
    scratch: Option<File>,
}

impl Own<'_> {
    fn split(&self, dice: &mut fastrand::Rng) -> io::Result<()> {
        let (_, offset) = self.field.pages[dice.usize(0..self.field.pages.len())];
        self.field.layout.area.set_apart(offset, self.field.layout.page_size())
    }

    fn collapse(&self) -> io::Result<()> {
        let layout = self.field.layout;
        let all = layout.parts(&[Run { first: 0, count: layout.pages() }]);
        all.iter().try_for_each(|part| layout.area.advise(part.offset, layout.len(part), Advice::Collapse))
    }

    fn fork(&mut self) -> io::Result<()> {
        let field = self.field;
        let least: Vec<Counts> = (0..field.pages.len()).map(|index| field.written(index)).collect();
        self.words.resize(field.pages.len(), [0; WRITERS as usize]);
        field.leave(ChildWord::Nothing);
        let words = &mut self.words;
        let pid = process::fork_aside(|| {
            child::look(field, &least, words);
            0
        })?;
        let exit = process::wait(pid, true)?;
        match field.left() {
            ChildWord::Odd(odd) => field.saw(odd),
            ChildWord::Signal { signal, index } => field.was_hit(index, signal),
            // Killed: by whom, the kernel's log may tell.
            ChildWord::Nothing if exit != Some(process::Exit::Code(0)) => {
                return Err(io::Error::from_raw_os_error(rustix::io::Errno::CHILD.raw_os_error()));
            }
            ChildWord::Nothing => {}
        }
        Ok(())
    }

    /// Some pages, in order, each once.
    fn some(&self, dice: &mut fastrand::Rng) -> Vec<usize> {
        let all = self.field.pages.len();
        let mut some: Vec<usize> = (0..SOME).map(|_| dice.usize(0..all)).collect();
        some.sort_unstable();
        some.dedup();
        some
    }

    fn bytes(&self, pages: &[usize]) -> Vec<(usize, usize)> {
        pages.iter().map(|index| (self.field.pages[*index].1, self.field.layout.page_size())).collect()
    }

    fn gup(&mut self, dice: &mut fastrand::Rng) -> io::Result<()> {
        let field = self.field;
        let some = self.some(dice);
        let bytes = self.bytes(&some);
        let size = field.layout.page_size();
        let mut read = vec![0; some.len() * size];
        let counts = || -> Vec<Counts> { some.iter().map(|index| field.written(*index)).collect() };
        let mut least = counts();
        match dice.bool() {
            true => field.layout.area.read_remote(&bytes, &mut read)?,
            false => self.splice(&bytes, &mut read)?,
        }
        if field.fault == Some(Fault::StaleRead) {
            field.wait_a_round(PACE);
            least = counts();
        }
        let mut words = vec![0; size / 8];
        for ((index, least), page) in some.iter().zip(least).zip(read.chunks_exact(size)) {
            let most = field.begun(*index);
            for (word, bytes) in words.iter_mut().zip(page.as_chunks::<8>().0) {
                *word = u64::from_ne_bytes(*bytes);
            }
            field.odd(*index, &words, Eye::Gup, &least, &most).into_iter().for_each(|odd| field.saw(odd));
        }
        Ok(())
    }

    /// Pages into a pipe, by GUP-fast, and out again.
    fn splice(&mut self, bytes: &[(usize, usize)], read: &mut [u8]) -> io::Result<()> {
        let (from, to) = match self.pipe.take() {
            Some(pipe) => pipe,
            None => {
                let (from, to) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
                (File::from(from), to)
            }
        };
        let taken = vmsplice(to.as_fd(), &self.field.layout.area, bytes)?;
        if taken != read.len() {
            return Err(io::Error::from_raw_os_error(rustix::io::Errno::AGAIN.raw_os_error()));
        }
        (&from).read_exact(read)?;
        // Only a pipe that is empty again is kept.
        self.pipe = Some((from, to));
        Ok(())
    }

    fn page_out(&self, dice: &mut fastrand::Rng) -> io::Result<()> {
        let layout = self.field.layout;
        let (first, end) = self.stretch(dice);
        self.field.pages[first..end]
            .iter()
            .try_for_each(|(_, offset)| layout.area.advise(*offset, layout.page_size(), Advice::PageOut))
    }

    /// Some pages in a row.
    fn stretch(&self, dice: &mut fastrand::Rng) -> (usize, usize) {
        let all = self.field.pages.len();
        let first = dice.usize(0..all);
        (first, (first + dice.usize(1..=MANY)).min(all))
    }

    fn protect(&self, dice: &mut fastrand::Rng) -> io::Result<()> {
        let field = self.field;
        // All of them is what a PMD can be protected for.
        let (first, end) = if dice.bool() { (0, field.pages.len()) } else { self.stretch(dice) };
        let layout = field.layout;
        let parts = layout.parts(&runs_of(field.pages[first..end].iter().map(|(page, _)| *page)));
        let each = |prot| parts.iter().try_for_each(|part| layout.area.protect(part.offset, layout.len(part), prot));
        field.fence.go_on(first, end);
        let closed = if field.fault == Some(Fault::NotProtected) { Ok(()) } else { each(Prot::Ro) };
        if closed.is_ok() {
            field.fence.go_on(first, end);
            field.wait_a_round(PACE);
            field.fence.go_on(first, end);
        }
        let opened = each(Prot::Rw);
        let steps = if closed.is_ok() { 1 } else { 3 };
        (0..steps).for_each(|_| field.fence.go_on(first, end));
        closed.and(opened)
    }

    /// Pins some pages, writes through the pin and looks by the CPU, and the other way round.
    fn pin(&mut self, dice: &mut fastrand::Rng) -> io::Result<()> {
        let field = self.field;
        let area = &field.layout.area;
        let some = self.some(dice);
        let mut buffers = FixedBuffers::register(area, &self.bytes(&some))?;
        let scratch = match self.scratch.take() {
            Some(scratch) => scratch,
            None => File::from(rustix::fs::memfd_create("cowcheck-storm", MemfdFlags::CLOEXEC)?),
        };
        for _ in 0..WRITES {
            let buffer = dice.usize(0..some.len());
            let index = some[buffer];
            let count = self.pinned[index] + 1;
            scratch.write_all_at(&field.word(index, PINNED, count).to_ne_bytes(), 0)?;
            if field.fault != Some(Fault::LostPinWrite) || count != 2 {
                buffers.read_in(buffer, Field::offset(PINNED), 8, scratch.as_fd())?;
            }
            self.pinned[index] = count;
            field.wrote(index, PINNED, count);
            match area.get(field.pages[index].1 + Field::offset(PINNED)) {
                Ok(word) => self.tell(field.check(index, PINNED, word, Eye::Unpinned, count, count)),
                Err(Signal(signal)) => field.was_hit(index, signal),
            }
            let slot = dice.usize(0..WRITERS as usize);
            let least = field.written(index)[slot];
            buffers.write_out(buffer, Field::offset(slot), 8, scratch.as_fd())?;
            let most = field.begun(index)[slot];
            let mut bytes = [0; 8];
            scratch.read_exact_at(&mut bytes, 0)?;
            self.tell(field.check(index, slot, u64::from_ne_bytes(bytes), Eye::Pin, least, most));
        }
        self.scratch = Some(scratch);
        Ok(())
    }

    fn tell(&self, odd: Option<Odd>) {
        odd.into_iter().for_each(|odd| self.field.saw(odd));
    }
}
