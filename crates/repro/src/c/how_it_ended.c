#include <errno.h>
#include <string.h>
#include <sys/wait.h>

/* Wait for the process that runs the scenario. What did it come to? */
static int how_it_ended(pid_t pid)
{
	int status;

	while (pid > 0 && waitpid(pid, &status, 0) != pid)
		;
	if (pid < 0)
		printf("SKIP: fork(): %s\n", strerror(errno));
	else if (!WIFEXITED(status))
		printf("SKIP: A was killed by signal %d\n", WTERMSIG(status));
	return pid > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : SKIP;
}
