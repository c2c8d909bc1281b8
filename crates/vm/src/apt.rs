//! Debian's archive, through apt with a configuration of our own.
//!
//! So the machine neither learns of these suites nor changes, and apt checks every signature and
//! every checksum as it always does. Where the archive is, the machine's own configuration says.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::Error;
use crate::cache::{Cache, age, remove};
use crate::unpack::read;

/// Where kernels are, oldest first. A suite that is gone is told and passed over.
const SUITES: [&str; 11] = [
    "bullseye",
    "bullseye-updates",
    "bookworm",
    "bookworm-updates",
    "bookworm-backports",
    "trixie",
    "trixie-updates",
    "trixie-backports",
    "forky",
    "sid",
    "experimental",
];
const SECURITY_SUITES: [&str; 4] = ["bullseye-security", "bookworm-security", "trixie-security", "forky-security"];

/// A kernel comes in packages with these names, and what it and its modules are built with.
const KINDS: [&str; 7] = [
    "linux-image-",
    "linux-binary-",
    "linux-modules-",
    "linux-base-",
    "linux-headers-",
    "linux-kbuild-",
    "linux-source-",
];

/// What kbuild's own programs want to run, where this machine's libraries are older than the kernel.
pub(crate) const LIBRARIES: [&str; 4] = ["libc6", "libelf1t64", "zlib1g", "libzstd1"];

/// How long the lists are good: the archive changes four times a day, kernels once a week.
const FRESH: Duration = Duration::from_secs(12 * 60 * 60);
/// What is not in lists as new as this is not there.
const NEW: Duration = Duration::from_secs(10 * 60);

/// A package of the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    /// Of the .deb, in bytes.
    pub(crate) size: u64,
    /// Other packages of [`KINDS`], with the version that it has to be or nothing.
    pub(crate) depends: Vec<(String, String)>,
}

/// apt, for one handle.
pub(crate) struct Apt {
    handle: String,
    cache: Cache,
    folder: PathBuf,
}

/// Where the machine gets Debian from.
#[derive(Debug, PartialEq, Eq)]
struct Mirror {
    archive: String,
    security: Option<String>,
}

impl Apt {
    pub(crate) fn new(handle: &str, cache: &Cache) -> Result<Apt, Error> {
        let folder = cache.folder("apt")?;
        // It becomes part of files in which these end a text.
        if folder.to_str().is_none_or(|text| text.contains(|each: char| each.is_control() || "\"\\".contains(each))) {
            let why = "apt cannot be told of a folder with this name; set COWCHECK_CACHE to another";
            return Err(Error::broken(&folder, why));
        }
        Ok(Apt { handle: handle.to_owned(), cache: cache.clone(), folder })
    }

    /// The archive's kernels, and what belongs to them. They are read again if they are old, or if what is wanted
    /// is not among them.
    pub(crate) fn packages(
        &self,
        say: &mut dyn FnMut(&str),
        has_wanted: &dyn Fn(&[Package]) -> bool,
    ) -> Result<Vec<Package>, Error> {
        let list = self.folder.join("packages");
        let known = || -> Result<(Vec<Package>, bool), Error> {
            let Some(age) = age(&list) else { return Ok((Vec::new(), false)) };
            let packages = parse_list(&String::from_utf8_lossy(&read(&list, 64 << 20)?));
            let is_enough = age < NEW || (age < FRESH && has_wanted(&packages));
            Ok((packages, is_enough))
        };
        if let (packages, true) = known()? {
            return Ok(packages);
        }
        let _lock = self.cache.lock("apt")?;
        // Somebody else may have read them while we waited.
        let (old, is_enough) = known()?;
        if is_enough {
            return Ok(old);
        }
        let refreshed = self.refresh(say);
        self.tidy()?;
        match refreshed {
            Ok(packages) => {
                replace(&list, &write_list(&packages))?;
                Ok(packages)
            }
            Err(error) if has_wanted(&old) => {
                say(&format!("{error}; going on with older lists of packages"));
                Ok(old)
            }
            Err(error) => Err(error),
        }
    }

    /// Downloads these packages into `folder`, which is made.
    pub(crate) fn download(&self, packages: &[&Package], folder: &Path) -> Result<Vec<PathBuf>, Error> {
        let _lock = self.cache.lock("apt")?;
        fs::create_dir_all(folder).map_err(Error::io(folder))?;
        // The cache may have been moved since the lists were read.
        self.configure("apt.conf", "lists")?;
        let wanted: Vec<_> = packages.iter().map(|package| format!("{}={}", package.name, package.version)).collect();
        let mut arguments = vec!["download"];
        arguments.extend(wanted.iter().map(String::as_str));
        let done = self.run("apt-get", "apt.conf", &arguments, folder);
        self.tidy()?;
        done?;
        let mut debs: Vec<_> =
            fs::read_dir(folder).map_err(Error::io(folder))?.flatten().map(|entry| entry.path()).collect();
        debs.retain(|path| path.extension().is_some_and(|end| end == "deb"));
        if debs.len() != packages.len() {
            let said = format!("it has put {} packages there, and {} were asked for", debs.len(), packages.len());
            return Err(Error::AptFailed { what: "apt-get download".to_owned(), said });
        }
        debs.sort();
        Ok(debs)
    }

    fn refresh(&self, say: &mut dyn FnMut(&str)) -> Result<Vec<Package>, Error> {
        say("reading Debian's lists of packages");
        let mirror = self.mirror()?;
        replace(&self.folder.join("sources.list"), &sources(&mirror, keyring()))?;
        self.configure("apt.conf", "lists")?;
        let updated = self.run("apt-get", "apt.conf", &["update"], &self.folder);
        match &updated {
            Err(Error::NoApt { .. }) => return updated.map(|_| Vec::new()),
            Err(error) => say(&format!("{error}; going on with the lists that are there")),
            Ok(_) => {}
        }
        let unread = self.unread();
        if !unread.is_empty() {
            say(&format!("could not read the suites {}; going on without them", unread.join(", ")));
        }
        let mut names = Vec::new();
        for kind in KINDS {
            let text = self.run("apt-cache", "apt.conf", &["pkgnames", kind], &self.folder)?;
            names.extend(text.lines().filter(|name| is_wanted(name)).map(str::to_owned));
        }
        for library in LIBRARIES {
            // A name that is not there would be an error of `show`.
            let text = self.run("apt-cache", "apt.conf", &["pkgnames", library], &self.folder)?;
            names.extend(text.lines().find(|name| *name == library).map(str::to_owned));
        }
        let mut packages = Vec::new();
        // The length of a command line is limited.
        for names in names.chunks(200) {
            let mut arguments = vec!["show", "--all-versions"];
            arguments.extend(names.iter().map(String::as_str));
            packages.extend(parse_show(&self.run("apt-cache", "apt.conf", &arguments, &self.folder)?));
        }
        if !packages.iter().any(|package| package.name.starts_with("linux-image-")) {
            updated?;
            let said = "there is no kernel in the suites that could be read".to_owned();
            return Err(Error::AptFailed { what: "apt-get update".to_owned(), said });
        }
        Ok(packages)
    }

    fn mirror(&self) -> Result<Mirror, Error> {
        const FORMAT: &str = "$(ORIGIN)|$(LABEL)|$(REPO_URI)";
        let arguments = ["indextargets", "--format", FORMAT];
        let machine = Command::new("apt-get").args(arguments).current_dir(&self.folder).stdin(Stdio::null()).output();
        let machine = machine.map_err(|error| self.cannot_start("apt-get", error))?;
        if let Some(mirror) = parse_mirror(&String::from_utf8_lossy(&machine.stdout)) {
            return Ok(mirror);
        }
        // Fresh images come without lists, and without them there are no origins.
        self.configure("own.conf", "own")?;
        let updated = self.run("apt-get", "own.conf", &["update"], &self.folder);
        let text = self.run("apt-get", "own.conf", &arguments, &self.folder)?;
        if let Some(mirror) = parse_mirror(&text) {
            return Ok(mirror);
        }
        updated?;
        let said = "there is no Debian mirror in this machine's apt configuration (apt-get indextargets)".to_owned();
        Err(Error::AptFailed { what: "looking for Debian's archive".to_owned(), said })
    }

    /// What apt makes again in seconds when it needs it, and what is as large as the lists.
    fn tidy(&self) -> Result<(), Error> {
        ["lists/cache/pkgcache.bin", "lists/cache/srcpkgcache.bin", "own"]
            .iter()
            .try_for_each(|name| remove(&self.folder.join(name)))
    }

    /// Suites in our configuration of which there is nothing. A suite that is still empty has no list of
    /// packages, only the signed file that would name it.
    fn unread(&self) -> Vec<&'static str> {
        let names: Vec<_> = fs::read_dir(self.folder.join("lists/state/lists"))
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        let is_read = |suite: &str| names.iter().any(|name| name.ends_with(&format!("_dists_{suite}_InRelease")));
        SUITES.into_iter().chain(SECURITY_SUITES).filter(|suite| !is_read(suite)).collect()
    }

    /// Without the error mode apt says that all went well where lists could not be had and old ones are there.
    /// The hooks go because they act on the machine's own caches, and the _apt user because it cannot be
    /// expected to reach this folder. A folder of another name has the state of other sources.
    fn configure(&self, file: &str, state: &str) -> Result<(), Error> {
        let folder = self.folder.display();
        for name in ["state/lists/partial", "cache/archives/partial"] {
            let path = self.folder.join(state).join(name);
            fs::create_dir_all(&path).map_err(Error::io(&path))?;
        }
        let mut text = format!(
            "Dir::State \"{folder}/{state}/state\";\n\
             Dir::State::lists \"lists\";\n\
             Dir::State::status \"/dev/null\";\n\
             Dir::Cache \"{folder}/{state}/cache\";\n\
             Dir::Cache::archives \"archives\";\n\
             Dir::Cache::pkgcache \"pkgcache.bin\";\n\
             Dir::Cache::srcpkgcache \"srcpkgcache.bin\";\n\
             Acquire::Languages \"none\";\n\
             Acquire::GzipIndexes \"true\";\n\
             Acquire::http::Timeout \"30\";\n\
             Acquire::https::Timeout \"30\";\n\
             Acquire::Retries \"2\";\n\
             APT::Update::Error-Mode \"any\";\n\
             APT::Sandbox::User \"root\";\n\
             #clear APT::Update::Pre-Invoke;\n\
             #clear APT::Update::Post-Invoke;\n\
             #clear APT::Update::Post-Invoke-Success;\n"
        );
        if file == "apt.conf" {
            // The kernels are for x86-64, whatever this machine is.
            text.push_str(&format!(
                "APT::Architecture \"amd64\";\n\
                 #clear APT::Architectures;\n\
                 APT::Architectures {{ \"amd64\"; }};\n\
                 Dir::Etc::sourcelist \"{folder}/sources.list\";\n\
                 Dir::Etc::sourceparts \"-\";\n"
            ));
        }
        replace(&self.folder.join(file), &text)
    }

    /// What the program prints.
    fn run(&self, program: &'static str, conf: &str, arguments: &[&str], folder: &Path) -> Result<String, Error> {
        let output = Command::new(program)
            .arg("-q")
            .arg("-c")
            .arg(self.folder.join(conf))
            .args(arguments)
            .env("LC_ALL", "C")
            .current_dir(folder)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| self.cannot_start(program, error))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let what = format!("{program} {}", arguments.first().unwrap_or(&""));
        Err(Error::AptFailed { what, said: last_lines(&String::from_utf8_lossy(&output.stderr)) })
    }

    fn cannot_start(&self, program: &'static str, error: io::Error) -> Error {
        match error.kind() {
            io::ErrorKind::NotFound => Error::NoApt { handle: self.handle.clone(), program },
            _ => Error::AptFailed { what: program.to_owned(), said: error.to_string() },
        }
    }
}

/// The one that came with Debian knows every suite's key; without it apt takes those that the machine trusts.
fn keyring() -> Option<&'static str> {
    let keyrings = ["/usr/share/keyrings/debian-archive-keyring.pgp", "/usr/share/keyrings/debian-archive-keyring.gpg"];
    keyrings.into_iter().find(|path| Path::new(path).exists())
}

/// Only the lists of packages: they are big enough.
fn sources(mirror: &Mirror, keyring: Option<&str>) -> String {
    let signed = keyring.map(|path| format!(" signed-by={path}")).unwrap_or_default();
    let line = |uri: &str, suite: &str| format!("deb [arch=amd64 target=Packages{signed}] {uri} {suite} main\n");
    let mut text: String = SUITES.iter().map(|suite| line(&mirror.archive, suite)).collect();
    if let Some(security) = &mirror.security {
        text.extend(SECURITY_SUITES.iter().map(|suite| line(security, suite)));
    }
    text
}

/// Lines of `origin|label|address`; the label tells the archive from that of security updates.
fn parse_mirror(text: &str) -> Option<Mirror> {
    let labelled = |wanted: &str| {
        text.lines().find_map(|line| {
            let mut fields = line.splitn(3, '|');
            let (origin, label, uri) = (fields.next()?, fields.next()?, fields.next()?);
            let is_wanted = origin == "Debian" && label == wanted && !uri.starts_with("cdrom:");
            (is_wanted && !uri.contains(char::is_whitespace)).then(|| uri.to_owned())
        })
    };
    Some(Mirror { archive: labelled("Debian")?, security: labelled("Debian-Security") })
}

/// A package for x86-64, one of headers that all flavours have in common, or one of a series' sources.
fn is_wanted(name: &str) -> bool {
    let is_series = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if let Some(series) = name.strip_prefix("linux-source-") {
        return is_series(series);
    }
    let is_common =
        || name.starts_with("linux-headers-") && (name.ends_with("-common") || name.ends_with("-common-rt"));
    name.ends_with("-amd64") || name.ends_with("-amd64-unsigned") || name.starts_with("linux-kbuild-") || is_common()
}

/// What `apt-cache show` prints: fields, a paragraph for each package. The same version can be in many suites.
fn parse_show(text: &str) -> Vec<Package> {
    let mut packages = Vec::new();
    for paragraph in text.split("\n\n") {
        let field = |name: &str| paragraph.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let (Some(name), Some(version)) = (field("Package"), field("Version")) else { continue };
        let package = Package {
            name: name.to_owned(),
            version: version.to_owned(),
            size: field("Size").and_then(|size| size.parse().ok()).unwrap_or(0),
            depends: field("Depends").unwrap_or_default().split(',').filter_map(dependency).collect(),
        };
        if !packages.contains(&package) {
            packages.push(package);
        }
    }
    packages
}

/// `linux-binary-6.12 (= 6.12-1)`, if it is part of a kernel.
fn dependency(text: &str) -> Option<(String, String)> {
    let (name, rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    let version = rest.strip_prefix("(= ").and_then(|rest| rest.split(')').next()).unwrap_or_default();
    KINDS.iter().any(|kind| name.starts_with(kind)).then(|| (name.to_owned(), version.to_owned()))
}

/// A line for each package: name, version, size, and `name=version` for each dependency.
fn write_list(packages: &[Package]) -> String {
    let line = |package: &Package| {
        let depends: String = package.depends.iter().map(|(name, version)| format!(" {name}={version}")).collect();
        format!("{} {} {}{depends}\n", package.name, package.version, package.size)
    };
    packages.iter().map(line).collect()
}

fn parse_list(text: &str) -> Vec<Package> {
    let package = |line: &str| {
        let mut words = line.split(' ');
        let (name, version, size) = (words.next()?.to_owned(), words.next()?.to_owned(), words.next()?.parse().ok()?);
        let depends =
            words.filter_map(|word| word.split_once('=')).map(|(name, version)| (name.to_owned(), version.to_owned()));
        Some(Package { name, version, size, depends: depends.collect() })
    };
    text.lines().filter_map(package).collect()
}

/// Whole or not at all. Whoever calls this has the lock.
fn replace(path: &Path, text: &str) -> Result<(), Error> {
    let part = path.with_extension("part");
    fs::write(&part, text).map_err(Error::io(&part))?;
    fs::rename(&part, path).map_err(Error::io(path))
}

/// What a program that failed said at the end.
fn last_lines(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let from = lines.len().saturating_sub(4);
    lines.get(from..).unwrap_or_default().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOW: &str = "Package: linux-image-7.3\nVersion: 7.3.4-1\nSize: 1928\n\
        Depends: dracut | initramfs-tools (>= 0.120), linux-base (>= 4), linux-base-7.3 (= 7.3.4-1), linux-image-x\n\n\
        Package: linux-image-7.3\nVersion: 7.3.4-1\nSize: 1928\n\
        Depends: dracut | initramfs-tools (>= 0.120), linux-base (>= 4), linux-base-7.3 (= 7.3.4-1), linux-image-x\n\n\
        Package: linux-base-7.3\nVersion: 7.3.4-1\nSize: 7\n\n";

    #[test]
    fn packages_survive_being_written() {
        let packages = parse_show(SHOW);
        assert_eq!(packages.len(), 2, "the same is there once");
        let depends = [("linux-base-7.3", "7.3.4-1"), ("linux-image-x", "")];
        assert_eq!(packages[0].depends, depends.map(|(name, version)| (name.to_owned(), version.to_owned())));
        assert_eq!(packages[0].size, 1928);
        assert_eq!(parse_list(&write_list(&packages)), packages);
    }

    #[test]
    fn packages_for_other_machines_are_left_out() {
        for (name, is_it) in [
            ("linux-image-7.3-amd64", true),
            ("linux-image-7.3-arm64", false),
            ("linux-headers-7.3-common", true),
            ("linux-source-7.3", true),
            ("linux-source-7.3-rt", false),
        ] {
            assert_eq!(is_wanted(name), is_it, "{name}");
        }
    }

    #[test]
    fn the_mirror_is_the_machines() {
        let text = "Other|Debian|http://other/\nDebian|Debian|cdrom:[x]/\nDebian|Debian-Security|http://b/sec/\n\
                    Debian|Debian|http://a/debian/\n";
        let mirror = parse_mirror(text).unwrap();
        let security = Some("http://b/sec/".to_owned());
        assert_eq!(mirror, Mirror { archive: "http://a/debian/".to_owned(), security });
        assert_eq!(parse_mirror("Other|Debian|http://other/\n"), None);
        let text = sources(&mirror, Some("/key.gpg"));
        assert!(text.contains("signed-by=/key.gpg] http://a/debian/ trixie-backports main\n"));
        assert!(text.contains("http://b/sec/ trixie-security main\n"));
    }

    #[test]
    fn lists_that_are_good_are_taken_without_apt() {
        let folder = tempfile::tempdir().unwrap();
        let apt = Apt::new("debian:7.3", &Cache::at(folder.path())).unwrap();
        let packages = parse_show(SHOW);
        fs::write(folder.path().join("apt/packages"), write_list(&packages)).unwrap();
        let mut said = Vec::new();
        // They are new, so reading them again would not help either.
        for has_wanted in [true, false] {
            let found = apt.packages(&mut |text| said.push(text.to_owned()), &|_| has_wanted).unwrap();
            assert_eq!(found, packages);
        }
        assert!(said.is_empty(), "{said:?}");
    }

    #[test]
    fn a_folder_that_apt_would_misread_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Apt::new("debian:7.3", &Cache::at(folder.path().join("a\"b"))).is_err());
    }
}
