#include <setjmp.h>
#include <signal.h>

/* Is this thread at an access that may raise a signal, or only SIGSEGV? */
static __thread sigjmp_buf probe;
static __thread volatile sig_atomic_t probing;

#define ANY_SIGNAL	1
#define ONLY_SIGSEGV	2

static void fault(int signal, siginfo_t *info, void *context)
{
	int page = page_at(info->si_addr);

	(void)context;
	if (probing == ANY_SIGNAL || (probing == ONLY_SIGSEGV && signal == SIGSEGV && page >= 0))
		siglongjmp(probe, signal);
	if (page < 0)
		stop(SKIP, "signal %d at %p: no page could be had", signal, info->si_addr);
	if (signal == SIGBUS)
		sigbus(page);
	stop(BROKEN, "SIGSEGV at page %d, which is mapped, with the right to do this", page);
}
