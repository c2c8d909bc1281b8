#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* From now on the soft-dirty bit says which pages were written. */
static void clear_soft_dirty(void)
{
	int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, "4", 1) != 1)
		stop(SKIP, "/proc/self/clear_refs: %s", strerror(errno));
	close(fd);
}
