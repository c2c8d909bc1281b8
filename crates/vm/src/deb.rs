//! Debian packages (deb(5)): an ar archive of two tar archives.
//!
//! Only the kernel and its modules are unpacked, only as plain files, and only below the folder
//! that is given.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

use crate::Error;
use crate::unpack::Packing;

/// Above what any package of one kernel has: Debian's largest unpacks to 600 MB.
const MOST: u64 = 8 << 30;
const MOST_FILES: usize = 100_000;
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

/// Unpacks kernel and modules below `into`, which is a folder.
pub(crate) fn unpack(path: &Path, into: &Path) -> Result<(), Error> {
    let mut archive = archive(path, "data.tar")?;
    let mut left = MOST;
    let mut count = 0;
    for entry in archive.entries().map_err(broken(path))? {
        let mut entry = entry.map_err(broken(path))?;
        count += 1;
        if count > MOST_FILES {
            return Err(Error::broken(path, format!("more than {MOST_FILES} files")));
        }
        let to = relative(path, &entry.path().map_err(broken(path))?)?;
        // No links: those in packages of kernels point at sources, and nothing can be led out of the folder by them.
        if !entry.header().entry_type().is_file() || !is_wanted(&to) {
            continue;
        }
        let size = entry.size();
        let to = into.join(to);
        let parent = to.parent().unwrap_or(into);
        fs::create_dir_all(parent).map_err(Error::io(parent))?;
        let mut file = OpenOptions::new().write(true).create_new(true).open(&to).map_err(Error::io(&to))?;
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
    rest.map(drop).map_err(broken(path))
}

/// The kernel itself, and what belongs to it below lib/modules.
fn is_wanted(path: &Path) -> bool {
    let path = path.strip_prefix("usr").unwrap_or(path);
    let is_kernel = || path.parent() == Some(Path::new("boot")) && file_name(path).starts_with("vmlinu");
    path.starts_with("lib/modules") || is_kernel()
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
