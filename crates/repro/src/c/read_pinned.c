#define PIN_LONGTERM_TEST_READ		_IOW('g', 9, __u64)

static void read_pinned(int fd, int first)
{
	__u64 to = (uintptr_t)copy[first];

	if (ioctl(fd, PIN_LONGTERM_TEST_READ, &to))
		stop(SKIP, "PIN_LONGTERM_TEST_READ: %s", strerror(errno));
}
