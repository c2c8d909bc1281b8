#include <signal.h>
#include <unistd.h>

static void __attribute__((noreturn)) scenario(void);
static void get_ready(void);
static void put_back(void);

/* Run the scenario in a process of its own, and put back what it changed, however it ended. */
static int run(void)
{
	pid_t pid;
	int code;

	get_ready();
	/* An interrupt is for the scenario. */
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	pid = fork();
	if (!pid) {
		signal(SIGINT, SIG_DFL);
		signal(SIGTERM, SIG_DFL);
		scenario();
	}
	code = how_it_ended(pid);
	put_back();
	signal(SIGINT, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
	return code;
}
