#include <stdarg.h>
#include <stdio.h>

/* As kselftest has it. */
enum exit_code { KEPT = 0, BROKEN = 1, SKIP = 4 };

static int step;	/* which one is being done */
static char me = A;	/* by whom */

/* Say what was seen, in which step, by which process. */
static void __attribute__((format(printf, 2, 3))) say(const char *what, const char *format, ...)
{
	va_list args;

	printf("%s: step %d, %c: ", what, step, me);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
}

#define stop(code, ...) do { say(#code, __VA_ARGS__); end(code); } while (0)
