/* Wait until a child that is to exit has exited. */
static void reap(int who)
{
	pid_t pid = shared->pid[who];

	shared->pid[who] = 0;
	if (waitpid(pid, NULL, 0) != pid)
		stop(SKIP, "waitpid(): %s", strerror(errno));
}
