static void close_pipe(struct pipe *pipe)
{
	close(pipe->fd[0]);
	close(pipe->fd[1]);
}
