/* This word of a page is none of those that it may hold. Say so, and end. */
static void __attribute__((noreturn)) broken(uint64_t word_seen, int page, int index, const char *through,
					     const unsigned int *allowed)
{
	const unsigned int *content;

	flockfile(stdout);
	printf("BROKEN: step %d: %c read page %d through %s and saw in word %d ", step, me, page, through, index);
	tell(word_seen, page, index);
	printf("; allowed there:");
	for (content = allowed; *content != END; content++) {
		printf(content == allowed ? " " : ", or ");
		tell(word(*content, page, index), page, index);
	}
	putchar('\n');
	end(BROKEN);
}
