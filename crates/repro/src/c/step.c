static int step;	/* which one is being done */
