//! One file, and nothing else: no loader, no library, no directory of its own.

use std::fs;

use crate::machine::{public_dir, root};
use crate::program::{self, Cowcheck};

/// Bytes at an offset of an ELF file, as a number.
fn number<const N: usize>(elf: &[u8], at: u64) -> u64 {
    let bytes: [u8; N] = elf[at as usize..at as usize + N].try_into().unwrap();
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// The types of the program headers of a 64-bit little-endian ELF file (elf(5)).
fn program_headers(elf: &[u8]) -> Vec<u64> {
    assert_eq!(&elf[..6], b"\x7fELF\x02\x01", "not a 64-bit little-endian ELF file");
    let (offset, size, count) = (number::<8>(elf, 32), number::<2>(elf, 54), number::<2>(elf, 56));
    (0..count).map(|index| number::<4>(elf, offset + index * size)).collect()
}

#[test]
fn the_program_is_static() {
    const PT_LOAD: u64 = 1;
    const PT_DYNAMIC: u64 = 2;
    const PT_INTERP: u64 = 3;
    let headers = program_headers(&fs::read(program::path()).unwrap());
    assert!(headers.contains(&PT_LOAD), "{headers:?}");
    assert!(!headers.contains(&PT_INTERP), "it asks for a loader: {headers:?}");
    assert!(!headers.contains(&PT_DYNAMIC), "it is linked dynamically: {headers:?}");
    // The parser must be able to tell: this shell is dynamic, or there is no shell to look at.
    if let Ok(shell) = fs::read("/bin/bash") {
        assert!(program_headers(&shell).contains(&PT_INTERP), "bash is static here?");
    }
}

#[test]
fn it_runs_where_there_is_nothing_else() {
    if !root() {
        return;
    }
    let dir = public_dir();
    fs::copy(program::path(), dir.path().join("cowcheck")).unwrap();
    for name in ["proc", "sys"] {
        fs::create_dir(dir.path().join(name)).unwrap();
    }
    let at = dir.path().display();
    let results = Cowcheck::run(["cow/*/base", "cow/*/memfd", "cow/*/zero", "cow/*/tmpfile"])
        .program("/cowcheck")
        .under(["chroot", dir.path().to_str().unwrap()])
        .after(&format!("mount -t proc none {at}/proc; mount -t sysfs none {at}/sys"))
        .under(["unshare", "--mount"])
        .results();
    let results = results.ended_with(3);
    results.expect("cow/fork-write/base", "pass", &[]);
    results.expect("cow/file-write/memfd", "pass", &[]);
    // There is no directory for it.
    results.expect("cow/file-write/tmpfile", "inconclusive", &["No such file or directory"]);
    let others = results.checks.iter().filter(|check| check["id"] != "cow/file-write/tmpfile");
    for check in others {
        assert!(check["verdict"] == "pass" || check["verdict"] == "skip", "{check:#}");
    }
    // Nothing was left there, and nothing made.
    let mut left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["cowcheck", "proc", "sys"]);
}
