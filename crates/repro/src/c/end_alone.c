#include <unistd.h>

static void __attribute__((noreturn)) end(enum exit_code code)
{
	_exit(code);
}
