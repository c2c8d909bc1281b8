//! `cowcheck lab run`

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use anyhow::Context as _;
use cowcheck_lab::{Mutant, Plant};
use cowcheck_vm::Cache;

use super::exit::{Code, Usage};
use super::lab::{chosen, with_controls};
use super::lab_args::{KillFormat, LabRunArgs, PEER};
use super::run::catch_signals;
use crate::known::{self, Known};
use crate::lab::matrix::KillMatrix;
use crate::lab::run::Lab;
use crate::lab::store::Store;
use crate::lab::trial::{Family, Trial};
use crate::lab::view::View;
use crate::lab::{self, in_place};
use crate::provide::machine::available;
use crate::provide::roots::Roots;
use crate::report::terminal;
use crate::suite::select::{Filter, Selection, select};
use crate::suite::{self, Sizes};
use crate::vm::directory::Directory;
use crate::vm::qemu::{self, Accel, Machine};
use crate::vm::session::{Spec, Subject};
use crate::vm::slim::loaded_part;
use crate::vm::{accel, fleet, subject};

/// What the kernel is called that the lab builds.
const BUILT: &str = "built";

/// Runs the checks on every mutant.
pub fn main(args: &LabRunArgs) -> anyhow::Result<Code> {
    let mutants = with_controls(chosen(&args.globs)?)?;
    let selection = selection(args)?;
    let peer = peer(args)?;
    let (known, _) = Known::with(&[] as &[&Path], &known::today()).map_err(|error| Usage(error.to_string()))?;
    // Files that cannot be written are better known before hours have passed.
    for (_, file) in &args.output {
        fs::write(file, "").map_err(|error| Usage(format!("{}: cannot be written: {error}", file.display())))?;
    }
    let interrupted = catch_signals()?;
    let cache = Cache::user();
    let mut undone = Vec::new();
    let families = families(&args.kernel, &mutants, &cache, &mut undone);
    if let Peer::Missing(why) = &peer {
        eprintln!("note: {why}");
        undone.push(why.clone());
    }
    let init = loaded_part(&fs::read("/proc/self/exe").context("failed to read this program")?);
    let directory = Directory::new(None).context("failed to make a directory for the guests")?;
    let store = store(args.results.as_deref(), args.resume)?;
    let qemu = qemu::program();
    let mut machine = Machine { accel: Accel::Tcg, cpus: 1, memory: args.memory, cmdline: String::new() };
    if let Some(first) = families.first() {
        machine.accel =
            choose_accel(args.accel, &first.references[0], &machine, &qemu, &init, directory.path(), &cache);
    }
    let lab = Lab {
        qemu: &qemu,
        init: &init,
        directory: directory.path(),
        machine,
        selection,
        known,
        fast: args.fast,
        keep_going: args.keep_going,
        peer: if let Peer::There(program) = peer { Some(program) } else { None },
        width: width(args.jobs, &families, 1, args.memory),
        interrupted: &interrupted,
        store: store.as_ref(),
    };
    let mut matrix = lab.run(&families, &mut View::new()).context("the lab could not go on")?;
    matrix.undone = undone;
    tell(args, &matrix)?;
    Ok(code(&matrix))
}

fn selection(args: &LabRunArgs) -> anyhow::Result<Selection> {
    let filter = Filter { group: args.group.clone(), ..Filter::default() };
    let selection = Selection { globs: args.check.clone(), filter };
    // Words that name nothing on any kernel are better known before anything is booted.
    select(suite::catalogue(&Sizes::widest()), &selection).map_err(Usage::from)?;
    Ok(selection)
}

/// The kernel's own cow.c.
enum Peer {
    NotWanted,
    Missing(String),
    There(Vec<u8>),
}

fn peer(args: &LabRunArgs) -> Result<Peer, Usage> {
    let path = match &args.peer {
        Some(path) => path,
        None if args.fast || args.no_peer => return Ok(Peer::NotWanted),
        None => Path::new(PEER),
    };
    match fs::read(path) {
        Ok(program) => Ok(Peer::There(program)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Peer::Missing(format!(
            "the kernel's own cow.c is not run: {} is not there; peer/build.sh builds it, --no-peer does without",
            path.display()
        ))),
        Err(error) => Err(Usage(format!("--peer {}: cannot be read: {error}", path.display()))),
    }
}

/// The kernels that the mutants are planted in. One that is not to be had is told, and the others go on.
pub(super) fn families(stock: &[String], mutants: &[Mutant], cache: &Cache, undone: &mut Vec<String>) -> Vec<Family> {
    let mut families = Vec::new();
    let mut lost = |what: &str, error: &dyn std::fmt::Display| {
        eprintln!("error: {what}: {error}");
        undone.push(format!("{what}: {error}"));
    };
    if mutants.iter().any(|mutant| matches!(mutant.plant, Plant::InPlace { .. })) {
        let kernels: BTreeSet<&String> = stock.iter().collect();
        for handle in kernels {
            match in_place::stock(handle, cache, &mut |text| eprintln!("{handle}: {text}")) {
                Ok((stock, module)) => families.push(Family::in_place(handle, &stock, &module, mutants)),
                Err(error) => lost(&format!("mutants of the in-place collapse on {handle}"), &error),
            }
        }
    }
    if mutants.iter().any(|mutant| matches!(mutant.plant, Plant::Edits { .. })) {
        match built(cache) {
            Ok(kernel) => families.push(Family::built(BUILT, &kernel, mutants)),
            Err(error) => lost("mutants of the built kernel", &format!("{error:#}")),
        }
    }
    families
}

/// The kernel with all mutants that are edits: their numbers are among all there are.
fn built(cache: &Cache) -> anyhow::Result<Subject> {
    let mut say = |text: &str| eprintln!("{BUILT}: {text}");
    let built = cowcheck_lab::build(&cowcheck_lab::list()?, cache, &mut say)?;
    let mut kernel = subject::find(&built.tree.display().to_string(), cache, true, &mut say)?;
    kernel.handle = BUILT.to_owned();
    kernel.package = Some(built.source.package);
    Ok(kernel)
}

/// The directory of results, if one is wanted.
pub(super) fn store(results: Option<&Path>, resume: bool) -> anyhow::Result<Option<Store>> {
    let open =
        |path: &Path| Store::open(path, resume).with_context(|| format!("failed to write in {}", path.display()));
    results.map(open).transpose()
}

/// How many guests run side by side: as many as are wanted, or as this machine has room for.
pub(super) fn width(jobs: Option<u16>, families: &[Family], cpus: u32, memory: u64) -> usize {
    let trials = families.iter().map(|family| family.references.len() + family.mutants.len()).sum();
    let processors = std::thread::available_parallelism().map_or(1, usize::from) / cpus as usize;
    jobs.map_or_else(|| fleet::width(trials, processors, available(&Roots::default()), memory), usize::from)
}

pub(super) fn choose_accel(
    wanted: Option<Accel>,
    trial: &Trial,
    machine: &Machine,
    qemu: &Path,
    init: &[u8],
    directory: &Path,
    cache: &Cache,
) -> Accel {
    if let Some(accel) = wanted {
        return accel;
    }
    let directory = directory.join("accel");
    let spec = Spec {
        subject: &trial.subject,
        machine: machine.clone(),
        qemu,
        init,
        program: None,
        directory: &directory,
        patience: Default::default(),
    };
    let choice = accel::choose(&spec, cache.root());
    if let Some(why) = choice.why {
        eprintln!("note: {why}");
    }
    choice.accel
}

fn told(matrix: &KillMatrix, format: KillFormat, color: bool) -> anyhow::Result<String> {
    Ok(match format {
        KillFormat::Terminal => lab::text(matrix, color),
        KillFormat::Json => serde_json::to_string(matrix)? + "\n",
        KillFormat::Html => lab::html(matrix),
        KillFormat::Markdown => lab::markdown(matrix),
    })
}

fn tell(args: &LabRunArgs, matrix: &KillMatrix) -> anyhow::Result<()> {
    let mut files: Vec<(KillFormat, std::path::PathBuf)> = args.output.clone();
    if let Some(directory) = &args.results {
        let all = [
            (KillFormat::Terminal, "kills.txt"),
            (KillFormat::Json, "kills.json"),
            (KillFormat::Html, "kills.html"),
            (KillFormat::Markdown, "kills.md"),
        ];
        files.extend(all.map(|(format, name)| (format, directory.join(name))));
    }
    for (format, file) in files {
        let text = told(matrix, format, false)?;
        fs::write(&file, text).with_context(|| format!("failed to write {}", file.display()))?;
    }
    let mut out = io::stdout().lock();
    let color = terminal::Options::for_stream(&out, false).color;
    out.write_all(told(matrix, args.format, color)?.as_bytes())?;
    out.flush()?;
    Ok(())
}

fn code(matrix: &KillMatrix) -> Code {
    match () {
        () if matrix.tally().missed > 0 => Code::Failure,
        () if !matrix.is_whole() => Code::CouldNotTest,
        () => Code::Success,
    }
}
