#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY	1
#endif
#ifndef UFFD_FEATURE_WP_HUGETLBFS_SHMEM
#define UFFD_FEATURE_WP_HUGETLBFS_SHMEM	(1 << 12)
#endif

/* A userfaultfd and whose it is: it is about the memory of the process that made it, and not inherited. */
static int uffd;
static char uffd_of;

static int open_uffd(unsigned int features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	int fd = syscall(__NR_userfaultfd, O_CLOEXEC);

	if (fd < 0 && errno == EPERM)
		fd = syscall(__NR_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	if (fd >= 0 && ioctl(fd, UFFDIO_API, &api)) {
		close(fd);
		return -1;
	}
	return fd;
}

/* A write to what is protected raises SIGBUS, so nobody has to listen. */
static void make_uffd(void)
{
	const unsigned int features = UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_SIGBUS;

	if (uffd_of == me)
		return;
	uffd = open_uffd(features | UFFD_FEATURE_WP_HUGETLBFS_SHMEM);
	if (uffd < 0)
		uffd = open_uffd(features);
	if (uffd < 0)
		stop(SKIP, "no userfaultfd with write protection (Linux 5.7): %s", strerror(errno));
	uffd_of = me;
}

static void uffd_register(int first, int count)
{
	struct uffdio_register range = {
		.range = { (uintptr_t)addr(first), (size_t)count * PAGE_SIZE },
		.mode = UFFDIO_REGISTER_MODE_WP,
	};

	if (ioctl(uffd, UFFDIO_REGISTER, &range))
		stop(SKIP, "UFFDIO_REGISTER: %s", strerror(errno));
}

static void uffd_protect(int first, int count, int mode)
{
	struct uffdio_writeprotect range = {
		.range = { (uintptr_t)addr(first), (size_t)count * PAGE_SIZE },
		.mode = mode,
	};
	int tries = 20;

	while (ioctl(uffd, UFFDIO_WRITEPROTECT, &range))
		if (errno != EAGAIN || --tries <= 0)
			stop(SKIP, "UFFDIO_WRITEPROTECT: %s", strerror(errno));
}
