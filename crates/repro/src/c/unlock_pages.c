#include <errno.h>
#include <string.h>
#include <sys/mman.h>

static void unlock_pages(int first, int count)
{
	if (munlock(addr(first), (size_t)count * PAGE_SIZE))
		stop(SKIP, "munlock() of %d pages from page %d: %s", count, first, strerror(errno));
}
