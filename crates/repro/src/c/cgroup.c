#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A cgroup of our own, so that only our memory is reclaimed; empty where none could be made. */
static char cgroup[100];

/* One of its files. */
static const char *in_cgroup(const char *file)
{
	static char path[200];

	snprintf(path, sizeof(path), "%s/%s", cgroup, file);
	return path;
}

static bool tell_cgroup(const char *file, const char *text)
{
	int fd = open(in_cgroup(file), O_WRONLY | O_CLOEXEC);
	bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	int error = errno;

	if (fd >= 0)
		close(fd);
	errno = error;
	return done;
}

static bool can_reclaim(void)
{
	return !access(in_cgroup("memory.reclaim"), W_OK) || !access(in_cgroup("memory.force_empty"), W_OK);
}

/* Where cgroup2 has the memory controller, else where the hierarchy before it has it. */
static void make_cgroup(void)
{
	const char *roots[] = { "/sys/fs/cgroup", "/sys/fs/cgroup/memory" };
	int i;

	for (i = 0; i < 2; i++) {
		strcpy(cgroup, roots[i]);
		if (access(in_cgroup("cgroup.procs"), W_OK))
			continue;
		snprintf(cgroup, sizeof(cgroup), "%s/cowcheck-repro-%d", roots[i], getpid());
		if (!mkdir(cgroup, 0700) && can_reclaim())
			return;
		rmdir(cgroup);
	}
	cgroup[0] = 0;
}

/* Before A has any memory under test. Its children are born there. */
static void join_cgroup(void)
{
	if (!cgroup[0])
		stop(SKIP, "no cgroup could be made from which memory can be reclaimed: it needs root and memory.reclaim");
	if (!tell_cgroup("cgroup.procs", "0"))
		stop(SKIP, "%s: %s", in_cgroup("cgroup.procs"), strerror(errno));
}

/* When all that were in it are gone; the last may be exiting still. */
static void remove_cgroup(void)
{
	int tries;

	for (tries = 0; cgroup[0] && rmdir(cgroup) && tries < 2000; tries++)
		usleep(1000);
}
