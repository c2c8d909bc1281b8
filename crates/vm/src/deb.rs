//! Debian packages (deb(5)): an ar archive of two tar archives.
//!
//! Only what is wanted is unpacked, and only below the folder that is given: a kernel and its modules, or
//! what modules are built with.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{OpenOptionsExt as _, symlink};
use std::path::{Component, Path, PathBuf};

use crate::Error;
use crate::cache::remove;
use crate::unpack::Packing;

/// Above what any package of one kernel has: Debian's largest unpacks to 600 MB.
const MOST: u64 = 8 << 30;
const MOST_FILES: usize = 200_000;
const LONGEST_CONTROL: u64 = 1 << 20;

/// What a package says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Control {
    pub(crate) name: String,
    pub(crate) version: String,
}

/// Whether the file begins as a package does.
pub(crate) fn is_deb(path: &Path) -> bool {
    let mut start = [0; 21];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut start));
    read.is_ok() && &start == b"!<arch>\ndebian-binary"
}

/// The package's name and version.
pub(crate) fn control(path: &Path) -> Result<Control, Error> {
    let mut archive = archive(path, "control.tar")?;
    for entry in archive.entries().map_err(broken(path))? {
        let entry = entry.map_err(broken(path))?;
        if relative(path, &entry.path().map_err(broken(path))?)? != Path::new("control") {
            continue;
        }
        let mut text = String::new();
        entry.take(LONGEST_CONTROL).read_to_string(&mut text).map_err(broken(path))?;
        return parse_control(&text)
            .ok_or_else(|| Error::broken(path, "its control file names no package and version"));
    }
    Err(Error::broken(path, "a package without a control file"))
}

/// Unpacks kernel and modules below `into`, which is a folder, as plain files. No links: those in packages of
/// kernels point at sources, and nothing can be led out of the folder by them.
pub(crate) fn unpack(path: &Path, into: &Path) -> Result<(), Error> {
    let place = |path: &Path| is_kernel(path).then(|| path.to_owned());
    unpack_some(path, into, &place).map(drop)
}

/// Unpacks headers, kbuild and the libraries of its programs below `into`, which is a folder. The links are the
/// last to be made, so nothing is written through one.
pub(crate) fn unpack_headers(debs: &[PathBuf], into: &Path) -> Result<(), Error> {
    let mut links = Vec::new();
    for deb in debs {
        links.extend(unpack_some(deb, into, &place_of_headers)?);
    }
    make_links(links, into)
}

/// Unpacks the sources of a kernel below `into`, which is a folder and becomes the top of their tree: what an x86
/// machine without devices is built of. Of the rest there is what make and kconfig go through.
pub(crate) fn unpack_sources(deb: &Path, into: &Path) -> Result<(), Error> {
    let mut outer = archive(deb, "data.tar")?;
    for entry in outer.entries().map_err(broken(deb))? {
        let entry = entry.map_err(broken(deb))?;
        let name = relative(deb, &entry.path().map_err(broken(deb))?)?;
        let is_sources = name.parent() == Some(Path::new("usr/src")) && file_name(&name).ends_with(".tar.xz");
        if !is_sources {
            continue;
        }
        // The reader of what is compressed owns what it reads.
        let copy = into.with_extension("tar.xz");
        remove(&copy)?;
        let mut file = OpenOptions::new().write(true).create_new(true).open(&copy).map_err(Error::io(&copy))?;
        io::copy(&mut entry.take(MOST), &mut file).map_err(|error| cannot_copy(deb, &copy, error))?;
        let source = io::BufReader::new(File::open(&copy).map_err(Error::io(&copy))?);
        let inner = Packing::Xz.reader(source).map(tar::Archive::new).map_err(|why| Error::broken(deb, why))?;
        let links = unpack_archive(deb, inner, into, &place_of_sources)?;
        make_links(links, into)?;
        return remove(&copy);
    }
    Err(Error::broken(deb, "a package of sources has a usr/src/*.tar.xz, and this has none"))
}

fn make_links(links: Vec<(PathBuf, PathBuf)>, into: &Path) -> Result<(), Error> {
    for (at, target) in links {
        let at = into.join(at);
        let parent = at.parent().unwrap_or(into);
        fs::create_dir_all(parent).map_err(Error::io(parent))?;
        symlink(&target, &at).map_err(Error::io(&at))?;
    }
    Ok(())
}

fn unpack_some(
    path: &Path,
    into: &Path,
    place: &dyn Fn(&Path) -> Option<PathBuf>,
) -> Result<Vec<(PathBuf, PathBuf)>, Error> {
    unpack_archive(path, archive(path, "data.tar")?, into, place)
}

/// Unpacks the files to which `place` gives a place, and tells the links: place and target. Those that lead out of
/// the folder are left out.
fn unpack_archive(
    path: &Path,
    mut archive: tar::Archive<Box<dyn Read>>,
    into: &Path,
    place: &dyn Fn(&Path) -> Option<PathBuf>,
) -> Result<Vec<(PathBuf, PathBuf)>, Error> {
    let mut left = MOST;
    let mut count = 0;
    let mut links = Vec::new();
    for entry in archive.entries().map_err(broken(path))? {
        let mut entry = entry.map_err(broken(path))?;
        count += 1;
        if count > MOST_FILES {
            return Err(Error::broken(path, format!("more than {MOST_FILES} files")));
        }
        let kind = entry.header().entry_type();
        let Some(to) = place(&relative(path, &entry.path().map_err(broken(path))?)?) else { continue };
        if kind.is_symlink() {
            let target = entry.link_name().map_err(broken(path))?.unwrap_or_default().into_owned();
            if is_within(&to, &target) {
                links.push((to, target));
            }
            continue;
        }
        if !kind.is_file() {
            continue;
        }
        let size = entry.size();
        let mode = if entry.header().mode().is_ok_and(|mode| mode & 0o100 != 0) { 0o777 } else { 0o666 };
        let to = into.join(to);
        let parent = to.parent().unwrap_or(into);
        fs::create_dir_all(parent).map_err(Error::io(parent))?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&to).map_err(Error::io(&to))?;
        let written = io::copy(&mut (&mut entry).take(left + 1), &mut file);
        let written = written.map_err(|error| cannot_copy(path, &to, error))?;
        left = left
            .checked_sub(written)
            .ok_or_else(|| Error::broken(path, format!("it unpacks to more than {MOST} bytes")))?;
        if written != size {
            return Err(Error::broken(path, format!("truncated within {}", to.display())));
        }
    }
    // What is behind the archive's end is checked by the checksum of the compression, if it is read.
    let rest = io::copy(&mut archive.into_inner().take(MOST), &mut io::sink());
    rest.map(|_| links).map_err(broken(path))
}

/// The kernel itself, and what belongs to it below lib/modules.
fn is_kernel(path: &Path) -> bool {
    let path = path.strip_prefix("usr").unwrap_or(path);
    let is_image = || path.parent() == Some(Path::new("boot")) && file_name(path).starts_with("vmlinu");
    path.starts_with("lib/modules") || is_image()
}

/// Headers and kbuild are where they are in the package. Libraries have one place, whether their package
/// knows of /usr/lib yet or not.
fn place_of_headers(path: &Path) -> Option<PathBuf> {
    if path.starts_with("usr/src") {
        // Other architectures, and types for BTF, are three quarters of it.
        let mut behind = path.components().skip(3).map(|part| part.as_os_str());
        let (first, second, third) = (behind.next(), behind.next(), behind.next());
        let is_foreign = first == Some("arch".as_ref()) && third.is_some() && second != Some("x86".as_ref());
        let is_types = first == Some("vmlinux".as_ref());
        return (!is_foreign && !is_types).then(|| path.to_owned());
    }
    let library = path.strip_prefix("usr").unwrap_or(path).strip_prefix("lib").ok()?;
    if library.components().next()?.as_os_str().to_str()?.starts_with("linux-kbuild-") {
        return Some(Path::new("usr/lib").join(library));
    }
    let name = library.strip_prefix("x86_64-linux-gnu").ok()?;
    let is_library = name.components().count() == 1 && file_name(name).contains(".so");
    is_library.then(|| Path::new(LIBRARIES).join(name))
}

/// The first folder is the package's.
fn place_of_sources(path: &Path) -> Option<PathBuf> {
    let place: PathBuf = path.components().skip(1).collect();
    let is_machinery = ["Kconfig", "Makefile", "Kbuild"].iter().any(|start| file_name(&place).starts_with(start));
    let mut parts = place.components().map(|part| part.as_os_str().to_str().unwrap_or_default());
    let is_needed = match (parts.next()?, parts.next()) {
        ("arch", Some(arch)) => arch == "x86",
        // What all drivers of a kind share is at its top.
        ("drivers", Some(kind)) => DRIVERS.contains(&kind) || parts.nth(1).is_none(),
        ("Documentation" | "rust" | "samples" | "sound", _) => false,
        _ => true,
    };
    (is_needed || is_machinery).then_some(place)
}

/// Folders of drivers that the kernel of a virtual machine has something of. Without the others the sources are a
/// fifth as large.
const DRIVERS: [&str; 17] = [
    "acpi",
    "base",
    "block",
    "char",
    "clocksource",
    "cpufreq",
    "cpuidle",
    "idle",
    "irqchip",
    "misc",
    "of",
    "pci",
    "platform",
    "pnp",
    "tty",
    "video",
    "virtio",
];

/// Where [`unpack_headers`] puts libraries, below its folder.
pub(crate) const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";

/// Whether a link at `at` leads to something in the same folder, as far as its text tells.
fn is_within(at: &Path, target: &Path) -> bool {
    let mut depth = at.components().count().saturating_sub(1);
    !target.as_os_str().is_empty()
        && target.components().all(|component| match component {
            Component::Normal(_) => {
                depth += 1;
                true
            }
            Component::CurDir => true,
            Component::ParentDir => {
                depth = depth.wrapping_sub(1);
                depth != usize::MAX
            }
            Component::RootDir | Component::Prefix(_) => false,
        })
}

fn file_name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

/// The path without `./` before it; one that leads anywhere else is refused, wanted or not.
fn relative(deb: &Path, path: &Path) -> Result<PathBuf, Error> {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::Normal(name) => clean.push(name),
            _ => {
                let why = format!("it has a file with the path {}, which leads out of it", path.display());
                return Err(Error::broken(deb, why));
            }
        }
    }
    Ok(clean)
}

/// An error in reading is the package's, one in writing the disk's.
fn cannot_copy(deb: &Path, to: &Path, error: io::Error) -> Error {
    match error.raw_os_error() {
        Some(_) => Error::io(to)(error),
        None => broken(deb)(error),
    }
}

fn broken(path: &Path) -> impl FnOnce(io::Error) -> Error + '_ {
    move |error| Error::broken(path, format!("a broken package: {error}"))
}

fn parse_control(text: &str) -> Option<Control> {
    let field = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?.trim();
        (!value.is_empty()).then(|| value.to_owned())
    };
    Some(Control { name: field("Package")?, version: field("Version")? })
}

/// The tar archive whose name begins with `wanted`, unpacked while it is read.
fn archive(path: &Path, wanted: &str) -> Result<tar::Archive<Box<dyn Read>>, Error> {
    let mut file = File::open(path).map_err(Error::io(path))?;
    let length = file.metadata().map_err(Error::io(path))?.len();
    let no = |why: String| Error::broken(path, why);
    let mut at = 8;
    let mut header = [0; 60];
    let mut magic = [0; 8];
    if file.read_exact(&mut magic).is_err() || &magic != b"!<arch>\n" {
        return Err(no("no Debian package: it does not begin with \"!<arch>\"".to_owned()));
    }
    while at < length {
        file.seek(SeekFrom::Start(at)).map_err(Error::io(path))?;
        file.read_exact(&mut header).map_err(|_| no("truncated: it ends within a header".to_owned()))?;
        let (name, size) = member(&header).ok_or_else(|| no(format!("no archive member at byte {at}")))?;
        let from = at + header.len() as u64;
        let to = from + size;
        if to > length {
            return Err(no(format!("truncated: {name} ends at byte {to}, the file at {length}")));
        }
        if let Some(suffix) = name.strip_prefix(wanted) {
            let source = file.take(size);
            let packing = match suffix {
                "" => return Ok(tar::Archive::new(Box::new(source))),
                ".gz" => Packing::Gzip,
                ".xz" => Packing::Xz,
                ".zst" => Packing::Zstd,
                _ => return Err(no(format!("{name} is compressed in a way that is not known here"))),
            };
            return packing.reader(io::BufReader::new(source)).map(tar::Archive::new).map_err(no);
        }
        // They begin at even offsets.
        at = to + to % 2;
    }
    Err(no(format!("a Debian package has a {wanted}, and this has none")))
}

/// Name and size of an ar header.
fn member(header: &[u8; 60]) -> Option<(String, u64)> {
    let text = str::from_utf8(header).ok()?;
    let name = text.get(..16)?.trim_end().trim_end_matches('/');
    let size: u32 = text.get(48..58)?.trim_end().parse().ok()?;
    (text.get(58..) == Some("`\n")).then(|| (name.to_owned(), size.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake;

    const CONTROL: &str = "Package: linux-image-6.12\nVersion: 6.12-1\nDescription: fake\n";

    fn write(folder: &tempfile::TempDir, data: &[u8]) -> PathBuf {
        let path = folder.path().join("a.deb");
        fs::write(&path, data).unwrap();
        path
    }

    fn try_unpack(data: &[u8]) -> (tempfile::TempDir, Result<(), Error>) {
        let folder = tempfile::tempdir().unwrap();
        let result = unpack(&write(&folder, data), folder.path());
        (folder, result)
    }

    #[test]
    fn kernel_and_modules_are_unpacked_and_nothing_else() {
        let files: [(&str, &[u8]); 5] = [
            ("./boot/vmlinuz-6.12", b"kernel"),
            ("./boot/System.map-6.12", b"map"),
            ("./usr/lib/modules/6.12/kernel/a.ko", b"module"),
            ("./lib/modules/6.12/modules.order", b"order"),
            ("./usr/share/doc/readme", b"text"),
        ];
        let deb = fake::deb(CONTROL, &files);
        let (folder, result) = try_unpack(&deb);
        result.unwrap();
        for (path, content) in files {
            let found = fs::read(folder.path().join(path)).ok();
            let wanted = (!path.contains("map") && !path.contains("doc")).then(|| content.to_vec());
            assert_eq!(found, wanted, "{path}");
        }
        assert_eq!(
            control(&write(&folder, &deb)).unwrap(),
            Control { name: "linux-image-6.12".to_owned(), version: "6.12-1".to_owned() }
        );
        assert!(is_deb(&folder.path().join("a.deb")));
    }

    #[test]
    fn a_path_that_leads_out_is_refused() {
        for path in ["./lib/modules/../../../etc/passwd", "/etc/passwd", "../outside"] {
            let (folder, result) = try_unpack(&fake::deb(CONTROL, &[(path, b"bad")]));
            let error = result.unwrap_err();
            assert!(matches!(&error, Error::Broken { why, .. } if why.contains("leads out")), "{error}");
            assert!(!folder.path().parent().unwrap().join("outside").exists());
        }
    }

    #[test]
    fn a_link_is_not_made_or_followed() {
        let mut builder = tar::Builder::new(Vec::new());
        let mut link = tar::Header::new_gnu();
        link.set_entry_type(tar::EntryType::Symlink);
        link.set_size(0);
        builder.append_link(&mut link, "lib/modules/6.12", "/tmp").unwrap();
        let data = builder.into_inner().unwrap();
        let (folder, result) = try_unpack(&fake::ar(&[("debian-binary", b"2.0\n"), ("data.tar", &data)]));
        result.unwrap();
        assert!(fs::symlink_metadata(folder.path().join("lib/modules/6.12")).is_err());
    }

    #[test]
    fn headers_are_unpacked_with_links_that_stay_within() {
        let files: [(&str, &[u8]); 9] = [
            ("./usr/src/linux-headers-6-common/include/linux/mm.h", b"mm"),
            ("./usr/src/linux-headers-6-common/arch/x86/Makefile", b"x86"),
            ("./usr/src/linux-headers-6-common/arch/arm64/Makefile", b"no"),
            ("./usr/src/linux-headers-6-common/arch/Kconfig", b"Kconfig"),
            ("./usr/src/linux-headers-6-cloud-amd64/vmlinux", b"no"),
            ("./usr/lib/linux-kbuild-6/scripts/mod/modpost", b"modpost"),
            ("./lib/x86_64-linux-gnu/libc.so.6", b"libc"),
            ("./usr/lib/x86_64-linux-gnu/gconv/a.so", b"no"),
            ("./usr/share/doc/readme", b"no"),
        ];
        let mut builder = tar::Builder::new(Vec::new());
        for (path, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(if path.ends_with("modpost") { 0o755 } else { 0o644 });
            builder.append_data(&mut header, path, content).unwrap();
        }
        for (path, target) in [
            ("usr/src/linux-headers-6-common/scripts", "../../lib/linux-kbuild-6/scripts"),
            ("usr/src/out", "../../../etc"),
            ("usr/src/root", "/etc"),
            ("usr/lib/x86_64-linux-gnu/libz.so.1", "libz.so.1.3"),
        ] {
            let mut link = tar::Header::new_gnu();
            link.set_entry_type(tar::EntryType::Symlink);
            link.set_size(0);
            builder.append_link(&mut link, path, target).unwrap();
        }
        let data = builder.into_inner().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let deb = write(&folder, &fake::ar(&[("debian-binary", b"2.0\n"), ("data.tar", &data)]));
        let into = folder.path().join("into");
        unpack_headers(&[deb], &into).unwrap();
        let found = |path: &str| fs::read_to_string(into.join(path)).unwrap_or_default();
        assert_eq!(found("usr/src/linux-headers-6-common/include/linux/mm.h"), "mm");
        assert_eq!(found("usr/src/linux-headers-6-common/arch/x86/Makefile"), "x86");
        assert_eq!(found("usr/src/linux-headers-6-common/arch/Kconfig"), "Kconfig");
        assert_eq!(found("usr/src/linux-headers-6-common/scripts/mod/modpost"), "modpost", "through the link");
        assert_eq!(found("usr/lib/x86_64-linux-gnu/libc.so.6"), "libc");
        for path in [
            "usr/src/linux-headers-6-common/arch/arm64",
            "usr/src/linux-headers-6-cloud-amd64/vmlinux",
            "usr/lib/x86_64-linux-gnu/gconv",
            "usr/share",
            "usr/src/out",
            "usr/src/root",
        ] {
            assert!(fs::symlink_metadata(into.join(path)).is_err(), "{path}");
        }
        let link = fs::read_link(into.join("usr/lib/x86_64-linux-gnu/libz.so.1")).unwrap();
        assert_eq!(link, Path::new("libz.so.1.3"));
        let mode = |path: &str| {
            use std::os::unix::fs::PermissionsExt as _;
            fs::metadata(into.join(path)).unwrap().permissions().mode() & 0o100
        };
        assert_eq!(mode("usr/lib/linux-kbuild-6/scripts/mod/modpost"), 0o100);
        assert_eq!(mode("usr/src/linux-headers-6-common/arch/Kconfig"), 0);
    }

    #[test]
    fn sources_are_what_a_machine_without_devices_is_built_of() {
        for (path, place) in [
            ("linux-source-7/Makefile", Some("Makefile")),
            ("linux-source-7/arch/x86/mm/fault.c", Some("arch/x86/mm/fault.c")),
            ("linux-source-7/arch/Kconfig", Some("arch/Kconfig")),
            ("linux-source-7/arch/arm64/mm/fault.c", None),
            ("linux-source-7/arch/arm64/Kconfig.debug", Some("arch/arm64/Kconfig.debug")),
            ("linux-source-7/drivers/gpu/drm/drm_gem.c", None),
            ("linux-source-7/drivers/gpu/drm/Makefile", Some("drivers/gpu/drm/Makefile")),
            ("linux-source-7/drivers/net/loopback.c", Some("drivers/net/loopback.c")),
            ("linux-source-7/drivers/net/ethernet/a.c", None),
            ("linux-source-7/drivers/tty/tty_io.c", Some("drivers/tty/tty_io.c")),
            ("linux-source-7/tools/testing/selftests/mm/cow.c", Some("tools/testing/selftests/mm/cow.c")),
            ("linux-source-7/Documentation/mm/page_tables.rst", None),
        ] {
            assert_eq!(place_of_sources(Path::new(path)), place.map(PathBuf::from), "{path}");
        }
        let deb = fake::deb(CONTROL, &[("./usr/share/doc/readme", b"")]);
        let folder = tempfile::tempdir().unwrap();
        let error = unpack_sources(&write(&folder, &deb), folder.path()).unwrap_err().to_string();
        assert!(error.contains("a package of sources has a usr/src/*.tar.xz, and this has none"), "{error}");
    }

    #[test]
    fn every_truncation_is_an_error() {
        let deb = fake::deb(CONTROL, &[("./lib/modules/6.12/a.ko", &[7; 700])]);
        assert!(try_unpack(&deb).1.is_ok());
        for cut in (0..deb.len()).step_by(7) {
            assert!(try_unpack(&deb[..cut]).1.is_err(), "cut at {cut} of {}", deb.len());
        }
    }

    #[test]
    fn a_member_that_is_cut_off_within_is_an_error() {
        let data = fake::tar(&[("./lib/modules/6.12/a.ko", &[7; 700])]);
        let deb = fake::ar(&[("debian-binary", b"2.0\n"), ("data.tar", &data[..800])]);
        assert!(try_unpack(&deb).1.is_err());
        let deb = fake::ar(&[("debian-binary", b"2.0\n"), ("data.tar.xz", b"\xfd7zXZ\0rubbish")]);
        assert!(try_unpack(&deb).1.is_err());
        let deb = fake::ar(&[("debian-binary", b"2.0\n"), ("data.tar.lzo", b"")]);
        assert!(try_unpack(&deb).1.unwrap_err().to_string().contains("not known"));
        let deb = fake::ar(&[("debian-binary", b"2.0\n")]);
        assert!(try_unpack(&deb).1.unwrap_err().to_string().contains("data.tar"));
    }
}
