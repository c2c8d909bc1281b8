static void out_of_time(int signal)
{
	(void)signal;
	step = atomic_load(&shared->done) + 1;
	stop(SKIP, "no end of it after %d s", TIME_LIMIT);
}
