static void register_buffers(struct fixed *pin)
{
	if (!try_register_buffers(pin))
		stop(SKIP, "IORING_REGISTER_BUFFERS: %s", strerror(errno));
}
