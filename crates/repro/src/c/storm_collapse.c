#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif

/* Has PTEs map the pages, then collapses all that lies together. */
static bool collapse_in_storm(unsigned int *dice)
{
	int page, end;

	if (!split_in_storm(dice))
		return false;
	for (page = 0; page < NR_PAGES; page = end) {
		char *at = addr(page);

		for (end = page + 1; end < NR_PAGES && addr(end) == at + (size_t)(end - page) * PAGE_SIZE; end++)
			;
		if (madvise(at, (size_t)(end - page) * PAGE_SIZE, MADV_COLLAPSE))
			return false;
	}
	return true;
}
