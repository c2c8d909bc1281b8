//! The arguments.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use cowcheck_model::memory::Size;

use super::exit;
use super::lab_args::LabArgs;
use crate::executor::fault::Fault;
use crate::explore::order::Shard;
use crate::guest::fault::Planted;
use crate::suite::select::Selection;
use crate::vm::load::Named;
use crate::vm::qemu::Accel;

/// Does this Linux kernel keep the promise of copy-on-write? Shows exactly where it does not.
#[derive(Debug, Parser)]
#[command(name = "cowcheck", version, after_help = exit::HELP, max_term_width = 100)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run checks on this kernel
    #[command(after_help = RUN_EXAMPLES)]
    Run(RunArgs),
    /// List the checks of the catalogue
    #[command(after_help = "Examples:\n  cowcheck list --kind fork-write\n  cowcheck list --format json | jq -r .id")]
    List(ListArgs),
    /// Tell what this machine can check and what it cannot, why, and what would unlock it
    Doctor(DoctorArgs),
    /// Run scenarios from .cow files
    #[command(
        after_help = "Examples:\n  cowcheck show cow/collapse-lower-shared > mine.cow\n  cowcheck replay mine.cow --repeat 100"
    )]
    Replay(ReplayArgs),
    /// Run scenarios that nobody wrote, and shrink what they find
    #[command(after_help = EXPLORE_EXAMPLES, args_conflicts_with_subcommands = true)]
    Explore(Box<ExploreArgs>),
    /// Print a check of the catalogue as a .cow file
    Show(ShowArgs),
    /// Make a C program of a scenario that needs nothing but libc, for whoever is to mend the kernel
    #[command(after_help = REPRO_EXAMPLES)]
    Repro(ReproArgs),
    /// Run checks on other kernels, each in a VM
    #[command(after_help = VM_EXAMPLES)]
    Vm(Box<VmArgs>),
    /// Build the helper module, which gives every kind of pin and the truth about pages
    Kmod(KmodArgs),
    /// Plant bugs in kernels, and see which check catches which
    Lab(LabArgs),
    /// Judge saved traces again, without touching the kernel
    #[command(after_help = "Examples:\n  cowcheck run --save-trace traces\n  cowcheck judge traces/*.json")]
    Judge(JudgeArgs),
    /// Tell two results apart: ours, or any KTAP or TAP file, the kernel's own cow included
    #[command(
        after_help = "Examples:\n  cowcheck run --format json > ours.jsonl\n  ./cow > theirs.tap\n  cowcheck compare theirs.tap ours.jsonl"
    )]
    Compare(CompareArgs),
    /// Put the results of several kernels side by side: one report, kernels × checks
    #[command(
        after_help = "Examples:\n  cowcheck run --format json > 6.18.jsonl     (on each kernel)\n  cowcheck matrix *.jsonl --output html=matrix.html"
    )]
    Matrix(MatrixArgs),
    /// Run another program with everything set up that `run --provide` sets up; needs root
    #[command(after_help = PROVIDE_HELP)]
    Provide(ProvideArgs),
}

const PROVIDE_HELP: &str = "\
Examples:
  sudo cowcheck provide -- ./cow
  sudo cowcheck provide -- sh -c './cow > theirs.tap; cowcheck run --output json=ours.jsonl'

Exit code: the command's; 125 if cowcheck itself failed (could not set up or put back), 126 if the
command cannot be run, 127 if there is no such command.";

const REPRO_EXAMPLES: &str = "\
Examples:
  cowcheck repro mine.cow --output repro.c && cc -O2 -static -o repro repro.c && ./repro
  cowcheck repro cow/vmsplice-child/base       a check of the catalogue
  cowcheck repro traces/mine.json              a saved trace: its head tells what was seen on which kernel
  cowcheck vm debian:5.10 -- ./repro           the program on another kernel

Exit code of the program: 0 the contract was kept, 1 it was broken (printed: step, page, what was seen,
what is allowed), 4 it could not be set up.";

const VM_EXAMPLES: &str = "\
Examples:
  cowcheck vm arch/x86/boot/bzImage              a kernel of your own
  cowcheck vm .                                  the same, from the top of its build tree
  cowcheck vm debian:5.10 debian:6.12 debian:7.2 --results out
  cowcheck vm debian:6.1 --check 'cow/collapse-*' --repeat 20 --cmdline 'slub_debug=FZ'
  cowcheck vm debian:6.12 --shell                a prompt in the guest
  cowcheck vm debian:7.2 --module mine.ko:bug=3  with a module of yours loaded
  cowcheck vm debian:6.12 -- ./cow               the kernel's own selftest, linked statically

Needs qemu-system-x86_64, no root. COWCHECK_QEMU names another QEMU. Packages are kept in
$COWCHECK_CACHE or ~/.cache/cowcheck.";

const EXPLORE_EXAMPLES: &str = "\
Examples:
  sudo cowcheck explore --provide --time 10m --results out
  sudo cowcheck explore --provide --resume out --time 10m
  sudo cowcheck explore --provide --exhaustive 3 --on 'thp 2M'
  cowcheck explore --vm debian:5.10 --results out       in a VM; no root needed
  cowcheck explore --scenarios 100000 --shard 0/4 --results part0
  cowcheck explore merge part0 part1 part2 part3 --into whole

Exit code: 1 if something was found that is not known.";

const KMOD_EXAMPLES: &str = "\
Examples:
  cowcheck kmod build                      for the kernel that runs
  cowcheck kmod build debian:6.12          with Debian's packages of headers, which are downloaded
  cowcheck kmod build ~/linux              with a kernel's own build tree
  cowcheck kmod build --in-place debian:7.2

Needs make and gcc, no root. It is kept in $COWCHECK_CACHE or ~/.cache/cowcheck, and built again only when
the kernel or the module is another.";

const RUN_EXAMPLES: &str = "\
Examples:
  cowcheck run                                 everything that can run as it is
  sudo cowcheck run --provide                  with swap, THP sizes and hugetlb pages set up, then put back
  cowcheck run 'cow/collapse-*' --repeat 100
  cowcheck run --memory thp-pte --size 64K --format ktap
  cowcheck run --output json=out.jsonl --output junit=out.xml

--provide needs root. What it changes is put back when the run ends, however it ends.";

/// How to run, for `run` and `replay`.
#[derive(Debug, Clone, clap::Args)]
pub struct Running {
    /// Run each check so many times
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub repeat: u32,
    /// Run so many checks at once [default: one for each core]
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=512))]
    pub jobs: Option<u16>,
    /// Time limit of one run, in seconds; large pages get more, emulated guests three times as much
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub timeout: Duration,
    /// Stop at the first failure
    #[arg(long)]
    pub fail_fast: bool,
    /// Run what fails again, alone, until it has failed again, at most so many times
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub confirm: u32,
    /// What goes to standard output
    #[arg(long, value_enum, default_value_t = Format::Terminal)]
    pub format: Format,
    /// Write another format to a file; may be given several times
    #[arg(long, value_name = "FORMAT=FILE", value_parser = output::<Format>)]
    pub output: Vec<(Format, PathBuf)>,
    /// Save the trace of every check in this directory
    #[arg(long, value_name = "DIRECTORY")]
    pub save_trace: Option<PathBuf>,
    /// A file of bugs that are known, beside those that come with the program; may be given several times
    #[arg(long, value_name = "FILE")]
    pub known: Vec<PathBuf>,
    /// List every check in the terminal view, not only what is worth a look
    #[arg(long, short)]
    pub verbose: bool,
    /// Plant a fault in cowcheck itself: it must be reported
    #[arg(long, hide = true, value_enum)]
    pub self_test: Option<Fault>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.01..=86_400.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("expected a number of seconds between 0.01 and 86400".to_owned()),
    }
}

fn wait(text: &str) -> Result<Duration, String> {
    if text == "0" { Ok(Duration::ZERO) } else { seconds(text) }
}

/// `FORMAT=FILE`, for any formats.
pub(super) fn output<F: ValueEnum>(text: &str) -> Result<(F, PathBuf), String> {
    let names =
        || F::value_variants().iter().filter_map(ValueEnum::to_possible_value).map(|value| value.get_name().to_owned());
    let expected = || format!("expected FORMAT=FILE, FORMAT being one of {}", names().collect::<Vec<_>>().join(", "));
    let (format, file) = text.split_once('=').ok_or_else(expected)?;
    let format = F::from_str(format, false).map_err(|_| expected())?;
    if file.is_empty() { Err(expected()) } else { Ok((format, file.into())) }
}

/// Formats of results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Terminal,
    /// KTAP version 1
    Ktap,
    /// JSON lines
    Json,
    /// JUnit XML, written when the run ends
    Junit,
    /// As the kernel's own cow program prints it (group cow only)
    Kselftest,
}

/// Formats of everything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TextOrJson {
    /// For people
    Text,
    /// One JSON value, or one a line
    Json,
}

/// `run`
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would make it the help of the first argument")]
    pub selection: Selection,
    /// Set up what checks need (swap, THP sizes, hugetlb pages) and put it back afterwards; needs root
    #[arg(long)]
    pub provide: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "as above")]
    pub running: Running,
}

/// `list`
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    #[command(flatten)]
    #[expect(missing_docs, reason = "as above")]
    pub selection: Selection,
    /// How to print it
    #[arg(long, value_enum, default_value_t = TextOrJson::Text)]
    pub format: TextOrJson,
}

/// `doctor`
#[derive(Debug, clap::Args)]
pub struct DoctorArgs {
    /// How to print it
    #[arg(long, value_enum, default_value_t = TextOrJson::Text)]
    pub format: TextOrJson,
}

/// `replay`
#[derive(Debug, clap::Args)]
pub struct ReplayArgs {
    /// The .cow files; - is standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Set up what checks need (swap, THP sizes, hugetlb pages) and put it back afterwards; needs root
    #[arg(long)]
    pub provide: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "as above")]
    pub running: Running,
}

/// `explore`
#[derive(Debug, clap::Args)]
pub struct ExploreArgs {
    /// What else to do.
    #[command(subcommand)]
    pub command: Option<ExploreCommand>,
    /// The same number gives the same scenarios, everywhere
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "resume")]
    pub seed: u64,
    /// How long, as in 60s, 10m or 2h [default: 60s, where nothing else makes an end]
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub time: Option<Duration>,
    /// The scenarios with numbers below this one
    #[arg(long, value_name = "N")]
    pub scenarios: Option<u64>,
    /// Every sequence of up to so many steps over a small menu, instead of random ones
    #[arg(long, value_name = "STEPS", conflicts_with = "resume", value_parser = clap::value_parser!(u32).range(1..=8))]
    pub exhaustive: Option<u32>,
    /// With steps that happen at once in every scenario; these are others than without
    #[arg(long, conflicts_with_all = ["resume", "exhaustive"])]
    pub at_once: bool,
    /// Only this memory, as the language writes it: 'thp 2M', 'anon 4K x16'; may be given several times
    #[arg(long, value_name = "MEMORY", conflicts_with = "resume")]
    pub on: Vec<String>,
    /// Do not change scenarios that reached something new
    #[arg(long, conflicts_with = "resume")]
    pub unguided: bool,
    /// Only scenario I, I+N, I+2N and so on; implies --unguided [default: all; with --resume as before]
    #[arg(long, value_name = "I/N")]
    pub shard: Option<Shard>,
    /// Keep everything in this directory, which must hold no campaign
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "resume")]
    pub results: Option<PathBuf>,
    /// Go on with the campaign in this directory
    #[arg(long, value_name = "DIRECTORY")]
    pub resume: Option<PathBuf>,
    /// Set up what scenarios need (swap, THP sizes, hugetlb pages) and put it back afterwards; needs root
    #[arg(long, conflicts_with = "vm")]
    pub provide: bool,
    /// Run so many scenarios at once [default: one for each core]
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=512))]
    pub jobs: Option<u16>,
    /// Time limit of one run, in seconds; emulated guests get three times as much
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub timeout: Duration,
    /// A file of bugs that are known, beside those that come with the program; may be given several times
    #[arg(long, value_name = "FILE")]
    pub known: Vec<PathBuf>,
    /// Explore this kernel, in a VM
    #[arg(long, value_name = "KERNEL")]
    pub vm: Option<String>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "as above")]
    pub guest: GuestArgs,
    /// Plant a fault in cowcheck itself: it must be found
    #[arg(long, hide = true, value_enum)]
    pub self_test: Option<Fault>,
    /// Plant a fault in the guest, when the scenario with this number begins: it must be found
    #[arg(long, hide = true, value_name = "FAULT@NUMBER", requires = "vm")]
    pub guest_fault: Option<Planted>,
}

/// What else `explore` can do.
#[derive(Debug, Subcommand)]
pub enum ExploreCommand {
    /// Put the shards of a campaign together
    Merge {
        /// Directories of campaigns about the same scenarios
        #[arg(required = true, value_name = "DIRECTORY")]
        stores: Vec<PathBuf>,
        /// Where to
        #[arg(long, value_name = "DIRECTORY")]
        into: PathBuf,
    },
}

/// The virtual machine that is explored.
#[derive(Debug, clap::Args)]
#[group(requires = "vm")]
pub struct GuestArgs {
    /// Processors of the guest [default: as many as this machine has]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=255))]
    pub cpus: Option<u32>,
    /// Memory of the guest, as in 512M or 4G [default: 2G]
    #[arg(long, value_name = "SIZE", value_parser = memory)]
    pub memory: Option<u64>,
    /// More words for the command line of the guest's kernel
    #[arg(long, value_name = "WORDS", default_value = "", allow_hyphen_values = true)]
    pub cmdline: String,
    /// What runs the guest's instructions [default: kvm where it boots the guest, else tcg]
    #[arg(long, value_enum)]
    pub accel: Option<Accel>,
    /// Keep the files of each guest (initramfs, console) in this directory
    #[arg(long, value_name = "DIRECTORY")]
    pub keep: Option<PathBuf>,
    /// Do not build and load the helper module
    #[arg(long)]
    pub no_helper: bool,
}

pub(super) fn time(text: &str) -> Result<Duration, String> {
    let units = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0), ("d", 86_400.0), ("", 1.0)];
    let (number, unit) =
        units.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds))).unwrap_or((text, &1.0));
    match number.parse::<f64>() {
        Ok(number) if (0.01..=1e8).contains(&(number * unit)) => Ok(Duration::from_secs_f64(number * unit)),
        _ => Err("expected a time, as in 60s, 10m or 2h".to_owned()),
    }
}

/// `show`
#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// The check's id
    #[arg(value_name = "CHECK")]
    pub id: String,
}

/// `repro`
#[derive(Debug, clap::Args)]
pub struct ReproArgs {
    /// A .cow file, a saved trace, or a check's id; - is standard input
    #[arg(value_name = "FILE|CHECK")]
    pub what: PathBuf,
    /// The language of the program
    #[arg(long, value_enum, default_value_t = Lang::C)]
    pub lang: Lang,
    /// Write it to this file instead of standard output
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Languages of programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Lang {
    /// C, with GNU extensions, in the style of the kernel
    C,
}

/// `judge`
#[derive(Debug, clap::Args)]
pub struct JudgeArgs {
    /// The trace files; - is standard input
    #[arg(required = true, value_name = "TRACE")]
    pub files: Vec<PathBuf>,
    /// How to print it
    #[arg(long, value_enum, default_value_t = TextOrJson::Text)]
    pub format: TextOrJson,
}

/// `compare`
#[derive(Debug, clap::Args)]
pub struct CompareArgs {
    /// The first results
    #[arg(value_name = "A")]
    pub a: PathBuf,
    /// The second results
    #[arg(value_name = "B")]
    pub b: PathBuf,
    /// How to print it
    #[arg(long, value_enum, default_value_t = TextOrJson::Text)]
    pub format: TextOrJson,
}

/// `matrix`
#[derive(Debug, clap::Args)]
pub struct MatrixArgs {
    /// Results of `run`, one file for each kernel; other KTAP or TAP as far as it goes
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// What the report is called
    #[arg(long, value_name = "TEXT")]
    pub title: Option<String>,
    /// What goes to standard output
    #[arg(long, value_enum, default_value_t = MatrixFormat::Terminal)]
    pub format: MatrixFormat,
    /// Write another format to a file; may be given several times
    #[arg(long, value_name = "FORMAT=FILE", value_parser = output::<MatrixFormat>)]
    pub output: Vec<(MatrixFormat, PathBuf)>,
}

/// Formats of a matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MatrixFormat {
    /// For people
    Terminal,
    /// One JSON object
    Json,
    /// One page that needs nothing else
    Html,
}

/// `provide`
#[derive(Debug, clap::Args)]
pub struct ProvideArgs {
    /// Set up enough for so many checks at once [default: one for each core]
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=512))]
    pub jobs: Option<u16>,
    /// Wait so long until another cowcheck has put its settings back
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = wait)]
    pub wait: Duration,
    /// The command and its arguments
    #[arg(required = true, last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// `vm`
#[derive(Debug, clap::Args)]
pub struct VmArgs {
    /// The kernels: a bzImage, a build tree, a .deb, a Debian package, or a version as in debian:6.12
    #[arg(required = true, value_name = "KERNEL")]
    pub kernels: Vec<String>,
    /// Only checks whose id matches this pattern (`*` any text, `?` any character)
    #[arg(long, value_name = "ID-GLOB")]
    pub check: Vec<String>,
    /// Only this group, as in cow
    #[arg(long, value_name = "GROUP")]
    pub group: Vec<String>,
    /// Only this kind (what is done), as in fork-write
    #[arg(long, value_name = "KIND")]
    pub kind: Vec<String>,
    /// Only this memory (what it is done to), as in thp-pte; `--memory` is the guest's here
    #[arg(long, value_name = "MEMORY")]
    pub on: Vec<String>,
    /// Only memory with pages of this size, as in 4K, 2M or 1G
    #[arg(long, value_name = "SIZE")]
    pub size: Vec<String>,
    /// Run scenarios from this .cow file instead of the catalogue
    #[arg(long, value_name = "FILE", conflicts_with_all = ["check", "group", "kind", "on", "size"])]
    pub scenario: Vec<PathBuf>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "as above")]
    pub running: Running,
    #[command(flatten)]
    #[expect(missing_docs, reason = "as above")]
    pub machine: MachineArgs,
    /// Plant a fault in the guest, when the check with this index begins: it must be reported
    #[arg(long, hide = true, value_name = "FAULT@INDEX")]
    pub guest_fault: Option<Planted>,
    /// Keep results, consoles and the matrix (as text, JSON and a web page) in this directory
    #[arg(long, value_name = "DIRECTORY")]
    pub results: Option<PathBuf>,
    /// Run this static program in each guest instead, with everything set up that checks need
    #[arg(last = true, value_name = "PROGRAM", conflicts_with_all = ["check", "group", "kind", "on", "size", "scenario", "shell"])]
    pub program: Vec<String>,
}

/// `kmod`
#[derive(Debug, clap::Args)]
pub struct KmodArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: KmodCommand,
}

/// What to do with the helper module.
#[derive(Debug, Subcommand)]
pub enum KmodCommand {
    /// Build it for a kernel, and say how to load it
    #[command(after_help = KMOD_EXAMPLES)]
    Build {
        /// The kernel, as `vm` takes it [default: the one that runs]
        #[arg(value_name = "KERNEL")]
        kernel: Option<String>,
        /// The lab's module instead, which collapses anonymous THPs in place, with bug=N wrongly; for guests only
        #[arg(long)]
        in_place: bool,
    },
}

/// The virtual machines.
#[derive(Debug, clap::Args)]
pub struct MachineArgs {
    /// Processors of each guest [default: this machine's, shared by the guests that run side by side]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=255))]
    pub cpus: Option<u32>,
    /// Memory of each guest, as in 512M or 4G [default: 5G where there is so much, for 1 GiB hugetlb
    /// pages, else 2G]
    #[arg(long, value_name = "SIZE", value_parser = memory)]
    pub memory: Option<u64>,
    /// More words for the command line of the guest's kernel
    #[arg(long, value_name = "WORDS", default_value = "", allow_hyphen_values = true)]
    pub cmdline: String,
    /// What runs the guest's instructions [default: kvm where it boots the guest, else tcg]
    #[arg(long, value_enum)]
    pub accel: Option<Accel>,
    /// Keep the files of each guest (initramfs, console, QEMU's command) in this directory
    #[arg(long, value_name = "DIRECTORY")]
    pub keep: Option<PathBuf>,
    /// Print the QEMU commands and run nothing; needs --keep, for the files
    #[arg(long, requires = "keep")]
    pub dry_run: bool,
    /// Do not build and load the helper module: without it some pins and the marks of pages are out of reach
    #[arg(long)]
    pub no_helper: bool,
    /// Load this kernel module, too, with these parameters, before anything is done; without it nothing is. May be
    /// given several times; they are loaded in this order, after the helper module
    #[arg(long, value_name = "FILE.ko[:PARAMETERS]")]
    pub module: Vec<Named>,
    /// A prompt on the guest's console, instead of checks
    #[arg(long)]
    pub shell: bool,
    /// Run so many guests side by side [default: as many as there are processors and memory for]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub guests: Option<u16>,
}

pub(super) fn memory(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(Size(bytes)) if (96 << 20..=1 << 40).contains(&bytes) => Ok(bytes),
        _ => Err("expected a size between 96M and 1024G, as in 512M or 4G".to_owned()),
    }
}
