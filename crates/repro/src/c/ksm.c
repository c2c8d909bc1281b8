#include <stdio.h>
#include <unistd.h>

/* One of KSM's numbers, or -1. */
static long ksm_number(const char *path)
{
	FILE *file = fopen(path, "r");
	long number;

	if (!file)
		return -1;
	if (fscanf(file, "%ld", &number) != 1)
		number = -1;
	fclose(file);
	return number;
}

/*
 * What is left of the scan under way, one that sees that a page does not change, one that
 * finds the other, and one to spare.
 */
static void wait_for_ksm(void)
{
	const char *scans = "/sys/kernel/mm/ksm/full_scans";
	long before = ksm_number(scans);
	int tries;

	if (ksm_number("/sys/kernel/mm/ksm/run") != 1)
		stop(SKIP, "KSM does not run: echo 1 > /sys/kernel/mm/ksm/run");
	for (tries = 0; ksm_number(scans) < before + 4; tries++) {
		if (tries == 2000) {
			not_reached("KSM did not get through all memory; a greater /sys/kernel/mm/ksm/pages_to_scan");
			return;
		}
		usleep(5000);
	}
}
