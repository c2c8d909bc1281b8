/*
 * Ask for as much as there is. Not all can be had (EAGAIN), and what was used a moment ago is
 * spared the first time.
 */
static void reclaim(void)
{
	char bytes[32];
	int tries, left;

	for (tries = 0; tries < 3; tries++) {
		snprintf(bytes, sizeof(bytes), "%ld", number_in(in_cgroup("memory.current")));
		left = access(in_cgroup("memory.reclaim"), W_OK) ? !tell_cgroup("memory.force_empty", "0")
								 : !tell_cgroup("memory.reclaim", bytes);
		if (left && errno != EAGAIN) {
			not_reached("%s: memory could not be reclaimed: %s", cgroup, strerror(errno));
			return;
		}
	}
}
