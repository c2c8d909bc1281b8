/* These pages were written since the bit was cleared. */
static void expect_soft_dirty(int first, int count)
{
	static volatile char written[PAGE_SIZE];
	int fd = open_pagemap(), page;

	/* Not every kernel keeps the bit. */
	written[0] = 1;
	for (page = first; pagemap_entry(fd, (void *)written) & PM_SOFT_DIRTY && page < first + count; page++) {
		uint64_t entry = pagemap_entry(fd, addr(page));

		if (entry & (PM_PRESENT | PM_SWAPPED) && !(entry & PM_SOFT_DIRTY))
			stop(BROKEN, "page %d is not soft-dirty, though written since that was cleared", page);
	}
	close(fd);
}
