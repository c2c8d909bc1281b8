//! Accesses that turn SIGSEGV and SIGBUS into a value.
//!
//! The load and the stores are instructions at known addresses. The signal handler continues at
//! a third known address when one of them faulted; any other fault keeps its default effect.

use std::cell::Cell;

use libc::c_int;

thread_local! {
    // Initialised at compile time and never dropped, so the handler may use it.
    static SIGNAL: Cell<c_int> = const { Cell::new(0) };
}

#[cfg(target_arch = "x86_64")]
std::arch::global_asm!(
    ".globl cowcheck_probe_load",
    "cowcheck_probe_load:",
    "    mov rax, qword ptr [rdi]",
    "    xor eax, eax",
    "    ret",
    ".globl cowcheck_probe_store",
    "cowcheck_probe_store:",
    // Writes what is there, atomically: a write fault without a change.
    "    lock or qword ptr [rdi], 0",
    "    xor eax, eax",
    "    ret",
    ".globl cowcheck_probe_clear",
    "cowcheck_probe_clear:",
    "    mov qword ptr [rdi], 0",
    "    xor eax, eax",
    "    ret",
    ".globl cowcheck_probe_get",
    "cowcheck_probe_get:",
    "    mov rax, qword ptr [rdi]",
    "    mov qword ptr [rsi], rax",
    "    xor eax, eax",
    "    ret",
    ".globl cowcheck_probe_put",
    "cowcheck_probe_put:",
    "    mov qword ptr [rdi], rsi",
    "    xor eax, eax",
    "    ret",
    ".globl cowcheck_probe_faulted",
    "cowcheck_probe_faulted:",
    "    mov eax, 1",
    "    ret",
);

#[cfg(target_arch = "aarch64")]
std::arch::global_asm!(
    ".globl cowcheck_probe_load",
    "cowcheck_probe_load:",
    "    ldr x1, [x0]",
    "    mov x0, #0",
    "    ret",
    ".globl cowcheck_probe_store",
    "cowcheck_probe_store:",
    // The first instruction must be the one that faults: a prefetch for store would not, so an
    // exclusive pair is used, whose store faults at another address than its load. Zeroing by
    // cache line would change the content. Hence an atomic OR (LSE, ARMv8.1).
    "    .arch_extension lse",
    "    stset xzr, [x0]",
    "    mov x0, #0",
    "    ret",
    ".globl cowcheck_probe_clear",
    "cowcheck_probe_clear:",
    "    str xzr, [x0]",
    "    mov x0, #0",
    "    ret",
    ".globl cowcheck_probe_get",
    "cowcheck_probe_get:",
    "    ldr x2, [x0]",
    "    str x2, [x1]",
    "    mov x0, #0",
    "    ret",
    ".globl cowcheck_probe_put",
    "cowcheck_probe_put:",
    "    str x1, [x0]",
    "    mov x0, #0",
    "    ret",
    ".globl cowcheck_probe_faulted",
    "cowcheck_probe_faulted:",
    "    mov x0, #1",
    "    ret",
);

unsafe extern "C" {
    fn cowcheck_probe_load(address: usize) -> c_int;
    fn cowcheck_probe_store(address: usize) -> c_int;
    fn cowcheck_probe_clear(address: usize) -> c_int;
    fn cowcheck_probe_get(address: usize, word: *mut u64) -> c_int;
    fn cowcheck_probe_put(address: usize, word: u64) -> c_int;
    fn cowcheck_probe_faulted();
}

/// Loads a word; the signal if that raised one.
pub(crate) fn load(address: usize) -> Result<(), c_int> {
    // SAFETY: reads 8 bytes and uses nothing of them; a fault is caught by the handler.
    outcome(unsafe { cowcheck_probe_load(address) })
}

/// Stores to a word what it holds; the signal if that raised one.
pub(crate) fn store(address: usize) -> Result<(), c_int> {
    // SAFETY: writes back the 8 bytes that are there, atomically; a fault is caught by the handler.
    outcome(unsafe { cowcheck_probe_store(address) })
}

/// Stores a zero; the signal if that raised one.
///
/// What changes nothing must load before it stores, and that load may fault first, as a read: where
/// the architecture says so (arm64), or on an emulator of one processor (QEMU's TCG). A read of
/// memory that is not there yet maps a zero page instead of giving a new one. This is a store alone.
pub(crate) fn clear(address: usize) -> Result<(), c_int> {
    // SAFETY: writes 8 bytes that the caller overwrites next; a fault is caught by the handler.
    outcome(unsafe { cowcheck_probe_clear(address) })
}

/// Loads a word that another thread may be writing to.
pub(crate) fn get(address: usize) -> Result<u64, c_int> {
    let mut word = 0;
    // SAFETY: reads 8 aligned bytes in one instruction and writes them to `word`; a fault of the read is caught by the
    // handler.
    outcome(unsafe { cowcheck_probe_get(address, &mut word) })?;
    Ok(word)
}

/// Stores a word that other threads may be reading.
pub(crate) fn put(address: usize, word: u64) -> Result<(), c_int> {
    // SAFETY: writes 8 aligned bytes in one instruction; a fault is caught by the handler.
    outcome(unsafe { cowcheck_probe_put(address, word) })
}

fn outcome(faulted: c_int) -> Result<(), c_int> {
    if faulted == 0 { Ok(()) } else { Err(SIGNAL.get()) }
}

/// Installs the handler for SIGSEGV and SIGBUS. Without it the accesses of this module do not catch
/// faults.
pub fn install() -> std::io::Result<()> {
    // SAFETY: sigaction is plain data for which zeroes are valid.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO;
    for signal in [libc::SIGSEGV, libc::SIGBUS] {
        // SAFETY: the handler calls async-signal-safe functions only.
        crate::check(unsafe { libc::sigaction(signal, &action, std::ptr::null_mut()) })?;
    }
    Ok(())
}

extern "C" fn handler(signal: c_int, _info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: with SA_SIGINFO the third argument is a ucontext_t of the interrupted thread.
    let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
    #[cfg(target_arch = "x86_64")]
    let counter = &mut context.uc_mcontext.gregs[libc::REG_RIP as usize];
    #[cfg(target_arch = "aarch64")]
    let counter = &mut context.uc_mcontext.pc;
    let at = *counter as usize;
    let probes = [
        cowcheck_probe_load as *const () as usize,
        cowcheck_probe_store as *const () as usize,
        cowcheck_probe_clear as *const () as usize,
        cowcheck_probe_get as *const () as usize,
        cowcheck_probe_put as *const () as usize,
    ];
    if probes.contains(&at) {
        SIGNAL.set(signal);
        *counter = cowcheck_probe_faulted as *const () as usize as _;
        return;
    }
    // Somebody else's fault: let it have its default effect when the instruction runs again.
    // SAFETY: signal(2) is async-signal-safe.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}
