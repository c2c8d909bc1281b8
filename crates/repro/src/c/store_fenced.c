#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * Pages from a first one are made read-only and writable again by a rival of the writers: they
 * are closed for certain from after the second step to before the third of four, and may be
 * from after the first to before the fourth.
 */
static atomic_int fence_step, fence_first, fence_end;

enum standing { OPEN, CLOSING, CLOSED };

static enum standing standing(int page, int *when)
{
	*when = atomic_load(&fence_step);
	if (*when % 4 == 0 || page < atomic_load(&fence_first) || page >= atomic_load(&fence_end))
		return OPEN;
	return *when % 4 == 2 ? CLOSED : CLOSING;
}

static bool try_store(volatile uint64_t *at, uint64_t word)
{
	sigset_t segv;

	/* To save the signal mask would take a system call each time. */
	if (sigsetjmp(probe, 0)) {
		probing = 0;
		sigemptyset(&segv);
		sigaddset(&segv, SIGSEGV);
		sigprocmask(SIG_UNBLOCK, &segv, NULL);
		return false;
	}
	probing = ONLY_SIGSEGV;
	*at = word;
	probing = 0;
	return true;
}

/* True if it was stored. */
static bool store(int page, volatile uint64_t *at, uint64_t word)
{
	int first, last;
	enum standing stood = standing(page, &first);
	bool stored = try_store(at, word);

	standing(page, &last);
	if (first == last && stored && stood == CLOSED)
		stop(BROKEN, "page %d was written, and was read-only all the while", page);
	if (first == last && !stored && stood == OPEN)
		stop(BROKEN, "SIGSEGV at page %d, which is mapped, with the right to do this", page);
	return stored;
}
