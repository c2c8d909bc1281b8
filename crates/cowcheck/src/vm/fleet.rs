//! Several guests side by side: how many, and who is next.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What a guest takes beside its memory: QEMU itself, and what it translates.
const OVERHEAD: u64 = 512 << 20;

/// Memory that stays this machine's.
const SPARE: u64 = 1 << 30;

/// How many guests of `memory` bytes fit side by side on a machine of so many processors and bytes of available
/// memory; at least one.
pub fn width(kernels: usize, processors: usize, available: u64, memory: u64) -> usize {
    let fit = available.saturating_sub(SPARE) / (memory + OVERHEAD);
    kernels.min(processors).min(usize::try_from(fit).unwrap_or(usize::MAX)).max(1)
}

/// Does the work for each item, at most `width` at a time, the first ones first. Results are in the items' order.
pub fn each<I: Sync, R: Send>(items: &[I], width: usize, work: impl Fn(usize, &I) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::with_capacity(items.len()));
    let take = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else { break };
            let result = work(index, item);
            // Poisoned means that another thread panicked, which the scope passes on.
            if let Ok(mut results) = results.lock() {
                results.push((index, result));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..width.min(items.len()).max(1) {
            scope.spawn(take);
        }
    });
    let mut results = results.into_inner().unwrap_or_default();
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_fit() {
        const GIB: u64 = 1 << 30;
        assert_eq!(width(6, 2, 20 * GIB, 2 * GIB), 2);
        assert_eq!(width(1, 8, 20 * GIB, 2 * GIB), 1);
        assert_eq!(width(6, 8, 20 * GIB, 5 * GIB), 3);
        assert_eq!(width(6, 8, GIB, 5 * GIB), 1);
    }

    #[test]
    fn results_are_in_order_and_no_more_run_at_once() {
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let items: Vec<u64> = (0..20).collect();
        let results = each(&items, 3, |index, item| {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::sleep(std::time::Duration::from_millis(20 - item));
            now.fetch_sub(1, Ordering::SeqCst);
            (index, item * 2)
        });
        assert_eq!(results, (0..20).map(|item| (item as usize, item * 2)).collect::<Vec<_>>());
        assert_eq!(most.load(Ordering::SeqCst), 3);
    }
}
