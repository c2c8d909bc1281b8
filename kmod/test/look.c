// SPDX-License-Identifier: GPL-2.0-only
/* Looking tells the truth, and changes nothing. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

#define PAGES (HUGE / PAGE)

/* All that the kernel tells of a range in other ways. */
struct told {
	uint64_t pagemap[PAGES];
	char smaps[4096];
};

static void tell(const char *addr, struct told *told)
{
	char line[512], begin[32];
	bool is_here = false;
	size_t len = 0;
	FILE *smaps;
	int fd;

	memset(told, 0, sizeof(*told));
	fd = open("/proc/self/pagemap", O_RDONLY);
	MUST(fd >= 0);
	MUST(pread(fd, told->pagemap, sizeof(told->pagemap), (uintptr_t)addr / PAGE * 8) == sizeof(told->pagemap));
	close(fd);
	smaps = fopen("/proc/self/smaps", "r");
	MUST(smaps);
	snprintf(begin, sizeof(begin), "%lx-", (unsigned long)addr);
	while (fgets(line, sizeof(line), smaps)) {
		if (strchr(line, '-') && strspn(line, "0123456789abcdef") > 6)
			is_here = !strncmp(line, begin, strlen(begin));
		if (is_here && len + strlen(line) < sizeof(told->smaps))
			len += sprintf(told->smaps + len, "%s", line);
	}
	fclose(smaps);
}

#define ROOM 1024
static struct cowcheck_run first[ROOM], last[ROOM];

/* Another process, forked before there was anything to look at, which looks at us. */
static int asks[2], answers[2];

static pid_t onlooker(void)
{
	pid_t child;
	char *addr;

	MUST(!pipe(asks) && !pipe(answers));
	child = fork();
	MUST(child >= 0);
	if (!child) {
		int fd = device();

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(asks[1]);
		while (read(asks[0], &addr, sizeof(addr)) == sizeof(addr)) {
			for (int i = 0; i < 50; i++)
				look_at(fd, getppid(), addr, HUGE, last, ROOM);
			MUST(write(answers[1], "", 1) == 1);
		}
		_exit(0);
	}
	return child;
}

/* A hundred looks, ours and another process's, between two that are compared. */
static void looks_change_nothing(int fd, const char *addr, const char *what)
{
	static struct told before, after;
	bool is_same = false;
	unsigned int count = 0;

	/* The kernel may drain its lists of pages meanwhile; it does that once. */
	for (int attempt = 0; attempt < 5 && !is_same; attempt++) {
		char byte;

		tell(addr, &before);
		count = look_at(fd, 0, addr, HUGE, first, ROOM);
		for (int i = 0; i < 50; i++)
			look_at(fd, 0, addr, HUGE, last, ROOM);
		MUST(write(asks[1], &addr, sizeof(addr)) == sizeof(addr));
		MUST(read(answers[0], &byte, 1) == 1);
		memset(last, 0, sizeof(last));
		is_same = look_at(fd, 0, addr, HUGE, last, ROOM) == count && !memcmp(first, last, count * sizeof(*first));
		tell(addr, &after);
		is_same = is_same && !memcmp(&before, &after, sizeof(before));
	}
	CHECK(count > 0, "%s: nothing was seen", what);
	CHECK(!memcmp(before.pagemap, after.pagemap, sizeof(before.pagemap)), "%s: pagemap is another", what);
	CHECK(!strcmp(before.smaps, after.smaps), "%s: smaps is another: %s%s", what, before.smaps, after.smaps);
	CHECK(is_same, "%s: looking changed something", what);
}

/* What pagemap says of each page is what the module says. */
static void agrees_with_pagemap(int fd, const char *addr, const char *what)
{
	static struct told told;
	unsigned int count;
	unsigned long page = 0;

	tell(addr, &told);
	count = look_at(fd, 0, addr, HUGE, first, ROOM);
	for (unsigned int i = 0; i < count; i++) {
		const struct cowcheck_run *run = &first[i];

		CHECK(run->addr == (uintptr_t)addr + page * PAGE, "%s: run %u begins at %llx", what, i, run->addr);
		for (unsigned int n = 0; n < run->count && page < PAGES; n++, page++) {
			uint64_t word = told.pagemap[page];
			bool is_present = word >> 63, is_swapped = word >> 62 & 1;

			if (!CHECK(is_present == !!(run->flags & COWCHECK_PRESENT), "%s: page %lu: %llx %llx", what, page,
				   (unsigned long long)word, run->flags))
				return;
			if (is_present || run->flags & COWCHECK_SWAPPED)
				CHECK((word >> 55 & 1) == !!(run->flags & COWCHECK_SOFT_DIRTY),
				      "%s: page %lu: soft-dirty: %llx %llx", what, page, (unsigned long long)word, run->flags);
			if (is_present)
				CHECK((word & ((1ULL << 55) - 1)) == run->pfn + n, "%s: page %lu: PFN %llx, not %llx",
				      what, page, run->pfn + n, (unsigned long long)word);
			if (run->flags & COWCHECK_SWAPPED)
				CHECK(is_swapped && (word & ((1ULL << 55) - 1)) >> 5 == run->swap + n,
				      "%s: page %lu: swap offset %llx, not %llx", what, page, run->swap + n,
				      (unsigned long long)word);
		}
	}
	CHECK(page == PAGES, "%s: %lu pages were told of", what, page);
}

static void check_range(int fd, const char *addr, const char *what)
{
	looks_change_nothing(fd, addr, what);
	agrees_with_pagemap(fd, addr, what);
}

/* A child that has all of our memory, until it is told to go. */
static pid_t sharer(void)
{
	pid_t child = fork();

	MUST(child >= 0);
	if (!child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	return child;
}

static void gone(pid_t child)
{
	kill(child, SIGKILL);
	MUST(waitpid(child, NULL, 0) == child);
}

#define HAS(run, flag) (!!((run).flags & COWCHECK_##flag))

static void marks(int fd, char *addr, enum kind kind)
{
	const char *what = kind_names[kind];
	struct cowcheck_run run = look_page(fd, addr + 5 * PAGE);
	bool is_known = HAS(run, MARKS_KNOWN);
	pid_t child;

	CHECK(HAS(run, PRESENT) && HAS(run, ANON) && HAS(run, WRITABLE) && HAS(run, DIRTY), "%s: %llx", what, run.flags);
	CHECK(HAS(run, PMD) == (kind != BASE), "%s: PMD: %llx", what, run.flags);
	CHECK(HAS(run, HUGETLB) == (kind == HUGETLB), "%s: hugetlb: %llx", what, run.flags);
	CHECK(run.order == (kind == BASE ? 0 : 9), "%s: order %u", what, run.order);
	CHECK(run.index == (kind == BASE ? 0 : 5), "%s: index %u", what, run.index);
	CHECK(run.mapcount == 1 && run.folio_mapcount == 1, "%s: %d, %d", what, run.mapcount, run.folio_mapcount);
	CHECK(HAS(run, EXCLUSIVE) == is_known, "%s: not exclusive: %llx", what, run.flags);
	CHECK(HAS(run, OWN_EXCLUSIVE) == (is_known && kind == BASE), "%s: mark of its own: %llx", what, run.flags);
	CHECK(!HAS(run, PINNED), "%s: pinned: %llx", what, run.flags);

	child = sharer();
	run = look_page(fd, addr + 5 * PAGE);
	CHECK(!HAS(run, WRITABLE) && !HAS(run, EXCLUSIVE), "%s, shared: %llx", what, run.flags);
	CHECK(run.mapcount == 2, "%s, shared: %d", what, run.mapcount);
	check_range(fd, addr, "shared memory");
	gone(child);
	/* A write takes it back, in place or by a copy. */
	memset(addr, 2, HUGE);
	run = look_page(fd, addr + 5 * PAGE);
	CHECK(HAS(run, WRITABLE) && HAS(run, EXCLUSIVE) == is_known, "%s, written again: %llx", what, run.flags);
}

static void holes(int fd)
{
	char *addr = memory(BASE);
	struct cowcheck_run runs[8];
	unsigned int count;

	MUST(!madvise(addr, HUGE, MADV_DONTNEED));
	addr[0] = 1;
	(void)*(volatile char *)(addr + PAGE);
	count = look_at(fd, 0, addr, HUGE, runs, 8);
	CHECK(count == 3, "%u runs", count);
	CHECK(HAS(runs[0], ANON), "written: %llx", runs[0].flags);
	CHECK(HAS(runs[1], ZERO) && HAS(runs[1], PRESENT) && !HAS(runs[1], ANON), "read: %llx", runs[1].flags);
	CHECK(!(runs[2].flags & ~COWCHECK_MARKS_KNOWN) && runs[2].count == PAGES - 2 && !runs[2].pfn, "hole: %llx",
	      runs[2].flags);
	check_range(fd, addr, "holes");
	if (!madvise(addr + 3 * PAGE, 2 * PAGE, MADV_GUARD_INSTALL)) {
		count = look_at(fd, 0, addr, HUGE, runs, 8);
		CHECK(count == 5 && HAS(runs[3], GUARD) && HAS(runs[3], SPECIAL) && runs[3].count == 2, "guard: %u, %llx",
		      count, runs[3].flags);
		check_range(fd, addr, "guards");
	}
	/* What is not mapped at all is a hole, too, and a look goes on behind it. */
	MUST(!munmap(addr + PAGE, PAGE));
	count = look_at(fd, 0, addr, 2 * PAGE, runs, 8);
	CHECK(count == 2 && !HAS(runs[1], PRESENT), "not mapped: %u, %llx", count, runs[1].flags);
	memory_free(addr);
}

static void huge_zero(int fd)
{
	char *addr = memory(THP);
	struct cowcheck_run runs[4];
	unsigned int count;

	MUST(!madvise(addr, HUGE, MADV_DONTNEED));
	(void)*(volatile char *)addr;
	count = look_at(fd, 0, addr, HUGE, runs, 4);
	if (HAS(runs[0], PMD)) {
		CHECK(count == 1 && runs[0].count == PAGES && HAS(runs[0], ZERO) && !HAS(runs[0], WRITABLE),
		      "huge zero page: %u, %llx", count, runs[0].flags);
		check_range(fd, addr, "the huge zero page");
		MUST(!mprotect(addr, PAGE, PROT_READ));
		check_range(fd, addr, "the huge zero page, split");
	} else {
		printf("  no huge zero page here\n");
	}
	memory_free(addr);
}

static void split(int fd)
{
	char *addr = memory(THP);
	struct cowcheck_run run;

	MUST(!mprotect(addr, PAGE, PROT_READ));
	run = look_page(fd, addr + 7 * PAGE);
	CHECK(!HAS(run, PMD) && run.order == 9 && run.index == 7, "PTE-mapped: %llx, %u, %u", run.flags, run.order,
	      run.index);
	CHECK(HAS(run, OWN_EXCLUSIVE) == HAS(run, MARKS_KNOWN), "PTE-mapped: %llx", run.flags);
	CHECK(run.folio_mapcount == (int)PAGES, "PTE-mapped: %d", run.folio_mapcount);
	check_range(fd, addr, "a PTE-mapped THP");
	memory_free(addr);
}

static void swapped(int fd)
{
	char *addr = memory(BASE);
	struct cowcheck_run run;
	pid_t child;

	/* Pages are passed over until they are on a list. */
	for (int i = 0; i < 200 && !HAS(look_page(fd, addr + 9 * PAGE), SWAPPED); i++) {
		madvise(addr, HUGE, MADV_PAGEOUT);
		usleep(1000);
	}
	run = look_page(fd, addr + 9 * PAGE);
	if (!HAS(run, SWAPPED)) {
		printf("  nothing was swapped out\n");
		memory_free(addr);
		return;
	}
	CHECK(HAS(run, EXCLUSIVE) == HAS(run, MARKS_KNOWN), "swapped: %llx", run.flags);
	check_range(fd, addr, "swapped pages");
	child = sharer();
	run = look_page(fd, addr + 9 * PAGE);
	CHECK(HAS(run, SWAPPED) && !HAS(run, EXCLUSIVE), "swapped and shared: %llx", run.flags);
	gone(child);
	memory_free(addr);
}

static void of_file(int fd)
{
	int file = memfd_create("cowcheck", 0);
	struct cowcheck_run run;
	char *addr;

	MUST(file >= 0 && !ftruncate(file, HUGE));
	addr = mmap(NULL, HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
	MUST(addr != MAP_FAILED);
	(void)*(volatile char *)addr;
	addr[PAGE] = 1;
	run = look_page(fd, addr);
	CHECK(HAS(run, PRESENT) && !HAS(run, ANON) && !HAS(run, EXCLUSIVE), "of a file: %llx", run.flags);
	run = look_page(fd, addr + PAGE);
	CHECK(HAS(run, ANON) && HAS(run, EXCLUSIVE) == HAS(run, MARKS_KNOWN), "written: %llx", run.flags);
	check_range(fd, addr, "a private mapping of a memfd");
	munmap(addr, HUGE);
	close(file);
}

static void write_file(const char *path, const char *text)
{
	int file = open(path, O_WRONLY);

	MUST(file >= 0 && write(file, text, strlen(text)) == (ssize_t)strlen(text));
	close(file);
}

static void soft_dirty(int fd)
{
	char *addr = memory(BASE);

	write_file("/proc/self/clear_refs", "4");
	CHECK(!HAS(look_page(fd, addr), SOFT_DIRTY), "soft-dirty after clear_refs");
	check_range(fd, addr, "pages that are not soft-dirty");
	addr[0] = 7;
	CHECK(HAS(look_page(fd, addr), SOFT_DIRTY), "not soft-dirty after a write");
	CHECK(!HAS(look_page(fd, addr + PAGE), SOFT_DIRTY), "soft-dirty after a neighbour's write");
	memory_free(addr);
}

static void uffd_wp(int fd)
{
	int uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_PAGEFAULT_FLAG_WP };
	char *addr = memory(BASE), *huge = memory(THP);
	char *both[] = { addr, huge };

	if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api)) {
		printf("  no write protection by userfaultfd here\n");
	} else {
		for (int i = 0; i < 2; i++) {
			struct uffdio_register range = {
				.range = { (uintptr_t)both[i], HUGE }, .mode = UFFDIO_REGISTER_MODE_WP,
			};
			struct uffdio_writeprotect protect = {
				.range = { (uintptr_t)both[i], HUGE }, .mode = UFFDIO_WRITEPROTECT_MODE_WP,
			};

			MUST(!ioctl(uffd, UFFDIO_REGISTER, &range));
			MUST(!ioctl(uffd, UFFDIO_WRITEPROTECT, &protect));
			CHECK(HAS(look_page(fd, both[i] + PAGE), UFFD_WP), "%s: no mark of userfaultfd", kind_names[i]);
			CHECK(!HAS(look_page(fd, both[i] + PAGE), WRITABLE), "%s: protected and writable", kind_names[i]);
			check_range(fd, both[i], "write-protected pages");
		}
	}
	close(uffd);
	memory_free(addr);
	memory_free(huge);
}

static void ksm(int fd)
{
	char *addr = memory(BASE);
	struct cowcheck_run run = { 0 };

	if (madvise(addr, HUGE, MADV_MERGEABLE)) {
		printf("  no KSM here\n");
		memory_free(addr);
		return;
	}
	write_file("/sys/kernel/mm/ksm/pages_to_scan", "2000");
	write_file("/sys/kernel/mm/ksm/sleep_millisecs", "1");
	write_file("/sys/kernel/mm/ksm/run", "1");
	for (int i = 0; i < 3000 && !HAS(run, KSM); i++) {
		usleep(1000);
		run = look_page(fd, addr + 9 * PAGE);
	}
	write_file("/sys/kernel/mm/ksm/run", "0");
	CHECK(HAS(run, KSM) && !HAS(run, EXCLUSIVE) && !HAS(run, WRITABLE), "merged by KSM: %llx", run.flags);
	check_range(fd, addr, "pages that KSM merged");
	addr[9 * PAGE] = 5;
	run = look_page(fd, addr + 9 * PAGE);
	CHECK(!HAS(run, KSM) && HAS(run, EXCLUSIVE) == HAS(run, MARKS_KNOWN), "written after KSM: %llx", run.flags);
	write_file("/sys/kernel/mm/ksm/run", "2");
	memory_free(addr);
}

/* In pieces it is the same as at once. */
static void pieces(int fd)
{
	char *addr = memory(BASE);
	unsigned int all = look_at(fd, 0, addr, HUGE, first, ROOM), count = 0;
	unsigned long page = 0;
	uint64_t at = (uintptr_t)addr;

	while (at < (uintptr_t)addr + HUGE && count < ROOM) {
		struct cowcheck_look look = {
			.addr = at, .len = (uintptr_t)addr + HUGE - at, .runs = (uintptr_t)(last + count), .room = 3,
		};

		if (!CHECK(!call(fd, COWCHECK_IOC_LOOK, &look) && look.filled && look.filled <= 3 && look.end > at,
			   "%u runs up to %llx", look.filled, look.end))
			break;
		at = look.end;
		count += look.filled;
	}
	CHECK(count == all, "%u runs at once, %u in pieces", all, count);
	for (unsigned int i = 0; i < count; i++) {
		CHECK(last[i].addr == (uintptr_t)addr + page * PAGE, "run %u begins at %llx", i, last[i].addr);
		page += last[i].count;
	}
	CHECK(page == PAGES, "%lu pages", page);
	memory_free(addr);
}

void test_look(void)
{
	pid_t other = onlooker();
	int fd = device();

	CHECK(ioctl(fd, COWCHECK_IOC_ABI) == COWCHECK_ABI, "another ABI");
	for (enum kind kind = BASE; kind < KINDS; kind++) {
		char *addr = memory(kind);

		if (!addr) {
			printf("  no memory for %s\n", kind_names[kind]);
			continue;
		}
		check_range(fd, addr, kind_names[kind]);
		marks(fd, addr, kind);
		memory_free(addr);
	}
	holes(fd);
	huge_zero(fd);
	split(fd);
	swapped(fd);
	of_file(fd);
	soft_dirty(fd);
	uffd_wp(fd);
	ksm(fd);
	pieces(fd);
	close(fd);
	gone(other);
}
