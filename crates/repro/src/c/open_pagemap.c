#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static int open_pagemap(void)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		stop(SKIP, "/proc/self/pagemap: %s", strerror(errno));
	return fd;
}
