#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* A file, through which a page of a fixed buffer is read or written; each step has its place in it. */
static int scratch;

#define SCRATCH_PLACE	((off_t)step * PAGE_SIZE)

static void make_scratch(void)
{
	scratch = memfd_create("scratch", MFD_CLOEXEC);
	if (scratch < 0)
		stop(SKIP, "memfd_create(): %s", strerror(errno));
}
