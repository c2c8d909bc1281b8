/*
 * smaps is silent about the huge zero page. A PMD maps it, or each PTE maps the small zero
 * page: consecutive frames tell, to root.
 */
static int pmd_mapped_before_6_7(int first, int count)
{
	int fd = open_pagemap(), page, found = 0;

	for (page = first; page < first + count; page++) {
		int head = page / FOLIO_PAGES * FOLIO_PAGES;
		uint64_t pfn = pagemap_entry(fd, addr(head)) & PM_PFN;

		if (pfn && (pagemap_entry(fd, addr(head + 1)) & PM_PFN) == pfn + 1)
			found++;
	}
	close(fd);
	return found;
}
