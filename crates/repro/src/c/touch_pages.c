/* Read a byte of each page, only to populate it. */
static void touch_pages(int first, int count)
{
	int page;

	for (page = first; page < first + count; page++)
		*(volatile char *)addr(page);
}
