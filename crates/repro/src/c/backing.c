/* The same pages without private copies. */
static char *backing;

static void *backing_addr(int page)
{
	return backing + (size_t)page * PAGE_SIZE;
}
