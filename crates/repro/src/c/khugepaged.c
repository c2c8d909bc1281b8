#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define KHUGEPAGED	"/sys/kernel/mm/transparent_hugepage/khugepaged/"

/*
 * Wake khugepaged until it has gone round twice or PMDs map the pages. It wakes up when it is
 * told how long to sleep, also where it is told what it knows: so nothing is to be put back.
 */
static void wake_khugepaged(int first, int count)
{
	const char *sleeps = KHUGEPAGED "scan_sleep_millisecs", *scans = KHUGEPAGED "full_scans";
	long pause = number_in(sleeps), before = number_in(scans);
	int tries;

	for (tries = 0; tries < 750; tries++) {
		FILE *file = fopen(sleeps, "w");

		if (!file || fprintf(file, "%ld", pause) < 0 || fclose(file)) {
			not_reached("%s: %s; it needs root and CONFIG_TRANSPARENT_HUGEPAGE", sleeps, strerror(errno));
			return;
		}
		usleep(2000);
		if (pmd_mapped(first, count) == count || number_in(scans) >= before + 2)
			return;
	}
	not_reached("khugepaged has not gone round twice in 1.5 s");
}
