#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

struct pipe {
	int fd[2];
};

/* A pipe has a slot for each page. */
static void open_pipe(struct pipe *pipe, int pages)
{
	if (pipe2(pipe->fd, O_CLOEXEC))
		stop(SKIP, "pipe2(): %s", strerror(errno));
	fcntl(pipe->fd[1], F_SETPIPE_SZ, pages * PAGE_SIZE);
}

/* The pages themselves go into the pipe, not copies of them. */
static void splice_pages(struct pipe *pipe, int first, int count)
{
	struct iovec iov = { addr(first), (size_t)count * PAGE_SIZE };

	while (iov.iov_len) {
		ssize_t done = vmsplice(pipe->fd[1], &iov, 1, SPLICE_F_NONBLOCK);

		if (done <= 0)
			stop(SKIP, "vmsplice(): %s; a longer pipe needs root or a greater sysctl fs.pipe-max-size",
			     done ? strerror(errno) : "nothing was taken");
		iov.iov_base = (char *)iov.iov_base + done;
		iov.iov_len -= done;
	}
}
