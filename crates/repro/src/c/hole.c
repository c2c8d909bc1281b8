#include <sys/mman.h>

/* Nothing else may be mapped where pages were. */
static void keep_hole(void *start, size_t size)
{
	mmap(start, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
}
