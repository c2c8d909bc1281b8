#include <unistd.h>

static void __attribute__((noreturn)) scenario(void);

/* Run the scenario in a process of its own. How did it end? */
static int run(void)
{
	pid_t pid = fork();

	if (!pid)
		scenario();
	return how_it_ended(pid);
}
