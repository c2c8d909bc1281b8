//! cowcheck's own swap, taken out of use and put to use again: all that is in it comes back in, by no page fault.

use std::path::Path;

use cowcheck_model::step::Op;
use cowcheck_model::trace::StepResult;
use cowcheck_sys::swap;

use super::family::{Plan, done};
use super::request::Devices;

/// How often a signal may interrupt it.
const TRIES: u32 = 20;
const EINTR: i32 = 4;

/// The same area at the same place: it is the only one, so its priority is the lowest again (swapon(2)).
pub(super) fn swapoff(devices: &Devices) -> StepResult {
    let Some(area) = devices.swap.as_deref().map(Path::new) else {
        return StepResult::Skipped("there is no swap that is cowcheck's own".to_owned());
    };
    let mut tries = 1;
    loop {
        match swap::swapoff(area) {
            Err(error) if error.raw_os_error() == Some(EINTR) && tries < TRIES => tries += 1,
            Err(error) => return done(Err(error)),
            Ok(()) => return done(swap::swapon(area)),
        }
    }
}

/// An actor that was killed in the middle leaves no swap to the checks that follow.
pub(super) fn put_back(plan: &Plan<'_>) {
    if let Some(area) = &plan.devices.swap
        && plan.scenario.has(|op| *op == Op::Swapoff)
    {
        // EBUSY where it is in use, as it should be.
        let _ = swap::swapon(Path::new(area));
    }
}
