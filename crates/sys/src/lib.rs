//! Thin wrappers of the system calls that cowcheck needs and no safe library offers.
//!
//! This is the only crate of the project with `unsafe`. What makes its functions safe to call is
//! that they hand out no raw addresses: memory under test is an [`area::Area`], which owns a
//! reservation of address space, and every call takes offsets into it and checks them. What happens
//! to the pages inside (no access, foreign content, a signal) is what the program is there to find
//! out, and [`probe`] turns the signal into a value before anything reads or writes.

pub mod advice;
pub mod area;
pub mod beside;
pub mod board;
pub mod force;
pub mod gup;
pub mod helper;
pub mod migrate;
pub mod probe;
pub mod process;
pub mod scan;
pub mod splice;
pub mod swap;
pub mod uffd;
pub mod uring;
mod vector;

use std::io;

/// The result of a system call that returns -1 on error.
pub(crate) fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
