#include <sys/wait.h>

static struct counts at_fork[NR_PAGES];

/* A child looks at its snapshot, lets the writers come round, and looks again. */
static void look_at_snapshot(void)
{
	static uint64_t seen[NR_PAGES][WRITERS];
	int i, slot;

	for (i = 0; i < nr_field; i++) {
		int page = field_page[i];
		const volatile uint64_t *words = addr(page);

		for (slot = 0; slot < WRITERS; slot++)
			seen[page][slot] = words[SLOT_WORD(slot)];
		check_page("a child that was forked meanwhile", page, words, at_fork[page], begun_by_now(page));
	}
	wait_a_round(3000);
	for (i = 0; i < nr_field; i++) {
		int page = field_page[i];
		const volatile uint64_t *words = addr(page);

		for (slot = 0; slot < WRITERS; slot++)
			if (words[SLOT_WORD(slot)] != seen[page][slot])
				stop(BROKEN, "a child's snapshot of word %d of page %d changed from %#llx to %#llx",
				     SLOT_WORD(slot), page, (unsigned long long)seen[page][slot],
				     (unsigned long long)words[SLOT_WORD(slot)]);
	}
}

static bool fork_in_storm(unsigned int *dice)
{
	int i, status;
	pid_t pid;

	(void)dice;
	for (i = 0; i < nr_field; i++)
		at_fork[field_page[i]] = written(field_page[i]);
	pid = fork();
	if (pid < 0)
		return false;
	if (!pid) {
		look_at_snapshot();
		_exit(KEPT);
	}
	while (waitpid(pid, &status, 0) != pid)
		;
	/* It has told what it saw. */
	if (WIFEXITED(status) && WEXITSTATUS(status))
		end(WEXITSTATUS(status));
	errno = ECHILD;
	return WIFEXITED(status);
}
