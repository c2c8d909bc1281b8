//! Forced writes: to pages that the actor itself may not write.

use cowcheck_model::pages::Run;
use cowcheck_model::stamp::Stamp;
use cowcheck_model::trace::StepResult;
use cowcheck_sys::force::Force;

use super::family::done;
use super::layout::Layout;

/// Stamps the pages through /proc/self/mem. The file is opened each time: one that was inherited is the parent's memory.
pub fn poke(layout: &Layout, runs: &[Run], stamp: impl Fn(u32) -> Stamp) -> StepResult {
    let mut words = vec![0; layout.page_size() / size_of::<u64>()];
    done(Force::open().and_then(|force| {
        layout.each(runs).try_for_each(|(page, offset)| {
            stamp(page).fill(&mut words);
            force.write(&layout.area, offset, &words)
        })
    }))
}
