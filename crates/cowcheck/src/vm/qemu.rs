//! The machine: which QEMU, and its command line.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// The command line of the guest's kernel. The console says everything (it costs next to nothing and shows where a
/// boot came to a halt), a panic ends the guest, what only costs time under emulation is off, and a process may write to
/// its own read-only memory by way of /proc/self/mem (`proc_mem.force_override`, from Linux 6.12).
const KERNEL_ARGUMENTS: &str = "console=ttyS0 ignore_loglevel panic=-1 oops=panic reboot=t nokaslr cryptomgr.notests \
                                mitigations=off no_timer_check numa_balancing=disable proc_mem.force_override=always";

/// What runs the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Accel {
    /// The processor itself.
    Kvm,
    /// QEMU, in software.
    Tcg,
}

impl fmt::Display for Accel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Accel::Kvm => "kvm",
            Accel::Tcg => "tcg",
        })
    }
}

/// Guests with so much memory are given gigantic pages at boot, the number that a check takes at most at a time; later
/// the kernel finds no gigabyte in one piece any more.
const WITH_GIGANTIC: u64 = 9 << 29;
const GIGANTIC: &str = " hugepagesz=1G hugepages=2";

/// Guests with so much memory have a second node, without processors, so that pages can be moved. It is small: what
/// is allocated comes from the first one. The kernel is not to move pages of its own accord (`numa_balancing`).
const WITH_NODES: u64 = 1 << 30;
const SECOND_NODE: u64 = 256 << 20;

/// The environment variable that names another QEMU.
pub const VARIABLE: &str = "COWCHECK_QEMU";

/// The QEMU for guests of this machine's architecture.
pub fn program() -> PathBuf {
    let named = std::env::var_os(VARIABLE).filter(|name| !name.is_empty());
    named.map_or_else(|| format!("qemu-system-{}", std::env::consts::ARCH).into(), PathBuf::from)
}

/// A virtual machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// What runs its instructions.
    pub accel: Accel,
    /// Processors.
    pub cpus: u32,
    /// Bytes of memory.
    pub memory: u64,
    /// More words for the kernel's command line.
    pub cmdline: String,
}

/// Where the files of a guest are.
#[derive(Debug, Clone)]
pub struct Files {
    /// The kernel, as QEMU boots it.
    pub kernel: PathBuf,
    directory: PathBuf,
}

impl Files {
    /// A kernel, and a directory for the rest.
    pub fn new(kernel: &Path, directory: &Path) -> Files {
        Files { kernel: kernel.to_owned(), directory: directory.to_owned() }
    }

    /// The initramfs.
    pub fn initramfs(&self) -> PathBuf {
        self.directory.join("initramfs.cpio")
    }

    /// What the kernel says.
    pub fn console(&self) -> PathBuf {
        self.directory.join("console.log")
    }

    /// What the guest says to us.
    pub fn results(&self) -> PathBuf {
        self.directory.join("results")
    }

    /// What QEMU notes: resets, a triple fault among them.
    pub fn log(&self) -> PathBuf {
        self.directory.join("qemu.log")
    }

    /// What QEMU complains of.
    pub fn errors(&self) -> PathBuf {
        self.directory.join("qemu.err")
    }
}

impl Machine {
    /// The nodes its memory is on.
    fn nodes(&self) -> Vec<String> {
        if self.memory < WITH_NODES {
            return Vec::new();
        }
        let node = |name: &str, bytes: u64, processors: &str| {
            let memory = format!("memory-backend-ram,id={name},size={}M", bytes >> 20);
            ["-object".to_owned(), memory, "-numa".to_owned(), format!("node,memdev={name}{processors}")]
        };
        let processors = format!(",cpus=0-{}", self.cpus.max(1) - 1);
        [node("near", self.memory - SECOND_NODE, &processors), node("far", SECOND_NODE, "")].concat()
    }

    /// QEMU's arguments. With `prompt` the console is this terminal.
    ///
    /// No network, no disk, no display; the guest ends QEMU by resetting itself.
    pub fn arguments(&self, files: &Files, prompt: bool) -> Vec<String> {
        let path = |path: PathBuf| path.display().to_string();
        let processor = match self.accel {
            Accel::Kvm => "host",
            // cmpxchg16b of QEMU 7.2 overwrites the flags, which crashes a kernel that uses it. A kernel told of
            // fast string instructions copies byte by byte here: a 1 GiB page in 50 s instead of 4.
            Accel::Tcg => "max,-cx16,-erms,-fsrm",
        };
        let console = if prompt { "mon:stdio".to_owned() } else { format!("file:{}", path(files.console())) };
        let mut kernel_arguments = KERNEL_ARGUMENTS.to_owned();
        if self.memory >= WITH_GIGANTIC {
            kernel_arguments += GIGANTIC;
        }
        if !self.cmdline.is_empty() {
            kernel_arguments += " ";
            kernel_arguments += &self.cmdline;
        }
        let pairs = [
            ("-accel", self.accel.to_string()),
            // The type that boots an unpacked kernel (PVH).
            // The host's KSM is to leave the guest alone.
            ("-machine", "q35,mem-merge=off".to_owned()),
            ("-cpu", processor.to_owned()),
            ("-smp", self.cpus.to_string()),
            ("-m", format!("{}M", self.memory >> 20)),
            ("-kernel", path(files.kernel.clone())),
            ("-initrd", path(files.initramfs())),
            ("-append", kernel_arguments),
            ("-display", "none".to_owned()),
            ("-serial", console),
            ("-serial", format!("file:{}", path(files.results()))),
            ("-d", "cpu_reset".to_owned()),
            ("-D", path(files.log())),
        ];
        let flags = ["-nodefaults", "-no-user-config", "-no-reboot"].map(str::to_owned);
        let flags = flags.into_iter().chain(self.nodes());
        flags.chain(pairs.into_iter().flat_map(|(option, value)| [option.to_owned(), value])).collect()
    }
}

/// The command, to be pasted into a shell.
pub fn pasted(program: &Path, arguments: &[String]) -> String {
    let quoted = |word: &str| {
        let plain = |char: char| char.is_ascii_alphanumeric() || "-_./,=:+@%".contains(char);
        if !word.is_empty() && word.chars().all(plain) {
            word.to_owned()
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
    };
    let words = std::iter::once(program.display().to_string()).chain(arguments.iter().cloned());
    words.map(|word| quoted(&word)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_can_be_pasted() {
        let machine =
            Machine { accel: Accel::Tcg, cpus: 2, memory: 2 << 30, cmdline: "numa=fake=2 a='b c'".to_owned() };
        let files = Files::new(Path::new("/k/vm linux"), Path::new("/d"));
        let arguments = machine.arguments(&files, false);
        let text = pasted(Path::new("qemu"), &arguments);
        let output = std::process::Command::new("sh").arg("-c").arg(format!("printf '%s\\n' {text}")).output().unwrap();
        let words: Vec<String> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
        assert_eq!(words[1..], arguments);
        assert!(arguments.contains(&"/k/vm linux".to_owned()));
        assert!(arguments.iter().any(|word| word.ends_with(" numa=fake=2 a='b c'")), "{arguments:?}");
        assert!(arguments.contains(&"max,-cx16,-erms,-fsrm".to_owned()));
    }
}
