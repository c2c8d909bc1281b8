/* A mapping of its own for a page, for a moment: where a PMD reaches over it, PTEs take its place. */
static bool split_in_storm(unsigned int *dice)
{
	char *at = addr(field_page[rand_r(dice) % nr_field]);

	return !madvise(at, PAGE_SIZE, MADV_DONTDUMP) && !madvise(at, PAGE_SIZE, MADV_DODUMP);
}
