#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT	21
#endif

static bool page_out_in_storm(unsigned int *dice)
{
	int i, end = stretch(dice, &i);

	for (; i < end; i++)
		if (madvise(addr(field_page[i]), PAGE_SIZE, MADV_PAGEOUT))
			return false;
	return true;
}
