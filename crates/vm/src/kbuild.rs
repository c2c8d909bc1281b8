//! Kbuild's own programs in an unpacked package, which were built for Debian's newest glibc: where this machine has
//! an older one, they are run by the dynamic loader that they were built for.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Error;
use crate::deb::LIBRARIES;
use crate::elf;

/// What building a module runs, in a tree of headers. Each is before the one that starts it.
const PROGRAMS: [&str; 5] = [
    "scripts/basic/fixdep",
    "scripts/mod/modpost.real-lsb-64",
    "scripts/mod/modpost",
    "tools/objtool/objtool.real-x86",
    "tools/objtool/objtool",
];

/// The loader of [`LIBRARIES`].
const LOADER: &str = "ld-linux-x86-64.so.2";

/// The folder of the flavour, where make is called.
pub(crate) fn tree(root: &Path) -> Result<PathBuf, Error> {
    let sources = root.join("usr/src");
    let mut found: Vec<_> = fs::read_dir(&sources)
        .map_err(Error::io(&sources))?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.join(".config").is_file())
        .collect();
    found.sort();
    match found.as_slice() {
        [tree] => Ok(tree.clone()),
        _ => Err(Error::broken(
            &sources,
            format!("{} folders of headers with a .config, and it should be one", found.len()),
        )),
    }
}

/// The programs that are there: the real files, not through links.
fn programs(root: &Path) -> Result<Vec<PathBuf>, Error> {
    let tree = tree(root)?;
    let all = PROGRAMS.iter().map(|name| tree.join(name)).filter(|path| path.is_file());
    all.map(|path| fs::canonicalize(&path).map_err(Error::io(&path))).collect()
}

/// Whether all programs run on this machine as they are.
pub(crate) fn programs_run(root: &Path) -> Result<bool, Error> {
    for program in programs(root)? {
        if !runs(&program)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Without arguments all of them complain and end. Only the loader exits with 127, and says so before they begin.
fn runs(program: &Path) -> Result<bool, Error> {
    let done = Command::new(program)
        .env("LC_ALL", "C")
        .env("SRCARCH", "x86")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output();
    match done {
        Ok(done) => {
            let said = String::from_utf8_lossy(&done.stderr);
            let is_lacking =
                said.contains("not found (required by") || said.contains("error while loading shared libraries");
            Ok(!is_lacking)
        }
        // There is no such loader, or no such processor.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound) => Ok(false),
        Err(error) => Err(Error::io(program)(error)),
    }
}

/// Has the programs that do not run use the libraries that lie below `root`.
pub(crate) fn bring_libraries(root: &Path) -> Result<(), Error> {
    for program in programs(root)? {
        if runs(&program)? || !fs::read(&program).map_err(Error::io(&program))?.starts_with(elf::MAGIC) {
            continue;
        }
        let moved = program.with_file_name(format!("{}.elf", file_name(&program)));
        fs::rename(&program, &moved).map_err(Error::io(&program))?;
        // The folder is still to be renamed, so the script goes by its own place.
        let up = "/..".repeat(depth_below(&program, "lib")?);
        let script = format!(
            "#!/bin/sh\n\
             libraries=\"$(dirname \"$0\"){up}/{}\"\n\
             exec \"$libraries/{LOADER}\" --library-path \"$libraries\" \"$0.elf\" \"$@\"\n",
            Path::new(LIBRARIES).file_name().unwrap_or_default().display()
        );
        fs::write(&program, script).map_err(Error::io(&program))?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).map_err(Error::io(&program))?;
        if !runs(&program)? {
            return Err(Error::broken(&program, "it does not run on this machine, with its own libraries neither"));
        }
    }
    Ok(())
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// How many folders lie between the file and the last folder of this name above it.
fn depth_below(file: &Path, folder: &str) -> Result<usize, Error> {
    let above = file.ancestors().skip(1).position(|path| path.file_name().is_some_and(|name| name == folder));
    above.ok_or_else(|| Error::broken(file, format!("it should lie below a folder {folder}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_that_run_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let tree = folder.path().join("usr/src/linux-headers-6-amd64");
        let basic = folder.path().join("usr/lib/linux-kbuild-6/scripts/basic");
        fs::create_dir_all(&tree).unwrap();
        fs::create_dir_all(&basic).unwrap();
        fs::write(tree.join(".config"), "").unwrap();
        std::os::unix::fs::symlink("../../lib/linux-kbuild-6/scripts", tree.join("scripts")).unwrap();
        let fixdep = basic.join("fixdep");
        let put = |text: &str| {
            fs::write(&fixdep, text).unwrap();
            fs::set_permissions(&fixdep, fs::Permissions::from_mode(0o755)).unwrap();
        };
        put("#!/bin/sh\necho Usage: fixdep >&2\nexit 1\n");
        assert!(programs_run(folder.path()).unwrap(), "complaints are no obstacle");
        put("#!/bin/sh\necho \"libc.so.6: version 'GLIBC_2.99' not found (required by $0)\" >&2\nexit 1\n");
        assert!(!programs_run(folder.path()).unwrap());
        put("#!/no/such/loader\n");
        assert!(!programs_run(folder.path()).unwrap());
        assert_eq!(depth_below(&fs::canonicalize(&fixdep).unwrap(), "lib").unwrap(), 3);
    }

    #[test]
    fn one_tree_is_wanted() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["linux-headers-6-common", "linux-headers-6-amd64", "linux-headers-7-amd64"] {
            fs::create_dir_all(folder.path().join("usr/src").join(name)).unwrap();
        }
        assert!(tree(folder.path()).is_err());
        fs::write(folder.path().join("usr/src/linux-headers-6-amd64/.config"), "").unwrap();
        assert!(tree(folder.path()).unwrap().ends_with("linux-headers-6-amd64"));
        fs::write(folder.path().join("usr/src/linux-headers-7-amd64/.config"), "").unwrap();
        assert!(tree(folder.path()).unwrap_err().to_string().contains("2 folders"));
    }
}
