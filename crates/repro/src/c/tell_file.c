/* Say what the word with this index of a page holds. */
static void tell(uint64_t value, int page, int index)
{
	unsigned int content = value >> 32;
	uint32_t place = value;

	if (value == 0)
		printf("zeroes");
	else if (content >> 16 == 0 || content >> 16 > 'Z' || place / WORDS >= NR_PAGES)
		printf("%#llx, which nobody wrote", (unsigned long long)value);
	else if (content == FILE_CONTENT)
		printf("the first content of the file");
	else
		printf("what %c wrote in step %u", content >> 16, content & 0xffff);
	if (value && place != (uint32_t)page * WORDS + index)
		printf(" to word %u of page %u", place % WORDS, place / WORDS);
}
