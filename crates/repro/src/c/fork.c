#include <errno.h>
#include <string.h>
#include <unistd.h>

static void fork_process(int who)
{
	pid_t pid = fork();

	if (pid < 0)
		stop(SKIP, "fork(): %s", strerror(errno));
	if (pid) {
		shared->pid[who] = pid;
		return;
	}
	me = who;
	step = 0;
	alarm(TIME_LIMIT);
}
