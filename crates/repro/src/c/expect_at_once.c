#include <stdbool.h>

/* All that a page may hold. */
#define ONE_OF(...)		((const unsigned int[]){ __VA_ARGS__, END })
/* The same where steps at once left it: each word may be of another of them. */
#define MIX_OF(...)		((const unsigned int[]){ MIX, __VA_ARGS__, END })
#define MIX			(~1u)

/* The first word that none of these can have written, or WORDS. */
static int wrong_in_mix(const uint64_t *words, int page, const unsigned int *allowed)
{
	const unsigned int *content;
	int index;

	for (index = 0; index < WORDS; index++) {
		for (content = allowed; *content != END; content++)
			if (words[index] == word(*content, page, index))
				break;
		if (*content == END)
			break;
	}
	return index;
}

/* The first word that differs from the one content that fits the longest, or WORDS. */
static int wrong_in_whole(const uint64_t *words, int page, const unsigned int *allowed)
{
	int index, most = 0;

	for (; *allowed != END; allowed++) {
		for (index = 0; index < WORDS; index++)
			if (words[index] != word(*allowed, page, index))
				break;
		if (index > most)
			most = index;
	}
	return most;
}

/* Compare every word of a page, which somebody may be writing to, with all that it may hold. */
static void expect(const volatile uint64_t *words, int page, const char *through, const unsigned int *allowed)
{
	uint64_t seen[WORDS];
	bool mix = *allowed == MIX;
	int index, bad;

	for (index = 0; index < WORDS; index++)
		seen[index] = words[index];
	allowed += mix;
	bad = mix ? wrong_in_mix(seen, page, allowed) : wrong_in_whole(seen, page, allowed);
	if (bad != WORDS)
		broken(seen[bad], page, bad, through, allowed);
}
