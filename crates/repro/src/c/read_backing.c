static void read_backing(int first, int count, const unsigned int *allowed)
{
	int page;

	for (page = first; page < first + count; page++)
		expect(backing_addr(page), page, "the backing", allowed);
}
