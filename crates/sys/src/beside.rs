//! Threads beside one that may fork.

use std::io;
use std::mem;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::thread::{self, Builder, JoinHandle};
use std::time::Duration;

use crate::process::id;

/// How long a thread that is done sleeps before it looks whether all is over.
const PAUSE: Duration = Duration::from_micros(50);

/// What is done in a thread.
pub type Work<'a, T> = Box<dyn FnOnce() -> T + Send + 'a>;

/// Does each of `aside` in a thread of its own and `here` in this one, at the same time. All threads are gone when this
/// returns, and what they came to is in their order; `None` of one that ended early. In a child that `here` forked there
/// are none, and nothing of theirs is returned.
///
/// While `here` runs, every thread is in its work or waits behind it, and neither begins nor ends: the standard library
/// and the C library hold locks there, which a child would find held for ever.
///
/// The error is that there was no room for a thread; then `here` has not been called.
pub fn beside<'a, T: Send + 'a, R>(
    aside: Vec<Work<'a, T>>,
    here: impl FnOnce() -> R,
) -> io::Result<(R, Vec<Option<T>>)> {
    let parent = id();
    let (count, begun, over) = (aside.len(), AtomicUsize::new(0), AtomicBool::new(false));
    let mut threads = Threads { handles: Vec::with_capacity(count), over: &over };
    for work in aside {
        let (begun, over) = (&begun, &over);
        let work = move || {
            begun.fetch_add(1, Release);
            let came = work();
            while !over.load(Acquire) {
                thread::sleep(PAUSE);
            }
            came
        };
        // SAFETY: the thread may use what lives for 'a. It is joined before this function returns or unwinds, which
        // `Threads` does when it is dropped, and it is a local variable, so nobody can leak it. The one exception is
        // a process in which the thread does not exist.
        threads.handles.push(unsafe { Builder::new().spawn_unchecked(work) }?);
    }
    while begun.load(Acquire) < count {
        thread::yield_now();
    }
    let result = here();
    if id() != parent {
        // fork(2) copies the calling thread only. There is nobody to be joined.
        mem::forget(threads);
        return Ok((result, vec![]));
    }
    Ok((result, threads.join()))
}

/// Threads that wait for `over` when they are done.
struct Threads<'a, T> {
    handles: Vec<JoinHandle<T>>,
    over: &'a AtomicBool,
}

impl<T> Threads<'_, T> {
    fn join(&mut self) -> Vec<Option<T>> {
        self.over.store(true, Release);
        mem::take(&mut self.handles).into_iter().map(|thread| thread.join().ok()).collect()
    }
}

impl<T> Drop for Threads<'_, T> {
    fn drop(&mut self) {
        self.join();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::process::{self, Exit, Fork};

    #[test]
    fn what_threads_came_to_is_in_their_order() {
        let count = AtomicU32::new(0);
        let work = |number: u32| -> Work<'_, u32> {
            let count = &count;
            Box::new(move || {
                count.fetch_add(1, Ordering::Relaxed);
                number
            })
        };
        let (here, aside) = beside(vec![work(1), work(2), work(3)], || "here").unwrap();
        assert_eq!((here, aside), ("here", vec![Some(1), Some(2), Some(3)]));
        assert_eq!(count.into_inner(), 3);
    }

    static ENDED: AtomicU32 = AtomicU32::new(0);

    struct Last;

    impl Drop for Last {
        fn drop(&mut self) {
            ENDED.fetch_add(1, Ordering::Relaxed);
        }
    }

    thread_local! {
        static LAST: Last = const { Last };
    }

    #[test]
    fn no_thread_ends_before_the_main_one_is_done() {
        let work = || -> Work<'_, ()> { Box::new(|| LAST.with(|_| ())) };
        let (ended, _) = beside(vec![work(), work()], || {
            thread::sleep(Duration::from_millis(20));
            ENDED.load(Ordering::Relaxed)
        })
        .unwrap();
        assert_eq!((ended, ENDED.load(Ordering::Relaxed)), (0, 2));
    }

    #[test]
    fn a_child_that_is_forked_meanwhile_has_none_of_them() {
        let stop = AtomicU32::new(0);
        let wait = || -> Work<'_, ()> {
            Box::new(|| {
                while stop.load(Ordering::Acquire) == 0 {
                    std::thread::yield_now();
                }
            })
        };
        let (forked, aside) = beside(vec![wait(), wait()], || {
            let forked = process::fork_beside().unwrap();
            stop.store(1, Ordering::Release);
            forked
        })
        .unwrap();
        match forked {
            Fork::Child => process::exit_now(if aside.is_empty() { 7 } else { 8 }),
            Fork::Parent(pid) => assert_eq!(process::wait(pid, true).unwrap(), Some(Exit::Code(7))),
        }
        assert_eq!(aside.len(), 2);
    }
}
