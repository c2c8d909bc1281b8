/* Where the memory is. */
static char *mem;

static void *addr(int page)
{
	return mem + (size_t)page * PAGE_SIZE;
}

/* The page at an address, or -1. */
static int page_at(char *address)
{
	return address >= mem && address < mem + MEM_SIZE ? (address - mem) / PAGE_SIZE : -1;
}
