//! Faults that a guest can be ordered to commit when a check begins, to prove that each of them is reported.

use std::fs;
use std::io::Write;
use std::str::FromStr;

use cowcheck_sys::process::become_realtime;
use rustix::system::{RebootCommand, reboot};
use serde::{Deserialize, Serialize};

use super::port;

/// What happens to the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum GuestFault {
    /// Its kernel panics.
    Panic,
    /// It comes to rest for ever.
    Halt,
    /// Its processors are busy for ever.
    Spin,
    /// It says what makes no sense.
    Rubbish,
    /// It goes off.
    PowerOff,
    /// It says what a kernel says that was made to run a breakpoint that is not there, and panics.
    StaleCode,
    /// It takes memory until there is none.
    Memory,
}

/// A fault, and the index of the check at whose beginning it happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planted {
    /// What.
    pub fault: GuestFault,
    /// When.
    pub index: usize,
}

/// `panic@3`
impl FromStr for Planted {
    type Err = String;

    fn from_str(text: &str) -> Result<Planted, String> {
        let (fault, index) = text.split_once('@').ok_or("expected FAULT@INDEX")?;
        let fault = clap::ValueEnum::from_str(fault, false)?;
        Ok(Planted { fault, index: index.parse().map_err(|_| "expected a number after @")? })
    }
}

impl GuestFault {
    /// Does it, to the machine that this process runs on. Returns where that needs a moment.
    pub(super) fn commit(self) {
        match self {
            GuestFault::Panic => drop(fs::write("/proc/sysrq-trigger", "c")),
            GuestFault::StaleCode => {
                // A message is one write.
                for line in ["int3: 0000 [#1] PREEMPT SMP\n", "Code: 0f 1f 44 00 00 66 <90> 48 8b 43 08\n"] {
                    let _ = fs::write("/dev/kmsg", line);
                }
                GuestFault::Panic.commit();
            }
            GuestFault::Halt => drop(reboot(RebootCommand::Halt)),
            GuestFault::PowerOff => drop(reboot(RebootCommand::PowerOff)),
            GuestFault::Rubbish => {
                let _ = port::open().and_then(|mut port| port.write_all(b"\xff{\"outcome\":\x00\x07 7\n"));
            }
            GuestFault::Spin => spin(),
            GuestFault::Memory => {
                // Touched, or it would be no memory.
                let mut hoard: Vec<Vec<u8>> = Vec::new();
                loop {
                    hoard.push(vec![1; 64 << 20]);
                }
            }
        }
    }
}

/// Threads that the scheduler must prefer to everything else, process 1 included, on all processors.
fn spin() {
    let _ = fs::write("/proc/sys/kernel/sched_rt_runtime_us", "-1");
    // Linux 6.12 and later keep a share for others all the same (the deadline server of fair tasks).
    for processor in fs::read_dir("/sys/kernel/debug/sched/fair_server").into_iter().flatten().flatten() {
        let _ = fs::write(processor.path().join("runtime"), "0");
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    for _ in 0..threads * 2 {
        std::thread::spawn(|| {
            let _ = become_realtime();
            loop {
                std::hint::spin_loop();
            }
        });
    }
}
