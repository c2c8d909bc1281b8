#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif
#ifndef __NR_pidfd_open
#define __NR_pidfd_open	434
#endif
#ifndef __NR_process_madvise
#define __NR_process_madvise	440
#endif

/* The pages of another process, by their place behind the start of the memory. A refusal breaks nothing. */
static void collapse_of(int who, int place, int count, int tries)
{
	struct iovec there = { mem + (size_t)place * PAGE_SIZE, (size_t)count * PAGE_SIZE };
	int fd = syscall(__NR_pidfd_open, who == A ? shared->first : shared->pid[who], 0);

	if (fd < 0)
		stop(SKIP, "pidfd_open(): %s", strerror(errno));
	while (syscall(__NR_process_madvise, fd, &there, 1, MADV_COLLAPSE, 0) < 0) {
		if ((errno != EAGAIN && errno != EBUSY && errno != ENOMEM) || --tries <= 0) {
			say("note", "MADV_COLLAPSE of the pages of %c was refused: %s", who, strerror(errno));
			break;
		}
		usleep(5000);
	}
	close(fd);
}
