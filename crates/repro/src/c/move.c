#include <errno.h>
#include <string.h>
#include <sys/mman.h>

/* Move pages to where so many pages behind the start of the memory are. */
static void move(int first, int count, int to)
{
	size_t size = (size_t)count * PAGE_SIZE;
	char *from = addr(first), *target = mem + (size_t)to * PAGE_SIZE;
	int page;

	if (mremap(from, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, target) == MAP_FAILED)
		stop(SKIP, "mremap() of %d pages from page %d: %s", count, first, strerror(errno));
	keep_hole(from, size);
	for (page = 0; page < count; page++)
		place[first + page] = target + (size_t)page * PAGE_SIZE;
}
