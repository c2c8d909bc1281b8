//! System calls that are refused, as a container's filter or an older kernel does it: by seccomp(2), so
//! that the rest of the machine notices nothing.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use libc::{c_long, sock_filter, sock_fprog};

/// A refusal.
pub(crate) struct Refusal {
    /// The system call's number.
    pub(crate) call: c_long,
    /// Refused only where these arguments (counted from 0) have these values in their lower halves.
    pub(crate) only: &'static [(u32, u32)],
    /// With this error.
    pub(crate) errno: i32,
}

/// Calls `prepare` in the child before it executes its program.
pub(crate) fn before_exec(command: &mut Command, prepare: fn() -> io::Result<()>) {
    // SAFETY: what is prepared here makes system calls and small allocations, in a child of a test
    // whose other threads hold no lock of the allocator across a fork (glibc sees to it).
    unsafe { command.pre_exec(prepare) };
}

/// Refuses system calls to this process and all below it.
pub(crate) fn refuse(refusals: &[Refusal]) -> io::Result<()> {
    let statement = |code: u32, k: u32| sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let load = |offset: u32| statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset);
    let unless = |k: u32, skip: u8| sock_filter {
        code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
        jt: 0,
        jf: skip,
        k,
    };
    let answer = |k: u32| statement(libc::BPF_RET | libc::BPF_K, k);
    let mut filter = Vec::new();
    for Refusal { call, only, errno } in refusals {
        let refused = answer(libc::SECCOMP_RET_ERRNO | *errno as u32);
        // struct seccomp_data: the number at 0, the arguments, 8 bytes each, from 16.
        let conditions = [(0, *call as u32)].into_iter().chain(only.iter().map(|(n, value)| (16 + n * 8, *value)));
        for (index, (offset, value)) in conditions.enumerate() {
            // Over what is left of the conditions, two statements each, and the refusal.
            let rest = (only.len() - index) as u8 * 2 + 1;
            filter.extend([load(offset), unless(value, rest)]);
        }
        filter.push(refused);
    }
    filter.push(answer(libc::SECCOMP_RET_ALLOW));
    let program = sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: prctl(2) reads the program, which lives until the call is over.
    let set = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) == 0
    };
    if set { Ok(()) } else { Err(io::Error::last_os_error()) }
}
