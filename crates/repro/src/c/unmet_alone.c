#include <stdbool.h>

/* The set-up was not reached. What is seen after it must be right all the same. */
static bool unmet;

#define not_reached(...) do { say("not reached", __VA_ARGS__); unmet = true; } while (0)
