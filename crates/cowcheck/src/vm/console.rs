//! What a kernel says on its console: the last lines, and the signs of trouble among them.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

/// How many lines are kept for whoever asks what happened last.
const LAST: usize = 20;

/// How many are kept from the first sign of trouble on: a panic and its trace.
const TALE: usize = 45;

/// The longest line that is kept, in characters.
const WIDTH: usize = 300;

/// How many different lines are kept of a sign.
const LINES: usize = 20;

/// How the kernel begins to tell of a breakpoint in its own code that it does not know (arch/x86/kernel/traps.c).
const BREAKPOINT: &str = "int3: 0000";

/// A sign of trouble, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sign {
    /// panic(): the kernel stopped itself.
    Panic,
    /// The kernel had to kill somebody for memory.
    OutOfMemory,
    /// An access or instruction of the kernel's own that went wrong.
    Oops,
    /// BUG: something is badly inconsistent.
    Bug,
    /// A lock taken in the wrong order or place.
    Lockdep,
    /// A processor or a task that gets no further.
    Hung,
    /// WARN(): something should not be.
    Warning,
}

impl fmt::Display for Sign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Sign::Panic => "panic",
            Sign::OutOfMemory => "out of memory",
            Sign::Oops => "oops",
            Sign::Bug => "BUG",
            Sign::Lockdep => "lockdep",
            Sign::Hung => "hung",
            Sign::Warning => "warning",
        })
    }
}

/// As the kernel writes them (kernel/panic.c, mm/oom_kill.c, arch/x86/kernel/dumpstack.c and mm/fault.c, lib/bug.c,
/// kernel/locking/lockdep.c, kernel/hung_task.c, kernel/watchdog.c, kernel/rcu/tree_stall.h). The first that fits
/// counts.
const SIGNS: [(&str, Sign); 25] = [
    ("Kernel panic - not syncing: Out of memory", Sign::OutOfMemory),
    ("Kernel panic - not syncing: System is deadlocked on memory", Sign::OutOfMemory),
    ("Kernel panic - not syncing", Sign::Panic),
    ("Out of memory: Kill", Sign::OutOfMemory),
    ("Memory cgroup out of memory", Sign::OutOfMemory),
    ("oom-kill:", Sign::OutOfMemory),
    ("invoked oom-killer", Sign::OutOfMemory),
    ("soft lockup - CPU", Sign::Hung),
    ("hard LOCKUP", Sign::Hung),
    ("blocked for more than", Sign::Hung),
    ("self-detected stall", Sign::Hung),
    ("detected stalls on CPUs", Sign::Hung),
    ("detected expedited stalls", Sign::Hung),
    ("possible circular locking dependency", Sign::Lockdep),
    ("possible recursive locking", Sign::Lockdep),
    ("inconsistent lock state", Sign::Lockdep),
    ("suspicious RCU usage", Sign::Lockdep),
    ("BUG: sleeping function called", Sign::Lockdep),
    ("general protection fault", Sign::Oops),
    ("BUG: unable to handle", Sign::Oops),
    ("BUG: kernel NULL pointer", Sign::Oops),
    ("Oops: ", Sign::Oops),
    (BREAKPOINT, Sign::Oops),
    ("BUG: ", Sign::Bug),
    ("kernel BUG at ", Sign::Bug),
];

/// What a line tells.
pub fn sign(line: &str) -> Option<Sign> {
    let found = SIGNS.iter().find(|(text, _)| line.contains(text)).map(|(_, sign)| *sign);
    found.or_else(|| (line.contains("WARNING: ") && line.contains(" at ")).then_some(Sign::Warning))
}

/// A console, so far.
#[derive(Debug, Default)]
pub struct Console {
    last: VecDeque<String>,
    /// From the first sign of trouble on that is more than a warning.
    tale: Vec<String>,
    signs: BTreeMap<Sign, Vec<String>>,
    lines: usize,
    /// Its trouble began with a breakpoint, and what the code there is was not told yet.
    at_breakpoint: bool,
    has_stale_code: bool,
}

impl Console {
    /// Takes a line in.
    pub fn hear(&mut self, line: &[u8]) {
        let line: String = String::from_utf8_lossy(line)
            .chars()
            .filter(|char| !char.is_control() || *char == '\t')
            .take(WIDTH)
            .collect();
        self.lines += 1;
        if let Some(sign) = sign(&line) {
            let lines = self.signs.entry(sign).or_default();
            if lines.len() < LINES {
                lines.push(without_time(&line).to_owned());
            }
        }
        let is_trouble = sign(&line).is_some_and(|sign| sign < Sign::Warning);
        if is_trouble && self.tale.is_empty() {
            self.at_breakpoint = line.contains(BREAKPOINT);
        }
        if self.at_breakpoint
            && let Some((before, _)) = without_time(&line).split_once('<')
            && before.starts_with("Code: ")
        {
            self.at_breakpoint = false;
            self.has_stale_code = !before.trim_end().ends_with("cc");
        }
        if (is_trouble || !self.tale.is_empty()) && self.tale.len() < TALE {
            self.tale.push(line.clone());
        }
        if self.last.len() == LAST {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }

    /// How many lines there were.
    pub fn lines(&self) -> usize {
        self.lines
    }

    /// Did its trouble begin with a breakpoint where the code has none? The kernel changes its code behind breakpoints, and
    /// waits until no processor can run into one any more. QEMU 7.2 (8.0, too) may run what another of its processors has
    /// just changed. (The instruction in `<>` is the one behind the breakpoint.)
    pub fn has_stale_code(&self) -> bool {
        self.has_stale_code
    }

    /// The first line with this sign.
    pub fn first(&self, sign: Sign) -> Option<&str> {
        self.signs.get(&sign)?.first().map(String::as_str)
    }

    /// The signs and their lines, the worst first.
    pub fn signs(&self) -> impl Iterator<Item = (Sign, &[String])> {
        self.signs.iter().map(|(sign, lines)| (*sign, lines.as_slice()))
    }

    /// What to show when the guest has died: its trouble from the first sign on, or its last lines.
    pub fn tale(&self) -> String {
        let all: Vec<&str> = match self.tale.is_empty() {
            true => self.last.iter().map(String::as_str).collect(),
            false => self.tale.iter().map(String::as_str).collect(),
        };
        all.join("\n")
    }
}

/// `[    1.234567] text` is about the text.
fn without_time(line: &str) -> &str {
    match line.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
        Some((time, text)) if time.trim().parse::<f64>().is_ok() => text.trim_start(),
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_recognised() {
        let all = [
            ("[    2.1] Kernel panic - not syncing: Attempted to kill init!", Some(Sign::Panic)),
            ("Kernel panic - not syncing: System is deadlocked on memory", Some(Sign::OutOfMemory)),
            ("cowcheck invoked oom-killer: gfp_mask=0x100cca", Some(Sign::OutOfMemory)),
            ("watchdog: BUG: soft lockup - CPU#1 stuck for 26s! [cowcheck:77]", Some(Sign::Hung)),
            ("INFO: task cowcheck:77 blocked for more than 120 seconds.", Some(Sign::Hung)),
            ("rcu: INFO: rcu_preempt self-detected stall on CPU", Some(Sign::Hung)),
            ("WARNING: possible circular locking dependency detected", Some(Sign::Lockdep)),
            ("BUG: unable to handle page fault for address: ffff", Some(Sign::Oops)),
            ("int3: 0000 [#1] PREEMPT SMP NOPTI", Some(Sign::Oops)),
            ("BUG: Bad page state in process cowcheck  pfn:00001", Some(Sign::Bug)),
            ("WARNING: CPU: 0 PID: 1 at mm/memory.c:1 do_wp_page", Some(Sign::Warning)),
            ("[    0.000000] Linux version 6.1.0-48-cloud-amd64", None),
            ("x86/fpu: Supporting XSAVE feature 0x001: 'x87 floating point registers'", None),
            ("Warning: unrecognized option", None),
        ];
        for (line, expected) in all {
            assert_eq!(sign(line), expected, "{line}");
        }
    }

    #[test]
    fn a_breakpoint_that_is_not_there_is_told_from_one_that_is() {
        let stale = |lines: &[&str]| {
            let mut console = Console::default();
            lines.iter().for_each(|line| console.hear(line.as_bytes()));
            console.has_stale_code()
        };
        let int3 = "[    3.376500] Oops: int3: 0000 [#1] PREEMPT SMP NOPTI";
        let gone = "[    3.379104] Code: 48 89 04 24 0f 1f 44 00 00 66 <90> 48 8b 43 08 a8";
        let there = "[    3.379104] Code: 48 89 04 24 c3 cc <cc> cc 48 8b 43 08 a8";
        assert!(stale(&[int3, "RIP: 0010:free_unref_page+0x88/0x550", gone]));
        assert!(stale(&["int3: 0000 [#1] SMP", gone]), "Linux before 6.10 says no more");
        assert!(
            !stale(&[int3, "RIP: 0010:free_unref_page+0x88/0x550", there]),
            "a jump into the space between functions"
        );
        assert!(!stale(&["BUG: unable to handle page fault for address: 0", gone]));
        assert!(!stale(&["kernel BUG at mm/memory.c:1!", int3, gone]), "what comes after a bug is its doing");
    }

    #[test]
    fn the_last_lines_and_the_first_signs_are_kept() {
        let mut console = Console::default();
        for number in 0..50 {
            console.hear(format!("fine: number {number}").as_bytes());
        }
        assert_eq!(console.tale().lines().count(), LAST);
        assert!(console.tale().ends_with("fine: number 49"));
        for number in 0..100 {
            console.hear(format!("[    1.{number:06}] BUG: number {number}\r").as_bytes());
        }
        assert_eq!(console.lines(), 150);
        assert_eq!(console.first(Sign::Bug), Some("BUG: number 0"));
        assert_eq!(console.tale().lines().count(), TALE);
        assert!(console.tale().contains("BUG: number 0"));
        assert_eq!(console.signs().map(|(_, lines)| lines.len()).collect::<Vec<_>>(), [LINES]);
    }
}
