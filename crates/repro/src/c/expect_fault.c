static void expect_fault(enum access access, int first, int count)
{
	int page;

	for (page = first; page < first + count; page++)
		if (!try_access(addr(page), access))
			stop(BROKEN, "page %d could be %s, which must raise a signal", page,
			     access == READ ? "read" : "written");
}
