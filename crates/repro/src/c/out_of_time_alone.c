static void out_of_time(int signal)
{
	(void)signal;
	stop(SKIP, "no end of it after %d s", TIME_LIMIT);
}
