#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

/* Address space, aligned, with nothing that is mapped next to it. */
static char *reserve(size_t size)
{
	char *start = mmap(NULL, size + 2 * ALIGNMENT, PROT_NONE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (start == MAP_FAILED)
		stop(SKIP, "no address space: %s", strerror(errno));
	return (char *)(((uintptr_t)start + ALIGNMENT) & ~(uintptr_t)(ALIGNMENT - 1));
}
