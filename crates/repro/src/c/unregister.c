static void unregister_buffers(struct fixed *pin)
{
	if (syscall(__NR_io_uring_register, pin->ring, IORING_UNREGISTER_BUFFERS, NULL, 0))
		stop(SKIP, "IORING_UNREGISTER_BUFFERS: %s", strerror(errno));
	close_ring(pin);
}
