//! Page states in as few bytes as are needed: a step of a fragmented THP has a thousand of them, and most of a run's time
//! would go into writing and reading them as text.

use cowcheck_model::pages::Run;
use cowcheck_model::step::Actor;
use cowcheck_model::trace::{Observed, PageState};

/// Appends them.
pub(super) fn pack(states: &[Observed], to: &mut Vec<u8>) {
    for Observed { actor, pages, state, pfn, swap, index } in states {
        let (flags, numbers) = split(state);
        let optional = numbers.map(|number| number.map(u64::from));
        let all = [Some(u64::from(flags)), Some(u64::from(pages.first)), Some(u64::from(pages.count)), Some(*pfn)];
        to.push(actor.index() as u8);
        all.iter().chain(&[Some(u64::from(*index)), *swap]).chain(&optional).for_each(|number| put(*number, to));
    }
}

/// Reads them back; `None` of what is not whole.
pub(super) fn unpack(mut from: &[u8]) -> Option<Vec<Observed>> {
    let mut found = Vec::new();
    while let [actor, rest @ ..] = from {
        from = rest;
        let mut next = || take(&mut from);
        let small = |number: u64| u32::try_from(number).ok();
        let flags = small(next()??)?;
        let pages = Run { first: small(next()??)?, count: small(next()??)? };
        let (pfn, index, swap) = (next()??, small(next()??)?, next()?);
        let numbers = [next()?.map(small), next()?.map(small), next()?.map(small)];
        let [order, mapcount, refcount] = numbers.map(Option::flatten);
        let state = join(flags, [order, mapcount, refcount]);
        found.push(Observed { actor: Actor::new(usize::from(*actor))?, pages, state, pfn, swap, index });
    }
    Some(found)
}

/// A byte for nothing, or seven bits at a time, the low ones first, of the number plus one.
fn put(number: Option<u64>, to: &mut Vec<u8>) {
    let mut left = number.map_or(0, |number| u128::from(number) + 1);
    while left > 0x7f {
        to.push(left as u8 | 0x80);
        left >>= 7;
    }
    to.push(left as u8);
}

fn take(from: &mut &[u8]) -> Option<Option<u64>> {
    let mut number = 0_u128;
    for shift in (0..70).step_by(7) {
        let (byte, rest) = from.split_first()?;
        *from = rest;
        number |= u128::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return match number {
                0 => Some(None),
                more => Some(Some(u64::try_from(more - 1).ok()?)),
            };
        }
    }
    None
}

/// What is yes or no, and the numbers.
fn split(state: &PageState) -> (u32, [Option<u32>; 3]) {
    let PageState {
        present,
        swapped,
        file,
        mapped_once,
        soft_dirty,
        uffd_wp,
        guard,
        pmd,
        exclusive,
        tail_exclusive,
        writable,
        pinned,
        dirty,
        zero,
        ksm,
        swapcache,
        migrating,
        special,
        order,
        mapcount,
        refcount,
    } = *state;
    let (is_known, is_yes) = (|one: Option<bool>| one.is_some(), |one| one == Some(true));
    let bits = [
        present,
        swapped,
        file,
        mapped_once,
        soft_dirty,
        uffd_wp,
        guard,
        pmd,
        tail_exclusive,
        dirty,
        zero,
        ksm,
        swapcache,
        migrating,
        special,
        is_known(exclusive),
        is_yes(exclusive),
        is_known(writable),
        is_yes(writable),
        is_known(pinned),
        is_yes(pinned),
    ];
    let flags = bits.iter().enumerate().map(|(at, on)| u32::from(*on) << at).sum();
    (flags, [order, mapcount, refcount])
}

fn join(flags: u32, [order, mapcount, refcount]: [Option<u32>; 3]) -> PageState {
    let is = |at: u32| flags >> at & 1 == 1;
    let known = |at| is(at).then(|| is(at + 1));
    PageState {
        present: is(0),
        swapped: is(1),
        file: is(2),
        mapped_once: is(3),
        soft_dirty: is(4),
        uffd_wp: is(5),
        guard: is(6),
        pmd: is(7),
        tail_exclusive: is(8),
        dirty: is(9),
        zero: is(10),
        ksm: is(11),
        swapcache: is(12),
        migrating: is(13),
        special: is(14),
        exclusive: known(15),
        writable: known(17),
        pinned: known(19),
        order,
        mapcount,
        refcount,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One of each flag by itself, and numbers from the smallest to the largest.
    fn samples() -> Vec<Observed> {
        let numbers = [None, Some(0), Some(126), Some(127), Some(u32::MAX)];
        let sample = |at: usize| {
            let state = join(1 << (at % 22), [numbers[at % 5], numbers[at / 5 % 5], numbers[at / 25 % 5]]);
            // What is not known is neither yes nor no.
            let state = join(split(&state).0, split(&state).1);
            let (pfn, swap) =
                (if at.is_multiple_of(2) { u64::MAX - at as u64 } else { 0 }, at.is_multiple_of(3).then_some(u64::MAX));
            let pages = Run { first: at as u32 * 7, count: u32::MAX - at as u32 };
            Observed { actor: Actor::new(at % Actor::MAX).unwrap(), pages, state, pfn, swap, index: at as u32 }
        };
        (0..500).map(sample).collect()
    }

    #[test]
    fn what_was_packed_is_there_again() {
        let samples = samples();
        let mut bytes = Vec::new();
        pack(&samples, &mut bytes);
        assert_eq!(unpack(&bytes).unwrap(), samples);
        assert_eq!(unpack(&[]).unwrap(), []);
    }

    #[test]
    fn what_is_cut_off_is_refused() {
        let mut bytes = Vec::new();
        pack(&samples()[..1], &mut bytes);
        assert!((1..bytes.len()).all(|len| unpack(&bytes[..len]).is_none()));
        assert!(unpack(&[0; 3]).is_none() && unpack(&[0xff; 40]).is_none());
    }

    #[test]
    fn every_flag_has_a_place_of_its_own() {
        for at in 0..15 {
            assert_eq!(split(&join(1 << at, [None; 3])).0, 1 << at);
        }
        for at in [15, 17, 19] {
            assert_eq!(split(&join(3 << at, [None; 3])).0, 3 << at);
        }
    }
}
