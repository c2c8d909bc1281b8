// SPDX-License-Identifier: GPL-2.0-only
/* Arguments that are wrong are refused, each with its error. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

#define KERNEL 0xffff888000000000ULL
#define NOWHERE 0x10000ULL

static char *good;
static struct cowcheck_run runs[4];

static void bad_pins(int fd)
{
	const uint64_t at = (uintptr_t)good;
	const struct {
		uint64_t addr, len;
		uint32_t flags;
		int error;
	} cases[] = {
		{ at, 0, 0, EINVAL },
		{ at + 1, PAGE, 0, EINVAL },
		{ at, PAGE + 1, 0, EINVAL },
		{ at, PAGE, 8, EINVAL },
		{ at, PAGE, ~0U, EINVAL },
		{ at, -PAGE, 0, EINVAL },
		{ -PAGE, PAGE, 0, EINVAL },
		{ -PAGE, 2 * PAGE, 0, EINVAL },
		{ at, 1ULL << 63, 0, EFAULT },
		{ KERNEL, PAGE, 0, EFAULT },
		{ 0xffffffffff600000ULL, PAGE, 0, EFAULT },
		{ 0x8000000000000000ULL, PAGE, 0, EFAULT },
		{ 0x7ffffffff000ULL, PAGE, 0, EFAULT },
		{ NOWHERE, PAGE, 0, EFAULT },
		{ at + HUGE - PAGE, 2 * PAGE, 0, EFAULT },
		{ at, 1ULL << 33, 0, ENOMEM },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		for (uint32_t flags = 0; flags < 8; flags++) {
			struct cowcheck_pin pin = { cases[i].addr, cases[i].len, cases[i].flags | flags, 77 };
			int error = call(fd, COWCHECK_IOC_PIN, &pin);

			CHECK(error == cases[i].error, "pin of %llx+%llx, %x: %s", pin.addr, pin.len, pin.flags,
			      strerror(error));
		}
	CHECK(!(look_page(fd, good + HUGE - PAGE).flags & COWCHECK_PINNED), "half a pin is left");
	CHECK(call(fd, COWCHECK_IOC_PIN, NULL) == EFAULT, "pin of NULL");
	CHECK(call(fd, COWCHECK_IOC_PIN, (void *)KERNEL) == EFAULT, "argument in the kernel");
}

static void bad_io(int fd)
{
	struct cowcheck_pin pin = { .addr = (uintptr_t)good, .len = 2 * PAGE, .flags = COWCHECK_PIN_WRITE };
	static char buffer[4 * PAGE];
	const uint64_t buf = (uintptr_t)buffer;

	MUST(!call(fd, COWCHECK_IOC_PIN, &pin));
	const struct {
		struct cowcheck_io io;
		int error;
	} cases[] = {
		{ { 0, 2 * PAGE + 1, buf, pin.id, 0 }, EINVAL },
		{ { 2 * PAGE, 1, buf, pin.id, 0 }, EINVAL },
		{ { 2 * PAGE + 1, 0, buf, pin.id, 0 }, EINVAL },
		{ { -1ULL, 2, buf, pin.id, 0 }, EINVAL },
		{ { -1ULL, 1, buf, pin.id, 0 }, EINVAL },
		{ { 0, -1ULL, buf, pin.id, 0 }, EINVAL },
		{ { 0, 1ULL << 63, buf, pin.id, 0 }, EINVAL },
		{ { 0, 1, buf, pin.id, 1 }, EINVAL },
		{ { 0, 1, buf, 0, 0 }, ENOENT },
		{ { 0, 1, buf, pin.id + 1, 0 }, ENOENT },
		{ { 0, 1, buf, ~0U, 0 }, ENOENT },
		{ { 0, 1, NOWHERE, pin.id, 0 }, EFAULT },
		{ { 0, 1, KERNEL, pin.id, 0 }, EFAULT },
		{ { 0, 2 * PAGE, -PAGE, pin.id, 0 }, EFAULT },
		{ { 0, PAGE, 0, pin.id, 0 }, EFAULT },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		for (int is_write = 0; is_write < 2; is_write++) {
			struct cowcheck_io io = cases[i].io;
			int error = call(fd, is_write ? COWCHECK_IOC_WRITE : COWCHECK_IOC_READ, &io);

			CHECK(error == cases[i].error, "%s %zu: %s", is_write ? "write" : "read", i, strerror(error));
		}
	CHECK(call(fd, COWCHECK_IOC_READ, NULL) == EFAULT, "read of NULL");
	for (uint64_t id = 1; id; id <<= 1)
		if (id != pin.id)
			CHECK(call(fd, COWCHECK_IOC_UNPIN, (void *)id) == ENOENT, "unpin of %llx", (unsigned long long)id);
	CHECK(call(fd, COWCHECK_IOC_UNPIN, (void *)(1ULL << 32 | pin.id)) == ENOENT, "unpin of a name and more");
	CHECK(!call(fd, COWCHECK_IOC_UNPIN, (void *)(uintptr_t)pin.id), "unpin");
}

static void bad_looks(int fd)
{
	const uint64_t at = (uintptr_t)good, to = (uintptr_t)runs;
	const struct {
		struct cowcheck_look look;
		int error;
	} cases[] = {
		{ { at, 0, to, 4, 0, 0, 0, 0 }, EINVAL },
		{ { at + 8, PAGE, to, 4, 0, 0, 0, 0 }, EINVAL },
		{ { at, PAGE - 1, to, 4, 0, 0, 0, 0 }, EINVAL },
		{ { at, -PAGE, to, 4, 0, 0, 0, 0 }, EINVAL },
		{ { at, PAGE, to, 0, 0, 0, 0, 0 }, EINVAL },
		{ { at, PAGE, to, 4, 0, 0, -1, 0 }, EINVAL },
		{ { at, PAGE, to, 4, 0, 0, -2147483647 - 1, 0 }, EINVAL },
		{ { at, PAGE, to, 4, 0, 0, 0, 1 }, EINVAL },
		{ { -PAGE, PAGE, to, 4, 0, 0, 0, 0 }, EINVAL },
		{ { KERNEL, PAGE, to, 4, 0, 0, 0, 0 }, EFAULT },
		{ { 0xffffffffff600000ULL, PAGE, to, 4, 0, 0, 0, 0 }, EFAULT },
		{ { at, PAGE, NOWHERE, 4, 0, 0, 0, 0 }, EFAULT },
		{ { at, PAGE, KERNEL, 4, 0, 0, 0, 0 }, EFAULT },
		{ { at, PAGE, -8, 4, 0, 0, 0, 0 }, EFAULT },
		{ { at, PAGE, to, 4, 0, 0, 2147483647, 0 }, ESRCH },
		/* A thread of the kernel has no memory. */
		{ { at, PAGE, to, 4, 0, 0, 2, 0 }, ESRCH },
		{ { 0, PAGE, to, 4, 0, 0, 0, 0 }, 0 },
		{ { 0, 0x7ffffffff000ULL, to, 1, 0, 0, 0, 0 }, 0 },
		{ { 0, 0x7ffffffff000ULL, to, 4, 0, 0, 1, 0 }, 0 },
		{ { NOWHERE, PAGE, to, ~0U, 0, 0, 0, 0 }, 0 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct cowcheck_look look = cases[i].look;
		int error = call(fd, COWCHECK_IOC_LOOK, &look);

		CHECK(error == cases[i].error, "look %zu: %s", i, strerror(error));
	}
	CHECK(call(fd, COWCHECK_IOC_LOOK, NULL) == EFAULT, "look of NULL");
}

void test_bad(void)
{
	int fd = device();
	pid_t child;
	int status;

	good = memory(BASE);
	bad_pins(fd);
	bad_io(fd);
	bad_looks(fd);
	for (unsigned int n = 6; n < 256; n++)
		CHECK(call(fd, _IO(0xCC, n), NULL) == ENOTTY, "call %u", n);
	CHECK(call(fd, _IO('g', 8), NULL) == ENOTTY, "another's call");
	CHECK(call(fd, COWCHECK_IOC_PIN & ~0x3fff0000UL, NULL) == ENOTTY, "a call of another size");
	memory_free(good);
	close(fd);

	/* Who is not root is not let in. */
	child = fork();
	MUST(child >= 0);
	if (!child) {
		int open_errno, gup_errno;

		MUST(!setresuid(1000, 1000, 1000));
		open_errno = open("/dev/cowcheck", O_RDWR) < 0 ? errno : 0;
		gup_errno = open("/sys/kernel/debug/gup_test", O_RDWR) < 0 ? errno : 0;
		_exit(open_errno == EACCES && gup_errno == EACCES ? 0 : 1);
	}
	MUST(waitpid(child, &status, 0) == child);
	CHECK(!status, "somebody else was let in");
	/* The mode of the file is not all that keeps him out. */
	MUST(!chmod("/dev/cowcheck", 0666));
	child = fork();
	MUST(child >= 0);
	if (!child) {
		MUST(!setresuid(1000, 1000, 1000));
		_exit(open("/dev/cowcheck", O_RDWR) < 0 && errno == EPERM ? 0 : 1);
	}
	MUST(waitpid(child, &status, 0) == child);
	CHECK(!status, "somebody without CAP_SYS_ADMIN was let in");
	MUST(!chmod("/dev/cowcheck", 0600));
}
