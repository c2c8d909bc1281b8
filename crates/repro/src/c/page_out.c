#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT	21
#endif

static bool is_swapped_out(int first, int count)
{
	int fd = open_pagemap(), page;

	for (page = first; page < first + count; page++)
		if (!(pagemap_entry(fd, addr(page)) & PM_SWAPPED))
			break;
	close(fd);
	return page == first + count;
}

/* The kernel passes over pages that are on no LRU list yet: try again, for a while. */
static void page_out(int first, int count, int tries)
{
	do {
		if (madvise(addr(first), (size_t)count * PAGE_SIZE, MADV_PAGEOUT)) {
			say("note", "MADV_PAGEOUT was refused: %s", strerror(errno));
			return;
		}
		if (is_swapped_out(first, count))
			return;
		usleep(5000);
	} while (--tries > 0);
	say("note", "not all pages went to swap");
}
