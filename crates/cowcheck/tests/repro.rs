//! C programs of scenarios: they compile without a warning, they keep the contract where the kernel does, and each rule
//! that they look at can be seen to be broken.
//!
//! `COWCHECK_REPRO=all` compiles the programs of the whole catalogue instead of a sample, and runs more of the explorer's;
//! that takes minutes.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use cowcheck::suite::check::Check;
use cowcheck::suite::{Sizes, catalogue};
use cowcheck_explore::generate::Generator;
use cowcheck_model::memory::{Memory, MemoryKind};
use cowcheck_model::step::{Op, PinKind};
use cowcheck_model::text;
use cowcheck_repro::Error;
use tempfile::TempDir;

const WARNINGS: [&str; 5] = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-pthread"];

/// Of every kind and every memory at least one.
fn sample() -> Vec<Check> {
    let mut seen = HashSet::new();
    let mut is_new = |word: String| seen.insert(word);
    let all = catalogue(&Sizes::widest()).into_iter();
    all.filter(|check| is_new(format!("kind {}", check.kind)) | is_new(format!("memory {}", check.memory))).collect()
}

/// Can only the helper module do this?
fn is_modules(op: &Op) -> bool {
    matches!(op, Op::Pin(PinKind::Gup { short: true, .. }, ..) | Op::WriteVia(..))
}

/// `None` where a step is a pin that only the helper module takes (docs/repro.md): a clear error says so.
fn program(check: &Check) -> Option<String> {
    match cowcheck_repro::c(&check.scenario, 4096, None) {
        Ok(text) => Some(text),
        Err(Error::Impossible { step, .. }) if check.scenario.step(step).is_some_and(|step| is_modules(&step.op)) => {
            None
        }
        Err(error) => panic!("{}: {error}", check.id),
    }
}

fn is_all() -> bool {
    std::env::var_os("COWCHECK_REPRO").is_some_and(|value| value == "all")
}

fn cc(arguments: &[&str], source: &Path) -> Output {
    Command::new("cc").args(WARNINGS).args(arguments).arg(source).output().unwrap()
}

#[track_caller]
fn compiled(id: &str, output: &Output) {
    assert!(output.status.success(), "{id}:\n{}", String::from_utf8_lossy(&output.stderr));
}

/// A program that was compiled, in a directory of its own.
struct Built {
    _directory: TempDir,
    path: PathBuf,
}

impl Built {
    /// `first` is included before the program: a kernel that is wrong.
    fn new(id: &str, source: &str, first: Option<&str>) -> Built {
        let directory = TempDir::new().unwrap();
        let (file, path, header) =
            (directory.path().join("repro.c"), directory.path().join("repro"), directory.path().join("first.h"));
        fs::write(&file, source).unwrap();
        fs::write(&header, first.unwrap_or_default()).unwrap();
        let words = ["-O2", "-include", header.to_str().unwrap(), "-o", path.to_str().unwrap()];
        compiled(id, &cc(&words, &file));
        Built { _directory: directory, path }
    }

    fn run(&self) -> (i32, String) {
        self.run_with(&[])
    }

    fn run_with(&self, arguments: &[&str]) -> (i32, String) {
        let output = Command::new(&self.path).args(arguments).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    }
}

#[test]
fn programs_compile_without_a_warning() {
    let checks = if is_all() { catalogue(&Sizes::widest()) } else { sample() };
    let directory = TempDir::new().unwrap();
    let (next, done, began) = (AtomicUsize::new(0), AtomicUsize::new(0), Instant::now());
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for index in 0..processors {
            let (file, checks, next, done) = (directory.path().join(format!("{index}.c")), &checks, &next, &done);
            scope.spawn(move || {
                while let Some(check) = checks.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let Some(text) = program(check) else { continue };
                    fs::write(&file, text).unwrap();
                    compiled(&check.id, &cc(&["-O2", "-S", "-o", "/dev/null"], &file));
                    let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                    if done.is_multiple_of(100) {
                        println!("{done} of {} programs after {:.0?}", checks.len(), began.elapsed());
                    }
                }
            });
        }
    });
    println!("{} of {} checks have a program, compiled in {:.0?}", done.into_inner(), checks.len(), began.elapsed());
}

/// Races of all kinds: of one process and of two, with every word that may be at once with others.
const RACES: [&str; 10] = [
    "memory thp 2M\nA write all\nA write lower\n| A fork B\n| A pin rw p0 all\nB read all\nA read via p0\nA write all\nA read via p0\nB read all\n",
    "memory anon 64K\nA write all\nA fork B\nA write even\n| B write all\n| A read all\nA read all\nB read all\n",
    "memory anon 16K\nA write all\nA mprotect all ro\n| A write all\n| A read all\nA read all\n",
    "memory anon 16K\nA write all\nA mprotect first none\n| A touch all\n| A poke last\nA mprotect all rw\nA read all\n",
    "memory anon 16K\nA write all\nA free all\n| A write first\n| A fork B\nA read all\nB read all\n",
    "memory memfd 16K\nA write first\nA dontneed first\n| A read all\nA fork B\nA write all\n| B pageout all\n| B read all\nA read all\n",
    "memory anon 16K\nA write all\nA pin rw p0 all\nA write via p0 all\n| A read all\n| A fork B\nA read via p0\n| A write first\nA unpin p0\n| B read all\n",
    "memory thp 2M\nA write all\nA fork B\nA mprotect lower ro\nA collapse all\n| B write first\n| A pageout upper\nA read all\nB collapse all of A\n| A read all\nB read all\n",
    "memory thp 2M\nA write all\nA fork B\nA split all\nA collapse all\n| B write first\n| A migrate all\nA read all\nB collapse all of A\n| A write all\nB read all\n",
    "memory anon 16K\nA write all\nA pin rw p0 lower\nA pin rw p1 upper\nA read via p0\n| A read via p1\n| A write all\nA splice p2 all\n| A fork B\nA read via p2\n",
];

/// Runs it for so many rounds.
fn race(text: &str, first: Option<&str>, rounds: &str) -> (i32, String) {
    let scenario = text::parse_valid(&format!("cowcheck scenario 1\n{text}"), 4096).unwrap();
    Built::new(text, &cowcheck_repro::c(&scenario, 4096, None).unwrap(), first).run_with(&[rounds])
}

#[test]
fn races_are_run_again_and_again_and_kept() {
    let mut kept = 0;
    for text in RACES {
        let (code, out) = race(text, None, "30");
        match code {
            0 => assert!(
                out.starts_with("30 rounds in ") && out.ends_with("KEPT: every page held what it may\n"),
                "{out}"
            ),
            4 => {
                assert!(out.contains("SKIP: "), "{text}{out}");
                eprintln!("not done: {text}{out}");
            }
            code => panic!("{text}{code}: {out}"),
        }
        kept += u32::from(code == 0);
    }
    assert!(kept >= 5, "{kept} ran");
}

/// What the explorer makes up, as programs: none of them is a false alarm.
#[test]
fn scenarios_of_the_explorer_are_kept() {
    let most = if is_all() { 60 } else { 10 };
    let anon = |size: u64| Memory::new(MemoryKind::Anon, size);
    let on = vec![
        anon(16 << 10),
        anon(64 << 10),
        Memory::new(MemoryKind::Thp, 2 << 20),
        Memory::new(MemoryKind::Memfd, 16 << 10),
    ];
    let generator = Generator::new(7, on).at_once(true);
    let (mut ran, mut kept) = (0, 0);
    for scenario in (0..).map(|number| generator.scenario(number)) {
        let source = match cowcheck_repro::c(&scenario, 4096, None) {
            Ok(source) => source,
            Err(Error::Impossible { .. }) => continue,
            Err(error) => panic!("{scenario}{error}"),
        };
        let (code, out) = Built::new(&scenario.to_string(), &source, None).run_with(&["20", "5"]);
        assert!(code == 0 || (code == 4 && out.contains("SKIP: ")), "{scenario}{code}: {out}");
        if code == 4 {
            let reasons = |line: &&str| line.starts_with("SKIP: step ") || line.starts_with("not reached: ");
            eprintln!("not done: {}", out.lines().find(reasons).unwrap_or(&out));
        }
        (ran, kept) = (ran + 1, kept + u32::from(code == 0));
        if ran == most {
            break;
        }
    }
    println!("{kept} of {ran} kept");
    assert!(kept >= most / 10, "{kept} of {ran} ran");
}

/// Notes where the memory is: the last mapping at a place that was asked for.
const NOTES_LAST: &str = "static char *last;
static inline void *wrong_mmap(void *at, size_t size, int prot, int flags, int fd, off_t from)
{
	if (flags & MAP_FIXED)
		last = at;
	return mmap(at, size, prot, flags, fd, from);
}
#define mmap wrong_mmap
";

/// What is written while it forks is lost now and then: when that comes between the two copies.
const LOSES_WRITES: &str = "static char kept[4096];
static inline pid_t wrong_fork(void)
{
	pid_t pid;

	if (!last)
		return fork();
	memcpy(kept, last, sizeof(kept));
	pid = fork();
	if (pid)
		memcpy(last, kept, sizeof(kept));
	return pid;
}
#define fork wrong_fork
";

fn wrong(kernel: &str) -> String {
    format!(
        "#define _GNU_SOURCE\n#include <fcntl.h>\n#include <string.h>\n#include <sys/mman.h>\n#include <unistd.h>\n{kernel}"
    )
}

#[test]
fn a_race_that_is_lost_now_and_then_is_seen_with_its_round() {
    let text = "memory anon 8K\nA write all\nA write all\n| A fork B\nA read all\n";
    let (code, out) = race(text, Some(&wrong(&format!("{NOTES_LAST}{LOSES_WRITES}"))), "5000");
    assert_eq!(code, 1, "{out}");
    assert!(out.contains("BROKEN: step 4: A read page 0 through its page table and saw in word "), "{out}");
    assert!(out.contains(" what A wrote in step 1; allowed there: what A wrote in step 2\nin round "), "{out}");
}

/// Each word may be what some order leaves, and nothing else.
#[test]
fn what_no_order_leaves_is_seen_in_what_steps_at_once_left() {
    let text = "memory anon 8K\nA write all\nA write all\n| A fork B\nA madvise all\nB read all\n"
        .replace("madvise", "dofork");
    let text = format!("{text}B dofork all\nB read all\n");
    for (then, saw) in [
        (
            "if (how == MADV_DOFORK)\n\t\t((char *)at)[8 * 9 + 6] = 9;",
            "BROKEN: step 7: B read page 0 through its page table and saw in word 9 ",
        ),
        (
            "if (how == MADV_DOFORK)\n\t\tmemcpy(at, (char *)at + 4096, 4096);",
            " to word 0 of page 1; allowed there: what A wrote in step 1, or what A wrote in step 2\n",
        ),
    ] {
        let (code, out) = race(&text, Some(&wrong(&wrapper("madvise", then))), "100");
        assert!(code == 1 && out.contains(saw), "{code}: {out}");
    }
}

/// What another step may close may end with SIGSEGV, and nothing else may.
#[test]
fn a_signal_is_right_only_where_a_step_at_once_takes_the_right() {
    let text = "memory anon 16K\nA write all\nA mprotect first ro\n| A write all\n";
    let (code, out) = race(text, Some(&wrong(&wrapper("mprotect", "mprotect(at, size * 2, how);"))), "5000");
    let (kept, seen) =
        (race(text, None, "100"), "A: SIGSEGV at page 1, which is mapped, with the right to do this\nin round ");
    assert_eq!((code, out.contains(seen)), (1, true), "{out}");
    assert_eq!(kept.0, 0, "{}", kept.1);
}

#[test]
fn the_running_kernel_keeps_or_a_reason_is_told() {
    let mut kept = 0;
    for check in sample() {
        if check.scenario.memory.bytes() > 64 << 20 {
            continue;
        }
        let Some(text) = program(&check) else { continue };
        // Where it is run again and again, that is for a moment only.
        let (code, out) = Built::new(&check.id, &text, None).run_with(&["20", "3"]);
        match code {
            0 => assert!(out.ends_with("KEPT: every page held what it may\n"), "{}: {out}", check.id),
            4 => assert!(out.contains("SKIP: "), "{}: {out}", check.id),
            // vmsplice with hugetlb pages leaks on every kernel there is: docs/known.md.
            1 if check.id.contains("hugetlb") && check.id.contains("vmsplice") => {}
            code => panic!("{}: {code}: {out}", check.id),
        }
        kept += u32::from(code == 0);
    }
    // Those that need no more than anonymous pages and a file.
    assert!(kept >= 5, "{kept} ran");
}

/// The program of `lines` under a kernel that is wrong as `kernel` says, and under this one. It must see that.
#[track_caller]
fn sees(lines: &str, kernel: &str, words: &str) {
    let scenario = text::parse_valid(&format!("cowcheck scenario 1\n{lines}"), 4096).unwrap();
    let source = cowcheck_repro::c(&scenario, 4096, None).unwrap();
    let (code, out) = Built::new(lines, &source, Some(&wrong(kernel))).run();
    assert_eq!(code, 1, "{out}");
    assert!(out.contains(words), "{out}");
    let (code, out) = Built::new(lines, &source, None).run();
    assert!(code == 0 || (code == 4 && out.contains("SKIP: ")), "{code}: {out}");
}

/// A call that is done, and then what it must not do.
fn wrapper(call: &str, then: &str) -> String {
    format!(
        "static inline int wrong_{call}(void *at, size_t size, int how)\n{{\n\tint result = {call}(at, size, how);\n\t{then}\n\treturn result;\n}}\n#define {call} wrong_{call}\n"
    )
}

#[test]
fn a_write_that_reaches_the_child_is_seen() {
    sees(
        "memory anon 16K\nA write all\nA fork B\nA write pages 2-3\nB read all\nA read all\n",
        "#undef MAP_PRIVATE\n#define MAP_PRIVATE MAP_SHARED\n",
        "BROKEN: step 4: B read page 2 through its page table and saw in word 0 what A wrote in step 3; \
         allowed there: what A wrote in step 1\n",
    );
}

#[test]
fn a_write_that_reaches_the_file_is_seen() {
    sees(
        "memory memfd 8K\nA write first\nA read backing all\n",
        "#undef MAP_PRIVATE\n#define MAP_PRIVATE MAP_SHARED\n",
        "BROKEN: step 2: A read page 0 through the backing and saw in word 0 what A wrote in step 1; \
         allowed there: the first content of the file\n",
    );
}

/// mprotect() replaces the page, and the pin keeps the old one.
const REPLACED: &str = "char *copy = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memcpy(copy, at, size);
	mremap(copy, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, at);";

#[test]
fn a_pin_that_is_left_is_seen_in_both_directions() {
    let Ok(status) = Command::new("sh").args(["-c", "test \"$(cat /proc/sys/kernel/io_uring_disabled)\" = 0"]).status()
    else {
        return;
    };
    if !status.success() {
        eprintln!("not done: no io_uring here");
        return;
    }
    let kernel = wrapper("mprotect", REPLACED);
    sees(
        "memory anon 4K\nA write all\nA pin rw p0 all\nA mprotect all rw\nA write all\nA read via p0\n",
        &kernel,
        "BROKEN: step 5: A read page 0 through the fixed buffer p0 and saw in word 0 what A wrote in step 1; \
         allowed there: what A wrote in step 4\n",
    );
    sees(
        "memory anon 4K\nA write all\nA pin rw p0 all\nA mprotect all rw\nA write via p0 all\nA read all\n",
        &kernel,
        "BROKEN: step 5: A read page 0 through its page table and saw in word 0 what A wrote in step 1; \
         allowed there: what A wrote in step 4\n",
    );
}

#[test]
fn a_wrong_byte_and_a_wrong_page_are_seen() {
    let scenario = "memory anon 8K\nA write all\nA dofork all\nA read all\n";
    sees(
        scenario,
        &wrapper("madvise", "if (how == MADV_DOFORK)\n\t\t((char *)at)[4096 + 8 * 7 + 1] ^= 1;"),
        "BROKEN: step 3: A read page 1 through its page table and saw in word 7 what A wrote in step 1 to word 263 of page 1; \
         allowed there: what A wrote in step 1\n",
    );
    sees(
        scenario,
        &wrapper("madvise", "if (how == MADV_DOFORK)\n\t\tmemcpy(at, (char *)at + 4096, 4096);"),
        "BROKEN: step 3: A read page 0 through its page table and saw in word 0 what A wrote in step 1 to word 0 of page 1; \
         allowed there: what A wrote in step 1\n",
    );
    sees(
        scenario,
        &wrapper("madvise", "if (how == MADV_DOFORK)\n\t\tmadvise(at, size, MADV_DONTNEED);"),
        "BROKEN: step 3: A read page 0 through its page table and saw in word 0 zeroes; \
         allowed there: what A wrote in step 1\n",
    );
}

#[test]
fn old_content_in_a_pipe_is_seen() {
    sees(
        "memory anon 8K\nA write all\nA fork B\nB splice p0 all\nB munmap all\nA write all\nB read via p0\n",
        "#undef MAP_PRIVATE\n#define MAP_PRIVATE MAP_SHARED\n",
        "BROKEN: step 6: B read page 0 through the pipe p0 and saw in word 0 what A wrote in step 5; \
         allowed there: what A wrote in step 1\n",
    );
}

#[test]
fn a_mark_that_is_not_kept_is_seen() {
    let ignored =
        |advice: &str| wrapper("madvise", &format!("if (how == {advice})\n\t\tmadvise(at, size, MADV_DOFORK);"));
    sees(
        "memory anon 8K\nA write all\nA dontfork first\nA fork B\nB probe read all\n",
        &ignored("MADV_DONTFORK"),
        "BROKEN: step 4, B: page 0 could be read, which must raise a signal\n",
    );
    sees(
        "memory anon 4K\nA write all\nA wipeonfork all\nA fork B\nB read all\n",
        "#undef MADV_WIPEONFORK\n#define MADV_WIPEONFORK MADV_DOFORK\n",
        "BROKEN: step 4: B read page 0 through its page table and saw in word 0 what A wrote in step 1; \
         allowed there: zeroes\n",
    );
    sees(
        "memory anon 4K\nA write all\nA mprotect all ro\nA probe read all\nA probe write all\n",
        &wrapper("mprotect", "if (how == PROT_READ)\n\t\tmprotect(at, size, PROT_READ | PROT_WRITE);"),
        "BROKEN: step 4, A: page 0 could be written, which must raise a signal\n",
    );
    sees(
        "memory anon 4K\nA write all\nA probe write all\n",
        &wrapper("madvise", "mprotect(at, size, PROT_READ);"),
        "page 0",
    );
}

/// The end of userfaultfd's write protection is asked for, and does not come.
const STAYS_PROTECTED: &str = "#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
static inline int wrong_ioctl(int fd, unsigned long request, void *argument)
{
	if (request == UFFDIO_WRITEPROTECT)
		((struct uffdio_writeprotect *)argument)->mode = UFFDIO_WRITEPROTECT_MODE_WP;
	return ioctl(fd, request, argument);
}
#define ioctl(fd, request, argument) wrong_ioctl(fd, request, argument)
";

#[test]
fn a_write_protection_that_stays_is_seen() {
    for last in ["write", "probe write"] {
        sees(
            &format!("memory anon 8K\nA write all\nA uffd-wp all\nA uffd-unwp first\nA {last} first\n"),
            STAYS_PROTECTED,
            "BROKEN: step 4, A: SIGBUS at page 0, as if userfaultfd protected it\n",
        );
    }
}

/// Does the program of `lines` end so on the running kernel?
fn ends(lines: &str) -> (i32, String) {
    let scenario = text::parse_valid(&format!("cowcheck scenario 1\n{lines}"), 4096).unwrap();
    Built::new(lines, &cowcheck_repro::c(&scenario, 4096, None).unwrap(), None).run()
}

#[test]
fn a_guard_page_and_a_protected_page_that_are_none_are_seen() {
    sees(
        "memory anon 8K\nA write all\nA guard first\nA probe read all\n",
        "#undef MADV_GUARD_INSTALL\n#undef MADV_GUARD_REMOVE\n#define MADV_GUARD_INSTALL MADV_DONTNEED\n#define MADV_GUARD_REMOVE 103\n",
        "BROKEN: step 3, A: page 0 could be read, which must raise a signal\n",
    );
    let lines = "memory anon 8K\nA write all\nA uffd-wp last\nA fork B\nB probe write all\nA probe write all\n";
    if ends(lines).0 == 4 {
        eprintln!("not done: no userfaultfd with write protection here");
        return;
    }
    sees(
        lines,
        "#include <linux/userfaultfd.h>\n#undef UFFDIO_WRITEPROTECT_MODE_WP\n#define UFFDIO_WRITEPROTECT_MODE_WP 0\n",
        "BROKEN: step 5, A: page 1 could be written, which must raise a signal\n",
    );
}

#[test]
fn what_is_shared_is_told_from_what_is_not() {
    let (code, out) = ends(
        "memory anon 8K\nA write all\nA fork B\nA require shared all\nA write first\nA require exclusive first\nB require exclusive last\n",
    );
    let is_root = !out.contains("note: ");
    let words = "not reached: step 6, B: page 1 is not exclusive\n";
    assert_eq!((code, out.contains(words)), if is_root { (4, true) } else { (0, false) }, "{out}");
    assert_eq!(out.matches("not reached: ").count(), usize::from(is_root), "{out}");
}

#[test]
fn the_file_is_a_thp_before_it_is_mapped_privately() {
    let (code, out) = ends("memory shmem-thp 2M\nA touch all\nA require pmd-mapped all\nA read all\n");
    assert!(code == 0 || out.contains("MADV_COLLAPSE of the file"), "{code}: {out}");
}

/// Bit 55 of what was just written (CONFIG_MEM_SOFT_DIRTY).
fn keeps_soft_dirty_bits() -> bool {
    let written = std::hint::black_box(vec![1u8; 1]);
    let mut entry = [0; 8];
    let place = written.as_ptr().addr() as u64 / 4096 * 8;
    let read = fs::File::open("/proc/self/pagemap").and_then(|pagemap| pagemap.read_exact_at(&mut entry, place));
    read.is_ok() && u64::from_ne_bytes(entry) >> 55 & 1 == 1
}

#[test]
fn a_soft_dirty_bit_that_is_lost_is_seen() {
    if !keeps_soft_dirty_bits() {
        eprintln!("not done: this kernel keeps no soft-dirty bits");
        return;
    }
    sees(
        "memory anon 8K\nA write all\nA clear-soft-dirty\nA write last\nA mprotect all ro\n",
        &wrapper(
            "mprotect",
            "int fd = open(\"/proc/self/clear_refs\", O_WRONLY);\n\tif (write(fd, \"4\", 1) == 1)\n\t\tclose(fd);",
        ),
        "BROKEN: step 4, A: page 1 is not soft-dirty, though written since that was cleared\n",
    );
}

/// The child finds its memory not mapped.
const LOST_IN_FORK: &str = "static void *last; static size_t bytes;
static inline void *wrong_mmap(void *at, size_t size, int prot, int flags, int fd, off_t from)
{
	if (flags & MAP_FIXED) {
		last = at;
		bytes = size;
	}
	return mmap(at, size, prot, flags, fd, from);
}
static inline pid_t wrong_fork(void)
{
	pid_t pid = fork();

	if (!pid)
		munmap(last, bytes);
	return pid;
}
#define mmap wrong_mmap
#define fork wrong_fork
";

#[test]
fn memory_that_fork_loses_is_seen() {
    sees(
        "memory anon 8K\nA write all\nA fork B\nB read all\n",
        LOST_IN_FORK,
        "BROKEN: step 3, B: SIGSEGV at page 0, which is mapped, with the right to do this\n",
    );
}

/// A child that is killed, or that hangs, is told, and nothing stays behind.
#[test]
fn a_child_that_dies_is_no_verdict() {
    let scenario = "cowcheck scenario 1\nmemory anon 4K\nA write all\nA fork B\nB read all\nA read all\n";
    let scenario = text::parse_valid(scenario, 4096).unwrap();
    let source = cowcheck_repro::c(&scenario, 4096, None).unwrap();
    let killed = source.replace("if (turn(3, B))\n", "if (turn(3, B))\n\t\tkill(getpid(), SIGKILL);\n\tif (me == B)\n");
    let (code, out) = Built::new("killed", &killed, None).run();
    assert_eq!((code, out.as_str()), (4, "SKIP: step 3, A: a child was killed\n"));
    let hung = source
        .replace("TIME_LIMIT\t60", "TIME_LIMIT\t1")
        .replace("if (turn(3, B))\n", "if (turn(3, B))\n\t\tpause();\n\tif (me == B)\n");
    let (code, out) = Built::new("hung", &hung, None).run();
    assert_eq!(code, 4);
    assert!(out.contains("SKIP: step 3, ") && out.contains("no end of it after 1 s"), "{out}");
}

#[test]
fn a_poke_that_reaches_the_file_or_nobody_is_seen() {
    sees(
        "memory memfd 8K\nA mprotect all ro\nA poke first\nA read all\nA read backing all\n",
        "#undef MAP_PRIVATE\n#define MAP_PRIVATE MAP_SHARED\n#undef PROT_READ\n#define PROT_READ (0x1 | 0x2)\n",
        "BROKEN: step 4: A read page 0 through the backing and saw in word 0 what A wrote in step 2; \
         allowed there: the first content of the file\n",
    );
    sees(
        "memory anon 8K\nA write all\nA mprotect all ro\nA poke all\nA read all\n",
        "static inline ssize_t wrong_pwrite(int fd, const void *from, size_t size, off_t at)\n{\n\treturn at ? (ssize_t)size : pwrite(fd, from, size, at);\n}\n#define pwrite wrong_pwrite\n",
        "BROKEN: step 4: A read page 0 through its page table and saw in word 0 what A wrote in step 1; \
         allowed there: what A wrote in step 3\n",
    );
}

/// A kernel that loses page 0 when `file` is written.
fn loses_page_0_at(file: &str) -> String {
    format!(
        "#include <stdio.h>
{NOTES_LAST}static inline int wrong_open(const char *path, int how, int mode)
{{
	if (strstr(path, \"{file}\"))
		memset(last, 0, 4096);
	return open(path, how, mode);
}}
static inline FILE *wrong_fopen(const char *path, const char *how)
{{
	if (strstr(path, \"{file}\") && *how == 'w')
		memset(last, 0, 4096);
	return fopen(path, how);
}}
#define fopen wrong_fopen
#define open(path, how, ...) wrong_open(path, how, 0)
"
    )
}

#[test]
fn a_page_that_is_lost_in_reclaim_is_seen_and_its_cgroup_goes() {
    let lines = "memory anon 8K\nA write all\nA fork B\nA reclaim\nA read all\n";
    if ends(lines).1.contains("no cgroup could be made") {
        eprintln!("not done: memory cannot be reclaimed here");
        return;
    }
    sees(
        lines,
        &loses_page_0_at("/memory."),
        "BROKEN: step 4: A read page 0 through its page table and saw in word 0 zeroes; \
         allowed there: what A wrote in step 1\n",
    );
    // Nor does it stay when A is killed, or hangs until its own alarm.
    let scenario = text::parse_valid(&format!("cowcheck scenario 1\n{lines}"), 4096).unwrap();
    let source = cowcheck_repro::c(&scenario, 4096, None).unwrap();
    let with = |what: &str| {
        source.replace("\treclaim();", &format!("\treclaim(), {what};")).replace("TIME_LIMIT\t60", "TIME_LIMIT\t1")
    };
    for (what, told) in [
        ("say(\"x\", \"y\")", "KEPT: "),
        ("raise(SIGKILL)", "SKIP: A was killed by signal 9\n"),
        ("pause()", "no end of it after 1 s\n"),
    ] {
        let source = with(what);
        assert!(source.contains(what), "{source}");
        let (_, out) = Built::new(what, &source, None).run();
        assert!(out.contains(told), "{what}: {out}");
    }
    let left = ["/sys/fs/cgroup", "/sys/fs/cgroup/memory"].into_iter().filter_map(|root| fs::read_dir(root).ok());
    let left =
        left.flatten().flatten().find(|entry| entry.file_name().to_string_lossy().starts_with("cowcheck-repro-"));
    assert!(left.is_none(), "{left:?}");
}

#[test]
fn a_page_that_khugepaged_loses_is_seen() {
    let lines = "memory thp 2M\nA write all\nA split all\nA khugepaged all\nA read all\n";
    if ends(lines).1.contains("it needs root") {
        eprintln!("not done: khugepaged cannot be woken here");
        return;
    }
    sees(
        lines,
        &loses_page_0_at("scan_sleep_millisecs"),
        "BROKEN: step 4: A read page 0 through its page table and saw in word 0 zeroes; \
         allowed there: what A wrote in step 1\n",
    );
}

/// A swap area that is none: both calls are this kernel's, and the second one loses a page.
const LOSES_IN_SWAPOFF: &str = "#include <stdio.h>
#include <stdlib.h>
#include <sys/swap.h>
static inline int wrong_swapon(const char *path, int flags)
{
	(void)path;
	if (last)
		memset(last, flags, 4096);
	return 0;
}
#define swapoff(path) ((path) ? 0 : -1)
#define swapon wrong_swapon
#define getenv(name) \"/dev/swap\"
#define fopen(path, how) fmemopen((char[]){ \"/dev/swap partition\\n\" }, 20, how)
";

#[test]
fn a_page_that_swapoff_loses_is_seen_and_no_swap_is_taken_unasked() {
    let lines = "memory anon 8K\nA write all\nA swapoff\nA read all\n";
    let (code, out) = ends(lines);
    assert!(code == 4 && out.contains("SKIP: step 2, A: it has to be told which swap area"), "{code}: {out}");
    sees(
        lines,
        &format!("{NOTES_LAST}{LOSES_IN_SWAPOFF}"),
        "BROKEN: step 3: A read page 0 through its page table and saw in word 0 zeroes; \
         allowed there: what A wrote in step 1\n",
    );
}

/// Each rival of a storm's writers, on a kernel where it does what must not be noticed, and is.
#[test]
fn storms_are_kept_and_each_rival_is_seen_to_break_them() {
    let advice = |number: u32, then: &str| wrapper("madvise", &format!("if (how == {number})\n\t\t{then};"));
    let shared = "#undef MAP_PRIVATE\n#define MAP_PRIVATE MAP_SHARED\n".to_owned();
    let stale = "#include <sys/uio.h>\nstatic inline ssize_t wrong_read(pid_t pid, const struct iovec *to, unsigned long n, const struct iovec *from, unsigned long m, unsigned long flags)\n{\n\tssize_t size = process_vm_readv(pid, to, n, from, m, flags);\n\t((char *)to->iov_base)[8 * 5] = 0;\n\treturn size;\n}\n#define process_vm_readv wrong_read\n".to_owned();
    let no_pin = "static inline ssize_t wrong_pwrite(int fd, const void *from, size_t size, off_t at)\n{\n\tunsigned long wrong = *(const unsigned long *)from + 7;\n\treturn pwrite(fd, size == 8 ? (const void *)&wrong : from, size, at);\n}\n#define pwrite wrong_pwrite\n".to_owned();
    let open = wrapper("mprotect", "mprotect(at, size, PROT_READ | PROT_WRITE);");
    for (rival, kernel, saw) in [
        ("collapse", advice(25, "memset(at, 0, 4096)"), " saw in word "),
        ("fork", shared, "a child"),
        ("gup", stale, "a reader by GUP saw in word 5 of page "),
        ("split", advice(16, "memset(at, 0, 4096)"), " saw in word "),
        ("pageout", advice(21, "((char *)at)[4000] ^= 1"), " and nobody wrote there\n"),
        ("pin", no_pin, "who wrote it through a fixed buffer saw in word "),
        ("mprotect", open, " was written, and was read-only all the while\n"),
    ] {
        let text = format!("memory thp 2M\nA write all\nA fork B\nA storm all {rival}\nA read all\nB read all\n");
        let (code, out) = race(&text, Some(&wrong(&kernel)), "20");
        assert!(code == 1 && out.contains(saw) && out.contains("\nin round "), "{rival}: {code}: {out}");
        let (code, out) = race(&text, None, "3");
        assert!(code == 0 || (code == 4 && out.contains("SKIP: ")), "{rival}: {code}: {out}");
    }
}
