#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif

/* The pages of the file become THPs. */
static void collapse_file(void)
{
	int tries = 60;

	while (madvise(backing, MEM_SIZE, MADV_COLLAPSE)) {
		if ((errno != EAGAIN && errno != EBUSY && errno != ENOMEM) || --tries <= 0)
			stop(SKIP, "MADV_COLLAPSE of the file (Linux 6.1): %s", strerror(errno));
		usleep(5000);
	}
}
