//! Kernel modules: which can be had, and loading one so that nothing of it stays.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use super::machine::program;
use super::roots::{self, Roots};
use super::undo::{Ledger, Undo};

/// How a kernel feature that may be a module can be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Supply {
    /// It is there.
    Present,
    /// Its module can be loaded.
    Loadable,
    /// Neither.
    Missing,
}

/// `sign` is a file that exists where the feature is there.
pub(crate) fn supply(roots: &Roots, release: &str, module: &str, sign: &Path) -> Supply {
    if sign.exists() {
        Supply::Present
    } else if is_installed(roots, release, module) && program("modprobe").is_some() {
        Supply::Loadable
    } else {
        Supply::Missing
    }
}

/// modules.dep (modules.dep(5)) has a line `path/NAME.ko[.zst]: dependencies` for every module.
fn is_installed(roots: &Roots, release: &str, module: &str) -> bool {
    let index = roots::text(&roots.modules.join(release).join("modules.dep")).unwrap_or_default();
    let file = format!("/{module}.ko");
    index.lines().filter_map(|line| line.split_once(':')).any(|(path, _)| {
        path.find(&file).is_some_and(|at| matches!(path.as_bytes().get(at + file.len()), None | Some(b'.')))
    })
}

/// modprobe, with the module and the dependencies that came with it noted in the ledger.
pub(crate) fn load(roots: &Roots, ledger: &mut dyn Ledger, module: &str, parameters: &[String]) -> io::Result<()> {
    let modprobe = program("modprobe").ok_or_else(|| io::Error::other("no modprobe"))?;
    let before = loaded(roots);
    ledger.promise(Undo::Rmmod { modules: vec![module.to_owned()] })?;
    let output = Command::new(modprobe).arg(module).args(parameters).stdin(Stdio::null()).output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(io::Error::other(said.lines().next().unwrap_or("modprobe failed").to_owned()));
    }
    let came_along = came_with(module, &before, &loaded(roots));
    if came_along.len() > 1 {
        ledger.promise(Undo::Rmmod { modules: came_along })?;
    }
    Ok(())
}

/// A line of /proc/modules: a module and who uses it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Loaded {
    name: String,
    users: Vec<String>,
}

/// /proc/modules, newest first: name, size, reference count, users each with a comma or `-`, ...
fn loaded(roots: &Roots) -> Vec<Loaded> {
    let text = fs::read_to_string(roots.proc.join("modules")).unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let name = words.next()?.to_owned();
            let users = words.nth(2).unwrap_or("-");
            let users = users.split(',').filter(|user| !user.is_empty() && *user != "-").map(str::to_owned).collect();
            Some(Loaded { name, users })
        })
        .collect()
}

/// The module and those that are new and used by it, directly or not, in the order in which they
/// can be removed. Other new modules are somebody else's.
fn came_with(module: &str, before: &[Loaded], after: &[Loaded]) -> Vec<String> {
    let is_new = |name: &str| before.iter().all(|old| old.name != name);
    let mut ours = vec![module.to_owned()];
    let mut at = 0;
    while let Some(user) = ours.get(at).cloned() {
        for each in after {
            if is_new(&each.name) && each.users.contains(&user) && !ours.contains(&each.name) {
                ours.push(each.name.clone());
            }
        }
        at += 1;
    }
    ours
}

#[cfg(test)]
mod tests {
    use super::super::fake::Fake;
    use super::*;

    #[test]
    fn the_index_names_a_module_whole() {
        let fake = Fake::new("modules").file(
            "modules/6.1/modules.dep",
            "kernel/drivers/block/zram/zram.ko.xz: kernel/mm/zsmalloc.ko.xz\nkernel/x/brd_other.ko:\n",
        );
        assert!(is_installed(&fake.roots(), "6.1", "zram"));
        assert!(!is_installed(&fake.roots(), "6.1", "brd"));
        assert!(!is_installed(&fake.roots(), "6.1", "zsmalloc"), "it is only a dependency here");
        assert!(!is_installed(&fake.roots(), "6.2", "zram"));
    }

    #[test]
    fn dependencies_that_came_along_are_removed_after_their_user_and_strangers_stay() {
        let before = "ext4 1 1 - Live 0x0\n";
        let after = "stranger 1 0 - Live 0x0\nzram 1 0 - Live 0x0\nzsmalloc 1 1 zram, Live 0x0\n\
                     deep 1 1 zsmalloc, Live 0x0\next4 1 2 zram, Live 0x0\n";
        let list = |name: &str, text: &str| loaded(&Fake::new(name).file("proc/modules", text).roots());
        let (before, after) = (list("mods1", before), list("mods2", after));
        assert_eq!(came_with("zram", &before, &after), ["zram", "zsmalloc", "deep"]);
    }
}
