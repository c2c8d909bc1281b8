static void fill(volatile uint64_t *words, int page, unsigned int content)
{
	int index;

	for (index = 0; index < WORDS; index++)
		words[index] = word(content, page, index);
}
