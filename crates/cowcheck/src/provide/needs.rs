//! What a scenario needs of the machine, and what to say where the machine does not have it.

use std::path::Path;

use cowcheck_model::memory::{MemoryKind, Size};
use cowcheck_model::scenario::Scenario;
use cowcheck_model::step::{Advice, Op, PinKind, State, Treatment};
use cowcheck_model::storm::Rival;
use cowcheck_model::verdict::Verdict;
use cowcheck_sys::uffd::feature;

use super::machine::{Helper, Ksm, Machine, Migrate, Pagemap, Setting, ThpSize, about};
use super::pool::pages_taken;
use super::{CouldNot, Thing};

/// The needs of one scenario.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// Bytes of memory, all actors together.
    pub memory: u64,
    /// Bytes that go to swap; 0 where nothing does.
    pub swap: u64,
    /// Anonymous THP of so many bytes.
    pub thp: Option<u64>,
    /// The huge zero page.
    pub huge_zero_page: bool,
    /// Pages of the hugetlb pool.
    pub hugetlb: Option<HugetlbNeed>,
    /// Long-term read-only pins, each of one range.
    pub pin_device: bool,
    /// Pins that only the helper module takes.
    pub helper: bool,
    /// Long-term read/write pins: io_uring, or the helper module.
    pub io_uring: bool,
    /// Bytes pinned through io_uring at a time.
    pub memlock: u64,
    /// MADV_COLLAPSE.
    pub collapse: bool,
    /// MADV_COLLAPSE of another process's memory.
    pub of_another: bool,
    /// khugepaged, woken while nothing else runs: it collapses what others have carefully mapped by PTEs.
    pub khugepaged: bool,
    /// MADV_GUARD_INSTALL.
    pub guard: bool,
    /// A cgroup that the family's memory is reclaimed from.
    pub cgroup: bool,
    /// Swap of our own, which is taken out of use while nothing else runs.
    pub swapoff: bool,
    /// Writes through /proc/self/mem that ask for no permission.
    pub force: bool,
    /// Features of userfaultfd; 0 where none is made.
    pub uffd: u64,
    /// KSM, running.
    pub ksm: bool,
    /// Splitting folios by debugfs.
    pub split: bool,
    /// Moving pages, to another node or by compaction.
    pub migrate: bool,
    /// /proc/self/pagemap, to look at page states.
    pub pagemap: bool,
}

/// So many free pages of a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HugetlbNeed {
    /// Bytes of the page.
    pub size: u64,
    /// How many; [`super::pool`] has the rule.
    pub pages: u64,
}

/// Why a check is skipped. The same cause has the same words, so that they can be grouped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmet {
    /// What the machine lacks.
    pub reason: String,
    /// What would help; empty if nothing would.
    pub remedy: String,
}

impl From<Unmet> for Verdict {
    fn from(unmet: Unmet) -> Verdict {
        Verdict::Skip { reason: unmet.reason, remedy: unmet.remedy }
    }
}

impl From<&CouldNot> for Unmet {
    fn from(refusal: &CouldNot) -> Unmet {
        Unmet { reason: refusal.reason.clone(), remedy: refusal.remedy.clone() }
    }
}

fn unmet(reason: impl Into<String>, remedy: impl Into<String>) -> Option<Unmet> {
    Some(Unmet { reason: reason.into(), remedy: remedy.into() })
}

impl Needs {
    /// From the text of the scenario alone.
    pub fn of(scenario: &Scenario, page_size: u32) -> Needs {
        let memory = scenario.memory;
        // A storm has one child at a time.
        let storms = |rival| scenario.has(|op| matches!(op, Op::Storm(_, rivals) if rivals.has(rival)));
        let forks = scenario.steps.iter().filter(|step| matches!(step.op, Op::Fork(_))).count() as u64
            + u64::from(storms(Rival::Fork));
        let family = memory.bytes().saturating_mul(1 + forks);
        let is_swapped = (storms(Rival::Pageout)
            || scenario.has(|op| matches!(op, Op::Advise(Advice::PageOut, _) | Op::Reclaim | Op::Require(State::Swapped, _))))
            // The kernel refuses the advice for hugetlb memory, and that can be what is checked.
            && !memory.kind.is_hugetlb();
        Needs {
            memory: if memory.kind.is_hugetlb() { 0 } else { family },
            swap: if is_swapped { family } else { 0 },
            thp: matches!(memory.kind, MemoryKind::Thp | MemoryKind::HugeZero).then_some(memory.size),
            huge_zero_page: memory.kind == MemoryKind::HugeZero,
            hugetlb: memory
                .kind
                .is_hugetlb()
                .then(|| HugetlbNeed { size: memory.size, pages: pages_taken(scenario, page_size) }),
            pin_device: scenario.has(|op| matches!(op, Op::Pin(kind, ..) if is_read_only(*kind))),
            helper: scenario.has(|op| match op {
                Op::Pin(kind, _, range) if is_read_only(*kind) => range.runs(memory.pages(page_size)).len() > 1,
                Op::Pin(kind, ..) => ![PinKind::READ_WRITE, PinKind::Splice].contains(kind),
                _ => false,
            }),
            io_uring: storms(Rival::Pin) || scenario.has(|op| matches!(op, Op::Pin(PinKind::READ_WRITE, ..))),
            memlock: most_pinned(scenario, page_size) + most_locked(scenario, page_size),
            collapse: storms(Rival::Collapse)
                || memory.kind == MemoryKind::ShmemThp
                || scenario.has(|op| matches!(op, Op::Advise(Advice::Collapse, _) | Op::CollapseOf(..))),
            of_another: scenario.has(|op| matches!(op, Op::CollapseOf(..))),
            khugepaged: scenario.has(|op| matches!(op, Op::Khugepaged(_))),
            guard: scenario.has(|op| matches!(op, Op::Advise(Advice::Guard | Advice::Unguard, _))),
            cgroup: scenario.has(|op| *op == Op::Reclaim),
            swapoff: scenario.has(|op| *op == Op::Swapoff),
            force: scenario.has(|op| matches!(op, Op::Poke(_))),
            uffd: match scenario.has(|op| matches!(op, Op::Treat(Treatment::UffdWp | Treatment::UffdUnwp, _))) {
                false => 0,
                true if memory.kind.is_hugetlb() || memory.kind.has_file() => UFFD_WP | feature::WP_HUGETLBFS_SHMEM,
                true => UFFD_WP,
            },
            ksm: scenario.has(|op| matches!(op, Op::Ksm)),
            split: scenario.has(|op| matches!(op, Op::Treat(Treatment::Split, _))),
            migrate: scenario.has(|op| matches!(op, Op::Treat(Treatment::Migrate, _))),
            pagemap: scenario.has(|op| matches!(op, Op::Require(..))),
        }
    }

    /// The first need that the machine does not meet: those that nothing can change come first.
    pub fn unmet(&self, machine: &Machine) -> Option<Unmet> {
        if self.collapse && !machine.collapse {
            return unmet("kernel without MADV_COLLAPSE", "Linux 6.1 or later");
        }
        if self.of_another && !machine.root {
            return unmet("process_madvise(2) on another process is for root only", "run as root");
        }
        if self.khugepaged && !machine.root {
            return unmet("khugepaged is for root only to wake", "run as root");
        }
        if self.pagemap && machine.pagemap == Pagemap::None {
            return unmet("no /proc/self/pagemap", "a kernel with CONFIG_PROC_PAGE_MONITOR=y and /proc mounted");
        }
        self.calls_unmet(machine)
            .or_else(|| self.thp_unmet(machine))
            .or_else(|| self.hugetlb_unmet(machine))
            .or_else(|| self.pins_unmet(machine))
            .or_else(|| self.swap_unmet(machine))
            .or_else(|| {
                // 0: there is no /proc/meminfo to tell.
                (machine.available > 0 && self.memory > machine.available).then(|| {
                    unmet(format!("less than {} of memory available", Size(self.memory)), "free some memory")
                })?
            })
    }

    /// What other calls the kernel must know.
    fn calls_unmet(&self, machine: &Machine) -> Option<Unmet> {
        if self.guard && !machine.guard {
            return unmet("kernel without MADV_GUARD_INSTALL", "Linux 6.13 or later");
        }
        if self.cgroup && machine.cgroup.is_none() {
            return refused(machine, Thing::Cgroup).or_else(|| {
                unmet("no cgroup to reclaim memory from", machine.provide_or("mkdir /sys/fs/cgroup/cowcheck"))
            });
        }
        if self.force
            && let Err(why) = &machine.force
        {
            let remedy = "mount /proc, and boot with proc_mem.force_override=always";
            return unmet(format!("no forced writes by /proc/self/mem: {why}"), remedy);
        }
        if self.uffd != 0 {
            match &machine.uffd {
                Err(why) => {
                    let remedy = "a kernel with CONFIG_USERFAULTFD=y, Linux 5.11 or later, or run as root";
                    return unmet(format!("no userfaultfd: {why}"), remedy);
                }
                Ok(features) if UFFD_WP & !features != 0 => {
                    let remedy = "Linux 5.7 or later on x86_64, 6.10 or later on arm64";
                    return unmet("userfaultfd without write protection", remedy);
                }
                Ok(features) if self.uffd & !features != 0 => {
                    let remedy = "Linux 5.19 or later";
                    return unmet("userfaultfd without write protection of hugetlb and shmem", remedy);
                }
                Ok(_) => {}
            }
        }
        if self.split
            && let Err(why) = &machine.split
        {
            let remedy = match machine.debugfs {
                true => "Linux 5.13 or later, not locked down, and run as root".to_owned(),
                false => machine.provide_or("mount -t debugfs debugfs /sys/kernel/debug"),
            };
            return unmet(format!("folios cannot be split by debugfs: {why}"), remedy);
        }
        if self.migrate && machine.migrate == Migrate::No {
            return unmet(
                "pages cannot be moved: one node, and no compaction",
                "run as root, with CONFIG_COMPACTION=y",
            );
        }
        match machine.ksm {
            Ksm::Absent if self.ksm => unmet("kernel without KSM", "a kernel with CONFIG_KSM=y"),
            Ksm::Off if self.ksm => refused(machine, Thing::Ksm).or_else(|| {
                unmet("KSM is switched off", machine.provide_or("echo 1 | sudo tee /sys/kernel/mm/ksm/run"))
            }),
            _ => None,
        }
    }

    fn thp_unmet(&self, machine: &Machine) -> Option<Unmet> {
        let bytes = self.thp?;
        let Some(size) = machine.thp_size(bytes) else {
            let remedy = match machine.thp.len() {
                0 => "a kernel with CONFIG_TRANSPARENT_HUGEPAGE=y",
                // Only sizes between a page and a PMD can be had by another version.
                1 if bytes < machine.pmd_size => "Linux 6.8 or later",
                _ => "",
            };
            return unmet(format!("kernel without THP of {}", Size(bytes)), remedy);
        };
        if size.setting == Setting::Never {
            return refused(machine, Thing::Thp(bytes)).or_else(|| {
                unmet(format!("THP of {} is switched off", Size(bytes)), machine.provide_or(&thp_command(size)))
            });
        }
        if self.huge_zero_page && !machine.huge_zero_page {
            return refused(machine, Thing::HugeZeroPage).or_else(|| {
                let command = "echo 1 | sudo tee /sys/kernel/mm/transparent_hugepage/use_zero_page";
                unmet("the huge zero page is switched off", machine.provide_or(command))
            });
        }
        None
    }

    fn hugetlb_unmet(&self, machine: &Machine) -> Option<Unmet> {
        let HugetlbNeed { size: bytes, pages } = self.hugetlb?;
        let Some(size) = machine.hugetlb_size(bytes) else {
            let remedy = if machine.hugetlb.is_empty() { "a kernel with CONFIG_HUGETLBFS=y" } else { "" };
            return unmet(format!("kernel without hugetlb pages of {}", Size(bytes)), remedy);
        };
        if size.available() >= pages {
            return None;
        }
        refused(machine, Thing::Hugetlb(bytes)).or_else(|| {
            let nr = size.nr + pages - size.available();
            let file = format!("/sys/kernel/mm/hugepages/hugepages-{}kB/nr_hugepages", bytes >> 10);
            unmet(
                format!("no free hugetlb pages of {} (needs {pages}, has {})", Size(bytes), size.available()),
                machine.provide_or(&format!("echo {nr} | sudo tee {file}")),
            )
        })
    }

    fn pins_unmet(&self, machine: &Machine) -> Option<Unmet> {
        let has_helper = matches!(machine.helper, Helper::Ready(_));
        if !has_helper && (self.helper || (self.pin_device && machine.gup_test.is_none())) {
            return helper_unmet(machine);
        }
        if self.io_uring && machine.is_short_of_memlock() {
            // Not even the ring could be had.
            return memlock_unmet(machine.memlock.soft.unwrap_or_default());
        }
        if self.io_uring
            && !has_helper
            && let Err(why) = &machine.io_uring
        {
            let remedy = if why.contains("io_uring_disabled") {
                "sudo sysctl kernel.io_uring_disabled=0"
            } else {
                "a kernel with CONFIG_IO_URING=y, and no sandbox that forbids it"
            };
            return unmet(format!("no io_uring: {why}"), remedy);
        }
        match machine.memlock.soft {
            Some(limit) if self.memlock > limit && !machine.ipc_lock => memlock_unmet(limit),
            _ => None,
        }
    }

    fn swap_unmet(&self, machine: &Machine) -> Option<Unmet> {
        if machine.free_swap() >= self.swap {
            // That of others is theirs: taking it out of use takes their time and memory, and changes its priority.
            let is_others = self.swapoff && machine.own_swap.is_none();
            return is_others.then(|| {
                let remedy = "sudo swapoff --all where that can be done, and run as root with --provide";
                unmet("the swap is not cowcheck's own, and stays in use", remedy)
            })?;
        }
        let reason = if machine.swaps.is_empty() { "no swap" } else { "swap is full" };
        refused(machine, Thing::Swap).or_else(|| unmet(reason, machine.provide_or("activate swap")))
    }
}

/// What write protection needs of userfaultfd.
const UFFD_WP: u64 = feature::PAGEFAULT_FLAG_WP | feature::SIGBUS;

/// How to get the helper module.
const HELPER: &str = "build the helper module with `cowcheck kmod build` and load it with insmod";

/// What it takes to have every kind of pin. (A kernel with CONFIG_GUP_TEST=y has some of them.)
fn helper_unmet(machine: &Machine) -> Option<Unmet> {
    match &machine.helper {
        // /dev/cowcheck and /sys/kernel/debug are closed to others.
        _ if !machine.root => unmet("pins by GUP are for root only", format!("run as root; {HELPER}")),
        Helper::Unusable(why) => unmet(format!("the helper module cannot be used: {why}"), HELPER),
        Helper::Absent | Helper::Ready(_) => unmet("neither the helper module nor gup_test", HELPER),
    }
}

/// Does gup_test have it, too?
fn is_read_only(kind: PinKind) -> bool {
    matches!(kind, PinKind::Gup { short: false, write: false, .. })
}

/// The providers were asked and had their reasons, which are nearer to the truth than ours.
fn refused(machine: &Machine, thing: Thing) -> Option<Unmet> {
    machine.refusal(thing).map(Unmet::from)
}

/// The command that switches a THP size on.
pub(crate) fn thp_command(size: &ThpSize) -> String {
    let file: &Path = &size.file;
    format!("echo madvise | sudo tee {}", file.display())
}

fn memlock_unmet(limit: u64) -> Option<Unmet> {
    unmet(
        format!("locked memory is limited to {}", about(limit)),
        "run as root, or raise the limit (ulimit -l unlimited)",
    )
}

impl Machine {
    /// Is there no io_uring because its ring is locked memory, too?
    fn is_short_of_memlock(&self) -> bool {
        let no_memory = rustix::io::Errno::NOMEM.to_string();
        self.io_uring.as_ref().is_err_and(|why| why.contains(&no_memory))
            && self.memlock.soft.is_some()
            && !self.ipc_lock
    }

    /// A remedy that the providers have, too.
    pub(crate) fn provide_or(&self, command: &str) -> String {
        match self.root {
            true => format!("run with --provide, or {command}"),
            false => format!("run as root with --provide, or {command}"),
        }
    }
}

/// How many pages a storm pins at once.
const MOST_UNITS_IN_STORM: u64 = 4;

/// Bytes that are locked by mlock(2), by whomever.
fn most_locked(scenario: &Scenario, page_size: u32) -> u64 {
    let pages = |op: &Op| match op {
        Op::Treat(Treatment::Mlock, range) => {
            range.runs(scenario.memory.pages(page_size)).iter().map(|run| u64::from(run.count)).sum()
        }
        _ => 0u64,
    };
    scenario.steps.iter().map(|step| pages(&step.op)).sum::<u64>().saturating_mul(u64::from(page_size))
}

/// The kernel counts every huge page that a fixed buffer touches as a whole.
fn most_pinned(scenario: &Scenario, page_size: u32) -> u64 {
    let memory = scenario.memory;
    let unit = if matches!(memory.kind, MemoryKind::Thp | MemoryKind::HugeZero) || memory.kind.is_hugetlb() {
        memory.size
    } else {
        u64::from(page_size)
    };
    let pages_of_unit = (unit / u64::from(page_size.max(1))).max(1);
    let mut held = std::collections::BTreeMap::new();
    let mut most = 0;
    for step in &scenario.steps {
        match &step.op {
            Op::Pin(PinKind::READ_WRITE, pin, range) => {
                let units: u64 = range
                    .runs(memory.pages(page_size))
                    .iter()
                    .filter(|run| run.count > 0)
                    .map(|run| u64::from(run.end() - 1) / pages_of_unit - u64::from(run.first) / pages_of_unit + 1)
                    .sum();
                held.insert(*pin, units * unit);
            }
            Op::Unpin(pin) => {
                held.remove(pin);
            }
            _ => {}
        }
        let storm = match &step.op {
            // A storm's pin is of a few pages, which can be in as many units.
            Op::Storm(_, rivals) if rivals.has(Rival::Pin) => unit * MOST_UNITS_IN_STORM.min(memory.bytes() / unit),
            _ => 0,
        };
        most = most.max(held.values().sum::<u64>() + storm);
    }
    most
}

#[cfg(test)]
mod tests {
    use super::super::fake::Fake;
    use super::super::machine::{HugetlbSize, Memlock, SwapArea};
    use super::*;

    fn needs(text: &str) -> Needs {
        let text = format!("{}\n{}\n", cowcheck_model::text::HEADER, text.replace("; ", "\n"));
        Needs::of(&cowcheck_model::text::parse(&text).unwrap(), 4096)
    }

    /// A machine that has nothing, of an ordinary user.
    fn bare() -> Machine {
        let mut machine =
            Machine::look(&Fake::new(&format!("bare-{:?}", std::thread::current().id())).roots(), || Ok(()));
        machine.available = 1 << 30;
        machine.memlock = Memlock { soft: Some(64 << 10), hard: None };
        machine.collapse = true;
        machine.pagemap = Pagemap::Presence;
        machine
    }

    fn told(text: &str, machine: &Machine) -> (String, String) {
        let unmet = needs(text).unmet(machine).unwrap();
        (unmet.reason, unmet.remedy)
    }

    fn pair(reason: &str, remedy: &str) -> (String, String) {
        (reason.to_owned(), remedy.to_owned())
    }

    #[test]
    fn a_plain_fork_needs_memory_only() {
        let needs = needs("memory anon 4K x4; A write all; A fork B; B read all");
        assert_eq!(needs, Needs { memory: 32 << 10, ..Needs::default() });
        assert_eq!(needs.unmet(&bare()), None);
    }

    #[test]
    fn a_storm_needs_what_its_rivals_do() {
        let text = "memory thp 2M; A write all; A storm all collapse fork pageout pin";
        let storm = needs(text);
        assert!(storm.collapse && storm.io_uring && !storm.khugepaged && !storm.of_another);
        assert_eq!((storm.memory, storm.swap, storm.memlock), (4 << 20, 4 << 20, 2 << 20));
        let calm = needs("memory thp 2M; A write all; A storm all gup");
        assert_eq!(calm, Needs { memory: 2 << 20, thp: Some(2 << 20), ..Needs::default() });
    }

    #[test]
    fn what_only_root_may_do() {
        let mut machine = bare();
        let (of_another, khugepaged) =
            ("memory anon 4K; A fork B; A collapse all of B", "memory anon 4K; A write all; A khugepaged all");
        let as_root = |reason| pair(reason, "run as root");
        assert_eq!(told(of_another, &machine), as_root("process_madvise(2) on another process is for root only"));
        assert_eq!(told(khugepaged, &machine), as_root("khugepaged is for root only to wake"));
        machine.root = true;
        assert_eq!(needs(of_another).unmet(&machine), None);
        assert_eq!(needs(khugepaged).unmet(&machine), None);
    }

    #[test]
    fn swap() {
        let text = "memory anon 4K; A write all; A pageout all; A require swapped all";
        assert_eq!(needs(text).swap, 4096);
        let mut machine = bare();
        assert_eq!(told(text, &machine), pair("no swap", "run as root with --provide, or activate swap"));
        machine.root = true;
        assert_eq!(told(text, &machine).1, "run with --provide, or activate swap");
        machine.could_not.push(CouldNot { thing: Thing::Swap, reason: "zram: no".into(), remedy: "x".into() });
        assert_eq!(told(text, &machine), pair("zram: no", "x"));
        machine.swaps.push(SwapArea { path: "/s".into(), size: 1 << 20, used: 0 });
        assert_eq!(needs(text).unmet(&machine), None);
        machine.swaps[0].used = 1 << 20;
        machine.could_not.clear();
        assert_eq!(told(text, &machine).0, "swap is full");
    }

    #[test]
    fn swap_of_others_stays_in_use() {
        let text = "memory anon 4K; A write all; A pageout all; A swapoff; A read all";
        let mut machine = bare();
        machine.root = true;
        machine.swaps.push(SwapArea { path: "/s".into(), size: 1 << 20, used: 0 });
        assert_eq!(told(text, &machine).0, "the swap is not cowcheck's own, and stays in use");
        machine.own_swap = Some("/s".into());
        assert_eq!(needs(text).unmet(&machine), None);
    }

    #[test]
    fn thp_sizes_and_settings() {
        let text = "memory thp 64K; A write all";
        let mut machine = bare();
        let thp = |bytes, setting| ThpSize { bytes, setting, file: "/e".into() };
        assert_eq!(
            told(text, &machine),
            pair("kernel without THP of 64K", "a kernel with CONFIG_TRANSPARENT_HUGEPAGE=y")
        );
        machine.pmd_size = 2 << 20;
        machine.thp = vec![thp(2 << 20, Setting::Madvise)];
        assert_eq!(told(text, &machine).1, "Linux 6.8 or later");
        machine.thp.insert(0, thp(64 << 10, Setting::Never));
        assert_eq!(
            told(text, &machine),
            pair("THP of 64K is switched off", "run as root with --provide, or echo madvise | sudo tee /e")
        );
        machine.thp[0].setting = Setting::Always;
        assert_eq!(needs(text).unmet(&machine), None);
        assert_eq!(told("memory huge-zero 2M; A touch all", &machine).0, "the huge zero page is switched off");
    }

    #[test]
    fn hugetlb_pages() {
        let text = "memory hugetlb 1G; A write all; A fork B; B write all";
        let mut machine = bare();
        assert_eq!(told(text, &machine).0, "kernel without hugetlb pages of 1G");
        machine.hugetlb = vec![HugetlbSize { bytes: 1 << 30, nr: 3, free: 2, reserved: 1, surplus: 0 }];
        assert_eq!(
            told(text, &machine),
            pair(
                "no free hugetlb pages of 1G (needs 2, has 1)",
                "run as root with --provide, or echo 4 | sudo tee \
                 /sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages"
            )
        );
        machine.hugetlb[0].reserved = 0;
        assert_eq!(needs(text).unmet(&machine), None);
    }

    #[test]
    fn pins() {
        let read_only = "memory anon 4K; A write all; A pin ro p0 all";
        let mut machine = bare();
        assert_eq!(told(read_only, &machine).0, "pins by GUP are for root only");
        machine.root = true;
        assert_eq!(told(read_only, &machine), pair("neither the helper module nor gup_test", HELPER));
        machine.helper = Helper::Unusable("it is old".to_owned());
        assert_eq!(told(read_only, &machine).0, "the helper module cannot be used: it is old");
        machine.gup_test = Some("/gup".into());
        assert_eq!(needs(read_only).unmet(&machine), None);
        for only_by_helper in ["A pin ro p0 even", "A pin rw fast p0 all", "A pin short ro p0 all"] {
            let text = format!("memory anon 4K x4; A write all; {only_by_helper}");
            assert!(told(&text, &machine).0.contains("helper module"), "{text}");
            let ready = Machine { helper: Helper::Ready("/c".into()), ..machine.clone() };
            assert_eq!(needs(&text).unmet(&ready), None, "{text}");
        }
        let buffer = "memory anon 4K x32; A write all; A pin rw p0 pages 0-9; A pin rw p1 pages 10-19; A unpin p0; A pin rw p2 all";
        assert_eq!(needs(buffer).memlock, 42 * 4096);
        assert_eq!(told(buffer, &machine).0, "locked memory is limited to 64K");
        machine.ipc_lock = true;
        assert_eq!(needs(buffer).unmet(&machine), None);
        machine.io_uring = Err("kernel.io_uring_disabled is 2".to_owned());
        assert_eq!(
            told(buffer, &machine),
            pair("no io_uring: kernel.io_uring_disabled is 2", "sudo sysctl kernel.io_uring_disabled=0")
        );
        machine.helper = Helper::Ready("/c".into());
        assert_eq!(needs(buffer).unmet(&machine), None);
    }

    #[test]
    fn a_fixed_buffer_counts_whole_huge_pages() {
        assert_eq!(needs("memory thp 2M; A write all; A pin rw p0 first").memlock, 2 << 20);
        assert_eq!(needs("memory anon 4K x512; A write all; A pin rw p0 first").memlock, 4096);
    }

    #[test]
    fn collapse() {
        let text = "memory anon 4K; A write all; A collapse all";
        let mut machine = bare();
        machine.collapse = false;
        assert_eq!(told(text, &machine), pair("kernel without MADV_COLLAPSE", "Linux 6.1 or later"));
    }
}
