#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MPOL_MF_MOVE		(1 << 1)
#define MPOL_MF_MOVE_ALL	(1 << 2)

/* Has the kernel move what it can: without a second node. */
static void compact(void)
{
	FILE *file = fopen("/proc/sys/vm/compact_memory", "w");

	if (!file || fputs("1", file) < 0)
		not_reached("/proc/sys/vm/compact_memory: %s; it needs root", strerror(errno));
	if (file)
		fclose(file);
}

/* A refusal breaks nothing. */
static void migrate(int first, int count)
{
	void **pages = calloc(count, sizeof(*pages));
	int *nodes = calloc(count, sizeof(*nodes)), *status = calloc(count, sizeof(*status));
	FILE *file = fopen("/sys/devices/system/node/has_memory", "r");
	int node[2], known = 0, i;

	if (file) {
		known = fscanf(file, "%d%*[-,]%d", &node[0], &node[1]);
		fclose(file);
	}
	if (!pages || !nodes || !status)
		stop(SKIP, "no memory");
	if (known < 2) {
		compact();
		goto out;
	}
	for (i = 0; i < count; i++)
		pages[i] = addr(first + i);
	/* Where they are, then to where they are not. */
	if (syscall(__NR_move_pages, 0, count, pages, NULL, status, 0) < 0)
		stop(SKIP, "move_pages(): %s", strerror(errno));
	for (i = 0; i < count; i++)
		nodes[i] = status[i] == node[0] ? node[1] : node[0];
	if (syscall(__NR_move_pages, 0, count, pages, nodes, status, MPOL_MF_MOVE_ALL) < 0 &&
	    syscall(__NR_move_pages, 0, count, pages, nodes, status, MPOL_MF_MOVE) < 0)
		say("note", "move_pages() was refused: %s", strerror(errno));
out:
	free(pages);
	free(nodes);
	free(status);
}
