//! What may have come to its end by chance is tried again, a few times in a row: under software emulation on a busy host some
//! boots come to a halt or panic, and some guests run code that is no longer there.

use super::guest::End;

/// How often in a row.
pub const MOST: u32 = 3;

/// How a guest ended, and where it was then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// How.
    pub end: End,
    /// Was its first program heard?
    pub was_up: bool,
    /// What its console had to show.
    pub console: String,
}

impl Ended {
    /// May it come to a better end next time?
    fn may_be_chance(&self) -> bool {
        match self.end {
            End::StaleCode(_) => true,
            End::Silent { .. } | End::Panic(_) => !self.was_up,
            _ => false,
        }
    }
}

/// Guests that may have ended by chance, one after the other, with nothing done between them.
#[derive(Debug, Default)]
pub struct Tries {
    ended: u32,
    /// The last of them that is no fault of QEMU's.
    own: Option<Ended>,
}

impl Tries {
    /// One more ended: is it to be tried again?
    pub fn again(&mut self, ended: &Ended) -> bool {
        if !ended.may_be_chance() {
            return false;
        }
        self.ended += 1;
        if !matches!(ended.end, End::StaleCode(_)) {
            self.own = Some(ended.clone());
        }
        self.ended < MOST
    }

    /// What to tell when it was not: of a kernel that panics at every boot, the panic, whatever QEMU did in between.
    pub fn cause(self, last: Ended) -> Ended {
        match last.end {
            End::StaleCode(_) => self.own.unwrap_or(last),
            _ => last,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(end: End, was_up: bool) -> Ended {
        Ended { end, was_up, console: String::new() }
    }

    #[test]
    fn what_may_be_chance_is_tried_three_times_and_nothing_else_is() {
        let stale = ended(End::StaleCode("int3".into()), true);
        let mut tries = Tries::default();
        assert_eq!([tries.again(&stale), tries.again(&stale), tries.again(&stale)], [true, true, false]);
        assert_eq!(tries.cause(stale.clone()), stale);

        for (end, was_up, again) in [
            (End::Panic("VFS".into()), false, true),
            (End::Panic("VFS".into()), true, false),
            (End::Silent { seconds: 10, spins: true }, false, true),
            (End::Silent { seconds: 10, spins: true }, true, false),
            (End::Over, false, false),
            (End::TripleFault, false, false),
        ] {
            assert_eq!(Tries::default().again(&ended(end.clone(), was_up)), again, "{end:?} {was_up}");
        }
    }

    #[test]
    fn a_kernel_that_panics_at_every_boot_is_told_so_whatever_qemu_did_in_between() {
        let panic = ended(End::Panic("VFS: Unable to mount root fs".into()), false);
        let stale = ended(End::StaleCode("int3".into()), false);
        let mut tries = Tries::default();
        assert_eq!([tries.again(&panic), tries.again(&stale), tries.again(&stale)], [true, true, false]);
        assert_eq!(tries.cause(stale), panic);
        // What comes of no chance stands for itself.
        let mut tries = Tries::default();
        let off = ended(End::WentOff, true);
        assert_eq!([tries.again(&panic), tries.again(&off)], [true, false]);
        assert_eq!(tries.cause(off.clone()), off);
    }
}
