//! What this machine can check and what it cannot, for a person who asks.

use std::fmt;

use cowcheck_model::memory::Size;
use cowcheck_sys::uffd::feature;
use serde::Serialize;

use super::machine::{Helper, Machine, Pagemap, Setting, ThpSize, about};
use super::modules::Supply;
use super::needs::{HugetlbNeed, Needs, Unmet, thp_command};

/// The findings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Always `cowcheck-doctor`.
    pub format: &'static str,
    /// Of the format.
    pub version: u32,
    /// The kernel's release.
    pub kernel: String,
    /// The architecture.
    pub machine: String,
    /// Runs as root.
    pub root: bool,
    /// CPUs online.
    pub cores: usize,
    /// Bytes of memory that can be had.
    pub available: u64,
    /// One for each thing that checks may need.
    pub lines: Vec<Line>,
}

/// Whether a thing is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is.
    Ok,
    /// It is not, and checks that need it are skipped.
    Missing,
}

/// One thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// What, as in `swap`.
    pub what: String,
    /// Is it there?
    pub state: State,
    /// Why not, or how much of it there is.
    pub why: String,
    /// The command or kernel that would help; empty where nothing is missing or nothing helps.
    pub unlocks: String,
}

/// Tells about every thing that checks may need.
pub fn doctor(machine: &Machine) -> Report {
    let mut lines = Vec::new();
    lines.extend(thp(machine));
    lines.extend(hugetlb(machine));
    lines.push(ask(
        machine,
        "swap",
        Needs { swap: 1, ..Needs::default() },
        format!("{} free", about(machine.free_swap())),
    ));
    if let Some(line) = lines.last_mut()
        && line.state == State::Missing
        && machine.swaps.is_empty()
    {
        line.why = format!("{}; --provide would use {}", line.why, swap_source(machine));
    }
    lines.push(ask(
        machine,
        "read-only long-term pins",
        Needs { pin_device: true, ..Needs::default() },
        match (&machine.helper, &machine.gup_test) {
            (Helper::Ready(path), _) | (_, Some(path)) => path.display().to_string(),
            _ => String::new(),
        },
    ));
    lines.push(ask(
        machine,
        "helper module",
        Needs { helper: true, ..Needs::default() },
        "every kind of pin; the exclusive mark of every page after every step".to_owned(),
    ));
    lines.push(ask(
        machine,
        "io_uring fixed buffers (read/write long-term pins)",
        Needs { io_uring: true, ..Needs::default() },
        String::new(),
    ));
    lines.push(ask(
        machine,
        "locked memory for fixed buffers of one PMD-sized page",
        Needs { memlock: machine.pmd_size, ..Needs::default() },
        match machine.memlock.soft {
            _ if machine.ipc_lock => "no limit for root".to_owned(),
            Some(limit) => format!("limit {}", about(limit)),
            None => "no limit".to_owned(),
        },
    ));
    lines.push(ask(machine, "MADV_COLLAPSE", Needs { collapse: true, ..Needs::default() }, String::new()));
    lines.push(ask(machine, "guard pages", Needs { guard: true, ..Needs::default() }, String::new()));
    let cgroup = machine.cgroup.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
    lines.push(ask(machine, "reclaim by cgroup", Needs { cgroup: true, ..Needs::default() }, cgroup));
    lines.push(ask(machine, "forced writes", Needs { force: true, ..Needs::default() }, String::new()));
    lines.push(ask(
        machine,
        "write protection by userfaultfd",
        Needs { uffd: feature::PAGEFAULT_FLAG_WP | feature::SIGBUS, ..Needs::default() },
        String::new(),
    ));
    lines.push(ask(machine, "KSM", Needs { ksm: true, ..Needs::default() }, "it runs".to_owned()));
    lines.push(ask(machine, "splitting folios", Needs { split: true, ..Needs::default() }, "by debugfs".to_owned()));
    lines.push(ask(machine, "moving pages", Needs { migrate: true, ..Needs::default() }, String::new()));
    lines.push(page_states(machine));
    lines.push(if machine.kmsg {
        line("kernel log", State::Ok, "warnings during a check are seen", "")
    } else {
        line("kernel log", State::Missing, "/dev/kmsg cannot be read", "run as root")
    });
    Report {
        format: "cowcheck-doctor",
        version: 1,
        kernel: machine.kernel.release.clone(),
        machine: machine.kernel.machine.clone(),
        root: machine.root,
        cores: machine.cores,
        available: machine.available,
        lines,
    }
}

fn line(what: impl Into<String>, state: State, why: impl Into<String>, unlocks: impl Into<String>) -> Line {
    Line { what: what.into(), state, why: why.into(), unlocks: unlocks.into() }
}

/// The same judgement as for a check that needs just this.
fn ask(machine: &Machine, what: impl Into<String>, needs: Needs, when_ok: String) -> Line {
    match needs.unmet(machine) {
        None => line(what, State::Ok, when_ok, ""),
        Some(Unmet { reason, remedy }) => line(what, State::Missing, reason, remedy),
    }
}

/// One line for the sizes that can be used, one for those that are switched off, one for what is
/// not there at all.
fn thp(machine: &Machine) -> Vec<Line> {
    let sizes = |is_off: bool| {
        let chosen = machine.thp.iter().filter(|size| (size.setting == Setting::Never) == is_off);
        chosen.map(|size| Size(size.bytes).to_string()).collect::<Vec<_>>().join(", ")
    };
    let mut lines = Vec::new();
    let (on, off) = (sizes(false), sizes(true));
    if !on.is_empty() {
        lines.push(line(format!("THP {on}"), State::Ok, "", ""));
    }
    if !off.is_empty() {
        lines.push(line(format!("THP {off}"), State::Missing, "switched off", machine.provide_or(&switch_on(machine))));
    }
    if machine.thp.is_empty() {
        lines.push(ask(machine, "THP", Needs { thp: Some(2 << 20), ..Needs::default() }, String::new()));
        return lines;
    }
    if machine.thp.len() == 1 {
        let needs = Needs { thp: Some(64 << 10), ..Needs::default() };
        lines.push(ask(machine, "THP smaller than a PMD", needs, String::new()));
    }
    let needs = Needs { thp: Some(machine.pmd_size), huge_zero_page: true, ..Needs::default() };
    lines.push(ask(machine, "huge zero page", needs, String::new()));
    lines
}

/// One command for all sizes that are switched off: tee(1) takes several files.
fn switch_on(machine: &Machine) -> String {
    let off = || machine.thp.iter().filter(|size| size.setting == Setting::Never);
    let own = |size: &ThpSize| {
        size.file.parent().is_some_and(|dir| dir.ends_with(format!("hugepages-{}kB", size.bytes >> 10)))
    };
    let numbers: Vec<_> = off().filter(|size| own(size)).map(|size| (size.bytes >> 10).to_string()).collect();
    // With the global file among them, that one comes first: it may be enough.
    match (off().find(|size| !own(size)), off().next()) {
        (None, Some(first)) if numbers.len() > 1 => {
            let (one, all) =
                (format!("hugepages-{}kB", first.bytes >> 10), format!("hugepages-{{{}}}kB", numbers.join(",")));
            let each = thp_command(first).replace(&one, &all);
            format!("{each} (bash)")
        }
        (Some(global), _) => thp_command(global),
        (None, first) => first.map(thp_command).unwrap_or_default(),
    }
}

/// Two free pages: one for each side of a fork. Some checks need more.
fn hugetlb(machine: &Machine) -> Vec<Line> {
    const PAGES: u64 = 2;
    if machine.hugetlb.is_empty() {
        let needs = Needs { hugetlb: Some(HugetlbNeed { size: 2 << 20, pages: PAGES }), ..Needs::default() };
        return vec![ask(machine, "hugetlb pages", needs, String::new())];
    }
    let each = machine.hugetlb.iter().map(|size| {
        let needs = Needs { hugetlb: Some(HugetlbNeed { size: size.bytes, pages: PAGES }), ..Needs::default() };
        ask(machine, format!("hugetlb pages of {}", Size(size.bytes)), needs, format!("{} free", size.available()))
    });
    each.collect()
}

fn swap_source(machine: &Machine) -> &'static str {
    match (machine.zram, machine.brd) {
        (Supply::Present | Supply::Loadable, _) => "zram",
        (_, Supply::Present | Supply::Loadable) => "a RAM disk",
        _ => "a file",
    }
}

fn page_states(machine: &Machine) -> Line {
    let what = "page states (frame numbers)";
    match machine.pagemap {
        Pagemap::Frames => line(what, State::Ok, "", ""),
        Pagemap::Presence => line(
            what,
            State::Missing,
            "only presence can be seen: whether a page was copied or collapsed in place cannot be told",
            "run as root",
        ),
        Pagemap::None => ask(machine, what, Needs { pagemap: true, ..Needs::default() }, String::new()),
    }
}

/// For the terminal.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = if self.root { "root" } else { "not root" };
        let memory = about(self.available);
        writeln!(
            f,
            "Linux {} {}, {} CPUs, {memory} of memory available, {who}",
            self.kernel, self.machine, self.cores
        )?;
        for Line { what, state, why, unlocks } in &self.lines {
            let state = match state {
                State::Ok => "ok     ",
                State::Missing => "missing",
            };
            write!(f, "{state}  {what}")?;
            if !why.is_empty() {
                write!(f, ": {why}")?;
            }
            writeln!(f)?;
            if !unlocks.is_empty() {
                writeln!(f, "         -> {unlocks}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::Fake;
    use super::*;

    #[test]
    fn a_machine_with_little() {
        let fake = Fake::new("doctor")
            .file("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never")
            .file("sys/kernel/mm/transparent_hugepage/hpage_pmd_size", "2097152")
            .file("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "2")
            .file("proc/meminfo", "MemAvailable: 33554432 kB\n");
        let report = doctor(&Machine::look(&fake.roots(), || Ok(())));
        let told = report.to_string();
        for part in [
            "32G of memory available, not root\n",
            "ok       THP 2M\n",
            "missing  THP smaller than a PMD: kernel without THP of 64K\n         -> Linux 6.8 or later\n",
            "ok       hugetlb pages of 2M: 2 free\n",
            "missing  swap: no swap; --provide would use a file\n         -> run as root with --provide, or activate swap\n",
            "missing  read-only long-term pins: pins by GUP are for root only\n",
            "missing  helper module: pins by GUP are for root only\n         -> run as root; build the helper module",
        ] {
            assert!(told.contains(part), "{part} in {told}");
        }
    }

    #[test]
    fn one_command_switches_on_all_sizes() {
        let dir = "sys/kernel/mm/transparent_hugepage";
        let fake = Fake::new("doctor-thp")
            .file(&format!("{dir}/enabled"), "always madvise [never]")
            .file(&format!("{dir}/hpage_pmd_size"), "2097152")
            .file(&format!("{dir}/hugepages-64kB/enabled"), "always inherit madvise [never]")
            .file(&format!("{dir}/hugepages-128kB/enabled"), "always inherit madvise [never]")
            .file(&format!("{dir}/hugepages-2048kB/enabled"), "[always] inherit madvise never");
        let mut machine = Machine::look(&fake.roots(), || Ok(()));
        let thp = fake.roots().thp();
        let expected = format!("echo madvise | sudo tee {}/hugepages-{{64,128}}kB/enabled (bash)", thp.display());
        assert_eq!(switch_on(&machine), expected);
        machine.thp[2] = ThpSize { setting: Setting::Never, file: thp.join("enabled"), ..machine.thp[2].clone() };
        assert_eq!(switch_on(&machine), format!("echo madvise | sudo tee {}/enabled", thp.display()));
    }

    #[test]
    fn the_json_form_has_a_version_and_plain_words() {
        let report = doctor(&Machine::look(&Fake::new("doctor-json").roots(), || Ok(())));
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!((json["format"].as_str(), json["version"].as_u64()), (Some("cowcheck-doctor"), Some(1)));
        assert_eq!(json["lines"][0]["state"], "missing");
        assert_eq!(json["lines"][0]["why"], "kernel without THP of 2M");
    }
}
