//! Whether a silent guest still does anything: how much processor time its QEMU had, and how much it had to wait for.
//!
//! Wall time alone would call a guest hung because its host is busy.

use std::fs;
use std::time::{Duration, Instant};

/// Processor time of a process, all threads together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    /// Time it ran.
    pub ran: Duration,
    /// Time it could have run, but something else did.
    pub waited: Duration,
}

impl Spent {
    /// Of this process. Threads: /proc/PID/task/TID/schedstat, nanoseconds (Documentation/scheduler/sched-stats.rst).
    pub fn of(pid: u32) -> Spent {
        let mut spent = Spent::default();
        for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            let mut numbers = text.split_whitespace().map(|word| Duration::from_nanos(word.parse().unwrap_or(0)));
            spent.ran += numbers.next().unwrap_or_default();
            spent.waited += numbers.next().unwrap_or_default();
        }
        spent
    }
}

/// What to make of a silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Silence {
    /// Too short to say.
    Wait,
    /// It has had enough processor time to have said something: it spins.
    Spins,
    /// It does not even want to run: it halted.
    Halted,
}

/// Judges silences.
#[derive(Debug, Clone, Copy)]
pub struct Watch {
    since: Instant,
    then: Spent,
}

impl Watch {
    /// Something was heard now.
    pub fn new(now: Instant, spent: Spent) -> Watch {
        Watch { since: now, then: spent }
    }

    /// How long it has been silent.
    pub fn silent(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    /// Is it hung, if `limit` of its own time is too long a silence? `processors` is how many it has.
    pub fn judge(&self, now: Instant, spent: Spent, limit: Duration, processors: u32) -> Silence {
        let silent = self.silent(now);
        let ran = spent.ran.saturating_sub(self.then.ran);
        let waited = spent.waited.saturating_sub(self.then.waited);
        if silent < limit {
            Silence::Wait
        } else if (ran + waited) * 4 < silent {
            // Timers alone take some of the processor under emulation.
            Silence::Halted
        } else if ran >= limit || silent >= limit * 8 * processors {
            // The last is for a host that gives it next to nothing: for ever is no answer either.
            Silence::Spins
        } else {
            Silence::Wait
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_starved_guest_is_waited_for() {
        let began = Instant::now();
        let watch = Watch::new(began, Spent::default());
        let seconds = Duration::from_secs;
        let limit = seconds(10);
        let judge = |wall, ran, waited| {
            watch.judge(began + seconds(wall), Spent { ran: seconds(ran), waited: seconds(waited) }, limit, 2)
        };
        assert_eq!(judge(9, 9, 0), Silence::Wait);
        assert_eq!(judge(10, 10, 0), Silence::Spins);
        assert_eq!(judge(11, 0, 0), Silence::Halted);
        assert_eq!(judge(30, 3, 27), Silence::Wait, "others had the processor");
        assert_eq!(judge(160, 9, 151), Silence::Spins);
    }

    #[test]
    fn time_is_read() {
        // Not this process: threads of other tests end meanwhile, and take their time with them.
        let mut busy = std::process::Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        let before = Spent::of(busy.id());
        let end = Instant::now() + Duration::from_secs(30);
        while Spent::of(busy.id()).ran <= before.ran && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
        let after = Spent::of(busy.id());
        busy.kill().unwrap();
        busy.wait().unwrap();
        assert!(after.ran > before.ran);
        assert_eq!(Spent::of(u32::MAX), Spent::default());
    }
}
