/* What was read through a pin. */
static uint64_t copy[NR_PAGES][WORDS];

static void read_copy(int first, int count, const char *through, const unsigned int *allowed)
{
	int page;

	for (page = first; page < first + count; page++)
		expect(copy[page], page, through, allowed);
}
