/* Write pages through a fixed buffer. */
static void write_fixed(struct fixed *pin, int first, int count)
{
	uint64_t words[WORDS];
	int page;

	for (page = first; page < first + count; page++) {
		fill(words, page, WROTE(me, step));
		if (pwrite(scratch, words, PAGE_SIZE, SCRATCH_PLACE) != PAGE_SIZE)
			stop(SKIP, "pwrite(): %s", strerror(errno));
		fixed_io(pin, IORING_OP_READ_FIXED, page, 0, PAGE_SIZE);
	}
}
