//! The C functions that steps call. Each is a file of `c`; a program gets those that it needs, and no others.

/// What a program is like as a whole, where functions differ by it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// There are turns: more than one process, or steps at once.
    pub(crate) family: bool,
    /// There are steps at once.
    pub(crate) at_once: bool,
    /// There are steps at once or storms, which are lost now and then only.
    pub(crate) races: bool,
    /// A rival of a storm's writers protects their pages.
    pub(crate) fenced: bool,
    /// The scenario changes something of the machine that is put back in the end.
    pub(crate) changes: bool,
    /// mremap() moves pages.
    pub(crate) moved: bool,
    /// There are accesses that may raise a signal.
    pub(crate) probes: bool,
    /// The memory is a private mapping of a file.
    pub(crate) file: bool,
    /// Where a page gives SIGBUS, nothing but userfaultfd is the cause.
    pub(crate) protects: bool,
}

/// A piece of C.
pub(crate) struct Helper {
    /// Its text.
    pub(crate) text: fn(Shape) -> &'static str,
    /// What must stand before it.
    pub(crate) needs: &'static [&'static Helper],
}

/// `NAME: [needs] file` or, where it differs by shape, `NAME: [needs] flag file-if-so file-otherwise`.
macro_rules! helpers {
    ($($name:ident: [$($need:ident)*] $file:ident $($if_so:ident $otherwise:ident)?;)*) => {
        $(pub(crate) static $name: Helper = Helper {
            text: helpers!(@text $file $($if_so $otherwise)?),
            needs: &[$(&$need),*],
        };)*
    };
    (@text $file:ident) => { |_| include_str!(concat!("c/", stringify!($file), ".c")) };
    (@text $flag:ident $if_so:ident $otherwise:ident) => {
        |shape| match shape.$flag {
            true => include_str!(concat!("c/", stringify!($if_so), ".c")),
            false => include_str!(concat!("c/", stringify!($otherwise), ".c")),
        }
    };
}

helpers! {
    // What every program has.
    STEP: [] at_once step_of_thread step;
    REPORT: [STEP] report;
    END: [REPORT] family end_family end_alone;
    PLACE: [] moved place_moved place;
    SIGBUS: [END] protects sigbus_protected sigbus;
    FAULT: [PLACE SIGBUS] probes fault_probe fault;
    OUT_OF_TIME: [END] family out_of_time_family out_of_time_alone;
    START: [FAULT OUT_OF_TIME] start;
    RESERVE: [END] reserve;
    MAP: [RESERVE] map;
    HUGETLB: [] hugetlb;
    // Processes.
    SHARE: [END] share;
    TURN: [END] turn;
    FORK: [TURN] fork;
    REAP: [FORK] reap;
    MOST_AT_ONCE: [] most_at_once;
    CLOCK: [] clock;
    AT_ONCE: [TURN MOST_AT_ONCE CLOCK] at_once;
    // Who runs the scenario, where it is not main() itself.
    HOW_IT_ENDED: [REPORT] how_it_ended;
    RUN: [HOW_IT_ENDED] changes run_and_put_back run;
    MAIN_ONCE: [RUN] main_once;
    MAIN_ROUNDS: [RUN CLOCK] main_rounds;
    UNMET: [END] family unmet_family unmet_alone;
    // What pages hold.
    CONTENT: [] content;
    FILL: [CONTENT] fill;
    TELL: [CONTENT] file tell_file tell;
    END_OF_LIST: [] end_of_list;
    BROKEN: [TELL END END_OF_LIST] broken;
    EXPECT: [BROKEN] at_once expect_at_once expect;
    // Accesses.
    WRITE_PAGES: [PLACE FILL] write_pages;
    READ_PAGES: [PLACE EXPECT] read_pages;
    TOUCH_PAGES: [PLACE] touch_pages;
    WRITE_CLOSED: [WRITE_PAGES FAULT] write_closed;
    READ_CLOSED: [READ_PAGES FAULT] read_closed;
    TOUCH_CLOSED: [TOUCH_PAGES FAULT] touch_closed;
    POKE_PAGES: [PLACE FILL END] poke_pages;
    BACKING: [] backing;
    FILL_FILE: [BACKING RESERVE MAP FILL] fill_file;
    COLLAPSE_FILE: [FILL_FILE] collapse_file;
    READ_BACKING: [BACKING EXPECT] read_backing;
    WRITE_BACKING: [BACKING FILL] write_backing;
    PROBE: [FAULT] probe;
    EXPECT_FAULT: [PROBE] expect_fault;
    EXPECT_NO_FAULT: [PROBE] expect_no_fault;
    MAY_FAULT: [PROBE] may_fault;
    // Mappings.
    ADVISE: [PLACE END] advise;
    GUARD: [ADVISE] guard;
    PROTECT: [PLACE END] protect;
    HOLE: [] hole;
    UNMAP: [PLACE END HOLE] unmap;
    MOVE: [PLACE END HOLE] move;
    COLLAPSE: [PLACE END] collapse;
    COLLAPSE_OF: [PLACE END] collapse_of;
    PAGE_OUT: [PLACE PAGEMAP] page_out;
    // What else is done to pages.
    LOCK_PAGES: [PLACE END] lock_pages;
    UNLOCK_PAGES: [PLACE END] unlock_pages;
    UFFD: [PLACE END] uffd;
    SPLIT: [PLACE UNMET] split;
    MIGRATE: [PLACE UNMET] migrate;
    NUMBER: [] number;
    KSM: [UNMET NUMBER] ksm;
    KHUGEPAGED: [UNMET NUMBER] khugepaged;
    // What is put back in the end.
    CGROUP: [END] cgroup;
    RECLAIM: [CGROUP UNMET NUMBER] reclaim;
    SWAP: [END UNMET] swap;
    // Looks at the page table.
    OPEN_PAGEMAP: [END] open_pagemap;
    PAGEMAP: [OPEN_PAGEMAP] pagemap;
    REQUIRE: [PLACE PAGEMAP UNMET] require;
    REQUIRE_FOLIO: [PLACE PAGEMAP UNMET] require_folio;
    REQUIRE_FRAMES: [PLACE PAGEMAP UNMET] require_frames;
    SMAPS: [PLACE] huge_smaps;
    FRAMES: [PLACE PAGEMAP] huge_frames;
    PMD_MAPPED: [OPEN_PAGEMAP SMAPS] huge;
    ZERO_PMD_MAPPED: [FRAMES] huge;
    // Behind one of the two before.
    REQUIRE_PMD_MAPPED: [UNMET] require_pmd_mapped;
    REQUIRE_PTE_MAPPED: [REQUIRE] require_pte_mapped;
    CLEAR_SOFT_DIRTY: [END] clear_soft_dirty;
    EXPECT_SOFT_DIRTY: [PLACE PAGEMAP] expect_soft_dirty;
    // Pins.
    COPY: [EXPECT MOST_AT_ONCE] at_once copy_at_once copy;
    PIPE: [PLACE END] pipe;
    DRAIN: [PIPE COPY] drain;
    CLOSE_PIPE: [PIPE] close_pipe;
    URING: [PLACE END] uring;
    REGISTER: [URING] register;
    SCRATCH: [URING] scratch;
    FIXED_IO: [SCRATCH] fixed_io;
    FETCH: [FIXED_IO COPY] fetch;
    WRITE_FIXED: [FIXED_IO FILL] write_fixed;
    UNREGISTER: [URING] unregister;
    GUP: [PLACE END] gup;
    READ_PINNED: [GUP COPY] read_pinned;
    UNPIN_PAGES: [GUP] unpin_pages;
    // Storms.
    STORE: [FAULT] fenced store_fenced store;
    STORM: [PLACE TELL STORE CLOCK UNMET] storm;
    STORM_SPLIT: [STORM] storm_split;
    STORM_COLLAPSE: [STORM_SPLIT] storm_collapse;
    STORM_BEGUN: [STORM] storm_begun;
    STORM_FORK: [STORM_BEGUN] storm_fork;
    STORM_STRETCH: [STORM] storm_stretch;
    STORM_PAGE_OUT: [STORM_STRETCH] storm_page_out;
    STORM_PROTECT: [STORM_STRETCH] storm_protect;
    STORM_SOME: [STORM] storm_some;
    STORM_GUP: [STORM_SOME STORM_BEGUN] storm_gup;
    STORM_PIN: [STORM_SOME FIXED_IO UNREGISTER] storm_pin;
}

/// The helpers of a program, each once and behind what it needs.
#[derive(Default)]
pub(crate) struct Helpers(Vec<&'static Helper>);

impl Helpers {
    /// This one, and what it needs.
    pub(crate) fn add(&mut self, helper: &'static Helper) {
        if self.has(helper) {
            return;
        }
        helper.needs.iter().for_each(|need| self.add(need));
        self.0.push(helper);
    }

    /// Is this one among them?
    pub(crate) fn has(&self, helper: &'static Helper) -> bool {
        self.0.iter().any(|known| std::ptr::eq(*known, helper))
    }

    /// Their `#include` lines, sorted, and the rest of their texts.
    pub(crate) fn texts(&self, shape: Shape) -> (Vec<&'static str>, Vec<&'static str>) {
        let is_include = |line: &&str| line.starts_with("#include");
        let texts = || self.0.iter().map(|helper| (helper.text)(shape));
        let mut includes: Vec<&str> = texts().flat_map(|text| text.lines().filter(is_include)).collect();
        includes.sort_unstable();
        includes.dedup();
        let rest = texts().map(|text| {
            let head: usize = text.split_inclusive('\n').take_while(|line| is_include(line)).map(str::len).sum();
            text[head..].trim()
        });
        (includes, rest.collect())
    }
}
