#include <unistd.h>

/*
 * What is left of the scan under way, one that sees that a page does not change, one that
 * finds the other, and one to spare.
 */
static void wait_for_ksm(void)
{
	const char *scans = "/sys/kernel/mm/ksm/full_scans";
	long before = number_in(scans);
	int tries;

	if (number_in("/sys/kernel/mm/ksm/run") != 1)
		stop(SKIP, "KSM does not run: echo 1 > /sys/kernel/mm/ksm/run");
	for (tries = 0; number_in(scans) < before + 4; tries++) {
		if (tries == 2000) {
			not_reached("KSM did not get through all memory; a greater /sys/kernel/mm/ksm/pages_to_scan");
			return;
		}
		usleep(5000);
	}
}
