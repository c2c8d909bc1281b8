#include <stdbool.h>
#include <stdint.h>

/* Pages are never closed to the writers of a storm. */
static bool store(int page, volatile uint64_t *at, uint64_t word)
{
	(void)page;
	*at = word;
	return true;
}
