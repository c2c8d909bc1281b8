//! Kernel modules, unpacked, with what they depend on.
//!
//! Packages come without modules.dep, which depmod makes when they are installed, and so do build
//! trees. Then modules.order says which modules there are, and each says what it depends on.

use std::collections::{BTreeMap, BTreeSet};

use std::path::{Path, PathBuf};

use crate::Error;
use crate::elf;
use crate::kernel::Kernel;
use crate::unpack::{Packing, read};

/// Unpacked; the largest of Debian's, amdgpu, has 30 MB, with debug information ten times that.
const LARGEST: usize = 256 << 20;
/// modules.dep of a kernel with everything has 1 MB.
const LONGEST_LIST: u64 = 64 << 20;

/// A module ready to be loaded (unpacked from .ko, .ko.xz, .ko.zst, .ko.gz).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// As `/proc/modules` has it, with `_` and never `-`.
    pub name: String,
    /// For init_module(2).
    pub data: Vec<u8>,
}

/// What [`modules`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// In the order in which they can be loaded.
    pub modules: Vec<Module>,
    /// Asked for, and part of the kernel itself.
    pub builtin: Vec<String>,
    /// Asked for, and not to be had.
    pub missing: Vec<String>,
}

/// The modules of these names with all that they depend on, in load order, each once. A name that is
/// built in or that this kernel does not have is left out and told. `-` and `_` are equal in names.
pub fn modules(kernel: &Kernel, names: &[&str]) -> Result<Found, Error> {
    let mut found = Found::default();
    let Some(folder) = &kernel.modules else {
        found.missing = names.iter().map(|name| (*name).to_owned()).collect();
        return Ok(found);
    };
    let index = Index::read(folder)?;
    let mut seen = BTreeSet::new();
    for name in names {
        let plain = plain(name);
        if index.files.contains_key(&plain) {
            index.load(&plain, &mut seen, &mut found.modules)?;
        } else if index.builtin.contains(&plain) {
            found.builtin.push((*name).to_owned());
        } else {
            found.missing.push((*name).to_owned());
        }
    }
    Ok(found)
}

/// The modules of one kernel.
struct Index {
    folder: PathBuf,
    /// Paths below the folder, by plain name.
    files: BTreeMap<String, PathBuf>,
    /// What modules.dep says, if there is one; all of it, not only the next.
    depends: Option<BTreeMap<String, Vec<String>>>,
    builtin: BTreeSet<String>,
}

impl Index {
    fn read(folder: &Path) -> Result<Index, Error> {
        let builtin = list(&folder.join("modules.builtin"))?.unwrap_or_default();
        let builtin = builtin.lines().map(|line| name_of(Path::new(line))).collect();
        let mut index = Index { folder: folder.to_owned(), files: BTreeMap::new(), depends: None, builtin };
        if let Some(text) = list(&folder.join("modules.dep"))? {
            let mut depends = BTreeMap::new();
            for (path, others) in text.lines().filter_map(|line| line.split_once(':')) {
                let name = name_of(Path::new(path));
                depends.insert(name.clone(), others.split_whitespace().map(|path| name_of(Path::new(path))).collect());
                index.files.insert(name, path.into());
            }
            index.depends = Some(depends);
        } else if let Some(text) = list(&folder.join("modules.order"))? {
            index.files = text.lines().map(|line| (name_of(Path::new(line)), line.into())).collect();
        }
        Ok(index)
    }

    /// The module, after those that it depends on.
    fn load(&self, name: &str, seen: &mut BTreeSet<String>, loaded: &mut Vec<Module>) -> Result<(), Error> {
        /// What is left to do, the next at the end: a chain of dependencies may be as long as the list.
        enum Work {
            Visit(String),
            Keep(Module),
        }
        let mut work = vec![Work::Visit(name.to_owned())];
        while let Some(next) = work.pop() {
            match next {
                Work::Keep(module) => loaded.push(module),
                Work::Visit(name) => {
                    if !seen.insert(name.clone()) || self.builtin.contains(&name) {
                        continue;
                    }
                    let (path, module) = self.module(&name)?;
                    let depends = self.depends(&path, &module)?;
                    work.push(Work::Keep(module));
                    work.extend(depends.into_iter().rev().map(Work::Visit));
                }
            }
        }
        Ok(())
    }

    fn module(&self, name: &str) -> Result<(PathBuf, Module), Error> {
        let path = self.files.get(name).ok_or_else(|| {
            Error::broken(&self.folder, format!("its modules depend on {name}, and there is no such module"))
        })?;
        if !path.components().all(|part| matches!(part, std::path::Component::Normal(_))) {
            let why = format!("its list of modules has the path {}, which leads out of it", path.display());
            return Err(Error::broken(&self.folder, why));
        }
        let file = self.file(path)?;
        let data = read(&file, LARGEST as u64)?;
        let data = match Packing::of(&data) {
            Some(packing) => packing.unpack(&data, LARGEST).map_err(|why| Error::broken(&file, why))?,
            None => data,
        };
        if !data.starts_with(elf::MAGIC) {
            return Err(Error::broken(&file, "no kernel module: it is no ELF file when unpacked"));
        }
        Ok((file, Module { name: name.to_owned(), data }))
    }

    /// The file of a line in a list. modules.order has neither the suffix of the compression nor, in a
    /// build tree, the folder `kernel` or (since 6.2) the end `.ko`.
    fn file(&self, path: &Path) -> Result<PathBuf, Error> {
        let below = [Some(path), path.strip_prefix("kernel").ok()];
        let tried = below.into_iter().flatten().flat_map(|path| {
            let file = self.folder.join(path);
            let module = file.with_extension("ko");
            let packed = |suffix: &str| module.with_extension(suffix);
            let packed = [packed("ko.xz"), packed("ko.zst"), packed("ko.gz")];
            let is_object = path.extension().is_some_and(|end| end == "o");
            (!is_object).then_some(file).into_iter().chain([module]).chain(packed)
        });
        tried.into_iter().find(|path| path.is_file()).ok_or_else(|| {
            let why = format!("it has no {}, though its list of modules says so", path.display());
            Error::broken(&self.folder, why)
        })
    }

    fn depends(&self, path: &Path, module: &Module) -> Result<Vec<String>, Error> {
        if let Some(depends) = &self.depends {
            return Ok(depends.get(&module.name).cloned().unwrap_or_default());
        }
        let says = elf::modinfo(&module.data, "depends").map_err(|why| Error::broken(path, why))?;
        Ok(says.iter().flat_map(|names| names.split(',')).filter(|name| !name.is_empty()).map(plain).collect())
    }
}

/// Whether an installed kernel's modules are in this folder, and not only what the kernel's other packages put there.
pub(crate) fn are_in(folder: &Path) -> bool {
    folder.join("modules.dep").is_file() || (folder.join("kernel").is_dir() && folder.join("modules.order").is_file())
}

/// A file that need not be there.
fn list(path: &Path) -> Result<Option<String>, Error> {
    if !path.exists() {
        return Ok(None);
    }
    let data = read(path, LONGEST_LIST)?;
    Ok(Some(String::from_utf8_lossy(&data).into_owned()))
}

/// The plain name of the module in this file.
fn name_of(path: &Path) -> String {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    plain(file.split('.').next().unwrap_or_default())
}

fn plain(name: &str) -> String {
    name.replace('-', "_")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::fake;

    /// A kernel's folder with these files; a name with `ko` in it becomes a module that depends on the text.
    fn kernel(folder: &tempfile::TempDir, files: &[(&str, &str)]) -> Kernel {
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let is_module = name_of(&path) != "modules";
            let data = if is_module { fake::module(&[&format!("depends={text}")]) } else { text.as_bytes().to_vec() };
            fs::write(&path, data).unwrap();
        }
        let modules = Some(folder.path().to_owned());
        Kernel { handle: String::new(), image: PathBuf::new(), release: "6.12.1".to_owned(), package: None, modules }
    }

    fn names(found: &Found) -> Vec<&str> {
        found.modules.iter().map(|module| module.name.as_str()).collect()
    }

    #[test]
    fn dependencies_come_first_and_everything_once() {
        let folder = tempfile::tempdir().unwrap();
        // As depmod writes it: all that is needed, the last first.
        let dep = "kernel/a.ko: kernel/b-b.ko kernel/c.ko kernel/d.ko\nkernel/b-b.ko: kernel/c.ko kernel/d.ko\n\
                   kernel/c.ko: kernel/d.ko\nkernel/d.ko:\nkernel/e.ko: kernel/d.ko\n";
        let files = ["a", "b-b", "c", "d", "e"].map(|name| format!("kernel/{name}.ko"));
        let mut all: Vec<_> = files.iter().map(|file| (file.as_str(), "nobody_asks_me")).collect();
        all.push(("modules.dep", dep));
        let kernel = kernel(&folder, &all);
        let found = modules(&kernel, &["a", "e", "b_b"]).unwrap();
        assert_eq!(names(&found), ["d", "c", "b_b", "a", "e"]);
    }

    #[test]
    fn without_modules_dep_the_modules_say_what_they_need() {
        let folder = tempfile::tempdir().unwrap();
        let order = "kernel/zram.ko\nkernel/lz4-x.ko\nkernel/zsmalloc.ko\n";
        let files = [
            ("modules.order", order),
            ("modules.builtin", "kernel/mm/core.ko\n"),
            ("kernel/zram.ko", "zsmalloc,lz4-x,core"),
            ("kernel/lz4-x.ko", "zsmalloc"),
            ("kernel/zsmalloc.ko", ""),
        ];
        let found = modules(&kernel(&folder, &files), &["zram", "core", "brd"]).unwrap();
        assert_eq!(names(&found), ["zsmalloc", "lz4_x", "zram"]);
        assert_eq!(found.builtin, ["core"]);
        assert_eq!(found.missing, ["brd"]);
    }

    #[test]
    fn a_build_tree_lists_objects() {
        let folder = tempfile::tempdir().unwrap();
        let files = [("modules.order", "mm/a.o\nkernel/mm/b.ko\n"), ("mm/a.ko", "b"), ("mm/b.ko", "")];
        let kernel = kernel(&folder, &files);
        fs::write(folder.path().join("mm/a.o"), "an object").unwrap();
        assert_eq!(names(&modules(&kernel, &["a"]).unwrap()), ["b", "a"]);
    }

    #[test]
    fn a_compressed_module_is_unpacked() {
        use std::io::Write as _;
        let folder = tempfile::tempdir().unwrap();
        let kernel = kernel(&folder, &[("modules.order", "kernel/a.ko\n"), ("kernel/a.ko", "")]);
        let file = folder.path().join("kernel/a.ko");
        let data = fs::read(&file).unwrap();
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(&data).unwrap();
        fs::write(file.with_extension("ko.gz"), packed.finish().unwrap()).unwrap();
        fs::remove_file(&file).unwrap();
        assert_eq!(modules(&kernel, &["a"]).unwrap().modules, [Module { name: "a".to_owned(), data }]);
    }

    #[test]
    fn circles_end_and_what_is_broken_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let lists = "kernel/a.ko\nkernel/b.ko\nkernel/c.ko\nkernel/gone.ko\n../out.ko\n";
        let files = [("modules.order", lists), ("kernel/a.ko", "b"), ("kernel/b.ko", "a"), ("kernel/c.ko", "nowhere")];
        let kernel = kernel(&folder, &files);
        assert_eq!(names(&modules(&kernel, &["a"]).unwrap()), ["b", "a"]);
        for (name, why) in [("c", "depend on nowhere"), ("gone", "has no kernel/gone.ko"), ("out", "leads out")] {
            let error = modules(&kernel, &[name]).unwrap_err().to_string();
            assert!(error.contains(why), "{error} has no {why}");
        }
    }

    #[test]
    fn a_kernel_without_modules_misses_all() {
        let kernel = Kernel { modules: None, ..kernel(&tempfile::tempdir().unwrap(), &[]) };
        assert_eq!(modules(&kernel, &["zram"]).unwrap().missing, ["zram"]);
    }
}
