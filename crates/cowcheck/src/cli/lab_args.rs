//! The arguments of `cowcheck lab`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Subcommand, ValueEnum};

use super::args::{TextOrJson, memory, output, time};
use crate::vm::qemu::Accel;

/// `lab`
#[derive(Debug, clap::Args)]
pub struct LabArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: LabCommand,
}

/// What to do in the mutation lab.
#[derive(Debug, Subcommand)]
pub enum LabCommand {
    /// Run the checks on every mutant, and tell which check kills which
    #[command(after_help = RUN_HELP)]
    Run(LabRunArgs),
    /// Explore each mutant without any check, and tell which are found, and how soon
    #[command(after_help = EXPLORE_HELP)]
    Explore(LabExploreArgs),
    /// Build the kernel in which the boot parameter cowcheck_bug picks a bug; `run` does so by itself
    #[command(after_help = BUILD_HELP)]
    Build,
    /// List the mutants
    List(LabListArgs),
    /// Print what a mutant is: what is wrong, how it is planted, how it can be seen
    Show {
        /// The mutant's name
        #[arg(value_name = "MUTANT")]
        name: String,
    },
}

const BUILD_HELP: &str = "\
It is built from Debian's package of sources, which is downloaded (160 MB), in the cache (2 GB). The first time
takes ten minutes or more; after a change of mutants only what they concern is built again.";

const RUN_HELP: &str = "\
Examples:
  cowcheck lab run 'in-place-*' --fast            minutes, on a stock kernel
  cowcheck lab run --fast --results out           every mutant, left at its first kill
  cowcheck lab run --fast --peer target/peer/cow  the same, and cow.c whole on each
  cowcheck lab run --results out --output markdown=kills.md
                                                  everything; hours. Goes on with --resume

The kernel without a bug and the correct forms must pass everything first; otherwise no mutant is judged.

Exit codes:
  0  every mutant is caught, or not to be seen by user space, as is argued for it
  1  something is missed
  2  the arguments are not what they should be
  3  something could not be done: a kernel or module is not to be had, a mutant could not be judged,
     something fails without a bug";

const EXPLORE_HELP: &str = "\
Examples:
  cowcheck lab explore 'in-place-*'               60 s for each, on a stock kernel
  cowcheck lab explore --time 10m --results out   every mutant; goes on with --resume
  cowcheck lab explore --exhaustive 3 in-place-dirty
  cowcheck lab explore --at-once                  the races

First the kernels without a bug and the correct forms are explored for as long: what is found there is a false
alarm, and no mutant is explored then.

Exit codes:
  0  every mutant was found, or is not to be seen by user space, as is argued for it
  1  something was not found, or there was a false alarm
  2  the arguments are not what they should be
  3  something could not be done: a kernel or module is not to be had, a mutant could not be explored";

/// `lab run`
#[derive(Debug, clap::Args)]
pub struct LabRunArgs {
    /// Only mutants whose name matches one of these patterns (`*` any text, `?` any character)
    #[arg(value_name = "NAME-GLOB")]
    pub globs: Vec<String>,
    /// Only checks of this group [default: all]
    #[arg(long, value_name = "GROUP")]
    pub group: Vec<String>,
    /// Only checks whose id matches this pattern (`*` any text, `?` any character)
    #[arg(long, value_name = "ID-GLOB")]
    pub check: Vec<String>,
    /// Leave each mutant at its first kill; cow.c is run only if --peer is given
    #[arg(long)]
    pub fast: bool,
    /// Run so many guests side by side, with one processor each [default: as many as there are processors and
    /// memory for]
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub jobs: Option<u16>,
    /// A stock kernel for the module that collapses in place, as `vm` takes it; may be given several times
    #[arg(long, value_name = "KERNEL", default_value = "debian:7.2")]
    pub kernel: Vec<String>,
    /// Judge mutants by what is left, where something fails without a bug
    #[arg(long)]
    pub keep_going: bool,
    /// The kernel's own cow.c, built statically by peer/build.sh, run on every mutant [default: target/peer/cow; with
    /// --fast none]
    #[arg(long, value_name = "FILE")]
    pub peer: Option<PathBuf>,
    /// Do not run cow.c
    #[arg(long, conflicts_with = "peer")]
    pub no_peer: bool,
    /// Keep results, consoles and the kill matrix (as text, JSON, Markdown and a web page) in this directory
    #[arg(long, value_name = "DIRECTORY")]
    pub results: Option<PathBuf>,
    /// Go on with what is in the directory of results, as far as it is of the same program, kernel and checks
    #[arg(long, requires = "results")]
    pub resume: bool,
    /// What goes to standard output
    #[arg(long, value_enum, default_value_t = KillFormat::Terminal)]
    pub format: KillFormat,
    /// Write another format to a file; may be given several times
    #[arg(long, value_name = "FORMAT=FILE", value_parser = output::<KillFormat>)]
    pub output: Vec<(KillFormat, PathBuf)>,
    /// Memory of each guest, as in 2G; below 5G there are no 1 GiB pages
    #[arg(long, value_name = "SIZE", default_value = "2G", value_parser = memory)]
    pub memory: u64,
    /// What runs the guests' instructions [default: kvm where it boots the guest, else tcg]
    #[arg(long, value_enum)]
    pub accel: Option<Accel>,
}

/// `lab explore`
#[derive(Debug, clap::Args)]
pub struct LabExploreArgs {
    /// Only mutants whose name matches one of these patterns (`*` any text, `?` any character)
    #[arg(value_name = "NAME-GLOB")]
    pub globs: Vec<String>,
    /// How long each is explored at most, without the boot [default: 60s; to the end with --exhaustive]
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub time: Option<Duration>,
    /// Every sequence of up to so many steps over a small menu, instead of random ones
    #[arg(long, value_name = "STEPS", value_parser = clap::value_parser!(u32).range(1..=8))]
    pub exhaustive: Option<u32>,
    /// The same number gives the same scenarios, everywhere
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// With steps that happen at the same time, in guests with two processors; without a pattern only mutants that are
    /// races, which are left out otherwise
    #[arg(long, conflicts_with = "exhaustive")]
    pub at_once: bool,
    /// Only this memory, as the language writes it: 'thp 2M', 'anon 4K x16'; may be given several times
    #[arg(long, value_name = "MEMORY")]
    pub on: Vec<String>,
    /// Do not change scenarios that reached something new
    #[arg(long)]
    pub unguided: bool,
    /// How long a finding is run again and made smaller
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = time)]
    pub shrink: Duration,
    /// Explore so many guests side by side, with one processor each [default: as many as there are processors and
    /// memory for]
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub jobs: Option<u16>,
    /// A stock kernel for the module that collapses in place, as `vm` takes it; may be given several times
    #[arg(long, value_name = "KERNEL", default_value = "debian:7.2")]
    pub kernel: Vec<String>,
    /// Keep the table (as text, JSON lines and Markdown), consoles and campaigns in this directory
    #[arg(long, value_name = "DIRECTORY")]
    pub results: Option<PathBuf>,
    /// Go on with what is in the directory of results, as far as it is of the same program, kernel and arguments
    #[arg(long, requires = "results")]
    pub resume: bool,
    /// What goes to standard output
    #[arg(long, value_enum, default_value_t = ExploredFormat::Terminal)]
    pub format: ExploredFormat,
    /// Memory of each guest, as in 2G
    #[arg(long, value_name = "SIZE", default_value = "2G", value_parser = memory)]
    pub memory: u64,
    /// What runs the guests' instructions [default: kvm where it boots the guest, else tcg]
    #[arg(long, value_enum)]
    pub accel: Option<Accel>,
}

/// Formats of what exploration came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExploredFormat {
    /// For people
    Terminal,
    /// One JSON object
    Json,
    /// A table for documentation
    Markdown,
}

/// Where peer/build.sh puts it.
pub const PEER: &str = "target/peer/cow";

/// Formats of a kill matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum KillFormat {
    /// For people
    Terminal,
    /// One JSON object
    Json,
    /// One page that needs nothing else
    Html,
    /// A table for documentation
    Markdown,
}

/// `lab list`
#[derive(Debug, clap::Args)]
pub struct LabListArgs {
    /// Only mutants whose name matches one of these patterns
    #[arg(value_name = "NAME-GLOB")]
    pub globs: Vec<String>,
    /// How to print it
    #[arg(long, value_enum, default_value_t = TextOrJson::Text)]
    pub format: TextOrJson,
}
