/* Only userfaultfd gives it here, and it was not to protect this page, or not from this. */
static void sigbus(int page)
{
	stop(BROKEN, "SIGBUS at page %d, as if userfaultfd protected it", page);
}
