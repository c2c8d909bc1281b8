//! A program without what only debuggers read: the guest has to unpack it before anything else can begin.

/// Of a little-endian 64-bit ELF file, what is loaded; anything else, or what makes no sense, as it is.
///
/// Sections lie behind the segments; the kernel looks at the latter only (elf(5)).
pub fn loaded_part(program: &[u8]) -> Vec<u8> {
    kept(program).unwrap_or_else(|| program.to_vec())
}

fn kept(program: &[u8]) -> Option<Vec<u8>> {
    if program.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let word = |at: usize| Some(u64::from_le_bytes(program.get(at..at + 8)?.try_into().ok()?));
    let half = |at: usize| Some(u16::from_le_bytes(program.get(at..at + 2)?.try_into().ok()?));
    let (table, size, count) = (usize::try_from(word(0x20)?).ok()?, usize::from(half(0x36)?), usize::from(half(0x38)?));
    let mut end = table.checked_add(size.checked_mul(count)?)?;
    for segment in 0..count {
        let at = table.checked_add(segment.checked_mul(size)?)?;
        let (offset, bytes) = (word(at.checked_add(8)?)?, word(at.checked_add(0x20)?)?);
        end = end.max(usize::try_from(offset.checked_add(bytes)?).ok()?);
    }
    let mut kept = program.get(..end)?.to_vec();
    // No section table: where it is, how many sections, and which of them has their names.
    kept.get_mut(0x28..0x30)?.fill(0);
    kept.get_mut(0x3c..0x40)?.fill(0);
    Some(kept)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_program_still_runs() {
        let whole = std::fs::read("/proc/self/exe").unwrap();
        let part = loaded_part(&whole);
        assert!(part.len() < whole.len());
        let path = std::env::temp_dir().join(format!("cowcheck-slim-{}", std::process::id()));
        std::fs::write(&path, part).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let listed = std::process::Command::new(&path).arg("--list").output();
        let _ = std::fs::remove_file(&path);
        assert!(String::from_utf8(listed.unwrap().stdout).unwrap().contains("a_program_still_runs"));
    }

    #[test]
    fn what_is_no_program_stays_as_it_is() {
        let whole = std::fs::read("/proc/self/exe").unwrap();
        for bytes in [&b""[..], b"#!/bin/sh", b"\x7fELF\x02\x01", &whole[..64], &whole[..0x1000]] {
            assert_eq!(loaded_part(bytes), bytes);
        }
    }
}
