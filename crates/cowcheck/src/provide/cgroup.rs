//! A cgroup of our own: memory is reclaimed from all processes in it, and from nobody else.
//!
//! cgroup2 has memory.reclaim (Linux 5.19; Documentation/admin-guide/cgroup-v2.rst), the hierarchy before it has
//! memory.force_empty (Documentation/admin-guide/cgroup-v1/memory.rst).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Thing;
use super::change::Changes;
use super::roots::{self, Roots};
use super::undo::{Ledger, Undo, write_value};

/// The files that reclaim, the better one first.
pub(crate) const RECLAIM: [&str; 2] = ["memory.reclaim", "memory.force_empty"];

/// Where the memory controller is: cgroup2, or the hierarchy before it.
fn hierarchy(roots: &Roots) -> Option<PathBuf> {
    let mounts = roots::text(&roots.proc.join("self/mounts")).ok()?;
    let controls_memory = |line: &&str| {
        let mut words = line.split_whitespace().skip(1);
        match (words.next(), words.next(), words.next()) {
            (Some(point), Some("cgroup2"), _) => has_memory(&Path::new(point).join("cgroup.controllers")),
            (_, Some("cgroup"), Some(options)) => options.split(',').any(|option| option == "memory"),
            _ => false,
        }
    };
    mounts.lines().find(controls_memory)?.split_whitespace().nth(1).map(PathBuf::from)
}

/// Does this list of controllers name memory?
pub(crate) fn has_memory(list: &Path) -> bool {
    roots::text(list).is_ok_and(|list| list.split_whitespace().any(|word| word == "memory"))
}

/// The cgroup, where it has been made and memory can be reclaimed from it.
pub(crate) fn find(roots: &Roots) -> Option<PathBuf> {
    let path = hierarchy(roots)?.join("cowcheck");
    RECLAIM.iter().any(|file| path.join(file).exists()).then_some(path)
}

/// Makes it.
pub(crate) fn provide(changes: &mut Changes<'_>) {
    if find(changes.roots).is_some() {
        return;
    }
    let Some(root) = hierarchy(changes.roots) else {
        let remedy = "a kernel with CONFIG_MEMCG=y, and sudo mount -t cgroup2 none /sys/fs/cgroup";
        return changes.could_not(Thing::Cgroup, "no cgroup file system with the memory controller", remedy);
    };
    let path = root.join("cowcheck");
    match make(changes, &root, &path) {
        Err(error) => {
            let remedy = "run where cgroups can be made: not in a container";
            changes.could_not(Thing::Cgroup, format!("no cgroup {}: {error}", path.display()), remedy);
        }
        Ok(()) if find(changes.roots).is_none() => {
            changes.could_not(Thing::Cgroup, "cgroup2 without memory.reclaim", "Linux 5.19 or later");
        }
        Ok(()) => changes.did(format!("made the cgroup {}", path.display())),
    }
}

fn make(changes: &mut Changes<'_>, root: &Path, path: &Path) -> io::Result<()> {
    let control = root.join("cgroup.subtree_control");
    // The old hierarchy has no such file: a child has the controller.
    let control = (control.exists() && !has_memory(&control)).then_some(control);
    let ledger: &mut dyn Ledger = changes.ledger;
    ledger.promise(Undo::Cgroup { path: path.to_owned(), control: control.clone() })?;
    control.map_or(Ok(()), |control| write_value(&control, "+memory"))?;
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::Fake;
    use super::*;

    /// Both hierarchies, memory in one of them.
    fn fake(name: &str, controllers: &str, options: &str) -> Fake {
        let fake =
            Fake::new(name).file("two/cgroup.controllers", controllers).file("two/cgroup.subtree_control", "cpu\n");
        let (one, two) = (fake.path().join("one"), fake.path().join("two"));
        let mounts = format!("x {} cgroup rw,{options} 0 0\nx {} cgroup2 rw 0 0\n", one.display(), two.display());
        fake.file("one/cgroup.procs", "").file("proc/self/mounts", &mounts)
    }

    #[test]
    fn it_is_made_where_the_memory_controller_is_and_is_promised_to_go() {
        for (name, controllers, options, place) in
            [("two", "cpu memory\n", "cpu", "two"), ("one", "cpu\n", "memory", "one")]
        {
            let fake = fake(&format!("cgroup-{name}"), controllers, options);
            let (roots, mut ledger) = (fake.roots(), Vec::new());
            let mut changes = Changes::new(&roots, &mut ledger);
            provide(&mut changes);
            let path = fake.path().join(place).join("cowcheck");
            assert!(path.is_dir());
            // In a tree of files the kernel's do not appear.
            assert_eq!(changes.could_not[0].reason, "cgroup2 without memory.reclaim");
            let control = (place == "two").then(|| fake.path().join("two/cgroup.subtree_control"));
            assert_eq!(ledger, [Undo::Cgroup { path: path.clone(), control: control.clone() }]);
            if let Some(control) = control {
                assert_eq!(fs::read_to_string(&control).unwrap(), "+memory");
                // Other than here, the kernel's list has no sign.
                fs::write(&control, "memory\n").unwrap();
            }
            assert_eq!(ledger[0].run(), Ok(true));
            assert!(!path.exists());
            if place == "two" {
                assert_eq!(fake.text("two/cgroup.subtree_control"), "-memory");
            }
            assert_eq!(ledger[0].run(), Ok(false));
        }
    }

    #[test]
    fn without_the_controller_it_is_told() {
        let fake = fake("no-cgroup", "cpu io\n", "cpu");
        let (roots, mut ledger) = (fake.roots(), Vec::new());
        let mut changes = Changes::new(&roots, &mut ledger);
        provide(&mut changes);
        assert_eq!(changes.could_not[0].reason, "no cgroup file system with the memory controller");
        assert!(ledger.is_empty());
    }
}
