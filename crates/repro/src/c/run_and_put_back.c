#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void __attribute__((noreturn)) scenario(void);
static void get_ready(void);
static void put_back(void);

/* Run the scenario in a process of its own, and put back what it changed, however it ended. */
static int run(void)
{
	pid_t pid;
	int status;

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
	while (pid > 0 && waitpid(pid, &status, 0) != pid)
		;
	put_back();
	signal(SIGINT, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
	if (pid < 0)
		printf("SKIP: fork(): %s\n", strerror(errno));
	else if (!WIFEXITED(status))
		printf("SKIP: A was killed by signal %d\n", WTERMSIG(status));
	return pid > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : SKIP;
}
