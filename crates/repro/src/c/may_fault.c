/* The kernel may do it or refuse it. */
static void may_fault(enum access access, int first, int count)
{
	int page;

	for (page = first; page < first + count; page++)
		try_access(addr(page), access);
}
