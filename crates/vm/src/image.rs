//! What a file that is said to be a kernel is (Documentation/arch/x86/boot.rst).

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;

use crate::Error;
use crate::bytes::{u16_at, u32_at};
use crate::elf;
use crate::unpack::{Packing, fill, read};

/// The largest bzImage that is read: Debian's are 14 MB, one with everything built in below 100.
const LARGEST: u64 = 512 << 20;

/// Where the setup header has what we want.
mod field {
    pub(super) const SETUP_SECTORS: usize = 0x1f1;
    pub(super) const PARAGRAPHS: usize = 0x1f4;
    pub(super) const BOOT_FLAG: usize = 0x1fe;
    pub(super) const MAGIC: usize = 0x202;
    pub(super) const PROTOCOL: usize = 0x206;
    pub(super) const RELEASE: usize = 0x20e;
    pub(super) const FLAGS: usize = 0x236;
    pub(super) const PAYLOAD: usize = 0x248;
    pub(super) const PAYLOAD_LENGTH: usize = 0x24c;
    pub(super) const END: usize = 0x250;
}

/// A bzImage's header, read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) release: String,
    /// The compressed kernel with what trails it; it lies within the file.
    pub(crate) payload: Range<usize>,
}

/// The release of the kernel in this file, a bzImage or an ELF file.
pub(crate) fn release(path: &Path) -> Result<String, Error> {
    if is_elf(path)? {
        return elf_release(path);
    }
    Ok(parse(&load(path)?, path)?.release)
}

/// All of a bzImage.
pub(crate) fn load(path: &Path) -> Result<Vec<u8>, Error> {
    read(path, LARGEST)
}

/// Whether a file is one, and is to be booted as it is.
pub(crate) fn is_elf(path: &Path) -> Result<bool, Error> {
    let mut start = [0; 4];
    let count = File::open(path).and_then(|mut file| fill(&mut file, &mut start)).map_err(Error::io(path))?;
    Ok(start.get(..count) == Some(elf::MAGIC))
}

/// The header of the bzImage `data`. `path` is for errors.
pub(crate) fn parse(data: &[u8], path: &Path) -> Result<Image, Error> {
    let no = |why: String| Error::no_kernel(path, why);
    if let Some(other) = other(data) {
        return Err(no(format!("{other}; a bzImage (vmlinuz) for x86-64 is wanted")));
    }
    let start = data.get(..8.min(data.len())).unwrap_or_default().escape_ascii();
    if data.len() < field::END {
        return Err(no(format!("truncated, or no bzImage: only {} bytes, which start with \"{start}\"", data.len())));
    }
    let short = || no("truncated within its header".to_owned());
    if u16_at(data, field::BOOT_FLAG) != Some(0xaa55) || data.get(field::MAGIC..field::PROTOCOL) != Some(b"HdrS") {
        return Err(no(format!("no bzImage (vmlinuz): it starts with \"{start}\" and has no boot header")));
    }
    let protocol = u16_at(data, field::PROTOCOL).ok_or_else(short)?;
    if protocol < 0x20c {
        let (major, minor) = (protocol >> 8, protocol & 0xff);
        return Err(no(format!("boot protocol {major}.{minor} is of before Linux 3.8; 2.12 or newer is wanted")));
    }
    if u16_at(data, field::FLAGS).ok_or_else(short)? & 1 == 0 {
        return Err(no("a 32-bit kernel; one for x86-64 is wanted".to_owned()));
    }
    // Zero means four, since the times of floppy disks.
    let sectors = match data.get(field::SETUP_SECTORS).copied().ok_or_else(short)? {
        0 => 4,
        sectors => usize::from(sectors),
    };
    let setup = (sectors + 1) * 512;
    let whole = setup + u32_at(data, field::PARAGRAPHS).ok_or_else(short)? as usize * 16;
    if data.len() < whole {
        return Err(no(format!("truncated: {} bytes, and its header says {whole}", data.len())));
    }
    let from = setup + u32_at(data, field::PAYLOAD).ok_or_else(short)? as usize;
    let to = from + u32_at(data, field::PAYLOAD_LENGTH).ok_or_else(short)? as usize;
    if to > data.len() {
        return Err(no(format!("broken: its payload ends at byte {to}, the file at {}", data.len())));
    }
    let at = usize::from(u16_at(data, field::RELEASE).ok_or_else(short)?) + 0x200;
    let release = data.get(at..setup).and_then(first_word);
    let release = release.ok_or_else(|| no("broken: its header names no release".to_owned()))?;
    Ok(Image { release, payload: from..to })
}

/// What the file is if it is something well known that people mistake for a bzImage.
fn other(data: &[u8]) -> Option<String> {
    let starts = |magic: &[u8]| data.starts_with(magic);
    let name = if data.is_empty() {
        "empty"
    } else if starts(elf::MAGIC) {
        "an ELF file"
    } else if starts(b"!<arch>\n") {
        "an ar archive"
    } else if starts(b"#!") {
        "a script"
    } else if starts(b"070701") {
        "a cpio archive, as an initramfs is one"
    } else if data.get(0x38..0x3c) == Some(b"ARM\x64") {
        "a kernel for arm64"
    } else {
        return Packing::of(data).map(|packing| format!("{} data", packing.name()));
    };
    Some(name.to_owned())
}

/// The release becomes the name of a folder, so it may be nothing else.
fn first_word(text: &[u8]) -> Option<String> {
    let end = text.iter().position(|byte| byte.is_ascii_whitespace() || *byte == 0)?;
    let word = str::from_utf8(text.get(..end)?).ok()?;
    let is_name = word.starts_with(|first: char| first.is_ascii_digit())
        && word.len() < 128
        && word.chars().all(|each| each.is_ascii_alphanumeric() || "+-._~".contains(each));
    is_name.then(|| word.to_owned())
}

/// From the banner. The file may be large with debug information, so it is read in pieces.
fn elf_release(path: &Path) -> Result<String, Error> {
    const BANNER: &[u8] = b"Linux version ";
    const OVERLAP: usize = 256;
    let mut file = File::open(path).map_err(Error::io(path))?;
    let mut piece = vec![0; 1 << 20];
    let mut kept = 0;
    loop {
        let count = piece.get_mut(kept..).map_or(Ok(0), |free| fill(&mut file, free)).map_err(Error::io(path))?;
        let held = piece.get(..kept + count).unwrap_or_default();
        for at in positions(held, BANNER) {
            if let Some(release) = held.get(at + BANNER.len()..).and_then(first_word) {
                return Ok(release);
            }
        }
        if count == 0 {
            let why = "an ELF file, but no Linux kernel: there is no \"Linux version\" in it; give the bzImage";
            return Err(Error::no_kernel(path, why));
        }
        // What the end of this piece may be the beginning of.
        let length = held.len();
        kept = length.min(OVERLAP);
        piece.copy_within(length - kept..length, 0);
    }
}

fn positions<'a>(text: &'a [u8], wanted: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    let first = wanted.first().copied();
    let starts = text.iter().enumerate().filter(move |(_, byte)| Some(**byte) == first);
    starts.map(|(at, _)| at).filter(move |at| text.get(*at..).is_some_and(|rest| rest.starts_with(wanted)))
}

/// Of a file that cannot be read there is nothing.
pub(crate) fn read_at(file: &File) -> impl Fn(u64, usize) -> Option<Vec<u8>> + '_ {
    use std::os::unix::fs::FileExt as _;
    |from, length| {
        let mut buffer = vec![0; length];
        let read: io::Result<()> = file.read_exact_at(&mut buffer, from);
        read.ok().map(|()| buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake;

    fn why(data: &[u8]) -> String {
        parse(data, Path::new("kernel")).unwrap_err().to_string()
    }

    #[test]
    fn the_header_tells_release_and_payload() {
        let data = fake::bzimage("6.12.1+deb13-cloud-amd64", b"payload", 7);
        let image = parse(&data, Path::new("kernel")).unwrap();
        assert_eq!(image.release, "6.12.1+deb13-cloud-amd64");
        assert_eq!(&data[image.payload], b"payload\x07\0\0\0");
    }

    #[test]
    fn what_it_is_instead_is_told() {
        for (data, what) in [
            (&b""[..], "kernel: empty; a bzImage"),
            (b"\x7fELF", "an ELF file"),
            (b"!<arch>\ndebian-binary", "an ar archive"),
            (&[0x1f, 0x8b, 8], "gzip data"),
            (b"MZ", "only 2 bytes, which start with \"MZ\""),
            (&[b'x'; 600], "starts with \"xxxxxxxx\""),
        ] {
            assert!(why(data).contains(what), "{} has no {what}", why(data));
        }
        let mut old = fake::bzimage("6.1", b"payload", 7);
        old[0x236] = 0;
        assert!(why(&old).contains("32-bit"));
    }

    #[test]
    fn every_truncation_is_told_and_no_wrong_byte_panics() {
        let data = fake::bzimage("6.12.1", b"payload", 7);
        for cut in 0..data.len() {
            let why = why(&data[..cut]);
            assert!(cut == 0 || why.contains("truncated"), "{cut}: {why}");
        }
        for at in 0..data.len() {
            let mut changed = data.clone();
            changed[at] = 0xff;
            if let Ok(image) = parse(&changed, Path::new("kernel")) {
                assert!(image.payload.end <= data.len());
            }
        }
    }

    #[test]
    fn a_release_is_a_plain_name() {
        for bad in ["../../etc", "", "6/1", "six"] {
            assert!(why(&fake::bzimage(bad, b"payload", 7)).contains("no release"), "{bad:?}");
        }
    }

    #[test]
    fn an_elf_kernel_tells_its_release_wherever_the_banner_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vmlinux");
        let kernel = fake::vmlinux(true);
        // The banner is at the end: it is whole in a piece, cut by its end, or begins the next.
        for before in [0, (1 << 20) - kernel.len() - 10, (1 << 20) - kernel.len() + 20, (1 << 20) + 5] {
            let mut data = kernel[..64].to_vec();
            data.resize(64 + before, 0);
            data.extend(&kernel[64..]);
            std::fs::write(&path, &data).unwrap();
            assert_eq!(release(&path).unwrap(), "6.12.1-fake", "{before}");
        }
        std::fs::write(&path, &kernel[..64]).unwrap();
        assert!(release(&path).unwrap_err().to_string().contains("give the bzImage"));
    }
}
