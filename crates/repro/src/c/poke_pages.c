#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

/* Write pages whatever their protection: /proc/self/mem writes with FOLL_FORCE. */
static void poke_pages(int first, int count)
{
	uint64_t words[WORDS];
	int fd = open("/proc/self/mem", O_WRONLY | O_CLOEXEC), page;

	if (fd < 0)
		stop(SKIP, "/proc/self/mem: %s", strerror(errno));
	for (page = first; page < first + count; page++) {
		fill(words, page, WROTE(me, step));
		if (pwrite(fd, words, PAGE_SIZE, (uintptr_t)addr(page)) != PAGE_SIZE)
			stop(SKIP, "page %d through /proc/self/mem: %s; the boot parameter proc_mem.force_override may forbid it",
			     page, strerror(errno));
	}
	close(fd);
}
