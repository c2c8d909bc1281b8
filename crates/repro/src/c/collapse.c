#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif

/* A refusal breaks nothing. Some pass: try again, for a while. */
static void collapse(int first, int count, int tries)
{
	while (madvise(addr(first), (size_t)count * PAGE_SIZE, MADV_COLLAPSE)) {
		if ((errno != EAGAIN && errno != EBUSY && errno != ENOMEM) || --tries <= 0) {
			say("note", "MADV_COLLAPSE was refused: %s", strerror(errno));
			return;
		}
		usleep(5000);
	}
	say("note", "MADV_COLLAPSE: done");
}
