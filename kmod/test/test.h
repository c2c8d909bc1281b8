/* SPDX-License-Identifier: GPL-2.0-only */
/* What the tests of the module have in common. They run as root in a guest that has it loaded. */
#ifndef TEST_H
#define TEST_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../cowcheck.h"

#define PAGE 4096UL
#define HUGE (2UL << 20)

/* Counts, and tells where it is not as it should be. */
#define CHECK(holds, ...) check(holds, __FILE__, __LINE__, __VA_ARGS__)
bool check(bool holds, const char *file, int line, const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Ends the program: without this nothing can be tested. */
#define MUST(holds) must(holds, #holds, __FILE__, __LINE__)
void must(bool holds, const char *text, const char *file, int line);

int device(void);
/* 0, or the errno. */
int call(int fd, unsigned long command, void *argument);

/* The runs of a range, as many as fit; a range of the process `pid`, or of our own. */
unsigned int look_at(int fd, int pid, const void *addr, size_t len, struct cowcheck_run *runs, unsigned int room);
/* The one page. */
struct cowcheck_run look_page(int fd, const void *addr);

/* Kinds of memory. */
enum kind { BASE, THP, HUGETLB, KINDS };
extern const char *const kind_names[KINDS];
/* 2 MiB of it, all written, PMD-mapped where there are PMDs for it; NULL where there is none to be had. */
char *memory(enum kind kind);
void memory_free(char *addr);

/* A small generator of random numbers (xorshift). */
uint64_t next(uint64_t *state);

void test_look(void);
void test_pin(void);
void test_bad(void);
void test_gup_test(void);
void test_fuzz(unsigned long calls, uint64_t seed);
void test_unload(void);

#endif
