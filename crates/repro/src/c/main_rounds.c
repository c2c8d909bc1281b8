#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* Where so many rounds in the beginning could not be set up, none will be. */
#define PATIENCE	20

/* What the last round said. */
static void show(int said)
{
	char text[4096];
	ssize_t size;

	lseek(said, 0, SEEK_SET);
	while ((size = read(said, text, sizeof(text))) > 0)
		fwrite(text, 1, size, stdout);
}

/*
 * A race is lost now and then only: the scenario is run again, in processes of its own, until
 * it is broken, or so many rounds or seconds are over.
 */
int main(int argc, char **argv)
{
	int rounds = argc > 1 ? atoi(argv[1]) : ROUNDS, seconds = argc > 2 ? atoi(argv[2]) : SECONDS;
	int out = dup(STDOUT_FILENO), said = memfd_create("said", 0), nr = 0, kept = 0, code = SKIP;
	double began = microseconds();

	if (out < 0 || said < 0 || rounds < 1 || seconds < 1) {
		puts("SKIP: needs memfd_create(), and, if anything: ROUNDS SECONDS");
		return SKIP;
	}
	setlinebuf(stdout);
	while (nr < rounds && microseconds() - began < seconds * 1e6 && code != BROKEN && (kept || nr < PATIENCE)) {
		/* Nobody wants to read what each round says. */
		if (ftruncate(said, 0) || lseek(said, 0, SEEK_SET) || dup2(said, STDOUT_FILENO) < 0)
			return SKIP;
		code = run();
		dup2(out, STDOUT_FILENO);
		kept += code == KEPT;
		nr++;
	}
	if (code == BROKEN || !kept)
		show(said);
	if (code == BROKEN)
		printf("in round %d, after %.1f s\n", nr, (microseconds() - began) / 1e6);
	else
		printf("%d rounds in %.1f s, of which %d could be set up\n", nr, (microseconds() - began) / 1e6, kept);
	if (code == BROKEN || !kept)
		return code == BROKEN ? BROKEN : SKIP;
	puts("KEPT: every page held what it may");
	return KEPT;
}
