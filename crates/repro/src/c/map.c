static void map(char *at, int prot, int flags, int fd)
{
	if (mmap(at, MEM_SIZE, prot, flags | MAP_FIXED, fd, 0) == MAP_FAILED)
		stop(SKIP, "mmap() of %llu kB: %s", MEM_SIZE / 1024ULL, strerror(errno));
}
