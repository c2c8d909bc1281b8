int main(void)
{
	setlinebuf(stdout);
	return run();
}
