//! What QEMU boots fastest.

use std::fs::{self, File};
use std::path::PathBuf;

use twox_hash::XxHash3_128;

use crate::Error;
use crate::cache::Cache;
use crate::elf::{is_bootable, slice};
use crate::image::{self, Image};
use crate::kernel::Kernel;
use crate::unpack::Packing;

/// The largest kernel that is unpacked. Debian's are 60 MB.
const LARGEST: usize = 512 << 20;

/// A file for QEMU's `-kernel`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bootable {
    /// The kernel's own ELF file, or the bzImage.
    pub file: PathBuf,
    /// It is the ELF file: no BIOS has to run, and nothing has to be unpacked in the machine.
    pub unpacked: bool,
    /// Why it is the bzImage.
    pub why_not: Option<String>,
}

/// What QEMU boots fastest: the kernel's own ELF file, unpacked from the bzImage once. QEMU enters
/// it by its PVH note; where that, or a way to unpack it, is not to be had, it is the bzImage.
pub fn bootable(kernel: &Kernel, cache: &Cache) -> Result<Bootable, Error> {
    let path = &kernel.image;
    if image::is_elf(path)? {
        let file = File::open(path).map_err(Error::io(path))?;
        return match is_bootable(&image::read_at(&file)) {
            Ok(()) => Ok(Bootable { file: path.clone(), unpacked: true, why_not: None }),
            Err(why) => Err(Error::no_kernel(path, format!("QEMU cannot boot this ELF file: {why}; give the bzImage"))),
        };
    }
    let data = image::load(path)?;
    let header = image::parse(&data, path)?;
    let key = format!("{:032x}", XxHash3_128::oneshot(&data));
    let mut why_not = None;
    let made = cache.entry("vmlinux", &key, |part| {
        let elf = unpack(&data, &header).map_err(|why| {
            let error = Error::broken(path, why.as_str());
            why_not = Some(why);
            error
        })?;
        fs::write(part, elf).map_err(Error::io(part))
    });
    match (made, why_not) {
        (Ok(file), _) => Ok(Bootable { file, unpacked: true, why_not: None }),
        (Err(_), Some(why)) => Ok(Bootable { file: path.clone(), unpacked: false, why_not: Some(why) }),
        (Err(error), None) => Err(error),
    }
}

/// The ELF file in a bzImage, if QEMU can boot it.
fn unpack(data: &[u8], header: &Image) -> Result<Vec<u8>, String> {
    let payload = data.get(header.payload.clone()).unwrap_or_default();
    let packing = Packing::of(payload).ok_or("it is compressed in a way that is not known here")?;
    let (body, length) = payload.split_last_chunk::<4>().ok_or("its payload is empty")?;
    let length = u32::from_le_bytes(*length) as usize;
    // gzip ends with the length by itself, behind the others the build puts it.
    let body = if packing == Packing::Gzip { payload } else { body };
    let elf = packing.unpack(body, LARGEST.min(length))?;
    if elf.len() != length {
        return Err(format!("it has {} bytes when unpacked, and should have {length}", elf.len()));
    }
    is_bootable(&slice(&elf))?;
    Ok(elf)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake;

    fn kernel(folder: &tempfile::TempDir, image: &[u8]) -> Kernel {
        let path = folder.path().join("vmlinuz");
        fs::write(&path, image).unwrap();
        Kernel { handle: String::new(), image: path, release: "6.12.1".to_owned(), package: None, modules: None }
    }

    fn boot(folder: &tempfile::TempDir, image: &[u8]) -> Result<Bootable, Error> {
        bootable(&kernel(folder, image), &Cache::at(folder.path().join("cache")))
    }

    #[test]
    fn the_elf_file_is_unpacked_once() {
        let folder = tempfile::tempdir().unwrap();
        let elf = fake::vmlinux(true);
        let image = fake::bzimage("6.12.1", &fake::lz4(&elf), elf.len());
        let first = boot(&folder, &image).unwrap();
        assert!(first.unpacked, "{first:?}");
        assert_eq!(fs::read(&first.file).unwrap(), elf);
        fs::write(&first.file, "touched").unwrap();
        assert_eq!(boot(&folder, &image).unwrap(), first);
        assert_eq!(fs::read(&first.file).unwrap(), b"touched", "it was taken as it was");
    }

    #[test]
    fn where_it_cannot_be_had_it_is_the_bzimage_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let (elf, without) = (fake::vmlinux(true), fake::vmlinux(false));
        for (image, reason) in [
            (fake::bzimage("6.12.1", &fake::lz4(&without), without.len()), "PVH"),
            (fake::bzimage("6.12.1", &fake::lz4(&elf), elf.len() + 1), "should have"),
            (fake::bzimage("6.12.1", &fake::lz4(&elf), elf.len() - 1), "more than"),
            (fake::bzimage("6.12.1", b"BZh9", 100), "bzip2"),
            (fake::bzimage("6.12.1", b"unknown", 100), "not known"),
        ] {
            let boot = boot(&folder, &image).unwrap();
            assert!(!boot.unpacked && boot.file.ends_with("vmlinuz"), "{boot:?}");
            assert!(boot.why_not.as_ref().is_some_and(|why| why.contains(reason)), "{boot:?} has no {reason}");
        }
    }

    #[test]
    fn an_elf_file_is_booted_as_it_is_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let boot_file = boot(&folder, &fake::vmlinux(true)).unwrap();
        assert!(boot_file.unpacked && boot_file.file.ends_with("vmlinuz"));
        assert!(boot(&folder, &fake::vmlinux(false)).unwrap_err().to_string().contains("give the bzImage"));
    }
}
