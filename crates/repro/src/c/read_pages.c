static void read_pages(int first, int count, const unsigned int *allowed)
{
	int page;

	for (page = first; page < first + count; page++)
		expect(addr(page), page, "its page table", allowed);
}
