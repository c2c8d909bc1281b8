// SPDX-License-Identifier: GPL-2.0-only
/*
 * Random calls on shared files, while other threads map, unmap, split, collapse, swap and fork what they are about.
 * Nothing is to be seen but error codes; what is looked for is in the kernel's log afterwards.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "test.h"

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif
#define MADV_COLLAPSE_ 25
#define MADV_GUARD_INSTALL_ 102
#define MADV_GUARD_REMOVE_ 103

/* Nothing of ours is here, so anything may be written. */
#define ARENA ((char *)0x100000000000UL)
#define ARENA_SIZE (16 * HUGE)

#define CALLERS 3
#define CHANGERS 2
#define FILES 3

static int files[FILES];
static long left;
static bool is_over;
static unsigned long outcomes[200];
static pid_t other;

static uint64_t any_addr(uint64_t *state)
{
	static const uint64_t odd[] = {
		0, 1, PAGE, -1ULL, -PAGE, 1ULL << 63, 1ULL << 47, (1ULL << 47) - PAGE, 0xffff888000000000ULL,
		0xffffffff81000000ULL, 0xffffffffff600000ULL, 0x7fffffffffffULL, 0xffff800000000000ULL,
	};
	uint64_t kind = next(state) % 16;

	if (kind == 0)
		return odd[next(state) % (sizeof(odd) / sizeof(*odd))];
	if (kind == 1)
		return (uintptr_t)ARENA + next(state) % ARENA_SIZE;
	return (uintptr_t)ARENA + next(state) % (ARENA_SIZE / PAGE) * PAGE;
}

static uint64_t any_len(uint64_t *state)
{
	uint64_t kind = next(state) % 16;

	if (kind == 0)
		return next(state);
	if (kind == 1)
		return next(state) % HUGE;
	if (kind == 2)
		return HUGE << next(state) % 4;
	return (next(state) % 16) * PAGE;
}

/* Names of pins that were there not long ago, of any file. */
static uint32_t names[256];

static uint32_t any_name(uint64_t *state)
{
	return next(state) % 16 ? __atomic_load_n(&names[next(state) % 256], __ATOMIC_RELAXED) : next(state);
}

static uint32_t is_odd(uint64_t *state)
{
	return next(state) % 64 ? 0 : next(state);
}

struct longterm {
	uint64_t addr, size;
	uint32_t flags;
};

static void one_call(uint64_t *state, struct cowcheck_run *runs)
{
	int fd = files[next(state) % FILES];
	unsigned long command;
	void *argument;
	union {
		struct cowcheck_pin pin;
		struct cowcheck_io io;
		struct cowcheck_look look;
		struct longterm longterm;
		uint64_t to;
	} any;
	int error;

	memset(&any, 0, sizeof(any));
	argument = &any;
	switch (next(state) % 12) {
	case 0: case 1: case 2:
		command = COWCHECK_IOC_PIN;
		any.pin = (struct cowcheck_pin){ any_addr(state), any_len(state), next(state) % 8 | is_odd(state), 0 };
		break;
	case 3: case 4:
		command = next(state) % 2 ? COWCHECK_IOC_READ : COWCHECK_IOC_WRITE;
		any.io = (struct cowcheck_io){ any_len(state), any_len(state), any_addr(state), any_name(state), is_odd(state) };
		break;
	case 5: case 6:
		command = COWCHECK_IOC_UNPIN;
		argument = (void *)(uintptr_t)any_name(state);
		break;
	case 7: case 8: case 9:
		command = COWCHECK_IOC_LOOK;
		any.look = (struct cowcheck_look){ any_addr(state), any_len(state), (uintptr_t)runs, next(state) % 64, 0, 0,
						   next(state) % 4 ? 0 : other, is_odd(state) };
		if (next(state) % 8 == 0)
			any.look.runs = any_addr(state);
		if (next(state) % 64 == 0)
			any.look.pid = next(state);
		break;
	case 10:
		command = _IOW('g', 7, struct longterm) + next(state) % 2;
		if (command == _IOW('g', 7, struct longterm) + 1)
			command = next(state) % 2 ? _IO('g', 8) : _IOW('g', 9, uint64_t);
		any.longterm = (struct longterm){ any_addr(state), any_len(state), next(state) % 4 | is_odd(state) };
		break;
	default:
		command = next(state) % 2 ? next(state) : _IOC(next(state) % 4, 0xCC, next(state) % 8, next(state) % 64);
		/* Not what a kernel does with any file: FIONBIO and the like change it for the others. */
		if (_IOC_TYPE(command) != 0xCC && _IOC_TYPE(command) != 'g')
			command = _IO(0xCC, command & 0xff);
		argument = next(state) % 2 ? (void *)any_addr(state) : &any;
		break;
	}
	error = ioctl(fd, command, argument) < 0 ? errno : 0;
	if (command == COWCHECK_IOC_PIN && argument == &any && !error)
		__atomic_store_n(&names[next(state) % 256], any.pin.id, __ATOMIC_RELAXED);
	if (error < (int)(sizeof(outcomes) / sizeof(*outcomes)))
		__atomic_add_fetch(&outcomes[error], 1, __ATOMIC_RELAXED);
}

static void *caller(void *seed)
{
	uint64_t state = (uintptr_t)seed;
	struct cowcheck_run *runs = calloc(64, sizeof(*runs));

	MUST(runs);
	while (__atomic_sub_fetch(&left, 1, __ATOMIC_RELAXED) >= 0)
		one_call(&state, runs);
	free(runs);
	return NULL;
}

static void fork_and_die(uint64_t *state)
{
	pid_t child = fork();

	if (child < 0)
		return;
	if (!child) {
		/* It writes what it shares, and some of it pins. */
		for (int i = 0; i < 20; i++) {
			struct cowcheck_pin pin = { any_addr(state) & ~(PAGE - 1), 8 * PAGE, next(state) % 8, 0 };

			ioctl(files[i % FILES], COWCHECK_IOC_PIN, &pin);
		}
		_exit(0);
	}
	waitpid(child, NULL, 0);
}

static void *changer(void *seed)
{
	uint64_t state = (uintptr_t)seed;

	while (!__atomic_load_n(&is_over, __ATOMIC_RELAXED)) {
		char *addr = ARENA + next(&state) % (ARENA_SIZE / HUGE) * HUGE;
		size_t len = HUGE;

		if (next(&state) % 2) {
			addr += next(&state) % (HUGE / PAGE) * PAGE;
			len = (next(&state) % 16 + 1) * PAGE;
			if (addr + len > ARENA + ARENA_SIZE)
				len = ARENA + ARENA_SIZE - addr;
		}
		switch (next(&state) % 16) {
		case 0: case 1: case 2:
			/* A page of which nothing is mapped has to be there again before long. */
			mmap(addr, len, PROT_READ | PROT_WRITE,
			     MAP_FIXED | MAP_ANONYMOUS | (next(&state) % 8 ? MAP_PRIVATE : MAP_SHARED), -1, 0);
			madvise(addr, len, next(&state) % 2 ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
			break;
		case 3:
			munmap(addr, len);
			break;
		case 4:
			mprotect(addr, len, next(&state) % 2 ? PROT_READ : PROT_READ | PROT_WRITE);
			break;
		case 5:
			madvise(addr, len, MADV_DONTNEED);
			break;
		case 6:
			madvise(addr, len, MADV_PAGEOUT);
			break;
		case 7: case 8:
			madvise(addr, HUGE, MADV_COLLAPSE_);
			break;
		case 9:
			madvise(addr, len, next(&state) % 2 ? MADV_GUARD_INSTALL_ : MADV_GUARD_REMOVE_);
			break;
		case 10:
			if (next(&state) % 8 == 0)
				fork_and_die(&state);
			break;
		case 11:
			if (next(&state) % 4 == 0) {
				mmap(addr, HUGE, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_ANONYMOUS | MAP_HUGETLB |
				     (next(&state) % 2 ? MAP_PRIVATE : MAP_SHARED), -1, 0);
			}
			break;
		case 12:
			mremap(addr, len, len, MREMAP_MAYMOVE | MREMAP_FIXED,
			       ARENA + next(&state) % ((ARENA_SIZE - len) / PAGE) * PAGE);
			break;
		default: {
			/* A write that finds nothing must not end us: the kernel writes. */
			int zero = open("/dev/zero", O_RDONLY);

			if (read(zero, addr, len) < 0)
				mmap(addr, len, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
			close(zero);
		}
		}
	}
	return NULL;
}

/* How many pages are pinned by anybody, as the kernel counts it. */
static long pinned_pages(void)
{
	long acquired = -1, released = -1, value;
	char name[64];
	FILE *file;

	/* Each processor counts for itself, and this adds it up. */
	file = fopen("/proc/sys/vm/stat_refresh", "r");
	MUST(file);
	(void)fgetc(file);
	fclose(file);
	file = fopen("/proc/vmstat", "r");
	MUST(file);
	while (fscanf(file, "%63s %ld", name, &value) == 2) {
		if (!strcmp(name, "nr_foll_pin_acquired"))
			acquired = value;
		else if (!strcmp(name, "nr_foll_pin_released"))
			released = value;
	}
	fclose(file);
	MUST(acquired >= 0 && released >= 0);
	return acquired - released;
}

/* In a process of its own, so that all of its memory is back when it is gone. */
static void run(unsigned long calls, uint64_t seed)
{
	pthread_t threads[CALLERS + CHANGERS];

	files[0] = device();
	files[1] = device();
	files[2] = open("/sys/kernel/debug/gup_test", O_RDWR);
	MUST(files[2] >= 0);
	MUST(mmap(ARENA, ARENA_SIZE, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == ARENA);
	/* Another process to be looked at, with the same memory, which goes now and then. */
	other = getppid();
	left = calls;
	for (long i = 0; i < CALLERS + CHANGERS; i++) {
		uint64_t state = seed * 1000003 + i * 7919 + 1;

		next(&state);
		MUST(!pthread_create(&threads[i], NULL, i < CALLERS ? caller : changer, (void *)(uintptr_t)(state | 1)));
	}
	for (int i = 0; i < CALLERS; i++)
		pthread_join(threads[i], NULL);
	__atomic_store_n(&is_over, true, __ATOMIC_RELAXED);
	for (int i = CALLERS; i < CALLERS + CHANGERS; i++)
		pthread_join(threads[i], NULL);
	printf("  %lu calls, seed %lu: %lu well", calls, (unsigned long)seed, outcomes[0]);
	for (size_t i = 1; i < sizeof(outcomes) / sizeof(*outcomes); i++)
		if (outcomes[i])
			printf(", %lu %s", outcomes[i], strerrorname_np(i) ?: "?");
	printf("\n");
	fflush(stdout);
	/* With pins held. */
	_exit(outcomes[0] && outcomes[EINVAL] && outcomes[EFAULT] ? 0 : 1);
}

void test_fuzz(unsigned long calls, uint64_t seed)
{
	long before = pinned_pages(), after = 0;
	pid_t child = fork();
	int status;

	MUST(child >= 0);
	if (!child)
		run(calls, seed);
	MUST(waitpid(child, &status, 0) == child);
	CHECK(WIFEXITED(status) && !WEXITSTATUS(status), "the process ended with %x", status);
	/* What closed its files last may be on its way still. */
	for (int i = 0; i < 1000 && (after = pinned_pages()) != before; i++)
		usleep(1000);
	CHECK(after == before, "%ld pages were pinned before, %ld after", before, after);
	CHECK(!before, "%ld pages were pinned when all pins were gone", before);
}
