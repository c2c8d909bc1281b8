static void drain(struct pipe *pipe, int first, int count)
{
	char *to = (char *)copy[first];
	size_t left = (size_t)count * PAGE_SIZE;

	while (left) {
		ssize_t done = read(pipe->fd[0], to, left);

		if (done <= 0)
			stop(SKIP, "reading a pipe: %s", done ? strerror(errno) : "it is empty");
		to += done;
		left -= done;
	}
}
