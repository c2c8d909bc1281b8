// SPDX-License-Identifier: GPL-2.0-only
/* kmod-test [CALLS [SEED]]: all tests of the module, so many random calls among them. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "test.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

static unsigned long checks, failures;

bool check(bool holds, const char *file, int line, const char *format, ...)
{
	va_list args;

	__atomic_add_fetch(&checks, 1, __ATOMIC_RELAXED);
	if (holds)
		return true;
	if (__atomic_add_fetch(&failures, 1, __ATOMIC_RELAXED) > 50)
		return false;
	printf("not as it should be: %s:%d: ", file, line);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
	fflush(stdout);
	return false;
}

void must(bool holds, const char *text, const char *file, int line)
{
	if (holds)
		return;
	printf("cannot go on: %s:%d: %s (%s)\n", file, line, text, strerror(errno));
	exit(2);
}

int device(void)
{
	int fd = open("/dev/cowcheck", O_RDWR | O_CLOEXEC);

	MUST(fd >= 0);
	return fd;
}

int call(int fd, unsigned long command, void *argument)
{
	return ioctl(fd, command, argument) < 0 ? errno : 0;
}

unsigned int look_at(int fd, int pid, const void *addr, size_t len, struct cowcheck_run *runs, unsigned int room)
{
	struct cowcheck_look look = {
		.addr = (uintptr_t)addr, .len = len, .runs = (uintptr_t)runs, .room = room, .pid = pid,
	};
	int error = call(fd, COWCHECK_IOC_LOOK, &look);

	CHECK(!error, "looking at %p+%zx: %s", addr, len, strerror(error));
	return error ? 0 : look.filled;
}

struct cowcheck_run look_page(int fd, const void *addr)
{
	struct cowcheck_run run = { 0 };

	look_at(fd, 0, addr, PAGE, &run, 1);
	return run;
}

const char *const kind_names[KINDS] = { "base pages", "a THP", "a hugetlb page" };

char *memory(enum kind kind)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS;
	char *addr, *aligned;

	if (kind == HUGETLB) {
		addr = mmap(NULL, HUGE, PROT_READ | PROT_WRITE, flags | MAP_HUGETLB, -1, 0);
		if (addr == MAP_FAILED)
			return NULL;
		memset(addr, 1, HUGE);
		return addr;
	}
	/* Alone between two that cannot be touched, so that no neighbour joins it. */
	addr = mmap(NULL, 3 * HUGE, PROT_NONE, flags | MAP_NORESERVE, -1, 0);
	MUST(addr != MAP_FAILED);
	aligned = (char *)(((uintptr_t)addr + HUGE) & ~(HUGE - 1));
	munmap(addr, aligned - addr);
	munmap(aligned + HUGE, addr + 3 * HUGE - (aligned + HUGE));
	MUST(!mprotect(aligned, HUGE, PROT_READ | PROT_WRITE));
	MUST(!madvise(aligned, HUGE, kind == THP ? MADV_HUGEPAGE : MADV_NOHUGEPAGE));
	memset(aligned, 1, HUGE);
	return aligned;
}

void memory_free(char *addr)
{
	MUST(!munmap(addr, HUGE));
}

uint64_t next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* --- the kernel's log ------------------------------------------------------ */

static const char *const signs[] = {
	"WARNING", "BUG", "Oops", "Call Trace", "general protection", "Bad page", "Bad rss", "refcount_t", "stall",
	"lockup", "UBSAN", "hung task", "page allocation failure", "Unable to handle", "unregister_netdevice", "leaked",
};

static void test_log(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);
	char record[8192];
	ssize_t len;

	MUST(fd >= 0);
	while ((len = read(fd, record, sizeof(record) - 1)) > 0 || (len < 0 && errno == EPIPE)) {
		if (len < 0)
			continue;
		record[len] = 0;
		for (size_t i = 0; i < sizeof(signs) / sizeof(*signs); i++)
			CHECK(!strstr(record, signs[i]), "the kernel's log: %s", record);
	}
	close(fd);
}

static void begin(const char *what)
{
	printf("%s\n", what);
	fflush(stdout);
}

int main(int count, char **words)
{
	unsigned long calls = count > 1 ? strtoul(words[1], NULL, 0) : 1000000;
	uint64_t seed = count > 2 ? strtoull(words[2], NULL, 0) : 1;
	struct utsname name;

	MUST(!uname(&name));
	printf("the helper module on %s\n", name.release);
	begin("- looking changes nothing");
	test_look();
	begin("- pins");
	test_pin();
	begin("- arguments that are wrong");
	test_bad();
	begin("- gup_test's place");
	test_gup_test();
	begin("- random calls");
	test_fuzz(calls, seed);
	begin("- unloading");
	test_unload();
	begin("- the kernel's log");
	test_log();
	printf("%lu checks, %lu not as they should be\n", checks, failures);
	return failures ? 1 : 0;
}
