#define SOME	4

/* Some pages of the storm, in ascending order, each once. How many? */
static int some_pages(unsigned int *dice, int *pages)
{
	int i, nr = 0, left = nr_field;

	for (i = 0; i < nr_field && nr < SOME; i++, left--)
		if (rand_r(dice) / 64 % left < SOME)
			pages[nr++] = field_page[i];
	return nr;
}
