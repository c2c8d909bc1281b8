/* Each writer may be about to tell of one more. */
static struct counts begun_by_now(int page)
{
	struct counts counts = written(page);
	int slot;

	for (slot = 0; slot < SLOTS; slot++)
		counts.of[slot]++;
	return counts;
}
