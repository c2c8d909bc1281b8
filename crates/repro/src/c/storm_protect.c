/* mprotect() of pages of the storm, by their index, in as few calls as can be. */
static bool protect_stretch(int first, int end, int prot)
{
	int i, next;

	for (i = first; i < end; i = next) {
		char *at = addr(field_page[i]);

		for (next = i + 1; next < end && addr(field_page[next]) == at + (size_t)(next - i) * PAGE_SIZE; next++)
			;
		if (mprotect(at, (size_t)(next - i) * PAGE_SIZE, prot))
			return false;
	}
	return true;
}

/* Some pages are read-only for a moment, or all, which is what a PMD can be protected for. */
static bool protect_in_storm(unsigned int *dice)
{
	int first = 0, end = nr_field;
	bool closed, opened;

	if (rand_r(dice) / 64 % 2)
		end = stretch(dice, &first);
	atomic_store(&fence_first, field_page[first]);
	atomic_store(&fence_end, field_page[end - 1] + 1);
	atomic_fetch_add(&fence_step, 1);
	closed = protect_stretch(first, end, PROT_READ);
	if (closed) {
		atomic_fetch_add(&fence_step, 1);
		wait_a_round(1000);
		atomic_fetch_add(&fence_step, 1);
	}
	opened = protect_stretch(first, end, PROT_READ | PROT_WRITE);
	atomic_fetch_add(&fence_step, closed ? 1 : 3);
	return closed && opened;
}
