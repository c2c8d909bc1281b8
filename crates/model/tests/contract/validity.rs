//! What can be done, and what is said of what cannot.

use cowcheck_model::text::{HEADER, parse_valid};

use crate::doctor::scenario;
use crate::reference::PAGE;

#[track_caller]
fn refused(memory: &str, steps: &str, line: usize, expected: &str) {
    let text = format!("{HEADER}\nmemory {memory}\n{}\n", steps.replace(';', "\n"));
    let error = parse_valid(&text, PAGE).expect_err("it should be refused");
    assert_eq!((error.line, error.expected.as_str()), (line, expected), "{error}");
}

const ANON: &str = "anon 4K x8";

#[test]
fn who_does_a_step_must_be_alive() {
    refused(ANON, "B read all", 3, "a step by an actor that is alive: B has not been forked");
    refused(ANON, "A fork B;B exit;B read all", 5, "a step by an actor that is alive: B has exited");
    refused(ANON, "A fork B;A fork B", 4, "the name of a new actor: B exists already");
    refused(ANON, "A fork B;B exit;A fork B", 5, "the name of a new actor: B exists already");
    refused(ANON, "A fork A", 3, "the name of a new actor: A exists already");
    refused(ANON, "A exit", 3, "a step by another actor: A is the last to exit, by itself");
    scenario(ANON, "A fork B;B fork C;B exit;C read all;A read all");
}

#[test]
fn pages_must_be_there_and_mapped() {
    refused(ANON, "A read page 8", 3, "pages below 8: the memory has 8 pages");
    refused("anon 4K", "A read rest", 3, "at least one page: the range is empty");
    for op in ["read", "write", "touch", "dontneed", "dontfork", "collapse", "munmap", "mremap", "require populated"] {
        let steps = format!("A munmap page 3;A {op} all");
        refused(ANON, &steps, 4, "pages that A has mapped: page 3 is not");
    }
    refused(ANON, "A munmap page 3;A pin ro p0 all", 4, "pages that A has mapped: page 3 is not");
    refused(ANON, "A munmap page 3;A mprotect all ro", 4, "pages that A has mapped: page 3 is not");
    refused(ANON, "A dontfork page 3;A fork B;B read all", 5, "pages that B has mapped: page 3 is not");
    // Whether they are is what a probe is for; and through the pin they still are.
    scenario(ANON, "A pin rw p0 all;A munmap page 3;A probe read all;A read via p0;A write via p0 page 3");
}

#[test]
fn pages_must_be_accessible() {
    refused(ANON, "A mprotect page 3 ro;A write all", 4, "pages that A may write: page 3 is protected");
    refused(ANON, "A mprotect page 3 ro;A pin rw p0 all", 4, "pages that A may write: page 3 is protected");
    refused(ANON, "A mprotect page 3 none;A read all", 4, "pages that A may read: page 3 is protected");
    refused(ANON, "A mprotect page 3 none;A splice p0 all", 4, "pages that A may read: page 3 is protected");
    scenario(ANON, "A mprotect all none;A dontneed all;A collapse all;A fork B;B mprotect all rw;B write all");
}

#[test]
fn a_pin_belongs_to_who_took_it() {
    refused(ANON, "A read via p0", 3, "a pin that was taken: p0 was not");
    refused(ANON, "A pin ro p0 all;A pin ro p0 all", 4, "the name of a new pin: p0 exists already");
    refused(ANON, "A pin ro p0 all;A fork B;B read via p0", 5, "a step by A, who took p0");
    refused(ANON, "A pin ro p0 all;A write via p0 all", 4, "a read/write pin: p0 is read-only");
    refused(ANON, "A pin rw p0 lower;A write via p0 all", 4, "pages under p0: page 4 is not");
    refused(ANON, "A pin rw p0 all;A unpin p0;A read via p0", 5, "a pin that was taken: p0 was not");
    refused(ANON, "A splice p0 all;A read via p0;A read via p0", 5, "a pipe that holds pages: p0 is empty");
    scenario(ANON, "A pin rw p0 all;A unpin p0;A pin ro p0 lower;A read via p0;A read via p0");
}

#[test]
fn the_memory_must_have_what_the_step_is_about() {
    let backing = "memory with a backing (zero, huge-zero, memfd, shmem-thp, tmpfile, memfd-hugetlb), not anon 4K x8";
    refused(ANON, "A read backing all", 3, backing);
    let file = "memory with a file (memfd, shmem-thp, tmpfile, memfd-hugetlb), not zero 4K x8";
    refused("zero 4K x8", "A write backing all", 3, file);
    for (memory, steps) in
        [("memfd 32K", "A free all"), ("hugetlb 32K", "A wipeonfork all"), ("hugetlb 32K", "A free all")]
    {
        let expected = format!("anonymous memory without hugetlb pages: the kernel refuses this advice on {memory}");
        refused(memory, steps, 3, &expected);
    }
    refused("hugetlb 16K x2", "A munmap page 0", 3, "whole hugetlb pages: multiples of 4 pages");
    refused("hugetlb 16K x2", "A mprotect pages 4-6 ro", 3, "whole hugetlb pages: multiples of 4 pages");
    scenario("hugetlb 16K x2", "A write page 1;A munmap lower;A read page 5");
}

#[test]
fn marks_forbid_what_the_kernel_refuses() {
    refused(ANON, "A guard page 3;A read all", 4, "pages that A may read: page 3 is a guard page");
    refused(ANON, "A guard page 3;A mlock all", 4, "pages that A may read: page 3 is a guard page");
    let protected = "pages that A may write: page 3 is protected by userfaultfd";
    refused(ANON, "A write all;A uffd-wp page 3;A write all", 5, protected);
    refused(ANON, "A uffd-wp page 3;A write all", 4, protected);
    refused(ANON, "A write all;A uffd-wp page 3;A pin rw p0 all", 5, protected);
    refused(ANON, "A write all;A uffd-wp page 3;A mlock all", 5, protected);
    let locked = "pages that are not locked: the kernel refuses this for page 3";
    for op in ["dontneed", "free", "guard"] {
        refused(ANON, &format!("A mlock page 3;A {op} all"), 4, locked);
    }
    let anonymous = "anonymous memory without hugetlb pages: there are no guard pages in memfd 32K";
    refused("memfd 32K", "A guard all", 3, anonymous);
    refused("hugetlb 32K", "A mlock all", 3, "memory without hugetlb pages, which are not locked: hugetlb 32K");
    refused(ANON, "A guard page 3;A poke all", 4, "pages that A may read: page 3 is a guard page");
    refused(ANON, "A write all;A uffd-wp page 3;A poke all", 5, protected);
    refused(ANON, "A munmap page 3;A poke all", 4, "pages that A has mapped: page 3 is not");
    let no_force = "memory without hugetlb pages, where the kernel forces no write: hugetlb 32K";
    refused("hugetlb 32K", "A poke all", 3, no_force);
    scenario(ANON, "A write all;A mprotect lower none;A mprotect upper ro;A poke all;A mprotect all ro;A read all");
    refused("hugetlb 16K x2", "A uffd-wp page 0", 3, "whole hugetlb pages: multiples of 4 pages");
    scenario(
        ANON,
        "A write all;A uffd-wp all;A read all;A pin ro p0 all;A fork B;B write all;A uffd-unwp all;A write all",
    );
    scenario(
        ANON,
        "A mlock all;A fork B;B dontneed all;A munlock all;A dontneed all;A guard all;A unguard all;A read all",
    );
}

#[test]
fn the_memory_must_be_whole_pages() {
    let expected = |memory: &str| {
        format!("memory {memory}: expected one or more pieces whose size is a multiple of the page size, 4096 bytes")
    };
    for memory in ["anon 0", "anon 5000", "anon 2K x2", "anon 4K x0"] {
        refused(memory, "A read all", 2, &expected(memory));
    }
}

#[test]
fn a_storm_needs_pages_whose_content_is_certain() {
    const CERTAIN: &str = "pages whose content is certain: that of page 0 is for the kernel to choose";
    refused(ANON, "A write all;A free all;A storm all gup", 5, CERTAIN);
    let child = "pages that a child gets as they are, for `fork`: page 4 is not one";
    refused(ANON, "A write all;A dontfork upper;A storm all gup fork", 5, child);
    refused(ANON, "A wipeonfork upper;A storm all fork", 4, child);
    refused(ANON, "A mprotect all ro;A storm all gup", 4, "pages that A may write: page 0 is protected");
    let loose = "pages whose writes no pin or pipe may or may not follow: p0 has page 0";
    refused(ANON, "A write all;A splice p0 all;A storm all gup", 5, loose);
    refused(
        "hugetlb 8K x4",
        "A storm all gup",
        3,
        "memory of small pages or THPs: hugetlb pages can run out in a storm",
    );
    scenario(ANON, "A write all;A pin rw p0 all;A dontfork upper;A storm lower fork;A storm all gup");
}

#[test]
fn whose_pages_are_collapsed_must_be_there() {
    refused(ANON, "A collapse all of B", 3, "pages of an actor that is alive: B is not");
    refused(ANON, "A collapse all of A", 3, "pages of another actor: `collapse` alone is for those of A");
    refused(ANON, "A fork B;B exit;A collapse all of B", 5, "pages of an actor that is alive: B is not");
    refused(ANON, "A fork B;B munmap all;A collapse all of B", 5, "pages that B has mapped: page 0 is not");
    scenario(ANON, "A fork B;B munmap lower;A collapse upper of B;B collapse all of A");
}
