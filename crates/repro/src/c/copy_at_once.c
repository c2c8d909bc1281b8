/* What was read through a pin. Steps at once, which follow each other, have one each. */
static uint64_t copies[MOST_AT_ONCE][NR_PAGES][WORDS];

#define copy		(copies[step % MOST_AT_ONCE])

static void read_copy(int first, int count, const char *through, const unsigned int *allowed)
{
	int page;

	for (page = first; page < first + count; page++)
		expect(copy[page], page, through, allowed);
}
