// SPDX-License-Identifier: GPL-2.0-only
/* Pins of every kind: taken, read and written through, given back in every way. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

#define ALL (COWCHECK_PIN_LONGTERM | COWCHECK_PIN_WRITE | COWCHECK_PIN_FAST)

static unsigned int pin(int fd, const void *addr, size_t len, unsigned int flags)
{
	struct cowcheck_pin pin = { .addr = (uintptr_t)addr, .len = len, .flags = flags };
	int error = call(fd, COWCHECK_IOC_PIN, &pin);

	CHECK(!error && pin.id > 0, "pin %x: %s", flags, strerror(error));
	return error ? 0 : pin.id;
}

static int io(int fd, unsigned long command, unsigned int id, uint64_t offset, void *buf, uint64_t len)
{
	struct cowcheck_io io = { .id = id, .offset = offset, .buf = (uintptr_t)buf, .len = len };

	return call(fd, command, &io);
}

static int unpin(int fd, unsigned int id)
{
	return call(fd, COWCHECK_IOC_UNPIN, (void *)(uintptr_t)id);
}

static bool is_pinned(int fd, const void *addr)
{
	return look_page(fd, addr).flags & COWCHECK_PINNED;
}

static char buffer[HUGE], pattern[HUGE];

static void through(int fd, enum kind kind, unsigned int flags)
{
	char *addr = memory(kind);
	const char *what = kind_names[kind];
	struct cowcheck_run before, after;
	unsigned int id;

	if (!addr)
		return;
	for (size_t i = 0; i < HUGE; i++)
		addr[i] = pattern[i] = i * 7 + i / PAGE;
	before = look_page(fd, addr + 3 * PAGE);
	id = pin(fd, addr, HUGE, flags);
	after = look_page(fd, addr + 3 * PAGE);
	CHECK(after.flags & COWCHECK_PINNED, "%s, pin %x: %llx", what, flags, after.flags);
	CHECK(after.pfn == before.pfn || !(flags & COWCHECK_PIN_WRITE), "%s, pin %x: moved", what, flags);

	memset(buffer, 0, HUGE);
	CHECK(!io(fd, COWCHECK_IOC_READ, id, 0, buffer, HUGE) && !memcmp(buffer, addr, HUGE), "%s, pin %x: read", what, flags);
	/* Of any length, over the edge of a page, after a write by the processor. */
	memcpy(addr + 2 * PAGE - 3, "edge of pages", 13);
	CHECK(!io(fd, COWCHECK_IOC_READ, id, 2 * PAGE - 3, buffer, 13) && !memcmp(buffer, "edge of pages", 13),
	      "%s, pin %x: read of 13", what, flags);
	CHECK(!io(fd, COWCHECK_IOC_READ, id, HUGE, buffer, 0), "%s, pin %x: read of nothing", what, flags);
	if (flags & COWCHECK_PIN_WRITE) {
		CHECK(!io(fd, COWCHECK_IOC_WRITE, id, 5 * PAGE - 2, "DMA", 3) && !memcmp(addr + 5 * PAGE - 2, "DMA", 3),
		      "%s, pin %x: write", what, flags);
		CHECK(!io(fd, COWCHECK_IOC_WRITE, id, 0, pattern, HUGE) && !memcmp(addr, pattern, HUGE),
		      "%s, pin %x: write of all", what, flags);
	} else {
		CHECK(io(fd, COWCHECK_IOC_WRITE, id, 0, "x", 1) == EACCES, "%s, pin %x: written", what, flags);
	}
	CHECK(!unpin(fd, id), "%s, pin %x: unpin", what, flags);
	CHECK(unpin(fd, id) == ENOENT, "%s, pin %x: unpinned twice", what, flags);
	CHECK(io(fd, COWCHECK_IOC_READ, id, 0, buffer, 1) == ENOENT, "%s, pin %x: read after unpin", what, flags);
	CHECK(!is_pinned(fd, addr + 3 * PAGE), "%s, pin %x: still pinned", what, flags);
	memory_free(addr);
}

/* A pin keeps its pages and their content when its owner's mapping goes. */
static void outlives_mapping(int fd)
{
	char *addr = memory(BASE);
	unsigned int id;

	memset(addr, 9, HUGE);
	id = pin(fd, addr, HUGE, COWCHECK_PIN_LONGTERM);
	memory_free(addr);
	CHECK(!io(fd, COWCHECK_IOC_READ, id, HUGE - 8, buffer, 8) && buffer[7] == 9, "content after munmap()");
	CHECK(!unpin(fd, id), "unpin after munmap()");
}

/* A long-term read-only pin of a page that is shared gets the owner a page of its own first (Linux 5.19). */
static void unshares(int fd)
{
	char *addr = memory(BASE);
	struct cowcheck_run run;
	pid_t child = fork();
	unsigned int id;

	MUST(child >= 0);
	if (!child) {
		for (;;)
			pause();
	}
	CHECK(!(look_page(fd, addr).flags & COWCHECK_EXCLUSIVE), "shared and exclusive");
	id = pin(fd, addr, HUGE, COWCHECK_PIN_LONGTERM);
	run = look_page(fd, addr);
	if (run.flags & COWCHECK_MARKS_KNOWN)
		CHECK(run.flags & COWCHECK_EXCLUSIVE && run.mapcount == 1, "pinned: %llx, %d", run.flags, run.mapcount);
	unpin(fd, id);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	memory_free(addr);
}

/* Memory of which we see the pins of another process. */
static char *shared(void)
{
	char *addr = mmap(NULL, HUGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	MUST(addr != MAP_FAILED);
	madvise(addr, HUGE, MADV_NOHUGEPAGE);
	memset(addr, 1, HUGE);
	return addr;
}

static void released_by_close(int fd)
{
	char *addr = memory(BASE);
	int other = device();
	int twin = dup(other);

	for (int i = 0; i < 20; i++)
		pin(other, addr + i * PAGE, HUGE - i * PAGE, i % (ALL + 1));
	close(other);
	CHECK(is_pinned(fd, addr), "released while a descriptor is left");
	close(twin);
	CHECK(!is_pinned(fd, addr) && !is_pinned(fd, addr + HUGE - PAGE), "pinned after close()");
	memory_free(addr);
}

static void released_by_death(int fd)
{
	char *addr = shared();
	int ready[2];
	pid_t child;
	char byte;

	MUST(!pipe(ready));
	child = fork();
	MUST(child >= 0);
	if (!child) {
		int own = device();

		for (int i = 0; i < 20; i++)
			pin(own, addr, HUGE, i % (ALL + 1) & ~COWCHECK_PIN_LONGTERM);
		MUST(write(ready[1], "", 1) == 1);
		for (;;)
			pause();
	}
	MUST(read(ready[0], &byte, 1) == 1);
	CHECK(is_pinned(fd, addr), "the child's pins are not there");
	kill(child, SIGKILL);
	MUST(waitpid(child, NULL, 0) == child);
	/* What closes its files has no need to be done when it is reaped. */
	for (int i = 0; i < 1000 && is_pinned(fd, addr); i++)
		usleep(1000);
	CHECK(!is_pinned(fd, addr), "pinned after death");
	close(ready[0]);
	close(ready[1]);
	munmap(addr, HUGE);
}

/* Killed at any moment, in the middle of a call, too. */
static void killed_meanwhile(int fd)
{
	char *addr = shared();
	uint64_t state = 88172645463325252ULL;

	for (int i = 0; i < 30; i++) {
		pid_t child = fork();

		MUST(child >= 0);
		if (!child) {
			int own = device();
			static struct cowcheck_run runs[16];

			for (int n = 0;; n++) {
				struct cowcheck_pin asked = { .addr = (uintptr_t)addr, .len = HUGE, .flags = n % 8 & ~1 };

				if (!call(own, COWCHECK_IOC_PIN, &asked) && n % 3)
					unpin(own, asked.id);
				look_at(own, 0, addr, HUGE, runs, 16);
			}
		}
		usleep(next(&state) % 20000);
		kill(child, SIGKILL);
		MUST(waitpid(child, NULL, 0) == child);
	}
	for (int i = 0; i < 1000 && is_pinned(fd, addr); i++)
		usleep(1000);
	for (size_t at = 0; at < HUGE; at += 64 * PAGE)
		CHECK(!is_pinned(fd, addr + at), "pinned after 30 deaths");
	munmap(addr, HUGE);
}

static void many(int fd)
{
	char *addr = memory(BASE);
	int own = device();
	unsigned int count = 0, first = 0;
	struct cowcheck_pin asked = { .addr = (uintptr_t)addr, .len = PAGE };
	int error;

	while (!(error = call(own, COWCHECK_IOC_PIN, &asked)) && count < 10000) {
		CHECK(asked.id == count + 1, "pin %u is called %u", count + 1, asked.id);
		first = first ?: asked.id;
		count++;
	}
	CHECK(count == 4096 && error == ENOMEM, "%u pins, then %s", count, strerror(error));
	CHECK(!unpin(own, first), "unpin");
	CHECK(!call(own, COWCHECK_IOC_PIN, &asked) && asked.id != first, "a name is used again");
	close(own);
	own = device();
	asked.len = 0;
	/* In pages there is a limit, too: 512 pins of this size. */
	asked.len = HUGE;
	for (count = 0; !(error = call(own, COWCHECK_IOC_PIN, &asked)) && count < 10000; count++)
		;
	CHECK(count * HUGE / PAGE == 1 << 20 && error == ENOMEM, "%u pins of 2M, then %s", count, strerror(error));
	close(own);
	CHECK(!is_pinned(fd, addr), "pinned after close()");
	memory_free(addr);
}

void test_pin(void)
{
	int fd = device();

	for (enum kind kind = BASE; kind < KINDS; kind++)
		for (unsigned int flags = 0; flags <= ALL; flags++)
			through(fd, kind, flags);
	outlives_mapping(fd);
	unshares(fd);
	released_by_close(fd);
	released_by_death(fd);
	killed_meanwhile(fd);
	many(fd);
	close(fd);
}
