#include <stdint.h>

/*
 * What a page holds: zeroes, or what a process wrote in a step. Each word of 8 bytes tells
 * that in its upper half, and in its lower half which word of the memory it is. So a page
 * that is lost, stale, torn or in the wrong place is told from the right one.
 */
#define ZERO			0u
#define WROTE(who, step)	((unsigned int)(who) << 16 | (step))

static uint64_t word(unsigned int content, int page, int index)
{
	return content == ZERO ? 0 : (uint64_t)content << 32 | ((uint64_t)page * WORDS + index);
}
