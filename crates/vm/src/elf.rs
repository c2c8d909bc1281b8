//! As much of ELF as tells a bootable kernel and a module's dependencies.

use crate::bytes::{u16_at, u32_at, u64_at};

/// The first bytes of every ELF file.
pub(crate) const MAGIC: &[u8] = b"\x7fELF";

const PT_NOTE: u32 = 4;
const EM_X86_64: u16 = 62;
/// Of the note XEN_ELFNOTE_PHYS32_ENTRY: where QEMU enters a kernel that needs no BIOS (PVH).
const PHYS32_ENTRY: u32 = 18;
/// Notes are a few lines; whatever claims more is broken.
const LONGEST_NOTES: u64 = 1 << 20;

/// The bytes of a file from an offset on, as many as asked for; None where it has not so many.
pub(crate) type ReadAt<'a> = &'a dyn Fn(u64, usize) -> Option<Vec<u8>>;

/// [`ReadAt`] for what is in memory.
pub(crate) fn slice(data: &[u8]) -> impl Fn(u64, usize) -> Option<Vec<u8>> + '_ {
    |from, length| {
        let from = usize::try_from(from).ok()?;
        Some(data.get(from..from.checked_add(length)?)?.to_vec())
    }
}

/// Whether QEMU can boot this file as it is; if not, why.
pub(crate) fn is_bootable(file: ReadAt<'_>) -> Result<(), String> {
    let header = file(0, 64).ok_or("it is shorter than an ELF header")?;
    if !header.starts_with(MAGIC) {
        return Err("it is no ELF file".to_owned());
    }
    if header.get(4..6) != Some(&[2, 1]) || u16_at(&header, 18) != Some(EM_X86_64) {
        return Err("it is an ELF file, but not for x86-64".to_owned());
    }
    let short = "its program headers are cut off";
    let table = u64_at(&header, 32).ok_or(short)?;
    let (size, count) = (u16_at(&header, 54).ok_or(short)?, u16_at(&header, 56).ok_or(short)?);
    for index in 0..u64::from(count) {
        let at = index.checked_mul(size.into()).and_then(|offset| table.checked_add(offset)).ok_or(short)?;
        let segment = file(at, 56).ok_or(short)?;
        if u32_at(&segment, 0) != Some(PT_NOTE) {
            continue;
        }
        let (from, length) = (u64_at(&segment, 8).ok_or(short)?, u64_at(&segment, 32).ok_or(short)?);
        if length > LONGEST_NOTES {
            continue;
        }
        if file(from, length as usize).is_some_and(|notes| has_pvh(&notes)) {
            return Ok(());
        }
    }
    Err("it has no PVH entry point (CONFIG_PVH is not set)".to_owned())
}

/// Notes: length of the name, of the content, type; name and content are filled up to whole words.
fn has_pvh(mut notes: &[u8]) -> bool {
    while let (Some(name), Some(content), Some(kind)) = (u32_at(notes, 0), u32_at(notes, 4), u32_at(notes, 8)) {
        if kind == PHYS32_ENTRY && name == 4 && notes.get(12..16) == Some(b"Xen\0") {
            return true;
        }
        let words = |bytes: u32| (bytes as usize).next_multiple_of(4);
        match notes.get(12 + words(name) + words(content)..) {
            Some(rest) => notes = rest,
            None => break,
        }
    }
    false
}

/// The values of `key` in a module's section .modinfo, which is `key=value` with a zero behind each.
pub(crate) fn modinfo(module: &[u8], key: &str) -> Result<Vec<String>, String> {
    let info = section(module, b".modinfo").ok_or("it is no kernel module: no section .modinfo")?;
    Ok(info
        .split(|byte| *byte == 0)
        .filter_map(|entry| std::str::from_utf8(entry).ok()?.split_once('='))
        .filter(|(name, _)| *name == key)
        .map(|(_, value)| value.to_owned())
        .collect())
}

/// Of 64-bit little-endian ELF, which is all that these kernels load.
fn section<'a>(file: &'a [u8], wanted: &[u8]) -> Option<&'a [u8]> {
    if !file.starts_with(MAGIC) || file.get(4..6) != Some(&[2, 1]) {
        return None;
    }
    let table = usize::try_from(u64_at(file, 40)?).ok()?;
    let (size, count) = (usize::from(u16_at(file, 58)?), usize::from(u16_at(file, 60)?));
    let header = |index: usize| file.get(table.checked_add(index.checked_mul(size)?)?..)?.get(..64);
    let content = |header: &[u8]| {
        let (from, length) = (usize::try_from(u64_at(header, 24)?).ok()?, usize::try_from(u64_at(header, 32)?).ok()?);
        file.get(from..from.checked_add(length)?)
    };
    let names = content(header(usize::from(u16_at(file, 62)?))?)?;
    (0..count).filter_map(header).find_map(|header| {
        let name = names.get(u32_at(header, 0)? as usize..)?.split(|byte| *byte == 0).next()?;
        (name == wanted).then(|| content(header))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake;

    #[test]
    fn the_note_makes_it_bootable() {
        assert_eq!(is_bootable(&slice(&fake::vmlinux(true))), Ok(()));
        assert!(is_bootable(&slice(&fake::vmlinux(false))).unwrap_err().contains("PVH"));
        assert!(is_bootable(&slice(b"MZ")).unwrap_err().contains("shorter"));
    }

    #[test]
    fn a_kernel_for_another_machine_is_told() {
        let mut file = fake::vmlinux(true);
        file[18] = 183;
        assert!(is_bootable(&slice(&file)).unwrap_err().contains("not for x86-64"));
    }

    #[test]
    fn modinfo_has_every_value_of_a_key() {
        let module = fake::module(&["name=zram", "depends=zsmalloc,lz4", "alias=a", "alias=b"]);
        assert_eq!(modinfo(&module, "depends").unwrap(), ["zsmalloc,lz4"]);
        assert_eq!(modinfo(&module, "alias").unwrap(), ["a", "b"]);
        assert!(modinfo(&module, "nam").unwrap().is_empty());
        assert!(modinfo(b"text", "name").is_err());
    }

    #[test]
    fn what_is_cut_off_or_wrong_never_panics() {
        for file in [fake::vmlinux(true), fake::module(&["name=zram"])] {
            for cut in 0..file.len() {
                let _ = is_bootable(&slice(&file[..cut]));
                let _ = modinfo(&file[..cut], "name");
                for wrong in [0xff, 0x7f] {
                    let mut changed = file.clone();
                    changed[cut] = wrong;
                    let _ = is_bootable(&slice(&changed));
                    let _ = modinfo(&changed, "name");
                }
            }
        }
    }
}
