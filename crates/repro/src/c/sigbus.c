/* The kernel had no page to give, or could not read it: that breaks no promise. */
static void sigbus(int page)
{
	stop(SKIP, "SIGBUS at page %d: no page could be had", page);
}
