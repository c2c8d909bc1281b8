#include <signal.h>

static void fault(int signal, siginfo_t *info, void *context)
{
	int page = page_at(info->si_addr);

	(void)context;
	if (page < 0)
		stop(SKIP, "signal %d at %p: no page could be had", signal, info->si_addr);
	if (signal == SIGBUS)
		sigbus(page);
	stop(BROKEN, "SIGSEGV at page %d, which is mapped, with the right to do this", page);
}
