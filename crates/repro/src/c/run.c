#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void __attribute__((noreturn)) scenario(void);

/* Run the scenario in a process of its own. How did it end? */
static int run(void)
{
	pid_t pid = fork();
	int status;

	if (!pid)
		scenario();
	while (pid > 0 && waitpid(pid, &status, 0) != pid)
		;
	if (pid < 0)
		printf("SKIP: fork(): %s\n", strerror(errno));
	else if (!WIFEXITED(status))
		printf("SKIP: A was killed by signal %d\n", WTERMSIG(status));
	return pid > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : SKIP;
}
