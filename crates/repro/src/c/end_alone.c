#include <stdlib.h>

static void __attribute__((noreturn)) end(enum exit_code code)
{
	exit(code);
}
