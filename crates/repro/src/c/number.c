#include <stdio.h>

/* A number that the kernel tells in a file, or -1. */
static long number_in(const char *path)
{
	FILE *file = fopen(path, "r");
	long number;

	if (!file)
		return -1;
	if (fscanf(file, "%ld", &number) != 1)
		number = -1;
	fclose(file);
	return number;
}
