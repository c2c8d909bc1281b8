#include <unistd.h>

/* The file, mapped shared as the backing, with its first content. */
static void fill_file(int fd)
{
	int page;

	if (fd < 0 || ftruncate(fd, MEM_SIZE))
		stop(SKIP, "no file: %s", strerror(errno));
	backing = reserve(MEM_SIZE);
	map(backing, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	for (page = 0; page < NR_PAGES; page++)
		fill(backing_addr(page), page, FILE_CONTENT);
}
