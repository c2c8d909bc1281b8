#include <stdio.h>

/* smaps counts by mapping: what PMDs map in part is taken as not mapped by any. */
static int pmd_mapped_before_6_7(int first, int count)
{
	unsigned long start = (unsigned long)addr(first), end = start + (unsigned long)count * PAGE_SIZE;
	unsigned long from = 0, to = 0, low, high, kb;
	FILE *smaps = fopen("/proc/self/smaps", "re");
	char line[512];
	int found = 0;

	while (smaps && fgets(line, sizeof(line), smaps)) {
		if (sscanf(line, "%lx-%lx ", &low, &high) == 2) {
			from = low;
			to = high;
		} else if ((sscanf(line, "AnonHugePages: %lu", &kb) == 1 ||
			    sscanf(line, "ShmemPmdMapped: %lu", &kb) == 1 ||
			    sscanf(line, "FilePmdMapped: %lu", &kb) == 1) &&
			   kb && kb * 1024 == to - from && from < end && to > start) {
			found += ((to < end ? to : end) - (from > start ? from : start)) / PAGE_SIZE;
		}
	}
	if (smaps)
		fclose(smaps);
	return found;
}
