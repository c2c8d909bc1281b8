//! Which kernel is meant.
//!
//! A handle is, in this order:
//!
//! | handle | kernel |
//! |---|---|
//! | `debian:6.12` | the newest of that series in Debian's archive, any suite |
//! | `debian:6.12.95`, `debian:6.12.95-1` | that version, or the nearest that is still there |
//! | a file | a bzImage (vmlinuz), an ELF file (vmlinux), or a .deb |
//! | a folder | a kernel's build tree, or an unpacked package |
//! | `linux-image-...` | a package of Debian's archive |

use std::fs;
use std::path::{Path, PathBuf};

use twox_hash::XxHash3_128;

use crate::cache::Cache;
use crate::{Error, deb, debian, image, modules, unpack};

/// A kernel that can be booted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// As the user gave it.
    pub handle: String,
    /// The bzImage (vmlinuz), or an ELF vmlinux.
    pub image: PathBuf,
    /// What it calls itself, e.g. `6.12.95+deb13-cloud-amd64`.
    pub release: String,
    /// `linux-image-6.12.95+deb13-cloud-amd64 6.12.95-1`, where it came from a Debian package.
    pub package: Option<String>,
    /// The folder of its modules: lib/modules/RELEASE, or its build tree.
    pub modules: Option<PathBuf>,
}

/// The kernel that `handle` means. `say` is told what takes time, and what is not as it was asked for.
pub fn find(handle: &str, cache: &Cache, say: &mut dyn FnMut(&str)) -> Result<Kernel, Error> {
    if let Some(version) = handle.strip_prefix("debian:") {
        return debian::by_version(handle, version, cache, say);
    }
    let path = Path::new(handle);
    if path.is_dir() {
        return in_folder(handle, path);
    }
    if path.exists() {
        return if deb::is_deb(path) { in_debs(handle, path, cache, say) } else { in_file(handle, path) };
    }
    if handle.starts_with("linux-image-") && !handle.contains('/') {
        return debian::by_name(handle, cache, say);
    }
    Err(Error::NoSuchFile { handle: handle.to_owned() })
}

fn in_file(handle: &str, path: &Path) -> Result<Kernel, Error> {
    let release = image::release(path)?;
    let modules = modules_beside(path, &release);
    Ok(Kernel { handle: handle.to_owned(), image: path.to_owned(), release, package: None, modules })
}

/// Of a kernel that is installed, unpacked or built.
fn modules_beside(image: &Path, release: &str) -> Option<PathBuf> {
    // /vmlinuz is a link into /boot.
    let image = fs::canonicalize(image).ok()?;
    let folder = image.parent()?;
    let tree = if folder.ends_with("arch/x86/boot") { folder.ancestors().nth(3)? } else { folder };
    if is_tree(tree) {
        return modules_of_tree(tree);
    }
    if folder.ends_with(Path::new("lib/modules").join(release)) {
        return modules::are_in(folder).then(|| folder.to_owned());
    }
    modules_below(folder.parent()?, release)
}

/// Of the root of a system, or of a package.
fn modules_below(root: &Path, release: &str) -> Option<PathBuf> {
    ["lib/modules", "usr/lib/modules"]
        .map(|folder| root.join(folder).join(release))
        .into_iter()
        .find(|folder| modules::are_in(folder))
}

fn in_folder(handle: &str, folder: &Path) -> Result<Kernel, Error> {
    if !is_tree(folder) {
        return unpacked(handle, folder, None);
    }
    let image = [folder.join("arch/x86/boot/bzImage"), folder.join("vmlinux")].into_iter().find(|file| file.is_file());
    let Some(image) = image else {
        return Err(Error::no_kernel(
            folder,
            "a kernel tree that is not built: there is no arch/x86/boot/bzImage; make bzImage",
        ));
    };
    let release = image::release(&image)?;
    let modules = modules_of_tree(folder);
    Ok(Kernel { handle: handle.to_owned(), image, release, package: None, modules })
}

/// Where a kernel's sources are, or where `make O=` puts what it makes of them.
pub(crate) fn is_tree(folder: &Path) -> bool {
    folder.join("arch/x86").is_dir() && (folder.join("Kbuild").is_file() || folder.join(".config").is_file())
}

fn modules_of_tree(tree: &Path) -> Option<PathBuf> {
    tree.join("modules.order").is_file().then(|| tree.to_owned())
}

/// The one kernel in the folder of an unpacked package.
pub(crate) fn unpacked(handle: &str, root: &Path, package: Option<String>) -> Result<Kernel, Error> {
    let mut images: Vec<_> = list(&root.join("boot"))
        .into_iter()
        .filter(|path| name(path).starts_with("vmlinuz-"))
        .chain(
            ["lib/modules", "usr/lib/modules"]
                .iter()
                .flat_map(|folder| list(&root.join(folder)))
                .map(|folder| folder.join("vmlinuz")),
        )
        .filter(|path| path.is_file())
        .collect();
    images.sort();
    let [image] = images.as_slice() else {
        let why = match images.as_slice() {
            [] => "no kernel: there is neither boot/vmlinuz-* nor usr/lib/modules/*/vmlinuz, and it is no build tree"
                .to_owned(),
            many => {
                let names: Vec<_> = many.iter().map(|path| path.display().to_string()).collect();
                format!("more than one kernel; give the file: {}", names.join(", "))
            }
        };
        return Err(Error::no_kernel(root, why));
    };
    let release = image::release(image)?;
    let modules = modules_below(root, &release);
    Ok(Kernel { handle: handle.to_owned(), image: image.clone(), release, package, modules })
}

/// The paths in a folder, none if it is not there.
fn list(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

/// The largest package that is looked at; Debian's largest kernel has 110 MB.
const LARGEST_DEB: u64 = 2 << 30;

fn in_debs(handle: &str, path: &Path, cache: &Cache, say: &mut dyn FnMut(&str)) -> Result<Kernel, Error> {
    let control = deb::control(path)?;
    let parts = Parts::of(&control.name);
    // Newer kernels come in several packages, of which any may have been given.
    let mut debs = vec![path.to_owned()];
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut beside = list(folder);
    beside.sort();
    for other in beside.into_iter().filter(|other| fs::canonicalize(other).ok() != fs::canonicalize(path).ok()) {
        let is_part = |name: &str| parts.as_ref().is_some_and(|parts| parts.names().any(|part| part == name));
        if name(&other).split('_').next().is_some_and(is_part) && deb::is_deb(&other) {
            let of = deb::control(&other)?;
            if of.version == control.version && is_part(&of.name) {
                debs.push(other);
            }
        }
    }
    let mut key = Vec::new();
    for deb in &debs {
        key.extend(XxHash3_128::oneshot(&unpack::read(deb, LARGEST_DEB)?).to_le_bytes());
    }
    let key = format!("{:032x}", XxHash3_128::oneshot(&key));
    let root = cache.entry("packages", &key, |into| {
        say(&format!("unpacking {}", path.display()));
        unpack_all(&debs, into)
    })?;
    let kernel = unpacked(handle, &root, Some(format!("{} {}", control.name, control.version)));
    let wanted = |kind: &str| {
        parts.as_ref().map_or_else(|| "its other packages".to_owned(), |parts| format!("linux-{kind}-{}", parts.suffix))
    };
    match kernel {
        Err(Error::NoKernel { path: at, .. }) if at == root => {
            let why = format!("no kernel in {}; put {} {} beside it", control.name, wanted("binary"), control.version);
            Err(Error::no_kernel(path, why))
        }
        Ok(kernel) => {
            if kernel.modules.is_none() {
                let (modules, version) = (wanted("modules"), &control.version);
                say(&format!("{}: no modules; for them put {modules} {version} beside it", path.display()));
            }
            Ok(kernel)
        }
        other => other,
    }
}

/// The packages' files of kernel and modules, all below `into`.
pub(crate) fn unpack_all(debs: &[PathBuf], into: &Path) -> Result<(), Error> {
    fs::create_dir(into).map_err(Error::io(into))?;
    debs.iter().try_for_each(|deb| deb::unpack(deb, into))
}

/// The packages that one kernel comes in are named `linux-KIND-SUFFIX`.
struct Parts {
    kind: &'static str,
    suffix: String,
}

impl Parts {
    const KINDS: [&str; 5] = ["image", "binary-unsigned", "binary", "modules", "base"];

    fn of(package: &str) -> Option<Parts> {
        let rest = package.strip_prefix("linux-")?;
        Parts::KINDS.iter().find_map(|kind| {
            let suffix = rest.strip_prefix(kind)?.strip_prefix('-')?.to_owned();
            Some(Parts { kind, suffix })
        })
    }

    /// An unsigned kernel has the same files as the signed one, so only one of them may be taken.
    fn names(&self) -> impl Iterator<Item = String> + '_ {
        let other = if self.kind == "binary-unsigned" { "binary" } else { "binary-unsigned" };
        Parts::KINDS.iter().filter(move |kind| **kind != other).map(|kind| format!("linux-{kind}-{}", self.suffix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake;

    struct Place {
        folder: tempfile::TempDir,
        said: Vec<String>,
    }

    impl Place {
        fn new() -> Place {
            Place { folder: tempfile::tempdir().unwrap(), said: Vec::new() }
        }

        fn put(&self, path: &str, data: &[u8]) {
            let path = self.folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, data).unwrap();
        }

        fn find(&mut self, path: &str) -> Result<Kernel, Error> {
            let cache = Cache::at(self.folder.path().join("cache"));
            let handle = self.folder.path().join(path);
            find(handle.to_str().unwrap(), &cache, &mut |text| self.said.push(text.to_owned()))
        }

        fn modules(&self, kernel: &Kernel) -> Option<String> {
            let path = kernel.modules.as_ref()?;
            Some(path.strip_prefix(self.folder.path()).unwrap().display().to_string())
        }
    }

    fn image() -> Vec<u8> {
        fake::bzimage("6.12.1", b"payload", 7)
    }

    fn deb(kind: &str, version: &str, files: &[(&str, &[u8])]) -> Vec<u8> {
        fake::deb(&format!("Package: linux-{kind}-6.12.1\nVersion: {version}\n"), files)
    }

    #[test]
    fn modules_are_beside_the_kernels_file() {
        let mut place = Place::new();
        place.put("boot/vmlinuz-6.12.1", &image());
        place.put("usr/lib/modules/6.12.2/modules.dep", b"");
        let kernel = place.find("boot/vmlinuz-6.12.1").unwrap();
        assert_eq!((kernel.release.as_str(), place.modules(&kernel)), ("6.12.1", None));
        place.put("usr/lib/modules/6.12.1/modules.dep", b"");
        let kernel = place.find("boot/vmlinuz-6.12.1").unwrap();
        assert_eq!(place.modules(&kernel).unwrap(), "usr/lib/modules/6.12.1");
        let handle = place.find("").unwrap();
        assert_eq!(
            (handle.image.clone(), handle.modules.clone()),
            (kernel.image, kernel.modules),
            "the folder is the same"
        );
        place.put("usr/lib/modules/6.12.1/vmlinuz", &image());
        assert_eq!(place.find("usr/lib/modules/6.12.1/vmlinuz").unwrap().modules, handle.modules);
        assert!(place.find("").unwrap_err().to_string().contains("more than one kernel"));
    }

    #[test]
    fn a_build_tree_has_its_own_modules() {
        let mut place = Place::new();
        place.put("tree/Kbuild", b"");
        place.put("tree/arch/x86/Makefile", b"");
        assert!(place.find("tree").unwrap_err().to_string().contains("not built"));
        place.put("tree/arch/x86/boot/bzImage", &image());
        let kernel = place.find("tree").unwrap();
        assert_eq!((kernel.release.as_str(), place.modules(&kernel)), ("6.12.1", None));
        place.put("tree/modules.order", b"mm/a.o\n");
        for handle in ["tree", "tree/arch/x86/boot/bzImage"] {
            let kernel = place.find(handle).unwrap();
            assert_eq!(place.modules(&kernel).unwrap(), "tree", "{handle}");
        }
    }

    #[test]
    fn a_package_is_unpacked_once() {
        let mut place = Place::new();
        let files: [(&str, &[u8]); 2] = [("boot/vmlinuz-6.12.1", &image()), ("lib/modules/6.12.1/kernel/a.ko", b"")];
        place.put("a.deb", &deb("image", "6.12.1-1", &[files[0], files[1], ("lib/modules/6.12.1/modules.order", b"")]));
        let kernel = place.find("a.deb").unwrap();
        assert_eq!(kernel.package.as_deref(), Some("linux-image-6.12.1 6.12.1-1"));
        assert!(kernel.modules.is_some());
        assert_eq!(place.find("a.deb").unwrap(), kernel);
        assert_eq!(place.said.len(), 1, "{:?}", place.said);
    }

    #[test]
    fn split_packages_are_found_beside_each_other() {
        let mut place = Place::new();
        let modules: [(&str, &[u8]); 1] = [("usr/lib/modules/6.12.1/kernel/a.ko", b"")];
        let order: [(&str, &[u8]); 1] = [("usr/lib/modules/6.12.1/modules.order", b"kernel/a.ko\n")];
        place.put("linux-image-6.12.1_6.12.1-1_amd64.deb", &deb("image", "6.12.1-1", &[]));
        place.put("linux-base-6.12.1_6.12.1-1_amd64.deb", &deb("base", "6.12.1-1", &order));
        // Another version is no part of it.
        place.put("linux-modules-6.12.1_6.12.1-2_amd64.deb", &deb("modules", "6.12.1-2", &modules));
        let error = place.find("linux-image-6.12.1_6.12.1-1_amd64.deb").unwrap_err().to_string();
        assert!(error.contains("put linux-binary-6.12.1 6.12.1-1 beside it"), "{error}");

        place.put(
            "linux-binary-6.12.1_6.12.1-1_amd64.deb",
            &deb("binary", "6.12.1-1", &[("usr/lib/modules/6.12.1/vmlinuz", &image())]),
        );
        let kernel = place.find("linux-image-6.12.1_6.12.1-1_amd64.deb").unwrap();
        assert_eq!(kernel.modules, None);
        assert!(place.said.last().unwrap().contains("put linux-modules-6.12.1 6.12.1-1 beside it"), "{:?}", place.said);

        place.put("linux-modules-6.12.1_6.12.1-1_amd64.deb", &deb("modules", "6.12.1-1", &modules));
        for given in ["image", "modules", "binary", "base"] {
            let kernel = place.find(&format!("linux-{given}-6.12.1_6.12.1-1_amd64.deb")).unwrap();
            assert!(kernel.modules.is_some() && kernel.release == "6.12.1", "{given}");
        }

        // It has the same file as the signed one, which is beside it.
        let unsigned = [("usr/lib/modules/6.12.1/vmlinuz", &*image())];
        let name = "linux-binary-unsigned-6.12.1_6.12.1-1_amd64.deb";
        place.put(name, &deb("binary-unsigned", "6.12.1-1", &unsigned));
        for given in [name, "linux-image-6.12.1_6.12.1-1_amd64.deb"] {
            assert!(place.find(given).unwrap().modules.is_some(), "{given}");
        }
    }

    #[test]
    fn a_broken_package_leaves_nothing_that_is_taken_for_whole() {
        let mut place = Place::new();
        let whole = deb("image", "6.12.1-1", &[("boot/vmlinuz-6.12.1", &image()), ("boot/vmlinuz-6.12.2", &[7; 3000])]);
        place.put("a.deb", &whole[..whole.len() - 3000]);
        for _ in 0..2 {
            assert!(matches!(place.find("a.deb"), Err(Error::Broken { .. })));
        }
        assert_eq!(list(&place.folder.path().join("cache/packages")), [] as [PathBuf; 0]);
    }

    #[test]
    fn what_is_no_handle_is_told_what_one_is() {
        let error = Place::new().find("nothing").unwrap_err();
        assert!(matches!(error, Error::NoSuchFile { .. }) && error.to_string().contains("debian:6.12"), "{error}");
        let cache = Cache::at("/nowhere");
        assert!(matches!(find("debian:trixie", &cache, &mut |_| ()), Err(Error::BadVersion { .. })));
    }
}
