//! The program as a whole: what stands around the steps.

use std::fmt::Write as _;

use cowcheck_model::memory::{Memory, MemoryKind};
use cowcheck_model::step::{Actor, Op};

use crate::head::wrapped;
use crate::helpers::{
    ADVISE, BACKING, CGROUP, COLLAPSE_FILE, FILL_FILE, HUGETLB, REQUIRE_FOLIO, RUN, SCRATCH, SWAP, UNMET,
    ZERO_PMD_MAPPED,
};
use crate::program::Program;
use crate::prose;

/// More seconds than any of this takes.
const TIME_LIMIT: u32 = 60;
/// The same for memory of more than 64 MiB.
const LONG_TIME_LIMIT: u32 = 300;
/// How often a scenario with steps at once or a storm is run, where that takes not longer than so many seconds.
const ROUNDS: u32 = 1000;
const SECONDS: u32 = 10;

/// The program. `head` is its first comment.
pub(crate) fn text(mut program: Program<'_>, head: &str) -> String {
    let set_up = set_up(&mut program);
    let (includes, helpers) = program.helpers.texts(program.shape);
    let mut text = format!("{head}#define _GNU_SOURCE\n");
    includes.iter().for_each(|include| text.push_str(&format!("{include}\n")));
    let _ = write!(text, "\n{}\n{}\n", defines(&program), processes(&program));
    helpers.iter().for_each(|helper| text.push_str(&format!("\n{helper}\n")));
    let changes = changes(&program);
    for part in [changes, program.globals.join("\n"), program.tables.text(), program.functions.join("\n")] {
        if !part.is_empty() {
            let _ = write!(text, "\n{}\n", part.trim_end());
        }
    }
    let name = if program.helpers.has(&RUN) { "static void scenario(void)" } else { "int main(void)" };
    let _ = write!(text, "\n{name}\n{{\n{set_up}{}\n{}}}\n", program.body, end(&program));
    text
}

/// What is done before and behind the scenario, where it changes something of the machine.
fn changes(program: &Program<'_>) -> String {
    let all = [(&CGROUP, "make_cgroup", "remove_cgroup"), (&SWAP, "find_swap", "swap_on_again")];
    let used = || all.iter().filter(|(helper, ..)| program.helpers.has(helper));
    let ready: String = used().map(|(_, ready, _)| format!("\t{ready}();\n")).collect();
    let back: String = used().map(|(.., back)| format!("\t{back}();\n")).collect();
    match ready.is_empty() {
        true => String::new(),
        false => {
            format!("static void get_ready(void)\n{{\n{ready}}}\n\nstatic void put_back(void)\n{{\n{back}}}\n")
        }
    }
}

fn defines(program: &Program<'_>) -> String {
    let memory = program.memory();
    let folio = memory.size / u64::from(program.page_size);
    let limit = if memory.bytes() > 64 << 20 { LONG_TIME_LIMIT } else { TIME_LIMIT };
    let mut all = vec![
        ("PAGE_SIZE", program.page_size.to_string()),
        ("NR_PAGES", program.world.pages().to_string()),
        ("MEM_SIZE", "((size_t)NR_PAGES * PAGE_SIZE)".to_owned()),
        ("ALIGNMENT", format!("((size_t){} * PAGE_SIZE)", folio.next_power_of_two())),
        ("FOLIO_PAGES", folio.to_string()),
        ("WORDS", "(PAGE_SIZE / 8)".to_owned()),
        ("NR_BUFFERS", program.buffers.to_string()),
        ("FILE_CONTENT", "WROTE('@', 0)".to_owned()),
        ("NR_STEPS", program.scenario.steps.len().to_string()),
        ("TIME_LIMIT", format!("{limit}\t/* seconds */")),
        ("ROUNDS", format!("{ROUNDS}\t/* the first argument is instead of it, */")),
        ("SECONDS", format!("{SECONDS}\t/* the second of this */")),
    ];
    let uses = |name: &str| match name {
        "NR_BUFFERS" => program.buffers > 0,
        "FILE_CONTENT" => program.shape.file,
        "NR_STEPS" => program.shape.family,
        "ROUNDS" | "SECONDS" => program.shape.races,
        "FOLIO_PAGES" => program.helpers.has(&REQUIRE_FOLIO) || program.helpers.has(&ZERO_PMD_MAPPED),
        _ => true,
    };
    all.retain(|(name, _)| uses(name));
    let tabs = |name: &str| if name.len() < 8 { "\t\t" } else { "\t" };
    all.iter().map(|(name, value)| format!("#define {name}{}{value}\n", tabs(name))).collect()
}

fn processes(program: &Program<'_>) -> String {
    let forked = program.scenario.steps.iter().filter_map(|step| match step.op {
        Op::Fork(child) => Some(child),
        _ => None,
    });
    let names: Vec<String> = [Actor::A].into_iter().chain(forked).map(|actor| format!("{actor} = '{actor}'")).collect();
    format!("enum process {{ {} }};", names.join(", "))
}

/// Maps the memory.
fn set_up(program: &mut Program<'_>) -> String {
    let memory = program.memory();
    let (pages, space) = (program.world.pages(), program.space());
    let mut lines: Vec<String> = vec![];
    if program.shape.family {
        lines.push("share();".to_owned());
    }
    lines.push("start();".to_owned());
    if program.shape.at_once {
        lines.push("make_meeting();".to_owned());
    }
    if program.helpers.has(&CGROUP) {
        lines.push("join_cgroup();".to_owned());
    }
    lines.push(String::new());
    lines.push(format!("/* {} */", wrapped(&format!("A maps {}.", prose::memory_text(memory)), 80, "\t * ")));
    let size = if space == pages { "MEM_SIZE".to_owned() } else { format!("(size_t){space} * PAGE_SIZE") };
    lines.push(format!("mem = reserve({size});"));
    if program.shape.moved {
        lines.push("for (int page = 0; page < NR_PAGES; page++)".to_owned());
        lines.push("\tplace[page] = mem + (size_t)page * PAGE_SIZE;".to_owned());
    }
    lines.extend(mapping(program, memory));
    if program.helpers.has(&SCRATCH) {
        lines.push("make_scratch();".to_owned());
    }
    lines.iter().map(|line| if line.is_empty() { "\n".to_owned() } else { format!("\t{line}\n") }).collect()
}

fn mapping(program: &mut Program<'_>, memory: Memory) -> Vec<String> {
    const PRIVATE: &str = "map(mem, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);";
    const MEMFD: &str = "memfd_create(\"memory\", MFD_CLOEXEC)";
    let shift = memory.size.trailing_zeros();
    let file = |program: &mut Program<'_>, make: String| {
        program.add(&FILL_FILE);
        let map = "map(mem, PROT_READ | PROT_WRITE, MAP_PRIVATE, file);".to_owned();
        vec![format!("int file = {make};"), "fill_file(file);".to_owned(), map]
    };
    match memory.kind {
        MemoryKind::Anon => vec![PRIVATE.to_owned(), "madvise(mem, MEM_SIZE, MADV_NOHUGEPAGE);".to_owned()],
        MemoryKind::Thp => {
            program.add(&ADVISE);
            vec![PRIVATE.to_owned(), "advise(0, NR_PAGES, MADV_HUGEPAGE);".to_owned()]
        }
        MemoryKind::Hugetlb => {
            program.add(&HUGETLB);
            let flags = format!("MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | {shift} << MAP_HUGE_SHIFT");
            vec![format!("map(mem, PROT_READ | PROT_WRITE, {flags}, -1);")]
        }
        MemoryKind::Zero | MemoryKind::HugeZero => {
            let advice = if memory.kind == MemoryKind::Zero { "MADV_NOHUGEPAGE" } else { "MADV_HUGEPAGE" };
            let mut lines = vec![PRIVATE.to_owned(), format!("madvise(mem, MEM_SIZE, {advice});")];
            if program.helpers.has(&BACKING) {
                lines.push("backing = reserve(MEM_SIZE);".to_owned());
                lines.push("map(backing, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1);".to_owned());
                lines.push(format!("madvise(backing, MEM_SIZE, {advice});"));
            }
            lines
        }
        MemoryKind::Memfd => file(program, MEMFD.to_owned()),
        MemoryKind::ShmemThp => {
            program.add(&COLLAPSE_FILE);
            let mut lines = file(program, MEMFD.to_owned());
            lines.insert(2, "collapse_file();".to_owned());
            lines
        }
        MemoryKind::Tmpfile => file(program, "fileno(tmpfile())".to_owned()),
        MemoryKind::MemfdHugetlb => {
            program.add(&HUGETLB);
            file(program, format!("memfd_create(\"memory\", MFD_CLOEXEC | MFD_HUGETLB | {shift} << MAP_HUGE_SHIFT)"))
        }
    }
}

/// How the program ends, where nothing was broken.
fn end(program: &Program<'_>) -> String {
    let mut text = String::new();
    let has_requirements = program.helpers.has(&UNMET);
    let unmet = if program.shape.family { "shared->unmet" } else { "unmet" };
    if program.shape.family {
        text.push_str("\t/* A waits for the last step, the others wait for A to end it all. */\n");
        text.push_str("\tturn(NR_STEPS + (me == A ? 1 : 2), me);\n");
    }
    if has_requirements {
        let _ = write!(
            text,
            "\tif ({unmet}) {{\n\t\tputs(\"SKIP: nothing was broken, but the set-up was not reached\");\n\t\tend(SKIP);\n\t}}\n"
        );
    }
    text.push_str("\tputs(\"KEPT: every page held what it may\");\n\tend(KEPT);\n");
    text
}
