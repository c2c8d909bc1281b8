static void expect_no_fault(enum access access, int first, int count)
{
	int page, signal;

	for (page = first; page < first + count; page++) {
		signal = try_access(addr(page), access);
		if (signal == SIGBUS)
			sigbus(page);
		if (signal)
			stop(BROKEN, "page %d could not be %s, which must raise no signal", page,
			     access == READ ? "read" : "written");
	}
}
