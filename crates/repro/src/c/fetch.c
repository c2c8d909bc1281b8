/* Read pages through a fixed buffer. */
static void fetch(struct fixed *pin, int first, int count)
{
	int page;

	for (page = first; page < first + count; page++) {
		fixed_io(pin, IORING_OP_WRITE_FIXED, page, 0, PAGE_SIZE);
		if (pread(scratch, copy[page], PAGE_SIZE, SCRATCH_PLACE) != PAGE_SIZE)
			stop(SKIP, "pread(): %s", strerror(errno));
	}
}
