#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* A file, through which a page of a fixed buffer is read or written. */
static int scratch;

static void make_scratch(void)
{
	scratch = memfd_create("scratch", MFD_CLOEXEC);
	if (scratch < 0 || ftruncate(scratch, PAGE_SIZE))
		stop(SKIP, "memfd_create(): %s", strerror(errno));
}
