static void write_pages(int first, int count)
{
	int page;

	for (page = first; page < first + count; page++)
		fill(addr(page), page, WROTE(me, step));
}
