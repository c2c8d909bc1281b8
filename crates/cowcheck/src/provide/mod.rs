//! What a check needs, what the machine has, and what can be set up and is always put back.
//!
//! - [`machine`]: the facts, by looking only
//! - [`needs`]: what a scenario needs, and the reason and remedy where the machine lacks it
//! - [`doctor`]: the same for a person who asks what this machine can check
//! - [`Provided`]: swap, THP settings, hugetlb pages, debugfs, set up as root on request
//! - [`guard`]: the process and the journal that put everything back, even after SIGKILL
//!
//! Before a setting is changed, how to undo it ([`undo::Undo`]) is written to the journal and told to
//! the guard. So a change is known to three: this process, the guard and the disk.

pub(crate) mod cgroup;
mod change;
mod debugfs;
pub mod doctor;
#[cfg(test)]
mod fake;
pub mod guard;
mod guard_process;
mod hugetlb;
mod journal;
mod ksm;
mod lock;
pub mod machine;
pub mod modules;
pub mod needs;
pub mod pool;
pub mod roots;
pub(crate) mod swap;
mod swap_header;
mod thp;
pub mod undo;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use cowcheck_model::memory::Size;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use change::Changes;
use guard::{Guard, Restored};
use needs::Needs;
use roots::Roots;
use undo::{Ledger, Stuck};

/// How long a restore is waited for. Taking swap away reads everything back in.
const RESTORE_LIMIT: Duration = Duration::from_secs(60);

/// What can be provided, as far as checks depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Thing {
    /// Anonymous THP of so many bytes.
    Thp(u64),
    /// The huge zero page.
    HugeZeroPage,
    /// Free hugetlb pages of so many bytes.
    Hugetlb(u64),
    /// Swap.
    Swap,
    /// debugfs, to find the pin device and what splits folios.
    Debugfs,
    /// KSM, running.
    Ksm,
    /// A cgroup to reclaim memory from.
    Cgroup,
}

impl fmt::Display for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Thing::Thp(bytes) => write!(f, "THP {}", Size(*bytes)),
            Thing::HugeZeroPage => f.write_str("the huge zero page"),
            Thing::Hugetlb(bytes) => write!(f, "{} hugetlb pages", Size(*bytes)),
            Thing::Swap => f.write_str("swap"),
            Thing::Debugfs => f.write_str("debugfs"),
            Thing::Ksm => f.write_str("KSM"),
            Thing::Cgroup => f.write_str("a cgroup to reclaim memory from"),
        }
    }
}

/// What was asked for in vain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CouldNot {
    /// What.
    pub thing: Thing,
    /// Why not.
    pub reason: String,
    /// What would help; empty if nothing would.
    pub remedy: String,
}

/// As a note for a person.
impl fmt::Display for CouldNot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "could not provide {}: {}", self.thing, self.reason)?;
        if !self.remedy.is_empty() {
            write!(f, " (remedy: {})", self.remedy)?;
        }
        Ok(())
    }
}

/// Memory that stays available to everybody else on this machine.
const SPARE: u64 = 2 << 30;

/// And where there is nobody else.
const SPARE_ALONE: u64 = 512 << 20;

/// How many hugetlb pages of a size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pages {
    /// With fewer, something cannot run at all.
    pub least: u64,
    /// With more, nothing is gained.
    pub best: u64,
}

/// What to set up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Every THP size usable, the huge zero page on, khugepaged quiet.
    pub thp: bool,
    /// For each hugetlb page size in bytes, how many pages shall be free.
    pub hugetlb: BTreeMap<u64, Pages>,
    /// Bytes of memory that hugetlb pages must leave to everybody else.
    pub spare: u64,
    /// Bytes of free swap; 0 for none.
    pub swap: u64,
    /// Where a swap file may be made; /var/tmp if not given.
    pub swap_dir: Option<PathBuf>,
    /// debugfs mounted, so that gup_test and split_huge_pages can be found.
    pub debugfs: bool,
    /// KSM running, and quickly.
    pub ksm: bool,
    /// A cgroup to reclaim memory from.
    pub cgroup: bool,
}

impl Wanted {
    /// The least that lets all the scenarios run, `jobs` at a time.
    pub fn by<'a>(needs: impl IntoIterator<Item = &'a Needs>, jobs: u64) -> Wanted {
        /// Room for what else of the machine is swapped out once there is swap.
        const SPARE_SWAP: u64 = 256 << 20;
        let mut wanted = Wanted { spare: SPARE, ..Wanted::default() };
        for need in needs {
            wanted.thp |= need.thp.is_some() || need.huge_zero_page;
            wanted.debugfs |= need.pin_device || need.split;
            wanted.ksm |= need.ksm;
            wanted.cgroup |= need.cgroup;
            if let Some(pool) = need.hugetlb {
                let pages = wanted.hugetlb.entry(pool.size).or_default();
                // Gigantic pages take a good part of a machine's memory.
                let sets = if pool.size >= 1 << 29 { jobs.min(2) } else { jobs };
                pages.least = pages.least.max(pool.pages);
                pages.best = pages.best.max(pool.pages * sets);
            }
            if need.swap > 0 {
                wanted.swap = wanted.swap.max(need.swap * jobs + SPARE_SWAP);
            }
        }
        wanted
    }
}

/// Why nothing was provided.
#[derive(Debug, thiserror::Error)]
pub enum ProvideError {
    /// Only root may change settings.
    #[error("changing settings needs root, found user {uid}; run it with sudo")]
    NotRoot {
        /// Who we are.
        uid: u32,
    },
    /// One at a time.
    #[error("another cowcheck{} has changed settings and will put them back; wait until it is done", process(*.pid))]
    Busy {
        /// Which process, 0 if it could not be found out.
        pid: u32,
    },
    /// No place for the journal.
    #[error("no place to note what has to be put back: {}: {source}", .path.display())]
    Directory {
        /// The directory that was tried.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// No guard.
    #[error("could not start the process that puts settings back: {0}")]
    Guard(#[source] io::Error),
}

fn process(pid: u32) -> String {
    if pid == 0 { String::new() } else { format!(" (process {pid})") }
}

/// Not everything could be put back.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{} of this machine's settings could not be put back:\n{}", .0.len(), list(.0))]
pub struct NotRestored(pub Vec<Stuck>);

fn list(stuck: &[Stuck]) -> String {
    stuck.iter().map(|each| format!("  {each}")).collect::<Vec<_>>().join("\n")
}

/// What was set up. It is put back by [`Provided::restore`], when this is dropped, and when the
/// process dies in whatever way.
#[derive(Debug)]
pub struct Provided {
    /// What was set up, a sentence each.
    pub did: Vec<String>,
    /// What could not.
    pub could_not: Vec<CouldNot>,
    /// `None` once restored.
    guard: Option<Guard>,
}

impl Provided {
    /// Sets up what is wanted and not there yet. What cannot be had is no error but in
    /// [`Provided::could_not`].
    ///
    /// Every process that is started afterwards inherits one file descriptor, at whose end of life
    /// the guard knows that it is gone.
    pub fn set_up(roots: &Roots, wanted: &Wanted) -> Result<Provided, ProvideError> {
        let uid = rustix::process::geteuid();
        if !uid.is_root() {
            return Err(ProvideError::NotRoot { uid: uid.as_raw() });
        }
        let (mut guard, before) = Guard::start(&roots.run)?;
        let mut did: Vec<String> =
            before.put_back.iter().map(|what| format!("put back what a killed cowcheck had left: {what}")).collect();
        did.extend(before.stuck.iter().map(|stuck| format!("a killed cowcheck had left behind: {stuck}")));
        let (done, could_not) = make(roots, &mut guard, wanted);
        did.extend(done);
        Ok(Provided { did, could_not, guard: Some(guard) })
    }

    /// The process that puts everything back.
    pub fn guard(&self) -> Option<&Guard> {
        self.guard.as_ref()
    }

    /// Puts everything back and says what. The workers are best gone by now.
    pub fn restore(mut self) -> Result<Vec<String>, NotRestored> {
        let Restored { put_back, stuck } = self.restore_once();
        if stuck.is_empty() { Ok(put_back) } else { Err(NotRestored(stuck)) }
    }

    fn restore_once(&mut self) -> Restored {
        self.guard.take().map(|mut guard| guard.restore(RESTORE_LIMIT)).unwrap_or_default()
    }
}

impl Drop for Provided {
    fn drop(&mut self) {
        let stuck = self.restore_once().stuck;
        if !stuck.is_empty() {
            // There is nobody to return it to.
            eprintln!("cowcheck: {}", NotRestored(stuck));
        }
    }
}

/// Sets up what is wanted on a machine that will be gone afterwards: there is nothing to put back. Says what
/// was done, and what could not be.
pub fn for_good(roots: &Roots, wanted: &Wanted) -> (Vec<String>, Vec<CouldNot>) {
    make(roots, &mut Vec::new(), &Wanted { spare: wanted.spare.min(SPARE_ALONE), ..wanted.clone() })
}

/// The order matters: hugetlb pages before swap, which may take memory; what comes last is undone
/// first.
fn make(roots: &Roots, ledger: &mut dyn Ledger, wanted: &Wanted) -> (Vec<String>, Vec<CouldNot>) {
    let mut changes = Changes::new(roots, ledger);
    if raise_memlock() {
        changes.did("raised the limit for locked memory for this run".to_owned());
    }
    if wanted.debugfs {
        debugfs::provide(&mut changes);
    }
    if wanted.thp {
        thp::provide(&mut changes);
    }
    if wanted.cgroup {
        cgroup::provide(&mut changes);
    }
    if wanted.ksm {
        ksm::provide(&mut changes);
    }
    for (bytes, pages) in wanted.hugetlb.iter().rev() {
        hugetlb::provide(&mut changes, *bytes, *pages, wanted.spare);
    }
    if wanted.swap > 0 {
        swap::provide(&mut changes, wanted.swap, wanted.swap_dir.as_deref());
    }
    (changes.did, changes.could_not)
}

/// Raises the limit for locked memory as far as this user may: anybody up to the hard limit, root
/// altogether. `true` if it is higher now. It concerns this process and those that it will start,
/// so there is nothing to put back.
pub fn raise_memlock() -> bool {
    let old = getrlimit(Resource::Memlock);
    if old.current.is_none() {
        return false;
    }
    let unlimited = Rlimit { current: None, maximum: None };
    let raised = Rlimit { current: old.maximum, maximum: old.maximum };
    // Without CAP_SYS_RESOURCE the hard limit stays.
    setrlimit(Resource::Memlock, unlimited).or_else(|_| setrlimit(Resource::Memlock, raised)).is_ok()
        && getrlimit(Resource::Memlock).current != old.current
}

#[cfg(test)]
mod tests {
    use super::needs::HugetlbNeed;
    use super::*;

    #[test]
    fn what_is_wanted_is_the_most_that_any_scenario_needs() {
        let hugetlb = |size, pages| Needs { hugetlb: Some(HugetlbNeed { size, pages }), ..Needs::default() };
        let needs = [
            hugetlb(2 << 20, 2),
            hugetlb(2 << 20, 3),
            hugetlb(1 << 30, 2),
            Needs { swap: 4 << 20, thp: Some(2 << 20), ..Needs::default() },
        ];
        let wanted = Wanted::by(&needs, 4);
        assert_eq!(
            wanted.hugetlb,
            BTreeMap::from([(2 << 20, Pages { least: 3, best: 12 }), (1 << 30, Pages { least: 2, best: 4 }),])
        );
        assert_eq!(wanted.swap, (16 << 20) + (256 << 20));
        assert!(wanted.thp && !wanted.debugfs);
        assert_eq!(Wanted::by([], 4), Wanted { spare: SPARE, ..Wanted::default() });
    }

    #[test]
    fn errors_say_what_was_wanted_and_what_to_do() {
        let busy = ProvideError::Busy { pid: 7 };
        assert_eq!(
            busy.to_string(),
            "another cowcheck (process 7) has changed settings and will put them back; wait until it is done"
        );
        let stuck = Stuck {
            undo: undo::Undo::Swapoff { device: "/dev/zram1".into() },
            why: "Cannot allocate memory (os error 12)".to_owned(),
        };
        assert_eq!(
            NotRestored(vec![stuck]).to_string(),
            "1 of this machine's settings could not be put back:\n  swap on /dev/zram1 off: Cannot allocate \
             memory (os error 12); by hand: sudo swapoff /dev/zram1"
        );
    }
}
