// SPDX-License-Identifier: GPL-2.0-only
/* The calls of the kernel's gup_test, at its place. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "test.h"

struct pin_longterm_test {
	uint64_t addr;
	uint64_t size;
	uint32_t flags;
};

#define START _IOW('g', 7, struct pin_longterm_test)
#define STOP _IO('g', 8)
#define READ _IOW('g', 9, uint64_t)

static char buffer[HUGE];

void test_gup_test(void)
{
	int fd = open("/sys/kernel/debug/gup_test", O_RDWR), own = device();
	uint64_t to = (uintptr_t)buffer, nowhere = 0x10000;

	if (!CHECK(fd >= 0, "no /sys/kernel/debug/gup_test: %s", strerror(errno)))
		return;
	CHECK(call(fd, READ, &to) == EINVAL, "read without a pin");
	CHECK(!call(fd, STOP, NULL), "stop without a pin");
	for (enum kind kind = BASE; kind < KINDS; kind++)
		for (uint32_t flags = 0; flags < 4; flags++) {
			char *addr = memory(kind);
			struct pin_longterm_test asked = { (uintptr_t)addr, HUGE, flags };

			if (!addr)
				continue;
			memset(addr, flags + 1, HUGE);
			CHECK(!call(fd, START, &asked), "start, %s, %x", kind_names[kind], flags);
			CHECK(call(fd, START, &asked) == EINVAL, "started twice");
			CHECK(look_page(own, addr).flags & COWCHECK_PINNED, "not pinned");
			memset(buffer, 0, HUGE);
			CHECK(!call(fd, READ, &to) && !memcmp(buffer, addr, HUGE), "read");
			CHECK(call(fd, READ, &nowhere) == EFAULT, "read to nowhere");
			CHECK(!call(fd, STOP, NULL), "stop");
			CHECK(!(look_page(own, addr).flags & COWCHECK_PINNED), "pinned");
			memory_free(addr);
		}
	char *addr = memory(BASE);
	struct pin_longterm_test bad = { (uintptr_t)addr, HUGE, 4 };

	CHECK(call(fd, START, &bad) == EINVAL, "flag 4");
	bad = (struct pin_longterm_test){ (uintptr_t)addr + 1, PAGE, 0 };
	CHECK(call(fd, START, &bad) == EINVAL, "unaligned");
	bad = (struct pin_longterm_test){ nowhere, PAGE, 0 };
	CHECK(call(fd, START, &bad) == EFAULT, "nowhere");
	CHECK(call(fd, _IO('g', 1), NULL) == EINVAL, "another call");
	/* Closing gives back. */
	bad = (struct pin_longterm_test){ (uintptr_t)addr, HUGE, 0 };
	CHECK(!call(fd, START, &bad), "start");
	close(fd);
	CHECK(!(look_page(own, addr).flags & COWCHECK_PINNED), "pinned after close()");
	memory_free(addr);
	close(own);
}
