#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* What the processes share. */
static struct {
	atomic_int done;	/* this step and all before it */
	atomic_bool unmet;	/* the set-up was not reached */
	atomic_bool over;	/* and, if so, */
	atomic_int code;	/* how it ended */
	pid_t first;		/* A, without which nobody goes on */
	pid_t pid['Z' + 1];	/* the others */
} *shared;

/* It is over for all of us. */
static void __attribute__((noreturn)) end(enum exit_code code)
{
	int who, tries;

	if (!atomic_exchange(&shared->over, true))
		atomic_store(&shared->code, code);
	if (me != A)
		_exit(code);
	for (who = A; who <= 'Z'; who++)
		if (shared->pid[who])
			kill(shared->pid[who], SIGKILL);
	for (tries = 0; tries < 5000 && waitpid(-1, NULL, WNOHANG) >= 0; tries++)
		usleep(1000);
	_exit(atomic_load(&shared->code));
}
