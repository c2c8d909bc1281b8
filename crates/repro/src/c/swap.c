#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/swap.h>

/* The swap area that SWAP names, if it is in use. */
static const char *swap_area;

static void find_swap(void)
{
	const char *name = getenv("SWAP");
	FILE *swaps = fopen("/proc/swaps", "r");
	char line[512];

	while (name && swaps && fgets(line, sizeof(line), swaps))
		if (!strncmp(line, name, strlen(name)) && strchr(" \t", line[strlen(name)]))
			swap_area = name;
	if (swaps)
		fclose(swaps);
}

/* Take it out of use, and to use again: all that is in it comes back in, by no page fault. */
static void swap_off_and_on(void)
{
	int tries = 20;

	if (!swap_area)
		stop(SKIP, "it has to be told which swap area to take out of use for a moment: SWAP=/dev/... ./repro");
	while (swapoff(swap_area)) {
		if (errno != EINTR || --tries <= 0) {
			not_reached("swapoff() of %s: %s", swap_area, strerror(errno));
			return;
		}
	}
	if (swapon(swap_area, 0))
		stop(SKIP, "swapon() of %s: %s", swap_area, strerror(errno));
}

/* Should we have been killed in between. */
static void swap_on_again(void)
{
	if (swap_area)
		swapon(swap_area, 0);
}
