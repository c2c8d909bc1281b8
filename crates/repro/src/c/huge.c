#include <linux/types.h>
#include <sys/ioctl.h>

/* PAGEMAP_SCAN (Linux 6.7), include/uapi/linux/fs.h */
struct scan {
	__u64 size, flags, start, end, walk_end, vec, vec_len, max_pages;
	__u64 inverted, mask, anyof_mask, return_mask;
};

#define SCAN		_IOWR('f', 16, struct scan)
#define SCAN_HUGE	(1 << 6)

/* How many of these pages does a PMD map? */
static int pmd_mapped(int first, int count)
{
	__u64 region[3];
	int fd = open_pagemap(), found = 0;
	struct scan scan = {
		.size = sizeof(scan),
		.start = (uintptr_t)addr(first),
		.end = (uintptr_t)addr(first) + (size_t)count * PAGE_SIZE,
		.vec = (uintptr_t)region, .vec_len = 1,
		.mask = SCAN_HUGE, .return_mask = SCAN_HUGE,
	};

	while (scan.start < scan.end) {
		int regions = ioctl(fd, SCAN, &scan);

		if (regions < 0) {
			found = pmd_mapped_before_6_7(first, count);
			break;
		}
		if (regions > 0)
			found += (region[1] - region[0]) / PAGE_SIZE;
		if (scan.walk_end <= scan.start)
			break;
		scan.start = scan.walk_end;
	}
	close(fd);
	return found;
}
