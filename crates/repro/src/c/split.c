#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* A refusal breaks nothing. */
static void split(int first, int count)
{
	const char *file = "/sys/kernel/debug/split_huge_pages";
	uintptr_t start = (uintptr_t)addr(first);
	char text[80];
	int fd = open(file, O_WRONLY | O_CLOEXEC);

	if (fd < 0) {
		not_reached("%s: %s; it needs root, debugfs and Linux 5.13", file, strerror(errno));
		return;
	}
	snprintf(text, sizeof(text), "%d,%#lx,%#lx", getpid(), (unsigned long)start,
		 (unsigned long)(start + (size_t)count * PAGE_SIZE));
	if (write(fd, text, strlen(text)) < 0)
		say("note", "the split was refused: %s", strerror(errno));
	close(fd);
}
