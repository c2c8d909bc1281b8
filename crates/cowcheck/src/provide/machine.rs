//! What this machine has, found by looking only: nothing is changed.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::process::{Resource, getrlimit};

use super::modules::{self, Supply};
use super::roots::{self, Roots};
use super::{CouldNot, Thing};
use crate::executor::request::Devices;

/// Bits of the capability sets (include/uapi/linux/capability.h).
const CAP_IPC_LOCK: u32 = 14;
const CAP_SYS_ADMIN: u32 = 21;

/// The facts about a machine that decide which checks can run on it.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Bytes of a base page.
    pub page_size: u32,
    /// Who the kernel is, from uname(2).
    pub kernel: Kernel,
    /// The effective user id is 0.
    pub root: bool,
    /// CAP_SYS_ADMIN is in effect.
    pub sys_admin: bool,
    /// CAP_IPC_LOCK is in effect: locked memory is not limited.
    pub ipc_lock: bool,
    /// CPUs online.
    pub cores: usize,
    /// Bytes that can be had without swapping (MemAvailable).
    pub available: u64,
    /// Bytes of the PMD-sized THP, 0 on a kernel without THP.
    pub pmd_size: u64,
    /// The anonymous THP sizes, ascending.
    pub thp: Vec<ThpSize>,
    /// Read faults may be served by the huge zero page (`use_zero_page`).
    pub huge_zero_page: bool,
    /// The hugetlb page sizes, ascending.
    pub hugetlb: Vec<HugetlbSize>,
    /// The active swap areas.
    pub swaps: Vec<SwapArea>,
    /// The only one of these, if cowcheck has set it up. Set by whoever asked for that.
    pub own_swap: Option<PathBuf>,
    /// Compressed RAM disks, which can serve as swap.
    pub zram: Supply,
    /// Plain RAM disks, which can serve as swap.
    pub brd: Supply,
    /// RLIMIT_MEMLOCK, which bounds io_uring fixed buffers of an unprivileged user.
    pub memlock: Memlock,
    /// The helper module, which takes every kind of pin and tells what a page table holds.
    pub helper: Helper,
    /// The kernel's gup_test, which takes long-term read-only pins.
    pub gup_test: Option<PathBuf>,
    /// Is debugfs mounted? Without it gup_test cannot be found.
    pub debugfs: bool,
    /// Can io_uring be used? If not, why.
    pub io_uring: Result<(), String>,
    /// The kernel knows MADV_COLLAPSE.
    pub collapse: bool,
    /// The kernel knows MADV_GUARD_INSTALL.
    pub guard: bool,
    /// The cgroup that a family can be reclaimed from.
    pub cgroup: Option<PathBuf>,
    /// May /proc/self/mem write where the mapping forbids it? If not, why.
    pub force: Result<(), String>,
    /// What userfaultfd can do (`UFFD_FEATURE_...`), or why there is none.
    pub uffd: Result<u64, String>,
    /// KSM.
    pub ksm: Ksm,
    /// Can folios be split by debugfs? If not, why.
    pub split: Result<(), String>,
    /// How pages can be moved.
    pub migrate: Migrate,
    /// What /proc/self/pagemap shows.
    pub pagemap: Pagemap,
    /// Can the kernel log be read?
    pub kmsg: bool,
    /// What was asked of the providers in vain; empty where nobody asked. Set by whoever asked.
    pub could_not: Vec<CouldNot>,
}

/// The kernel, as uname(2) tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// As in `6.12.107-amd64`.
    pub release: String,
    /// Build number, preemption model and date.
    pub version: String,
    /// The architecture, as in `x86_64`.
    pub machine: String,
}

/// A setting of THP (Documentation/admin-guide/mm/transhuge.rst).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    /// Everywhere.
    Always,
    /// Where MADV_HUGEPAGE was given.
    Madvise,
    /// Nowhere.
    Never,
}

impl Setting {
    fn from_word(word: &str) -> Option<Setting> {
        match word {
            "always" => Some(Setting::Always),
            "madvise" => Some(Setting::Madvise),
            "never" => Some(Setting::Never),
            _ => None,
        }
    }

    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            Setting::Always => "always",
            Setting::Madvise => "madvise",
            Setting::Never => "never",
        }
    }
}

/// A size of anonymous THP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThpSize {
    /// Bytes of the huge page.
    pub bytes: u64,
    /// What is in effect, `inherit` resolved.
    pub setting: Setting,
    /// The file that decides: the size's own, or the global one.
    pub file: PathBuf,
}

/// A size of hugetlb pages (Documentation/admin-guide/mm/hugetlbpage.rst).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HugetlbSize {
    /// Bytes of the huge page.
    pub bytes: u64,
    /// Pages in the pool, without surplus.
    pub nr: u64,
    /// Pages not allocated.
    pub free: u64,
    /// Pages not allocated but promised to a mapping.
    pub reserved: u64,
    /// Pages above the pool's size, given back when freed.
    pub surplus: u64,
}

impl HugetlbSize {
    /// Pages that a new mapping can have.
    pub fn available(self) -> u64 {
        self.free.saturating_sub(self.reserved)
    }
}

/// An active swap area, a line of /proc/swaps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwapArea {
    /// The device or file.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
    /// Bytes in use.
    pub used: u64,
}

/// RLIMIT_MEMLOCK in bytes; `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memlock {
    /// What is in effect.
    pub soft: Option<u64>,
    /// What the soft limit can be raised to.
    pub hard: Option<u64>,
}

/// The helper module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Helper {
    /// It is loaded; here is its device.
    Ready(PathBuf),
    /// It is loaded, but cannot be used: why.
    Unusable(String),
    /// It is not loaded.
    Absent,
}

/// Whether KSM merges pages (Documentation/admin-guide/mm/ksm.rst).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ksm {
    /// The kernel has none.
    Absent,
    /// It is switched off.
    Off,
    /// It runs.
    On,
}

/// How pages can be moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Migrate {
    /// Not at all.
    No,
    /// By compacting all memory, which moves what it likes.
    ByCompaction,
    /// To another NUMA node.
    ToNode,
}

/// What /proc/self/pagemap shows (Documentation/admin-guide/mm/pagemap.rst).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pagemap {
    /// It cannot be read.
    None,
    /// Which pages are present or swapped; frame numbers need CAP_SYS_ADMIN.
    Presence,
    /// Frame numbers, too.
    Frames,
}

impl Machine {
    /// Looks. `io_uring` tries to set up a ring; it is asked only where the sysctl allows one.
    pub fn look(roots: &Roots, io_uring: impl FnOnce() -> io::Result<()>) -> Machine {
        let status = roots::text(&roots.proc.join("self/status")).unwrap_or_default();
        let root = status_words(&status, "Uid").nth(1) == Some("0");
        let capabilities = status_words(&status, "CapEff").next().and_then(|set| u64::from_str_radix(set, 16).ok());
        let has = |bit: u32| capabilities.is_some_and(|set| set >> bit & 1 == 1);
        let sys_admin = has(CAP_SYS_ADMIN);
        let kernel = Kernel::look();
        let thp = thp_sizes(roots);
        Machine {
            page_size: u32::try_from(rustix::param::page_size()).unwrap_or(4096),
            root,
            sys_admin,
            ipc_lock: has(CAP_IPC_LOCK),
            cores: cores(roots),
            available: available(roots),
            pmd_size: pmd_size(roots),
            huge_zero_page: roots::number(&roots.thp().join("use_zero_page")) == Some(1),
            thp,
            hugetlb: hugetlb_sizes(roots),
            swaps: swaps(roots),
            own_swap: None,
            zram: modules::supply(roots, &kernel.release, "zram", &roots.zram_control().join("hot_add")),
            brd: modules::supply(roots, &kernel.release, "brd", &roots.dev.join("ram0")),
            memlock: memlock(),
            helper: helper(roots),
            gup_test: gup_test(roots),
            debugfs: is_mounted(roots, &roots.debugfs()),
            io_uring: io_uring_usable(roots, sys_admin, io_uring),
            collapse: cowcheck_sys::advice::is_known(cowcheck_sys::advice::COLLAPSE),
            guard: cowcheck_sys::advice::is_known(cowcheck_sys::advice::GUARD),
            cgroup: super::cgroup::find(roots),
            force: cowcheck_sys::force::allowed(rustix::param::page_size()).map_err(|error| error.to_string()),
            uffd: cowcheck_sys::uffd::features().map_err(|error| error.to_string()),
            ksm: match roots::number(&roots.ksm().join("run")) {
                None => Ksm::Absent,
                Some(1) => Ksm::On,
                Some(_) => Ksm::Off,
            },
            split: OpenOptions::new()
                .write(true)
                .open(roots.debugfs().join("split_huge_pages"))
                .map(drop)
                .map_err(|error| error.to_string()),
            migrate: migrate(roots),
            pagemap: pagemap(roots),
            kmsg: File::open(roots.dev.join("kmsg")).is_ok(),
            could_not: Vec::new(),
            kernel,
        }
    }

    /// What takes pins, where memory is reclaimed, and what is swapped to, for the executor.
    pub fn devices(&self) -> Devices {
        let text = |path: &PathBuf| path.display().to_string();
        let helper = match &self.helper {
            Helper::Ready(path) => Some(text(path)),
            Helper::Unusable(_) | Helper::Absent => None,
        };
        Devices {
            helper,
            gup_test: self.gup_test.as_ref().map(text),
            cgroup: self.cgroup.as_ref().map(text),
            swap: self.own_swap.as_ref().map(text),
        }
    }

    /// The only swap area, unless there was one `before`: then all that is swapped out was in our hands.
    pub(crate) fn swap_since(&self, before: &[SwapArea]) -> Option<PathBuf> {
        match self.swaps.as_slice() {
            [only] if before.is_empty() => Some(only.path.clone()),
            _ => None,
        }
    }

    /// Bytes of swap not in use.
    pub fn free_swap(&self) -> u64 {
        self.swaps.iter().map(|area| area.size.saturating_sub(area.used)).sum()
    }

    /// The THP size of so many bytes, where the kernel has it.
    pub fn thp_size(&self, bytes: u64) -> Option<&ThpSize> {
        self.thp.iter().find(|size| size.bytes == bytes)
    }

    /// The hugetlb size of so many bytes, where the kernel has it.
    pub fn hugetlb_size(&self, bytes: u64) -> Option<HugetlbSize> {
        self.hugetlb.iter().copied().find(|size| size.bytes == bytes)
    }

    /// Why the providers could not give this, if they were asked.
    pub(crate) fn refusal(&self, thing: Thing) -> Option<&CouldNot> {
        self.could_not.iter().find(|refusal| refusal.thing == thing)
    }
}

impl Kernel {
    fn look() -> Kernel {
        let name = rustix::system::uname();
        let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
        Kernel { release: text(name.release()), version: text(name.version()), machine: text(name.machine()) }
    }
}

/// The words behind `Key:` in /proc/PID/status.
fn status_words<'a>(status: &'a str, key: &str) -> impl Iterator<Item = &'a str> {
    status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).unwrap_or_default().split_whitespace()
}

/// Counts a list such as `0-3,6`.
fn cores(roots: &Roots) -> usize {
    let online = roots::text(&roots.sys.join("devices/system/cpu/online")).unwrap_or_default();
    let count = online
        .split(',')
        .filter_map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            (last.parse::<usize>().ok()? + 1).checked_sub(first.parse().ok()?)
        })
        .sum::<usize>();
    count.max(1)
}

/// MemAvailable in bytes.
pub(crate) fn available(roots: &Roots) -> u64 {
    let meminfo = roots::text(&roots.proc.join("meminfo")).unwrap_or_default();
    let kilobytes: u64 = status_words(&meminfo, "MemAvailable").next().and_then(|word| word.parse().ok()).unwrap_or(0);
    kilobytes * 1024
}

fn pmd_size(roots: &Roots) -> u64 {
    roots::number(&roots.thp().join("hpage_pmd_size")).unwrap_or(0)
}

/// Before 6.8 there is one size, of the PMD, and one file; since then every size has a directory,
/// whose `enabled` can be `inherit`: the global file decides. A directory without `enabled` is of a
/// size for shmem only.
pub(crate) fn thp_sizes(roots: &Roots) -> Vec<ThpSize> {
    let global = roots.thp().join("enabled");
    let effective = |file: &Path| roots::chosen(&roots::text(file).ok()?).and_then(Setting::from_word);
    let Some(global_setting) = effective(&global) else { return Vec::new() };
    let mut sizes = BTreeMap::new();
    let pmd = pmd_size(roots);
    if pmd != 0 {
        sizes.insert(pmd, ThpSize { bytes: pmd, setting: global_setting, file: global.clone() });
    }
    for (bytes, dir) in roots::hugepages_dirs(&roots.thp()) {
        let own = dir.join("enabled");
        if !own.exists() {
            continue;
        }
        let (setting, file) = match effective(&own) {
            Some(setting) => (setting, own),
            None => (global_setting, global.clone()),
        };
        sizes.insert(bytes, ThpSize { bytes, setting, file });
    }
    sizes.into_values().collect()
}

/// Every size of the pool.
pub(crate) fn hugetlb_sizes(roots: &Roots) -> Vec<HugetlbSize> {
    roots::hugepages_dirs(&roots.hugetlb())
        .into_iter()
        .map(|(bytes, dir)| {
            let count = |name: &str| roots::number(&dir.join(name)).unwrap_or(0);
            HugetlbSize {
                bytes,
                nr: count("nr_hugepages"),
                free: count("free_hugepages"),
                reserved: count("resv_hugepages"),
                surplus: count("surplus_hugepages"),
            }
        })
        .collect()
}

/// /proc/swaps: a head line, then name, type, size, used (KiB), priority.
pub(crate) fn swaps(roots: &Roots) -> Vec<SwapArea> {
    let text = roots::text(&roots.proc.join("swaps")).unwrap_or_default();
    text.lines()
        .skip(1)
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let path = PathBuf::from(unescape(words.next()?));
            let size: u64 = words.nth(1)?.parse().ok()?;
            let used: u64 = words.next()?.parse().ok()?;
            Some(SwapArea { path, size: size * 1024, used: used * 1024 })
        })
        .collect()
}

/// Names in /proc/swaps and /proc/self/mounts have space, tab, newline and backslash in octal.
fn unescape(name: &str) -> String {
    ["\\040", "\\011", "\\012", "\\134"]
        .iter()
        .zip([" ", "\t", "\n", "\\"])
        .fold(name.to_owned(), |name, (code, character)| name.replace(code, character))
}

fn memlock() -> Memlock {
    let limit = getrlimit(Resource::Memlock);
    Memlock { soft: limit.current, hard: limit.maximum }
}

fn helper(roots: &Roots) -> Helper {
    let path = roots.dev.join("cowcheck");
    match cowcheck_sys::helper::Helper::open(&path.to_string_lossy()) {
        Ok(_) => Helper::Ready(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Helper::Absent,
        Err(error) => Helper::Unusable(error.to_string()),
    }
}

fn migrate(roots: &Roots) -> Migrate {
    let nodes = roots::text(&roots.sys.join("devices/system/node/has_memory")).unwrap_or_default();
    let compacts = || OpenOptions::new().write(true).open(roots.proc.join("sys/vm/compact_memory")).is_ok();
    match crate::executor::treat::nodes(&nodes).len() {
        2.. => Migrate::ToNode,
        _ if compacts() => Migrate::ByCompaction,
        _ => Migrate::No,
    }
}

fn gup_test(roots: &Roots) -> Option<PathBuf> {
    let path = roots.debugfs().join("gup_test");
    OpenOptions::new().read(true).write(true).open(&path).is_ok().then_some(path)
}

/// Is something mounted exactly here?
pub(crate) fn is_mounted(roots: &Roots, point: &Path) -> bool {
    let mounts = roots::text(&roots.proc.join("self/mounts")).unwrap_or_default();
    mounts.lines().filter_map(|line| line.split(' ').nth(1)).any(|at| Path::new(&unescape(at)) == point)
}

/// `kernel.io_uring_disabled` (6.6): 0 nobody is refused, 1 unprivileged processes are, 2 all are.
fn io_uring_usable(roots: &Roots, sys_admin: bool, try_one: impl FnOnce() -> io::Result<()>) -> Result<(), String> {
    match roots::number(&roots.proc.join("sys/kernel/io_uring_disabled")) {
        Some(2) => return Err("kernel.io_uring_disabled is 2".to_owned()),
        Some(1) if !sys_admin => return Err("kernel.io_uring_disabled is 1".to_owned()),
        _ => {}
    }
    try_one().map_err(|error| error.to_string())
}

/// Looks up a page of our own: the frame number (bits 0 to 54) of a present page (bit 63) reads as
/// 0 without CAP_SYS_ADMIN in the first user namespace.
fn pagemap(roots: &Roots) -> Pagemap {
    let mine = 1u64;
    let address = std::ptr::from_ref(std::hint::black_box(&mine)).addr();
    let entry = File::open(roots.proc.join("self/pagemap")).and_then(|file| {
        let mut entry = [0; 8];
        file.read_exact_at(&mut entry, (address / rustix::param::page_size() * 8) as u64)?;
        Ok(u64::from_ne_bytes(entry))
    });
    match entry {
        Err(_) => Pagemap::None,
        Ok(entry) if entry & ((1 << 55) - 1) != 0 => Pagemap::Frames,
        Ok(_) => Pagemap::Presence,
    }
}

/// Bytes as a person reads them: `24G`, `1.5G`, `512M`.
pub(crate) fn about(bytes: u64) -> String {
    let Some((unit, shift)) = [('G', 30), ('M', 20), ('K', 10)].into_iter().find(|(_, shift)| bytes >> shift > 0)
    else {
        return bytes.to_string();
    };
    let tenths = (u128::from(bytes) * 10) >> shift;
    match (tenths / 10, tenths % 10) {
        (whole, 0) => format!("{whole}{unit}"),
        (whole, tenth) => format!("{whole}.{tenth}{unit}"),
    }
}

/// Is there a program of this name in the places where an administrator's programs are?
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|dir| dir.join(name))
        .find(|file| fs::metadata(file).is_ok_and(|meta| meta.is_file()))
}

#[cfg(test)]
mod tests {
    use super::super::fake::Fake;
    use super::*;

    fn look(fake: &Fake) -> Machine {
        Machine::look(&fake.roots(), || Ok(()))
    }

    #[test]
    fn every_size_of_a_new_kernel_with_its_effective_setting() {
        let fake = Fake::new("sizes")
            .file("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never")
            .file("sys/kernel/mm/transparent_hugepage/hpage_pmd_size", "2097152")
            .file("sys/kernel/mm/transparent_hugepage/use_zero_page", "1")
            .file("sys/kernel/mm/transparent_hugepage/hugepages-64kB/enabled", "always inherit madvise [never]")
            .file("sys/kernel/mm/transparent_hugepage/hugepages-16kB/enabled", "[always] inherit madvise never")
            .file("sys/kernel/mm/transparent_hugepage/hugepages-8kB/shmem_enabled", "always [never]")
            .file("sys/kernel/mm/transparent_hugepage/hugepages-2048kB/enabled", "always [inherit] madvise never");
        let machine = look(&fake);
        let sizes: Vec<_> = machine.thp.iter().map(|size| (size.bytes >> 10, size.setting)).collect();
        assert_eq!(sizes, [(16, Setting::Always), (64, Setting::Never), (2048, Setting::Madvise)]);
        assert_eq!(machine.thp[2].file, fake.roots().thp().join("enabled"));
        assert_eq!(machine.pmd_size, 2 << 20);
        assert!(machine.huge_zero_page);
    }

    #[test]
    fn an_old_kernel_has_the_pmd_size_only() {
        let fake = Fake::new("old")
            .file("sys/kernel/mm/transparent_hugepage/enabled", "always madvise [never]")
            .file("sys/kernel/mm/transparent_hugepage/hpage_pmd_size", "2097152");
        let machine = look(&fake);
        assert_eq!(machine.thp.len(), 1);
        assert_eq!(machine.thp[0].setting, Setting::Never);
    }

    #[test]
    fn a_kernel_without_anything_is_no_error() {
        let machine = look(&Fake::new("empty"));
        assert!(machine.thp.is_empty() && machine.hugetlb.is_empty() && machine.swaps.is_empty());
        assert_eq!((machine.pmd_size, machine.root, machine.cores), (0, false, 1));
        assert_eq!((machine.zram, machine.brd), (Supply::Missing, Supply::Missing));
        assert_eq!(machine.pagemap, Pagemap::None);
    }

    #[test]
    fn hugetlb_pages_that_are_promised_are_not_available() {
        let fake = Fake::new("hugetlb")
            .file("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "16")
            .file("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "10")
            .file("sys/kernel/mm/hugepages/hugepages-2048kB/resv_hugepages", "3")
            .file("sys/kernel/mm/hugepages/hugepages-2048kB/surplus_hugepages", "0");
        let size = look(&fake).hugetlb[0];
        assert_eq!((size.bytes, size.nr, size.available()), (2 << 20, 16, 7));
    }

    #[test]
    fn swap_areas_and_their_odd_names() {
        let fake = Fake::new("swaps").file(
            "proc/swaps",
            "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n\
             /dev/zram0                              partition\t1048572\t\t1024\t\t-2\n\
             /mnt/a\\040b                             file\t\t4\t\t0\t\t-3\n",
        );
        let machine = look(&fake);
        assert_eq!(machine.swaps[1].path, Path::new("/mnt/a b"));
        assert_eq!(machine.free_swap(), (1_048_572 - 1024 + 4) * 1024);
    }

    #[test]
    fn who_we_are_and_what_we_run_on() {
        let fake = Fake::new("who")
            .file("proc/self/status", "Name:\tx\nUid:\t1000\t0\t1000\t1000\nCapEff:\t0000000000200000\n")
            .file("proc/meminfo", "MemTotal: 10 kB\nMemAvailable:       8 kB\n")
            .file("sys/devices/system/cpu/online", "0-3,6\n");
        let machine = look(&fake);
        assert!(machine.root && machine.sys_admin);
        assert_eq!((machine.cores, machine.available), (5, 8192));
        assert!(!machine.kernel.release.is_empty());
    }

    #[test]
    fn the_sysctl_refuses_io_uring_before_it_is_tried() {
        let fake = Fake::new("uring").file("proc/sys/kernel/io_uring_disabled", "2");
        let machine = Machine::look(&fake.roots(), || panic!("must not be tried"));
        assert_eq!(machine.io_uring, Err("kernel.io_uring_disabled is 2".to_owned()));
        let machine = Machine::look(&Fake::new("uring2").roots(), || Err(io::ErrorKind::Unsupported.into()));
        assert_eq!(machine.io_uring, Err("unsupported".to_owned()));
    }

    #[test]
    fn a_pin_device_and_a_mounted_debugfs() {
        let fake = Fake::new("gup").file("sys/kernel/debug/gup_test", "");
        let debugfs = fake.roots().debugfs();
        let fake = fake.file("proc/self/mounts", &format!("none {} debugfs rw 0 0\n", debugfs.display()));
        let machine = look(&fake);
        assert!(machine.debugfs);
        assert_eq!(machine.gup_test, Some(debugfs.join("gup_test")));
        assert_eq!(machine.helper, Helper::Absent);
        assert_eq!(machine.devices().helper, None);
    }

    #[test]
    fn bytes_for_people() {
        assert_eq!(about(24 << 30), "24G");
        assert_eq!(about((3 << 29) + 5), "1.5G");
        assert_eq!(about(4096), "4K");
        assert_eq!(about(0), "0");
    }
}
