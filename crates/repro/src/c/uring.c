#include <errno.h>
#include <linux/io_uring.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* Fixed buffers of an io_uring: long-term pins, FOLL_WRITE | FOLL_PIN | FOLL_LONGTERM. */
struct fixed {
	int ring, nr;
	struct iovec buffer[NR_BUFFERS];
	int first[NR_BUFFERS];		/* the first page of each */
	char *sq, *cq;
	struct io_uring_sqe *sqe;
	struct io_uring_params params;
};

/* One more buffer, to be registered. */
static void add_buffer(struct fixed *pin, int first, int count)
{
	pin->first[pin->nr] = first;
	pin->buffer[pin->nr].iov_base = addr(first);
	pin->buffer[pin->nr].iov_len = (size_t)count * PAGE_SIZE;
	pin->nr++;
}

static void *map_ring(struct fixed *pin, size_t size, off_t which)
{
	void *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, pin->ring, which);

	if (map == MAP_FAILED)
		stop(SKIP, "mmap() of an io_uring: %s", strerror(errno));
	return map;
}

/* The sizes of what is mapped. */
static size_t sq_size(const struct fixed *pin)
{
	return pin->params.sq_off.array + pin->params.sq_entries * 4;
}

static size_t cq_size(const struct fixed *pin)
{
	return pin->params.cq_off.cqes + pin->params.cq_entries * sizeof(struct io_uring_cqe);
}

static size_t sqe_size(const struct fixed *pin)
{
	return pin->params.sq_entries * sizeof(*pin->sqe);
}

static void close_ring(struct fixed *pin)
{
	munmap(pin->sq, sq_size(pin));
	munmap(pin->cq, cq_size(pin));
	munmap(pin->sqe, sqe_size(pin));
	close(pin->ring);
}

/* False and errno where the kernel refuses it. */
static bool try_register_buffers(struct fixed *pin)
{
	int tries = 60;

	pin->ring = syscall(__NR_io_uring_setup, 1, &pin->params);
	if (pin->ring < 0)
		stop(SKIP, "io_uring_setup(): %s", strerror(errno));
	pin->sq = map_ring(pin, sq_size(pin), IORING_OFF_SQ_RING);
	pin->cq = map_ring(pin, cq_size(pin), IORING_OFF_CQ_RING);
	pin->sqe = map_ring(pin, sqe_size(pin), IORING_OFF_SQES);
	/* What earlier buffers had locked may be given back some time after their end. */
	while (syscall(__NR_io_uring_register, pin->ring, IORING_REGISTER_BUFFERS, pin->buffer, pin->nr)) {
		if ((errno != EAGAIN && errno != EBUSY && errno != ENOMEM) || --tries <= 0) {
			int error = errno;

			close_ring(pin);
			errno = error;
			return false;
		}
		usleep(5000);
	}
	return true;
}
