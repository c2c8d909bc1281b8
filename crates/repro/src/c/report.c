#include <stdarg.h>
#include <stdio.h>

/* As kselftest has it. */
enum exit_code { KEPT = 0, BROKEN = 1, SKIP = 4 };

static char me = A;	/* who is doing it */

/* Say what was seen, in which step, by which process. */
static void __attribute__((format(printf, 2, 3))) say(const char *what, const char *format, ...)
{
	va_list args;

	flockfile(stdout);
	printf("%s: step %d, %c: ", what, step, me);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
	funlockfile(stdout);
}

#define stop(code, ...) do { say(#code, __VA_ARGS__); end(code); } while (0)
