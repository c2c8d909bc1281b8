#include <errno.h>
#include <string.h>
#include <sys/mman.h>

static void protect(int first, int count, int prot)
{
	if (mprotect(addr(first), (size_t)count * PAGE_SIZE, prot))
		stop(SKIP, "mprotect() of %d pages from page %d: %s", count, first, strerror(errno));
}
