#include <stdint.h>

/* Documentation/admin-guide/mm/pagemap.rst */
#define PM_PFN		((1ULL << 55) - 1)
#define PM_SOFT_DIRTY	(1ULL << 55)
#define PM_SWAPPED	(1ULL << 62)
#define PM_PRESENT	(1ULL << 63)

static uint64_t pagemap_entry(int fd, void *address)
{
	uint64_t entry;

	if (pread(fd, &entry, sizeof(entry), (uintptr_t)address / PAGE_SIZE * sizeof(entry)) != sizeof(entry))
		stop(SKIP, "/proc/self/pagemap: %s", strerror(errno));
	return entry;
}
