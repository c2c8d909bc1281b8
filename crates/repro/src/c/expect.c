/* All that a page may hold. */
#define ONE_OF(...)		((const unsigned int[]){ __VA_ARGS__, END })

/* Compare every word of a page with all that it may hold. */
static void expect(const volatile uint64_t *words, int page, const char *through, const unsigned int *allowed)
{
	const unsigned int *content;
	int index, bad = 0;

	for (content = allowed; *content != END; content++) {
		for (index = 0; index < WORDS; index++)
			if (words[index] != word(*content, page, index))
				break;
		if (index == WORDS)
			return;
		if (index > bad)
			bad = index;
	}
	broken(words[bad], page, bad, through, allowed);
}
