/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a page table says of pages, and what their page structs say. The caller
 * holds the lock of the table.
 */
#ifndef COWCHECK_PAGE_H
#define COWCHECK_PAGE_H

#include <linux/mm.h>

#include "compat.h"
#include "cowcheck.h"

/* What an entry says: flags, the first page, the swap entry. No page struct is read. */
struct cowcheck_entry {
	u64 flags;
	unsigned long pfn;
	u64 swap;
	/* Whether there is a page struct to be read. */
	bool is_page;
};

void cowcheck_pte_entry(struct cowcheck_entry *entry, struct vm_area_struct *vma, pte_t pte);
void cowcheck_pmd_entry(struct cowcheck_entry *entry, struct vm_area_struct *vma, pmd_t pmd);
void cowcheck_pud_entry(struct cowcheck_entry *entry, pud_t pud);

/* A folio whose mappings were counted, where that takes a walk over all of its pages. */
struct cowcheck_counted {
	struct folio *folio;
	int mapcount;
};

/*
 * Describes the page that is the nth behind the one that the entry maps: all of
 * `run` but its address. `counted` is empty in the beginning of each table.
 */
void cowcheck_describe(struct cowcheck_run *run, struct vm_area_struct *vma,
		       const struct cowcheck_entry *entry, unsigned long nth,
		       struct cowcheck_counted *counted);

#endif
