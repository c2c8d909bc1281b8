static void require_pmd_mapped(int first, int count)
{
	int found = pmd_mapped(first, count);

	if (found != count)
		not_reached("PMDs map %d of %d pages from page %d, not all", found, count, first);
}
