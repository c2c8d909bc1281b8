/* The pages must be those of one folio, or of several whole ones, in order. Only root sees frame numbers. */
static void require_folio(int first, int count)
{
	int fd = open_pagemap(), page;
	uint64_t entry, pfn, before = 0;

	for (page = first; page < first + count; page++) {
		entry = pagemap_entry(fd, addr(page));
		pfn = entry & PM_PFN;
		if (entry & PM_PRESENT && !pfn)
			continue;
		if (!(entry & PM_PRESENT) || pfn % FOLIO_PAGES != (uint64_t)page % FOLIO_PAGES ||
		    (page > first && page % FOLIO_PAGES && pfn != before + 1)) {
			not_reached("page %d is not part of a folio of %d pages", page, FOLIO_PAGES);
			break;
		}
		before = pfn;
	}
	close(fd);
}
