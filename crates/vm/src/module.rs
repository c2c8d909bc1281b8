//! Builds a module of our own for a kernel, with what that kernel's modules are built with: its build tree, the
//! headers that are installed beside it, or Debian's packages of headers.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use twox_hash::XxHash3_128;

use crate::cache::{Cache, remove};
use crate::kernel::{Kernel, is_tree};
use crate::unpack::read;
use crate::{Error, debian, kbuild, make};

/// How long make may take; it takes seconds.
const LIMIT: Duration = Duration::from_secs(300);
/// And how long it may take to end when it is told to.
const GRACE: Duration = Duration::from_secs(1);

/// The largest file whose content tells one build tree from another.
const LARGEST: u64 = 1 << 30;

/// Stands in for the compiler that the kernel was built by.
const COMPILER: &str = include_str!("cc.sh");

/// A module's sources.
#[derive(Debug, Clone, Copy)]
pub struct Sources<'a> {
    /// As /proc/modules will have it.
    pub name: &'a str,
    /// Name and text of each file, a Kbuild file among them.
    pub files: &'a [(&'a str, &'a str)],
}

/// The kernel that a module is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// As uname(2) has it.
    pub release: String,
    /// Of Debian's package, where it came in one.
    version: Option<String>,
    /// Where make is called, if it is known already.
    tree: Option<PathBuf>,
    /// The kernel's file, where it says which build of the tree this is.
    image: Option<PathBuf>,
}

impl Target {
    /// A kernel that was found.
    pub fn of(kernel: &Kernel) -> Target {
        let package = kernel.package.as_deref().and_then(|package| package.split_once(' '));
        let is_debian = |name: &str| {
            let name = name.strip_suffix("-unsigned").unwrap_or(name);
            ["linux-image-", "linux-binary-", "linux-modules-", "linux-base-"]
                .iter()
                .any(|kind| name.strip_prefix(kind) == Some(&*kernel.release))
        };
        let version = package.filter(|(name, _)| is_debian(name)).map(|(_, version)| version.to_owned());
        // A tree may have a kernel and no modules: vmlinux is at its top, the bzImage in arch/x86/boot.
        let image = fs::canonicalize(&kernel.image).unwrap_or_else(|_| kernel.image.clone());
        let trees = image.ancestors().skip(1).filter(|folder| is_tree(folder)).map(Path::to_owned).take(1);
        let beside = kernel.modules.iter().map(|folder| folder.join("build"));
        let installed = version.is_none().then(|| installed(&kernel.release));
        let tree = trees.chain(beside).chain(installed).find(|folder| builds_modules(folder));
        Target { release: kernel.release.clone(), version, tree, image: Some(kernel.image.clone()) }
    }

    /// The kernel that runs here.
    pub fn running() -> Target {
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        let tree = Some(installed(&release)).filter(|folder| builds_modules(folder));
        // A tree that is not the running kernel's any more is refused by the kernel when the module is loaded.
        Target { release, version: None, tree, image: None }
    }

    /// The file of the module, built now or before. `say` is told what takes time.
    pub fn build(&self, sources: &Sources<'_>, cache: &Cache, say: &mut dyn FnMut(&str)) -> Result<PathBuf, Error> {
        let key = self.key(sources)?;
        let folder = cache.entry("kmod", &key, |into| {
            fs::create_dir(into).map_err(Error::io(into))?;
            let tree = match &self.tree {
                Some(tree) => tree.clone(),
                None => self.headers_of_debian(cache, say)?,
            };
            say(&format!("building the module {} for {}", sources.name, self.release));
            let work = cache.root().join("kmod").join(format!(".{key}.work"));
            remove(&work)?;
            let built = make(&self.release, &tree, sources, &work).and_then(|module| {
                let to = into.join(file_name(sources));
                fs::copy(&module, &to).map(drop).map_err(Error::io(&to))
            });
            remove(&work)?;
            built
        })?;
        Ok(folder.join(file_name(sources)))
    }

    fn headers_of_debian(&self, cache: &Cache, say: &mut dyn FnMut(&str)) -> Result<PathBuf, Error> {
        // Packages of one's own are named like Debian's; the archive need not be asked for those.
        if !self.release.ends_with("-amd64") {
            let why = format!(
                "it is no kernel of Debian's, and {} is not there; give its build tree, or install its headers",
                installed(&self.release).display()
            );
            return Err(Error::NoHeaders { release: self.release.clone(), why });
        }
        debian::headers(&self.release, self.version.as_deref(), cache, say).and_then(|root| kbuild::tree(&root))
    }

    /// What is the same gives the same module. The compiler is no part of it: any will do.
    fn key(&self, sources: &Sources<'_>) -> Result<String, Error> {
        let mut all = Vec::new();
        let mut add = |bytes: &[u8]| all.extend(XxHash3_128::oneshot(bytes).to_le_bytes());
        for (name, text) in sources.files {
            add(name.as_bytes());
            add(text.as_bytes());
        }
        add(COMPILER.as_bytes());
        add(self.release.as_bytes());
        match &self.tree {
            // In Debian's archive a version of a package is made once and never changed.
            None => add(self.version.as_deref().unwrap_or_default().as_bytes()),
            Some(tree) => {
                add(tree.as_os_str().as_encoded_bytes());
                // A structure can change without any of the lists: the kernel itself tells one build from another.
                let image = self.image.clone();
                let lists = [".config", "Module.symvers", "vmlinux.symvers", "include/generated/utsrelease.h"];
                for file in lists.iter().map(|name| tree.join(name)).chain(image) {
                    match read(&file, LARGEST) {
                        Ok(bytes) => add(&bytes),
                        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => add(b""),
                        Err(error) => return Err(error),
                    }
                }
            }
        }
        Ok(format!("{}_{:032x}", self.release.replace('/', "_"), XxHash3_128::oneshot(&all)))
    }
}

/// Where distributions put what modules of an installed kernel are built with.
fn installed(release: &str) -> PathBuf {
    Path::new("/lib/modules").join(release).join("build")
}

/// A build tree, or headers: where make knows how to build a module.
fn builds_modules(folder: &Path) -> bool {
    folder.join("Makefile").is_file() && folder.join(".config").is_file()
}

fn file_name(sources: &Sources<'_>) -> String {
    format!("{}.ko", sources.name)
}

/// Builds in `work`, which is made.
fn make(release: &str, tree: &Path, sources: &Sources<'_>, work: &Path) -> Result<PathBuf, Error> {
    let failed = |said: String| Error::BuildFailed { release: release.to_owned(), said };
    if let Some(path) = [work, tree].into_iter().find(|path| make::has_odd_name(path)) {
        return Err(failed(format!("make cannot work in a folder with this name: {}", path.display())));
    }
    fs::create_dir_all(work).map_err(Error::io(work))?;
    let put = |name: &str, text: &str| {
        let path = work.join(name);
        fs::write(&path, text).map_err(Error::io(&path)).map(|()| path)
    };
    for (name, text) in sources.files {
        put(name, text)?;
    }
    let config = tree.join(".config");
    let config = fs::read_to_string(&config).map_err(Error::io(&config))?;
    let has = |line: &str| config.lines().any(|each| each == line);
    if !has("CONFIG_MODULES=y") {
        return Err(failed("it has no loadable modules: CONFIG_MODULES is not set".to_owned()));
    }
    let mut command = make::command();
    command.arg("-C").arg(tree).arg(format!("M={}", work.display()));
    if has("CONFIG_CC_IS_CLANG=y") {
        make::need("clang", "clang lld llvm")?;
        command.arg("LLVM=1");
    } else {
        make::need("gcc", "gcc")?;
        let compiler = put("cc", COMPILER)?;
        fs::set_permissions(&compiler, fs::Permissions::from_mode(0o755)).map_err(Error::io(&compiler))?;
        command.arg(format!("CC={}", compiler.display()));
        // Debian's headers name them as a cross compiler's.
        for (name, program) in
            [("LD", "ld"), ("AR", "ar"), ("NM", "nm"), ("OBJCOPY", "objcopy"), ("OBJDUMP", "objdump")]
        {
            command.arg(format!("{name}={program}"));
        }
    }
    make::need("make", "make")?;
    // A kernel that was built without its modules has this list alone.
    let symbols = tree.join("vmlinux.symvers");
    if symbols.is_file() && !tree.join("Module.symvers").is_file() {
        command.arg(format!("KBUILD_EXTRA_SYMBOLS={}", symbols.display()));
    }
    // Without debug information it is a twentieth as large, and pahole is not needed.
    command.args(["CONFIG_DEBUG_INFO=", "CONFIG_DEBUG_INFO_BTF_MODULES=", "modules"]);
    let log = work.join("make.log");
    let output = File::create(&log).map_err(Error::io(&log))?;
    let errors = output.try_clone().map_err(Error::io(&log))?;
    command.stdin(Stdio::null()).stdout(output).stderr(errors);
    let started = command.spawn().map_err(|error| failed(format!("make cannot be run: {error}")))?;
    let said = || make::complaints(&fs::read_to_string(&log).unwrap_or_default());
    match wait(started).map_err(Error::io(&log))? {
        None => Err(failed(format!("make was stopped after {} s; it said: {}", LIMIT.as_secs(), said()))),
        Some(status) if !status.success() => Err(failed(said())),
        Some(_) => {
            let module = work.join(file_name(sources));
            if module.is_file() { Ok(module) } else { Err(failed(format!("make made no module; it said: {}", said()))) }
        }
    }
}

/// How it ended; None if it took too long and was stopped.
fn wait(mut child: Child) -> io::Result<Option<ExitStatus>> {
    let end = Instant::now() + LIMIT;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= end {
            // make ends what it started.
            kill_process(Pid::from_child(&child), Signal::TERM)?;
            thread::sleep(GRACE);
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCES: Sources<'static> = Sources { name: "one", files: &[("Kbuild", "obj-m := one.o\n"), ("one.c", "")] };

    fn kernel(package: Option<&str>, folder: &Path) -> Kernel {
        fs::write(folder.join("vmlinuz"), "kernel").unwrap();
        Kernel {
            handle: "here".to_owned(),
            image: folder.join("vmlinuz"),
            release: "6.12.1-fake-amd64".to_owned(),
            package: package.map(str::to_owned),
            modules: None,
        }
    }

    #[test]
    fn a_kernel_of_debians_is_known_by_its_package() {
        let folder = tempfile::tempdir().unwrap();
        let version = |package| Target::of(&kernel(Some(package), folder.path())).version;
        assert_eq!(version("linux-image-6.12.1-fake-amd64 6.12.1-1").unwrap(), "6.12.1-1");
        assert_eq!(version("linux-image-6.12.1-fake-amd64-unsigned 6.12.1-1").unwrap(), "6.12.1-1");
        assert_eq!(version("linux-image-6.12.1-other 6.12.1-1"), None);
        assert_eq!(version("kernel-core 6.12.1-1"), None);
        assert!(
            make::has_odd_name(Path::new("/home/some body/linux"))
                && !make::has_odd_name(Path::new("/usr/src/6.12+deb13~1"))
        );
    }

    #[test]
    fn a_tree_is_known_by_what_was_built_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let tree = folder.path().join("lib/modules/6.12.1/build");
        fs::create_dir_all(&tree).unwrap();
        let kernel = Kernel { modules: tree.parent().map(Path::to_owned), ..kernel(None, folder.path()) };
        assert_eq!(Target::of(&kernel).tree, None, "an empty folder builds nothing");
        for name in ["Makefile", ".config"] {
            fs::write(tree.join(name), "").unwrap();
        }
        let target = Target::of(&kernel);
        assert_eq!(target.tree.as_ref(), Some(&tree));
        let key = |sources: &Sources<'_>| target.key(sources).unwrap();
        let first = key(&SOURCES);
        assert_eq!(key(&SOURCES), first);
        assert_ne!(key(&Sources { files: &[("Kbuild", "obj-m := one.o\n"), ("one.c", "int a;")], ..SOURCES }), first);
        fs::write(folder.path().join("vmlinuz"), "kernel, built again").unwrap();
        assert_ne!(key(&SOURCES), first);
    }

    #[test]
    fn a_kernel_without_headers_is_told_so() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path().join("cache"));
        let own = Kernel { release: "6.12.1-mine".to_owned(), ..kernel(None, folder.path()) };
        let error = Target::of(&own).build(&SOURCES, &cache, &mut |_| ()).unwrap_err();
        assert!(error.to_string().contains("give its build tree"), "{error}");
    }

    /// A tree whose Makefile does what is asked of it.
    fn build(makefile: &str, config: &str) -> Result<Vec<u8>, Error> {
        let folder = tempfile::tempdir().unwrap();
        let tree = folder.path().join("build");
        fs::create_dir(&tree).unwrap();
        fs::write(tree.join("Makefile"), makefile).unwrap();
        fs::write(tree.join(".config"), config).unwrap();
        let target = Target { release: "6".to_owned(), version: None, tree: Some(tree), image: None };
        let cache = Cache::at(folder.path().join("cache"));
        let built = target.build(&SOURCES, &cache, &mut |_| ());
        let left = fs::read_dir(folder.path().join("cache/kmod")).unwrap().count();
        assert_eq!(left, usize::from(built.is_ok()), "nothing else is left");
        built.map(|path| fs::read(path).unwrap())
    }

    #[test]
    fn what_make_makes_is_kept_and_what_it_says_is_told() {
        let makefile = "modules:\n\tcat $(M)/Kbuild > $(M)/one.ko\n";
        match build(makefile, "CONFIG_MODULES=y\n") {
            // The machine has no compiler, which is told before make is asked.
            Err(Error::NoTool { package, .. }) => assert!(["gcc", "make"].contains(&package)),
            built => {
                assert_eq!(built.unwrap(), b"obj-m := one.o\n");
                let error = build("modules:\n\t@echo one.c:1: error: bad; exit 1\n", "CONFIG_MODULES=y\n").unwrap_err();
                assert!(error.to_string().ends_with("one.c:1: error: bad"), "{error}");
                let error = build("modules:\n", "CONFIG_MODULES=y\n").unwrap_err();
                assert!(error.to_string().contains("made no module"), "{error}");
            }
        }
        let error = build(makefile, "# CONFIG_MODULES is not set\n").unwrap_err();
        assert!(error.to_string().contains("CONFIG_MODULES"), "{error}");
    }
}
