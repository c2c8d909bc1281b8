enum access { READ, WRITE };

/* Try an access that leaves the content as it is. Which signal does it raise? */
static int try_access(volatile uint64_t *at, enum access access)
{
	int signal = sigsetjmp(probe, 1);

	if (!signal) {
		probing = ANY_SIGNAL;
		if (access == READ)
			*at;
		else
			__atomic_fetch_add(at, 0, __ATOMIC_SEQ_CST);
	}
	probing = 0;
	return signal;
}
