//! Processes: fork, death, and who is told of it.

use std::io;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use libc::c_int;

/// Which side of a fork this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fork {
    /// The child.
    Child,
    /// The parent, with the child's process id.
    Parent(i32),
}

/// fork(2), as the C library has it.
///
/// The caller has one thread: in a process with several, the child could find a lock held for ever.
pub fn fork() -> io::Result<Fork> {
    debug_assert!(one_thread(), "fork in a process with several threads");
    // SAFETY: with one thread the child is a full copy and may do anything.
    match crate::check(unsafe { libc::fork() })? {
        0 => Ok(Fork::Child),
        pid => Ok(Fork::Parent(pid)),
    }
}

/// fork(2) by one thread while others are at work ([`crate::beside`]). The child goes on as this thread.
///
/// The child has what memory the other threads left in the middle of whatever they did: the caller sees to it that they
/// do nothing that it needs whole. (The C library holds its allocator over a fork.)
pub fn fork_beside() -> io::Result<Fork> {
    // SAFETY: the child runs on its one thread; locks of the C library are free in it, and of ours the other threads
    // hold none.
    match crate::check(unsafe { libc::fork() })? {
        0 => Ok(Fork::Child),
        pid => Ok(Fork::Parent(pid)),
    }
}

/// fork(2) of one thread of several. The child does `work` and exits with the code that it gives, without destructors.
///
/// `work` has what memory the other threads left, in the middle of whatever they did: it must wait for nothing that one
/// of them holds. (Memory can be had: the C library holds its allocator over a fork.)
pub fn fork_aside(work: impl FnOnce() -> i32) -> io::Result<i32> {
    // SAFETY: the child runs `work` on its one thread and nothing else of this program.
    match crate::check(unsafe { libc::fork() })? {
        0 => exit_now(work()),
        pid => Ok(pid),
    }
}

/// Is there one thread? One that was joined is still told of for a moment. Workers of io_uring run in the kernel only
/// and hold no lock of ours.
fn one_thread() -> bool {
    let is_ours = |task: &std::fs::DirEntry| {
        std::fs::read_to_string(task.path().join("comm")).is_ok_and(|name| !name.starts_with("iou-"))
    };
    (0..100).any(|_| {
        let one = std::fs::read_dir("/proc/self/task").map_or(1, |all| all.flatten().filter(is_ours).count()) == 1;
        if !one {
            std::thread::sleep(Duration::from_millis(1));
        }
        one
    })
}

/// Has the kernel kill the process that this command starts as soon as the thread is gone that started it
/// (PR_SET_PDEATHSIG(2const)): even SIGKILL leaves nothing behind.
pub fn die_with_parent(command: &mut std::process::Command) {
    let kill = || {
        // SAFETY: a system call without memory.
        crate::check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) }).map(drop)
    };
    // SAFETY: between fork and exec it makes one system call, which is async-signal-safe, and allocates nothing.
    unsafe { std::os::unix::process::CommandExt::pre_exec(command, kill) };
}

/// This thread comes before every other that is not like it (sched(7), SCHED_FIFO).
pub fn become_realtime() -> io::Result<()> {
    let highest = libc::sched_param { sched_priority: 99 };
    // SAFETY: reads the structure, which outlives the call.
    crate::check(unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &highest) }).map(drop)
}

/// _exit(2): no destructors, no buffers flushed.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(code) }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// exit(3) with this code.
    Code(i32),
    /// Killed by this signal.
    Signal(i32),
}

impl Exit {
    fn of(status: c_int) -> Exit {
        if libc::WIFSIGNALED(status) {
            Exit::Signal(libc::WTERMSIG(status))
        } else {
            Exit::Code(libc::WEXITSTATUS(status))
        }
    }
}

/// waitpid(2) for one child; `None` while it lives. With `block`, waits.
pub fn wait(pid: i32, block: bool) -> io::Result<Option<Exit>> {
    let mut status = 0;
    loop {
        // SAFETY: writes to `status` only.
        match crate::check(unsafe { libc::waitpid(pid, &mut status, if block { 0 } else { libc::WNOHANG }) }) {
            Ok(0) => return Ok(None),
            Ok(_) => return Ok(Some(Exit::of(status))),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Reaps every child until none is left or the limit has passed. `true` if none is left.
pub fn reap_all(limit: Duration) -> bool {
    let end = Instant::now() + limit;
    loop {
        match wait(-1, false) {
            Err(_) => return true,
            Ok(Some(_)) => {}
            Ok(None) if Instant::now() >= end => return false,
            Ok(None) => std::thread::sleep(Duration::from_micros(200)),
        }
    }
}

/// Sends SIGKILL to a process, or with a negative number to a process group.
pub fn kill(pid: i32) {
    send(pid, libc::SIGKILL);
}

/// Sends a signal to a process, or with a negative number to a process group.
pub fn send(pid: i32, signal: i32) {
    // SAFETY: kill(2) has no memory effect.
    unsafe { libc::kill(pid, signal) };
}

/// Makes a process, this one (0) or a child, the leader of a process group of its own.
pub fn own_group(pid: i32) {
    // SAFETY: setpgid(2) has no memory effect.
    unsafe { libc::setpgid(pid, pid) };
}

/// This process gets SIGKILL when its parent dies (PR_SET_PDEATHSIG). `parent` is who that should
/// be; if it is dead already, this process ends.
pub fn die_with(parent: i32) {
    // SAFETY: prctl(2) and getppid(2) have no memory effect.
    let orphan = unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        libc::getppid() != parent
    };
    if orphan {
        exit_now(1);
    }
}

/// The worker whose death ends a family ([`die_without_worker`]).
static WORKER: AtomicI32 = AtomicI32::new(0);

/// Makes this process and all that it forks from now on ready for [`die_without_worker`].
pub fn know_worker(worker: i32) -> io::Result<()> {
    extern "C" fn orphaned(_: c_int) {
        // SAFETY: getppid(2) and _exit(2) are async-signal-safe and have no memory effect.
        unsafe {
            if libc::getppid() != WORKER.load(Ordering::Relaxed) {
                libc::_exit(1);
            }
        }
    }
    WORKER.store(worker, Ordering::Relaxed);
    // SAFETY: sigaction is plain data for which zeroes are valid.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = orphaned as *const () as usize;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: the handler calls async-signal-safe functions only.
    crate::check(unsafe { libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut()) }).map(drop)
}

/// This process exits when its family's worker ([`know_worker`]) dies, whatever it is doing just then.
/// `parent` is who forked it.
///
/// Being told of the parent's death does not suffice: a parent may exit and leave its children to the
/// worker, which adopts them ([`adopt_orphans`]). So this is a handler that looks who the parent is
/// now. It needs no memory of this process to be readable but its own code.
pub fn die_without_worker(parent: i32) -> io::Result<()> {
    // SAFETY: prctl(2) with these arguments has no memory effect.
    crate::check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGUSR1) })?;
    // SAFETY: getppid(2) has no memory effect.
    let now = unsafe { libc::getppid() };
    if now != parent && now != WORKER.load(Ordering::Relaxed) {
        exit_now(1);
    }
    Ok(())
}

/// What this process is called in ps and top (PR_SET_NAME), at most 15 bytes.
pub fn call(name: &[u8]) {
    let mut text = [0; 16];
    text.iter_mut().zip(name.iter().take(15)).for_each(|(to, from)| *to = *from);
    // SAFETY: prctl(2) reads the string, which ends with a zero.
    unsafe { libc::prctl(libc::PR_SET_NAME, text.as_ptr()) };
}

/// Orphans below this process become its children (PR_SET_CHILD_SUBREAPER).
pub fn adopt_orphans() -> io::Result<()> {
    // SAFETY: prctl(2) with these arguments has no memory effect.
    crate::check(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }).map(drop)
}

/// This process may be looked into by others of the same user even where it was started with more
/// rights; and the kernel kills it first when memory runs out.
pub fn prefer_oom() {
    // Not every /proc allows it; then the kernel chooses by size.
    let _ = std::fs::write("/proc/self/oom_score_adj", "800");
}

/// The end of a child interrupts sleeps ([`crate::board::wait`]) instead of going unnoticed.
pub fn wake_on_child() -> io::Result<()> {
    extern "C" fn nothing(_: c_int) {}
    // SAFETY: sigaction is plain data for which zeroes are valid.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = nothing as *const () as usize;
    // SAFETY: the handler does nothing.
    crate::check(unsafe { libc::sigaction(libc::SIGCHLD, &action, std::ptr::null_mut()) }).map(drop)
}

/// This process's id.
pub fn id() -> i32 {
    // SAFETY: getpid(2) cannot fail.
    unsafe { libc::getpid() }
}

/// Is there such a process?
pub fn alive(pid: i32) -> bool {
    // SAFETY: signal 0 only asks.
    unsafe { libc::kill(pid, 0) == 0 }
}

/// Reads from nowhere, as a broken program would.
pub fn crash() {
    // SAFETY: not sound by design: the process must die here, of a real SIGSEGV, to show that the
    // rest of the program survives it. Page 0 is never mapped (vm.mmap_min_addr).
    unsafe { std::ptr::without_provenance::<u8>(8).read_volatile() };
}
