#include <setjmp.h>
#include <signal.h>

static sigjmp_buf probe;
static volatile sig_atomic_t probing;

static void fault(int signal, siginfo_t *info, void *context)
{
	int page = page_at(info->si_addr);

	(void)context;
	if (probing)
		siglongjmp(probe, signal);
	if (signal == SIGBUS || page < 0)
		stop(SKIP, "signal %d at %p: no page could be had", signal, info->si_addr);
	stop(BROKEN, "SIGSEGV at page %d, which is mapped, with the right to do this", page);
}
