//! `require`: are the pages in that state?

use cowcheck_model::memory::Memory;
use cowcheck_model::pages::Run;
use cowcheck_model::step::State;
use cowcheck_model::trace::{Observed, PageState, StepResult};

/// Are all the pages in this state? If not, what was found instead; if nobody can tell, why.
pub fn look(state: State, memory: Memory, page_size: u32, observed: &[Observed]) -> StepResult {
    let is = |observed: &Observed| is_so(state, memory, page_size, observed);
    if let Some(bad) = observed.iter().find(|observed| is(observed) == Some(false)) {
        return StepResult::Unmet(format!("{} of {} is {}", pages(bad.pages), bad.actor, bad.state));
    }
    match observed.iter().find(|observed| is(observed).is_none()) {
        Some(dark) => StepResult::Unobserved(format!("{} of {}: {}", pages(dark.pages), dark.actor, needs(state))),
        None => StepResult::Ok,
    }
}

/// `None` where what is known of the page does not tell.
fn is_so(state: State, memory: Memory, page_size: u32, observed: &Observed) -> Option<bool> {
    let is = &observed.state;
    match state {
        State::Populated => Some(is.present),
        State::Swapped => Some(is.swapped),
        State::PmdMapped => Some(is.present && is.pmd),
        State::PteMapped => Some(is.present && !is.pmd),
        State::Folio => Some(is.present && in_folio(memory, page_size, observed)),
        _ if !is.present => Some(false),
        State::Shared => shared(is),
        // Before Linux 5.19 there was no mark.
        State::Exclusive => is.exclusive.or_else(|| shared(is).map(|shared| !shared)),
        State::Ksm => {
            if is.ksm {
                Some(true)
            } else {
                is_known(is).then_some(false)
            }
        }
        State::ZeroPage => {
            if is.zero {
                Some(true)
            } else {
                is_known(is).then_some(false)
            }
        }
        State::Pinned => is.pinned,
    }
}

/// Bit 56 of pagemap is about the whole folio on newer kernels: set, nobody else maps any of it; unset says nothing of
/// this page.
fn shared(is: &PageState) -> Option<bool> {
    match is.mapcount {
        Some(times) => Some(times > 1),
        None => is.mapped_once.then_some(false),
    }
}

/// Did anybody look at the frame?
fn is_known(is: &PageState) -> bool {
    is.order.is_some() || is.mapcount.is_some()
}

/// What would tell.
fn needs(state: State) -> &'static str {
    match state {
        State::Pinned => "only the helper module can tell",
        _ => "frame numbers are for root only",
    }
}

/// Where the folio's order is known, that and the places in it tell. Else: frames of one folio are consecutive and as
/// aligned as the folio is large; where the numbers are hidden, presence is all there is to see.
fn in_folio(memory: Memory, page_size: u32, observed: &Observed) -> bool {
    let per_folio = (memory.size / u64::from(page_size)).max(1);
    let first = u64::from(observed.pages.first);
    if let Some(order) = observed.state.order {
        return 1u64.checked_shl(order) == Some(per_folio) && u64::from(observed.index) == first % per_folio;
    }
    observed.pfn == 0 || (observed.pfn % per_folio == first % per_folio && whole(per_folio, observed.pages))
}

/// Does a run of consecutive frames begin and end with folios, or lie in one?
fn whole(per_folio: u64, run: Run) -> bool {
    let (first, end) = (u64::from(run.first), u64::from(run.end()));
    first % per_folio == 0 && end % per_folio == 0 || run.count == 1 || first / per_folio == (end - 1) / per_folio
}

fn pages(run: Run) -> String {
    format!("page{} {run}", if run.count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use cowcheck_model::memory::MemoryKind;
    use cowcheck_model::step::Actor;

    use super::*;

    fn of(state: State, is: PageState) -> StepResult {
        let run = Run { first: 3, count: 2 };
        let observed = Observed { actor: Actor::A, pages: run, state: is, pfn: 0, swap: None, index: 0 };
        look(state, Memory::new(MemoryKind::Anon, 4096), 4096, &[observed])
    }

    const THERE: PageState = PageState {
        present: true,
        swapped: false,
        file: false,
        mapped_once: false,
        soft_dirty: false,
        uffd_wp: false,
        guard: false,
        pmd: false,
        exclusive: None,
        tail_exclusive: false,
        writable: None,
        pinned: None,
        dirty: false,
        zero: false,
        ksm: false,
        swapcache: false,
        migrating: false,
        special: false,
        order: None,
        mapcount: None,
        refcount: None,
    };

    #[test]
    fn what_cannot_be_seen_is_not_said_to_be_missing() {
        for state in [State::Shared, State::Exclusive, State::Ksm, State::ZeroPage, State::Pinned] {
            let StepResult::Unobserved(why) = of(state, THERE) else { panic!("{state:?}") };
            assert!(why.starts_with("pages 3-4 of A: "), "{why}");
            assert!(matches!(of(state, PageState::default()), StepResult::Unmet(_)), "{state:?}");
        }
    }

    #[test]
    fn shared_and_exclusive_by_the_mark_by_counts_and_by_the_bit() {
        let is = |state: PageState| {
            [of(State::Shared, state), of(State::Exclusive, state)].map(|found| found == StepResult::Ok)
        };
        assert_eq!(is(PageState { mapcount: Some(2), ..THERE }), [true, false]);
        assert_eq!(is(PageState { mapcount: Some(1), ..THERE }), [false, true]);
        assert_eq!(is(PageState { mapped_once: true, ..THERE }), [false, true]);
        // The child is gone: mapped once, and not marked.
        assert_eq!(is(PageState { mapcount: Some(1), exclusive: Some(false), ..THERE }), [false, false]);
        assert_eq!(is(PageState { mapcount: Some(1), exclusive: Some(true), ..THERE }), [false, true]);
    }

    #[test]
    fn kinds_of_frames() {
        let ksm = PageState { ksm: true, mapcount: Some(2), ..THERE };
        assert_eq!(of(State::Ksm, ksm), StepResult::Ok);
        assert!(matches!(of(State::Ksm, PageState { mapcount: Some(2), ..THERE }), StepResult::Unmet(_)));
        assert_eq!(of(State::ZeroPage, PageState { zero: true, ..THERE }), StepResult::Ok);
        assert!(matches!(of(State::ZeroPage, ksm), StepResult::Unmet(_)));
        assert_eq!(of(State::Pinned, PageState { pinned: Some(true), ..THERE }), StepResult::Ok);
    }
}
