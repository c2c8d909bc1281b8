//! The kernel in which every mutant is planted that is an edit, and a boot parameter picks one.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use cowcheck_vm::source::{self, Source};
use cowcheck_vm::{Cache, make};

use crate::config;
use crate::edit::{Misfit, Planted, apply};
use crate::mutant::{Mutant, Plant};

/// The sources that the edits are written for.
pub const WANTED: &str = "7.2.13-1";

/// Takes the boot parameter.
const PARAMETER: &str = include_str!("../../../lab/cowcheck_bug.c");

/// Where the parameter is in the tree, and what has it built.
const PARAMETER_FILE: &str = "mm/cowcheck_bug.c";
const MAKEFILE: &str = "mm/Makefile";

/// What the tree was built of; it is there when the build has ended well.
const STAMP: &str = ".cowcheck-lab";

/// How often progress is told.
const TELL: Duration = Duration::from_secs(30);

/// A kernel with all mutants in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// Its build tree, which [`cowcheck_vm::kernel::find`] takes, and modules can be built with.
    pub tree: PathBuf,
    /// The sources as they were: `linux-source-7.2 7.2.13-1`.
    pub source: Source,
}

/// Why there is no such kernel.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The sources cannot be had, or a program is missing.
    #[error(transparent)]
    Vm(#[from] cowcheck_vm::Error),
    /// An edit does not fit.
    #[error(transparent)]
    Misfit(#[from] Misfit),
    /// An option that was asked for did not stay.
    #[error(transparent)]
    Config(#[from] config::Unmet),
    /// A header that building needs is not here.
    #[error(
        "building a kernel needs the header {header}, which is not on this machine; on Debian: apt-get install {package}"
    )]
    NoHeader {
        /// As the kernel includes it.
        header: &'static str,
        /// Where it comes from.
        package: &'static str,
    },
    /// make came to nothing.
    #[error("the lab's kernel could not be built in {}: {said}", tree.display())]
    Make {
        /// Where it was tried.
        tree: PathBuf,
        /// What it complained of.
        said: String,
    },
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Error {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> Error + '_ {
        move |source| Error::Io { path: path.to_owned(), source }
    }
}

/// Builds the kernel with these mutants, or finds it built. A change of some edits rebuilds what it concerns. `say`
/// is told what takes time.
pub fn build(mutants: &[Mutant], cache: &Cache, say: &mut dyn FnMut(&str)) -> Result<Built, Error> {
    needs()?;
    let source = source::find(WANTED, cache, say)?;
    let files = edited(&source.tree, mutants)?;
    let name = source.package.replace(' ', "_");
    let tree = cache.folder("lab")?.join(&name);
    if make::has_odd_name(&tree) {
        let said = "make cannot work in a folder with this name; set COWCHECK_CACHE to another".to_owned();
        return Err(Error::Make { tree, said });
    }
    let _lock = cache.lock(&format!("lab-{name}"))?;
    if !tree.exists() {
        say("copying the sources");
        let part = tree.with_extension("part");
        if part.exists() {
            fs::remove_dir_all(&part).map_err(Error::io(&part))?;
        }
        link_all(&source.tree, &part)?;
        fs::rename(&part, &tree).map_err(Error::io(&part))?;
    }
    let stamp = tree.join(STAMP);
    let content = content(&source.package, &files);
    if fs::read_to_string(&stamp).is_ok_and(|old| old == content) && tree.join("vmlinux").is_file() {
        return Ok(Built { tree, source });
    }
    remove(&stamp)?;
    write_edited(&source.tree, &tree, &files)?;
    configure(&tree)?;
    run(&tree, say)?;
    put(&stamp, &content)?;
    Ok(Built { tree, source })
}

/// The text of each file that is not as in the package.
fn edited(sources: &Path, mutants: &[Mutant]) -> Result<BTreeMap<String, String>, Error> {
    let mut edits: BTreeMap<&str, Vec<Planted<'_>>> = BTreeMap::new();
    for mutant in mutants {
        let Plant::Edits { number, edits: own } = &mutant.plant else { continue };
        for edit in own {
            let planted = Planted { mutant: &mutant.name, number: *number, edit };
            edits.entry(&edit.file).or_default().push(planted);
        }
    }
    let read = |name: &str| {
        let path = sources.join(name);
        fs::read_to_string(&path).map_err(Error::io(&path))
    };
    let mut files = BTreeMap::new();
    for (name, edits) in edits {
        files.insert(name.to_owned(), apply(&read(name)?, &edits)?);
    }
    files.insert(PARAMETER_FILE.to_owned(), PARAMETER.to_owned());
    files.insert(MAKEFILE.to_owned(), format!("{}\nobj-y += cowcheck_bug.o\n", read(MAKEFILE)?));
    Ok(files)
}

/// What is the same gives the same kernel.
fn content(package: &str, files: &BTreeMap<String, String>) -> String {
    let mut all = format!("{package}\n{}\n", config::WANTED);
    for (name, text) in files {
        all.push_str(&format!("--- {name}\n{text}\n"));
    }
    all
}

/// Files that were edited once and are no more become as they were. What is as it should be is left alone, so that
/// make leaves it alone, too.
fn write_edited(sources: &Path, tree: &Path, files: &BTreeMap<String, String>) -> Result<(), Error> {
    let list = tree.join(".cowcheck-edited");
    let before = fs::read_to_string(&list).unwrap_or_default();
    let names: String = files.keys().map(|name| format!("{name}\n")).collect();
    // Until all is written, both may have been.
    put(&list, &format!("{before}{names}"))?;
    for name in before.lines().filter(|name| !files.contains_key(*name)) {
        let path = sources.join(name);
        match fs::read_to_string(&path) {
            Ok(text) => change(&tree.join(name), &text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => remove(&tree.join(name))?,
            Err(error) => return Err(Error::io(&path)(error)),
        }
    }
    for (name, text) in files {
        change(&tree.join(name), text)?;
    }
    put(&list, &names)
}

fn change(path: &Path, text: &str) -> Result<(), Error> {
    if fs::read_to_string(path).is_ok_and(|old| old == text) { Ok(()) } else { put(path, text) }
}

/// Under another name first: the file may be a link to one of the package's.
fn put(path: &Path, text: &str) -> Result<(), Error> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    fs::write(&part, text).map_err(Error::io(&part))?;
    fs::rename(&part, path).map_err(Error::io(path))
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io(path)(error)),
        _ => Ok(()),
    }
}

/// A tree of links to the same files.
fn link_all(from: &Path, to: &Path) -> Result<(), Error> {
    fs::create_dir_all(to).map_err(Error::io(to))?;
    for entry in fs::read_dir(from).map_err(Error::io(from))? {
        let entry = entry.map_err(Error::io(from))?;
        let (old, new) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().map_err(Error::io(&old))?.is_dir() {
            link_all(&old, &new)?;
        } else {
            // A symbolic link becomes one with two names, which leads to the same place relative to each.
            fs::hard_link(&old, &new).map_err(Error::io(&new))?;
        }
    }
    Ok(())
}

/// Programs and headers, so that their lack is told at once and with its remedy.
fn needs() -> Result<(), Error> {
    for (program, package) in
        [("make", "make"), ("gcc", "gcc"), ("ld", "binutils"), ("flex", "flex"), ("bison", "bison"), ("bc", "bc")]
    {
        make::need(program, package)?;
    }
    // For objtool.
    let (header, package) = ("gelf.h", "libelf-dev");
    let mut compiler = Command::new("gcc");
    compiler.args(["-fsyntax-only", "-include", header, "-x", "c", "/dev/null"]);
    let found = compiler.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if found.is_ok_and(|status| status.success()) { Ok(()) } else { Err(Error::NoHeader { header, package }) }
}

fn configure(tree: &Path) -> Result<(), Error> {
    let (wanted, config) = (tree.join(".cowcheck-config"), tree.join(".config"));
    if fs::read_to_string(&wanted).is_ok_and(|old| old == config::WANTED) && config.is_file() {
        return Ok(());
    }
    remove(&wanted)?;
    let asked = tree.join(".cowcheck-config.asked");
    put(&asked, config::WANTED)?;
    let mut command = make::command();
    command.env("KCONFIG_ALLCONFIG", &asked).arg("-C").arg(tree).args(["-s", "allnoconfig"]);
    let output = command.output().map_err(Error::io(tree))?;
    if !output.status.success() {
        let said = make::complaints(&String::from_utf8_lossy(&output.stderr));
        return Err(Error::Make { tree: tree.to_owned(), said });
    }
    let text = fs::read_to_string(&config).map_err(Error::io(&config))?;
    config::verify(&text)?;
    put(&wanted, config::WANTED)
}

fn run(tree: &Path, say: &mut dyn FnMut(&str)) -> Result<(), Error> {
    let jobs = thread::available_parallelism().map_or(1, usize::from);
    say(&format!("building the lab's kernel in {} with {jobs} jobs", tree.display()));
    let log = tree.join(".cowcheck-lab.log");
    let errors = File::create(&log).map_err(Error::io(&log))?;
    let mut command = make::command();
    // What does not differ between two builds of the same is not compiled and linked again.
    command.env("KBUILD_BUILD_TIMESTAMP", "@0").env("KBUILD_BUILD_USER", "cowcheck").env("KBUILD_BUILD_HOST", "lab");
    command.arg("-C").arg(tree).arg(format!("-j{jobs}")).args(["vmlinux", "modules"]);
    let started = Instant::now();
    let mut child = command.stdout(Stdio::piped()).stderr(errors).spawn().map_err(Error::io(tree))?;
    let mut told = started;
    let mut count = 0;
    for line in child.stdout.take().map(BufReader::new).into_iter().flat_map(|out| out.lines()) {
        let line = line.map_err(Error::io(tree))?;
        count += usize::from(line.trim_start().starts_with("CC "));
        if told.elapsed() >= TELL {
            told = Instant::now();
            let seconds = started.elapsed().as_secs();
            say(&format!(
                "{count} files compiled in {}:{:02} min (from scratch about {FILES})",
                seconds / 60,
                seconds % 60
            ));
        }
    }
    let status = child.wait().map_err(Error::io(tree))?;
    if !status.success() {
        let said = make::complaints(&fs::read_to_string(&log).unwrap_or_default());
        return Err(Error::Make { tree: tree.to_owned(), said });
    }
    Ok(())
}

/// How many files a build from scratch compiles, as seen with 7.2.13.
const FILES: usize = 1100;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::list;

    #[test]
    fn trees_are_edited_and_become_as_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let (sources, tree) = (folder.path().join("sources"), folder.path().join("tree"));
        fs::create_dir_all(sources.join("mm")).unwrap();
        for name in ["mm/a.c", "mm/b.c"] {
            fs::write(sources.join(name), name).unwrap();
        }
        link_all(&sources, &tree).unwrap();
        let edit = |names: &[&str]| {
            let files = names.iter().map(|name| ((*name).to_owned(), format!("new {name}"))).collect();
            write_edited(&sources, &tree, &files).unwrap();
            ["mm/a.c", "mm/b.c", "mm/c.c"].map(|name| fs::read_to_string(tree.join(name)).unwrap_or_default())
        };
        assert_eq!(edit(&["mm/a.c", "mm/c.c"]), ["new mm/a.c", "mm/b.c", "new mm/c.c"]);
        let when = fs::metadata(tree.join("mm/a.c")).unwrap().modified().unwrap();
        assert_eq!(edit(&["mm/a.c", "mm/b.c"]), ["new mm/a.c", "new mm/b.c", ""]);
        assert_eq!(fs::metadata(tree.join("mm/a.c")).unwrap().modified().unwrap(), when, "make would build it again");
        assert_eq!(edit(&[]), ["mm/a.c", "mm/b.c", ""]);
        assert_eq!(
            fs::read_to_string(sources.join("mm/a.c")).unwrap(),
            "mm/a.c",
            "the package's own file is left alone"
        );
    }

    #[test]
    fn content_tells_one_kernel_from_another() {
        let files = |text: &str| BTreeMap::from([("mm/a.c".to_owned(), text.to_owned())]);
        assert_eq!(content("p", &files("x")), content("p", &files("x")));
        assert_ne!(content("p", &files("x")), content("p", &files("y")));
        assert_ne!(content("p", &files("x")), content("q", &files("x")));
    }

    #[test]
    fn a_missing_file_of_the_kernel_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let Some(error) = edited(folder.path(), &list().unwrap()).err() else { panic!("there are no sources") };
        assert!(error.to_string().contains("No such file"), "{error}");
    }
}
