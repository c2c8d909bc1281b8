/* Where the memory is, and, because mremap() moves some of it, where each page is. */
static char *mem;
static char *place[NR_PAGES];

static void *addr(int page)
{
	return place[page];
}

/* The page at an address, or -1. */
static int page_at(char *address)
{
	int page;

	for (page = 0; page < NR_PAGES; page++)
		if (address >= place[page] && address < place[page] + PAGE_SIZE)
			return page;
	return -1;
}
