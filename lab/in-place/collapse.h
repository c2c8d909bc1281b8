/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef IN_PLACE_COLLAPSE_H
#define IN_PLACE_COLLAPSE_H

#include "bugs.h"

struct mm_struct;

/* What became of a range, and why it was left to the kernel. */
#define IN_PLACE_FATES(FATE)							\
	FATE(IN_PLACE, "in-place")		/* collapsed in place */	\
	FATE(ACTED, "acted")			/* of these: not as they should be, by the bug */ \
	FATE(NO_VMA, "no-vma")			/* no such memory, or not for huge pages */ \
	FATE(NO_TABLE, "no-table")		/* no PTEs: nothing, or a PMD already */ \
	FATE(NO_THP, "no-thp")			/* no page of a THP in its place */ \
	FATE(BUSY, "busy")			/* locked, written back, in the swap cache */ \
	FATE(HOLE, "hole")							\
	FATE(ZERO_PAGE, "zero-page")						\
	FATE(FOREIGN, "foreign")		/* a page of another folio */	\
	FATE(SWAPPED, "swapped")						\
	FATE(GUARD, "guard")							\
	FATE(MISPLACED, "misplaced")		/* a sub-page in another's place */ \
	FATE(UFFD_WP, "uffd-wp")		/* some protected, some not */	\
	FATE(OTHER, "other")			/* migration, NUMA hints, ... */ \
	FATE(MIXED, "mixed")			/* some exclusive, some not */

enum fate {
#define IN_PLACE_ENUM(name, text) FATE_##name,
	IN_PLACE_FATES(IN_PLACE_ENUM)
#undef IN_PLACE_ENUM
	FATES
};

/* The bug that is planted. */
extern enum bug in_place_bug;

/*
 * Collapses the PMD range at `addr` in place if the PTEs there map all sub-pages of one
 * THP in order; otherwise changes nothing. The mmap lock is held for writing. `is_acted`
 * is set if the planted bug made a difference.
 */
enum fate in_place_collapse(struct mm_struct *mm, unsigned long addr, bool *is_acted);

#endif
