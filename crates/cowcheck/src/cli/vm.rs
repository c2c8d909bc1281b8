//! `cowcheck vm`

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, IsTerminal, LineWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use cowcheck_model::memory::Size;
use cowcheck_vm::Cache;
use indicatif::{MultiProgress, ProgressDrawTarget};

use super::args::{Format, VmArgs};
use super::exit::{Code, Usage};
use super::files;
use super::outputs::{self, Outputs};
use super::run::{catch_signals, code, known};
use crate::guest::order::{Checks, Task, What};
use crate::matrix::{self, Matrix};
use crate::provide::machine::available;
use crate::provide::roots::Roots;
use crate::report::fan::Fan;
use crate::report::json::Json;
use crate::report::progress::Progress;
use crate::report::terminal;
use crate::suite::select::{Filter, Selection, select};
use crate::suite::{self, Sizes};
use crate::vm::directory::Directory;
use crate::vm::load::Load;
use crate::vm::qemu::{self, Accel, Machine};
use crate::vm::session::{self, Means, ProgramEnd, Spec, Subject};
use crate::vm::slim::loaded_part;
use crate::vm::{accel, fleet, subject};
use crate::wire::Said;

/// Memory of a guest that nobody gave any: enough for two pages of a gigabyte, where as many guests as otherwise can
/// have it; and what everything else needs.
const ROOMY: u64 = 5 << 30;
const ENOUGH: u64 = 2 << 30;

/// How many times as long as elsewhere a check may take where its instructions are emulated.
const EMULATED: u64 = 3;

/// Where the person's program lies in the guest.
const PROGRAM: &str = "/cowcheck/program";

/// What the report on several kernels is called.
const TITLE: &str = "Does copy-on-write keep its promise?";

/// Boots kernels and does in each what was asked for.
pub fn main(args: &VmArgs) -> anyhow::Result<Code> {
    let task = task(args)?;
    let program = match args.program.first() {
        None => None,
        Some(file) => Some(fs::read(file).map_err(|error| Usage(format!("{file}: cannot be read: {error}")))?),
    };
    let interrupted = catch_signals()?;
    let cache = Cache::user();
    let own: Vec<Load> =
        args.machine.module.iter().map(|module| module.read().map_err(Usage)).collect::<Result<_, _>>()?;
    let (kernels, missing) = find(args, &own, &cache);
    if kernels.is_empty() {
        return Ok(Code::Usage);
    }
    let this = fs::read("/proc/self/exe").context("failed to read this program")?;
    let directory =
        Directory::new(args.machine.keep.as_deref()).context("failed to make a directory for the guests")?;
    let (machine, width) = machine(args, kernels.len())?;
    let mut fleet = Fleet {
        args,
        task,
        program,
        init: loaded_part(&this),
        qemu: qemu::program(),
        machine,
        directory,
        interrupted: &interrupted,
    };
    fleet.choose_accel(&kernels[0], &cache);
    fleet.lengthen_limits();
    let done = match (&fleet.task, kernels.as_slice()) {
        _ if args.machine.dry_run => fleet.dry_run(&kernels)?,
        (Task::Shell, [kernel]) => fleet.shell(kernel)?,
        (Task::Shell | Task::Explore(_), _) => return Err(Usage("--shell: one kernel at a time".to_owned()).into()),
        (Task::Program(words), _) => fleet.program(words, &kernels, width)?,
        (Task::Checks(checks), [kernel]) => fleet.check_one(checks, kernel)?,
        (Task::Checks(checks), _) => fleet.check_several(checks, &kernels, width)?,
    };
    Ok(if missing && done != Code::Failure { Code::Usage } else { done })
}

/// A kernel and what it is called here.
struct Named {
    name: String,
    subject: Subject,
}

/// Finds all kernels. One that is not to be had does not keep the others from running; `true` if there is one.
fn find(args: &VmArgs, own: &[Load], cache: &Cache) -> (Vec<Named>, bool) {
    let (mut kernels, mut missing): (Vec<Named>, bool) = (Vec::new(), false);
    for handle in &args.kernels {
        match subject::find(handle, cache, !args.machine.no_helper, &mut |text| eprintln!("{handle}: {text}")) {
            Ok(mut subject) => {
                subject.modules.extend_from_slice(own);
                let name = name(&subject, &kernels);
                kernels.push(Named { name, subject });
            }
            Err(error) => {
                eprintln!("error: {error}");
                missing = true;
            }
        }
    }
    (kernels, missing)
}

/// The handle if it is a name, the release if it is a file; no two the same, and fit for a file's name.
fn name(subject: &Subject, others: &[Named]) -> String {
    let wanted = if subject.handle.starts_with("debian:") { &subject.handle } else { &subject.release };
    let fit = |char: char| if char.is_ascii_alphanumeric() || ".+-_".contains(char) { char } else { '-' };
    let base: String = wanted.chars().map(fit).collect();
    let taken = |name: &str| others.iter().any(|other| other.name == name);
    let more = (2..).map(|number| format!("{base}-{number}"));
    std::iter::once(base.clone()).chain(more).find(|name| !taken(name)).unwrap_or(base)
}

/// The machine of each guest, and how many of them run side by side.
fn machine(args: &VmArgs, kernels: usize) -> Result<(Machine, usize), Usage> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let available = available(&Roots::default());
    let width_with = |memory| fleet::width(kernels, processors, available, memory);
    let roomy = available > ROOMY && width_with(ROOMY) == width_with(ENOUGH);
    let memory = args.machine.memory.unwrap_or(if roomy { ROOMY } else { ENOUGH });
    if available > 0 && memory > available {
        let (wanted, found) = (Size(memory), Size(available >> 20 << 20));
        return Err(Usage(format!("--memory {wanted}: this machine has {found} available")));
    }
    let width = args.machine.guests.map_or_else(|| width_with(memory), usize::from).min(kernels);
    let share = u32::try_from(processors / width.max(1)).unwrap_or(1).max(1);
    let machine = Machine {
        accel: Accel::Tcg,
        cpus: args.machine.cpus.unwrap_or(share),
        memory,
        cmdline: args.machine.cmdline.clone(),
    };
    Ok((machine, width))
}

fn task(args: &VmArgs) -> anyhow::Result<Task> {
    if args.machine.shell {
        return Ok(Task::Shell);
    }
    if let Some((_, rest)) = args.program.split_first() {
        let words = std::iter::once(PROGRAM.to_owned()).chain(rest.iter().cloned());
        return Ok(Task::Program(words.collect()));
    }
    let several = args.kernels.len() > 1;
    if several && !matches!(args.running.format, Format::Terminal | Format::Json) {
        let text = "with several kernels, --format is terminal or json; --output takes any format, with {kernel} in the \
                    file's name";
        return Err(Usage(text.to_owned()).into());
    }
    if several && let Some((_, file)) = args.running.output.iter().find(|(_, file)| !has_place(file)) {
        let text = format!("--output {}: several kernels want a name with {{kernel}} in it", file.display());
        return Err(Usage(text).into());
    }
    let what = if args.scenario.is_empty() {
        let (group, kind, memory, size) = (args.group.clone(), args.kind.clone(), args.on.clone(), args.size.clone());
        let selection = Selection { globs: args.check.clone(), filter: Filter { group, kind, memory, size } };
        // Words that name nothing on any kernel are better known before anything is booted.
        select(suite::catalogue(&Sizes::widest()), &selection).map_err(Usage::from)?;
        What::Selection(selection)
    } else {
        What::Scenarios(args.scenario.iter().map(|file| scenario(file)).collect::<Result<_, _>>()?)
    };
    let running = &args.running;
    Ok(Task::Checks(Box::new(Checks {
        what,
        repeat: running.repeat,
        jobs: running.jobs.map(usize::from),
        limit_ms: running.timeout.as_millis() as u64,
        fail_fast: running.fail_fast,
        confirm: running.confirm,
        traces: running.save_trace.is_some(),
        share: None,
        peers_only: running.format == Format::Kselftest,
        fault: running.self_test,
        known: known(running)?,
        guest_fault: args.guest_fault,
        done: Default::default(),
    })))
}

fn scenario(file: &Path) -> anyhow::Result<(String, String)> {
    let name = file.display().to_string();
    let text = files::read(file)?;
    cowcheck_model::text::parse_valid(&text, rustix::param::page_size() as u32)
        .map_err(|error| Usage(error.in_file(&name).to_string()))?;
    Ok((name, text))
}

/// Where the kernel's name goes.
const PLACE: &str = "{kernel}";

fn has_place(file: &Path) -> bool {
    file.to_string_lossy().contains(PLACE)
}

/// All that the guests have in common.
struct Fleet<'a> {
    args: &'a VmArgs,
    task: Task,
    program: Option<Vec<u8>>,
    init: Vec<u8>,
    qemu: PathBuf,
    machine: Machine,
    directory: Directory,
    interrupted: &'a AtomicBool,
}

impl Fleet<'_> {
    fn with_spec<R>(&self, kernel: &Named, work: impl FnOnce(&Spec<'_>) -> R) -> R {
        let directory = self.directory.path().join(&kernel.name);
        work(&Spec {
            subject: &kernel.subject,
            machine: self.machine.clone(),
            qemu: &self.qemu,
            init: &self.init,
            program: self.program.as_deref().map(|bytes| (PROGRAM.to_owned(), bytes)),
            directory: &directory,
            patience: Default::default(),
        })
    }

    fn stop(&self) -> Option<String> {
        self.interrupted.load(Ordering::Relaxed).then(|| "interrupted".to_owned())
    }

    /// What is emulated gets more time: the limit is for checks that hang, not for hosts that are busy.
    fn lengthen_limits(&mut self) {
        if let (Accel::Tcg, Task::Checks(checks)) = (self.machine.accel, &mut self.task) {
            checks.limit_ms *= EMULATED;
        }
    }

    fn choose_accel(&mut self, kernel: &Named, cache: &Cache) {
        if let Some(accel) = self.args.machine.accel {
            self.machine.accel = accel;
            return;
        }
        if self.args.machine.dry_run {
            return;
        }
        let choice = self.with_spec(kernel, |spec| accel::choose(spec, cache.root()));
        self.machine.accel = choice.accel;
        if let Some(why) = choice.why {
            eprintln!("note: {why}");
        }
    }

    fn dry_run(&self, kernels: &[Named]) -> anyhow::Result<Code> {
        for kernel in kernels {
            let files = self.with_spec(kernel, |spec| spec.prepare(self.task.clone()))?;
            let arguments = self.machine.arguments(&files, self.args.machine.shell);
            println!("{}", qemu::pasted(&self.qemu, &arguments));
        }
        Ok(Code::Success)
    }

    fn shell(&self, kernel: &Named) -> anyhow::Result<Code> {
        let files = self.with_spec(kernel, |spec| spec.prepare(Task::Shell))?;
        eprintln!("note: Ctrl-A X ends the guest at once");
        let status = Command::new(&self.qemu)
            .args(self.machine.arguments(&files, true))
            .status()
            .with_context(|| format!("failed to run {}", self.qemu.display()))?;
        Ok(if status.success() { Code::Success } else { Code::CouldNotTest })
    }

    fn program(&self, words: &[String], kernels: &[Named], width: usize) -> anyhow::Result<Code> {
        let alone = kernels.len() == 1;
        let ends = fleet::each(kernels, width, |_, kernel| -> anyhow::Result<u8> {
            let mark = if alone { String::new() } else { format!("{}: ", kernel.name) };
            let mut kept = self.result_file(&kernel.name, "out")?;
            let told = |said: &Said| match said {
                Said::Printed(line) => {
                    println!("{mark}{line}");
                    if let Some(kept) = &mut kept {
                        // Told on the terminal in any case.
                        let _ = writeln!(kept, "{line}");
                    }
                }
                Said::Note(text) => eprintln!("{mark}note: {text}"),
                _ => {}
            };
            let end = self.with_spec(kernel, |spec| session::run_program(spec, words, &|| self.stop(), told))?;
            self.keep_console(kernel)?;
            Ok(match end {
                ProgramEnd::Exit(code) => u8::try_from(code).unwrap_or(u8::MAX),
                ProgramEnd::Not(why) => {
                    eprintln!("{mark}error: {why}");
                    LOST
                }
            })
        });
        let codes = ends.into_iter().collect::<Result<Vec<u8>, _>>()?;
        Ok(Code::Command(codes.into_iter().max().unwrap_or(0)))
    }

    fn check_one(&self, checks: &Checks, kernel: &Named) -> anyhow::Result<Code> {
        let running = &self.args.running;
        let mut outputs = Outputs::open(running)?;
        if let Some(file) = self.result_file(&kernel.name, "jsonl")? {
            outputs.fan.add("the results", Json::new(file));
        }
        let summary = self.run(checks, kernel, &mut outputs.fan)?;
        self.keep_console(kernel)?;
        Ok(match running.format {
            Format::Kselftest => Code::Kselftest(outputs.kselftest_exit_code()),
            _ => code(&summary),
        })
    }

    fn check_several(&self, checks: &Checks, kernels: &[Named], width: usize) -> anyhow::Result<Code> {
        let target =
            if io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bars = MultiProgress::with_draw_target(target);
        let is_live = io::stderr().is_terminal();
        let say = |kernel: &Named, text: &str| {
            // Where there are no bars, the log of a CI wants to know that something goes on.
            if !is_live {
                eprintln!("{}: {text}", kernel.name);
            }
        };
        let results = fleet::each(kernels, width, |_, kernel| -> anyhow::Result<Vec<u8>> {
            say(kernel, "boots");
            let mut lines = Vec::new();
            let mut fan = Fan::new();
            fan.add("the matrix", Json::new(&mut lines));
            fan.add("progress", Progress::new(&bars, &kernel.name));
            for (format, file) in &self.args.running.output {
                let file = PathBuf::from(file.to_string_lossy().replace(PLACE, &kernel.name));
                outputs::add(&mut fan, *format, &file, self.args.running.verbose)?;
            }
            if let Some(file) = self.result_file(&kernel.name, "jsonl")? {
                fan.add("the results", Json::new(file));
            }
            let summary = self.run(checks, kernel, &mut fan)?;
            drop(fan);
            self.keep_console(kernel)?;
            say(kernel, &summary.stopped.map_or_else(|| summary.counts.to_string(), |why| format!("stopped: {why}")));
            Ok(lines)
        });
        let mut runs = Vec::new();
        for (kernel, lines) in kernels.iter().zip(results) {
            runs.push(matrix::parse(&lines?, &kernel.name)?);
        }
        self.report(&Matrix::new(TITLE, runs))
    }

    fn run(&self, checks: &Checks, kernel: &Named, fan: &mut Fan<'_>) -> io::Result<crate::run::Summary> {
        let save = self.args.running.save_trace.as_ref().map(|directory| match self.args.kernels.len() {
            1 => directory.clone(),
            _ => directory.join(&kernel.name),
        });
        let means = Means { sink: fan, save_trace: save.as_deref(), stop: &|| self.stop() };
        self.with_spec(kernel, |spec| session::run(spec, checks, means))
    }

    fn report(&self, matrix: &Matrix) -> anyhow::Result<Code> {
        let json = || serde_json::to_string(&matrix::json(matrix));
        if let Some(directory) = &self.args.results {
            let all = BTreeMap::from([
                ("matrix.html", matrix::html(matrix)),
                ("matrix.json", json()? + "\n"),
                ("matrix.txt", matrix::text(matrix, false)),
            ]);
            for (name, text) in all {
                let file = directory.join(name);
                fs::write(&file, text).with_context(|| format!("failed to write {}", file.display()))?;
            }
        }
        let mut out = io::stdout().lock();
        let text = match self.args.running.format {
            Format::Json => json()? + "\n",
            _ => matrix::text(matrix, terminal::Options::for_stream(&out, false).color),
        };
        out.write_all(text.as_bytes())?;
        out.flush()?;
        Ok(super::matrix::code(matrix))
    }

    /// A file of `--results`.
    fn result_file(&self, name: &str, extension: &str) -> anyhow::Result<Option<LineWriter<File>>> {
        let Some(directory) = &self.args.results else { return Ok(None) };
        let file = directory.join(format!("{name}.{extension}"));
        let made = fs::create_dir_all(directory).and_then(|()| File::create(&file));
        Ok(Some(LineWriter::new(made.with_context(|| format!("failed to make {}", file.display()))?)))
    }

    fn keep_console(&self, kernel: &Named) -> anyhow::Result<()> {
        let Some(directory) = &self.args.results else { return Ok(()) };
        let from = self.directory.path().join(&kernel.name).join(session::CONSOLES);
        let to = directory.join(format!("{}.console.log", kernel.name));
        fs::copy(&from, &to).with_context(|| format!("failed to copy {} to {}", from.display(), to.display()))?;
        Ok(())
    }
}

/// Exit code where the program did not come to its end; as of timeout(1), not the program's own.
const LOST: u8 = 125;
