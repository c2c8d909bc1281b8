// SPDX-License-Identifier: GPL-2.0-only
/* The module can be unloaded while nothing is open, and only then, and loaded again. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "test.h"

static int unload(void)
{
	return syscall(SYS_delete_module, "cowcheck", O_NONBLOCK) ? errno : 0;
}

void test_unload(void)
{
	int fd = device(), gup = open("/sys/kernel/debug/gup_test", O_RDWR), error;
	char *addr = memory(BASE);
	struct cowcheck_pin pin = { .addr = (uintptr_t)addr, .len = HUGE };
	glob_t found;

	MUST(!call(fd, COWCHECK_IOC_PIN, &pin));
	error = unload();
	CHECK(error == EAGAIN, "unloaded while both are open: %s", strerror(error));
	close(gup);
	error = unload();
	CHECK(error == EAGAIN, "unloaded while the device is open: %s", strerror(error));
	close(fd);
	memory_free(addr);
	error = unload();
	CHECK(!error, "not unloaded: %s", strerror(error));
	CHECK(access("/dev/cowcheck", F_OK) && access("/sys/kernel/debug/gup_test", F_OK), "files are left");

	/* Where the guest's modules lie. */
	MUST(!glob("/cowcheck/modules/*-cowcheck.ko", 0, NULL, &found));
	for (int i = 0; i < 20; i++) {
		int module = open(found.gl_pathv[0], O_RDONLY);

		MUST(module >= 0);
		CHECK(!syscall(SYS_finit_module, module, "", 0), "not loaded: %s", strerror(errno));
		close(module);
		for (int n = 0; n < 1000 && access("/dev/cowcheck", F_OK); n++)
			usleep(1000);
		close(device());
		error = unload();
		CHECK(!error, "not unloaded: %s", strerror(error));
	}
	globfree(&found);
}
