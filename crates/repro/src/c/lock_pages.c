#include <errno.h>
#include <string.h>
#include <sys/mman.h>

static void lock_pages(int first, int count)
{
	if (mlock(addr(first), (size_t)count * PAGE_SIZE))
		stop(SKIP, "mlock() of %d pages from page %d: %s; root, or a greater ulimit -l", count, first,
		     strerror(errno));
}
