static void require_pte_mapped(int first, int count)
{
	int found = pmd_mapped(first, count);

	if (found)
		not_reached("PMDs map %d of %d pages from page %d, not none", found, count, first);
	require(first, count, PM_PRESENT, "mapped by a PTE");
}
