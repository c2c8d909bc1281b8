#include <errno.h>
#include <string.h>
#include <sys/mman.h>

static void unmap(int first, int count)
{
	if (munmap(addr(first), (size_t)count * PAGE_SIZE))
		stop(SKIP, "munmap() of %d pages from page %d: %s", count, first, strerror(errno));
	keep_hole(addr(first), (size_t)count * PAGE_SIZE);
}
