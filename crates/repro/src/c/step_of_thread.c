static __thread int step;	/* which one this thread does */
