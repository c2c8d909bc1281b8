#define MOST_AT_ONCE	3
