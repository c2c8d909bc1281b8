#include <errno.h>
#include <string.h>
#include <sys/mman.h>

static void advise(int first, int count, int advice)
{
	if (madvise(addr(first), (size_t)count * PAGE_SIZE, advice))
		stop(SKIP, "madvise(%d) of %d pages from page %d: %s", advice, count, first, strerror(errno));
}
