//! move_pages(2): to which node a page belongs, and its way to another.

use std::io;
use std::ptr;

use crate::area::Area;

/// `MPOL_MF_MOVE`: pages that only this process maps. `MPOL_MF_MOVE_ALL`: all, for who has CAP_SYS_NICE.
const MOVE: libc::c_int = 1 << 1;
const MOVE_ALL: libc::c_int = 1 << 2;

/// Moves the pages at these offsets of the area to another one of the nodes. The error of the first page that could not
/// be moved where none could.
pub fn to_another_node(area: &Area, offsets: &[usize], nodes: &[i32]) -> io::Result<()> {
    let pages: Vec<*mut libc::c_void> = offsets
        .iter()
        .map(|offset| area.address_of(*offset, 1).map(|address| address as *mut libc::c_void))
        .collect::<io::Result<_>>()?;
    let mut status = vec![0; pages.len()];
    call(&pages, None, &mut status, MOVE)?;
    let another = |from: &i32| nodes.iter().copied().find(|node| node != from).unwrap_or(*from);
    let to: Vec<i32> = status.iter().map(another).collect();
    match call(&pages, Some(&to), &mut status, MOVE_ALL) {
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => call(&pages, Some(&to), &mut status, MOVE),
        result => result,
    }?;
    match status.iter().find(|status| **status < 0) {
        Some(error) if status.iter().all(|status| *status < 0) => Err(io::Error::from_raw_os_error(-error)),
        _ => Ok(()),
    }
}

/// Has all processors put the pages that wait on their own lists on those where they belong: move_pages(2) does so before
/// it looks at any page. It is given an address where there is none.
pub fn drain() -> io::Result<()> {
    call(&[ptr::null_mut()], Some(&[0]), &mut [0], MOVE)
}

fn call(pages: &[*mut libc::c_void], nodes: Option<&[i32]>, status: &mut [i32], flags: libc::c_int) -> io::Result<()> {
    let nodes = nodes.map_or(ptr::null(), <[i32]>::as_ptr);
    // SAFETY: the arrays are as long as it is told, and outlive the call. Pages keep their content where they go.
    let result = unsafe {
        libc::syscall(libc::SYS_move_pages, 0, pages.len(), pages.as_ptr(), nodes, status.as_mut_ptr(), flags)
    };
    // Above 0: so many could not be moved; `status` tells of each.
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::area::Source;
    use cowcheck_model::step::Prot;

    #[test]
    fn pages_that_are_there_can_be_asked_for_and_others_give_an_error() {
        let area = Area::reserve(8192, 4096).unwrap();
        area.map(0, 8192, Source::Anonymous, Prot::Rw).unwrap();
        crate::probe::install().unwrap();
        area.store(0).unwrap();
        // To the node where it is: nothing to do. (A kernel without NUMA has no such call.)
        match to_another_node(&area, &[0], &[]) {
            Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => {}
            result => result.unwrap(),
        }
        match drain() {
            Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => {}
            result => result.unwrap(),
        }
        assert!(to_another_node(&area, &[4096], &[]).is_err());
        assert!(to_another_node(&area, &[8192], &[]).is_err());
    }
}
