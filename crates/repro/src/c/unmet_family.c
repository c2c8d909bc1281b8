/* The set-up was not reached. What is seen after it must be right all the same. */
#define not_reached(...) do { say("not reached", __VA_ARGS__); shared->unmet = true; } while (0)
