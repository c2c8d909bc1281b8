static void write_backing(int first, int count)
{
	int page;

	for (page = first; page < first + count; page++)
		fill(backing_addr(page), page, WROTE(me, step));
}
