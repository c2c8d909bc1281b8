/* Each page table entry must have this bit. */
static void require(int first, int count, uint64_t bit, const char *state)
{
	int fd = open_pagemap(), page;

	for (page = first; page < first + count; page++) {
		if (pagemap_entry(fd, addr(page)) & bit)
			continue;
		not_reached("page %d is not %s", page, state);
		break;
	}
	close(fd);
}
