#include <signal.h>
#include <unistd.h>

static void start(void)
{
	struct sigaction action = { .sa_sigaction = fault, .sa_flags = SA_SIGINFO };

	setlinebuf(stdout);
	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
	signal(SIGALRM, out_of_time);
	alarm(TIME_LIMIT);
	if (sysconf(_SC_PAGESIZE) != PAGE_SIZE)
		stop(SKIP, "this is about pages of %d bytes", PAGE_SIZE);
}
