#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* One of several steps at once: whose it is, and what is done. */
struct beside {
	int who;
	void (*work)(void);
	bool forks;	/* the main thread does it, so that the child is as any other */
};

/* One that a thread does. */
static struct aside {
	pthread_t thread;
	int nr;
	void (*work)(void);
} aside[MOST_AT_ONCE];

static atomic_int begun;	/* how many of these threads are there */
static atomic_bool over;	/* they may go */
static atomic_int *met;		/* how many steps at once have begun, in all processes */
static int all;			/* so many will have when these have */

static void make_meeting(void)
{
	met = mmap(NULL, sizeof(*met), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (met == MAP_FAILED)
		stop(SKIP, "mmap(): %s", strerror(errno));
}

/* Spin until all have come, 20 ms at most. */
static void meet(void)
{
	double began = microseconds();
	int spins;

	atomic_fetch_add(met, 1);
	for (spins = 0; atomic_load(met) < all; spins++) {
		if (spins < 1000)
			continue;
		if (microseconds() - began > 20000)
			return;
		sched_yield();
	}
}

/*
 * Half of them begin when all have met, the others up to half a millisecond later: so that a
 * short step comes by all of a long one. A's process id is another in each round.
 */
static void wait_a_little(void)
{
	uint32_t dice = (shared->first * 64u + me) * 0x10001u + step;
	double until;

	dice = (dice ^ dice >> 16) * 0x85ebca6bu;
	dice = (dice ^ dice >> 13) * 0xc2b2ae35u;
	dice ^= dice >> 16;
	if (dice & 1)
		return;
	until = microseconds() + (dice >> 8) % (1000u << (dice >> 1) % 10) / 1000.0;
	while (microseconds() < until)
		;
}

static void do_step(int nr, void (*work)(void))
{
	step = nr;
	meet();
	wait_a_little();
	work();
	step = 0;
}

static void *do_aside(void *which)
{
	struct aside *mine = which;

	atomic_fetch_add(&begun, 1);
	do_step(mine->nr, mine->work);
	/* While the main thread may be forking none of us ends: libc holds locks there. */
	while (!atomic_load(&over))
		usleep(50);
	return NULL;
}

/* Our part of these steps: one in this thread, each other in a thread that is gone afterwards. */
static void take_part(int first, int count, const struct beside *steps, int main_one)
{
	int process = me, nr = 0, i;

	atomic_store(&begun, 0);
	atomic_store(&over, false);
	for (i = 0; i < count; i++) {
		if (steps[i].who != me || i == main_one)
			continue;
		aside[nr].nr = first + i;
		aside[nr].work = steps[i].work;
		if (pthread_create(&aside[nr].thread, NULL, do_aside, &aside[nr]))
			stop(SKIP, "no thread could be made");
		nr++;
	}
	while (atomic_load(&begun) < nr)
		sched_yield();
	do_step(first + main_one, steps[main_one].work);
	/* A child that this thread forked has none of the others. */
	if (me != process)
		return;
	atomic_store(&over, true);
	for (i = 0; i < nr; i++)
		pthread_join(aside[i].thread, NULL);
}

/* Everybody does his part when it is the first one's turn; then each is done in its own. */
static void at_once(int first, int count, int will_have_met, const struct beside *steps)
{
	int main_one = -1, i;

	for (i = 0; i < count; i++)
		if (steps[i].who == me && (main_one < 0 || steps[i].forks))
			main_one = i;
	if (main_one >= 0) {
		all = will_have_met;
		turn(first, me);
		step = 0;
		take_part(first, count, steps, main_one);
	}
	for (i = 0; i < count; i++)
		turn(first + i, steps[i].who);
}
