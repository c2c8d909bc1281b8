#define PIN_LONGTERM_TEST_STOP		_IO('g', 8)

static void unpin_pages(int fd)
{
	if (ioctl(fd, PIN_LONGTERM_TEST_STOP))
		stop(SKIP, "PIN_LONGTERM_TEST_STOP: %s", strerror(errno));
	close(fd);
}
