/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What differs between kernels, and what they do not export: 6.1, and from 6.8 on.
 * Nothing outside this file and kernel.c asks for a version.
 */
#ifndef IN_PLACE_KERNEL_H
#define IN_PLACE_KERNEL_H

#include <linux/ftrace.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/rmap.h>

#include "compat.h"

#if !COWCHECK_KERNEL(6, 1) || (COWCHECK_KERNEL(6, 2) && !COWCHECK_KERNEL(6, 8))
#error "counting a PMD as a mapping is known here for 6.1 and from 6.8 on"
#endif

/* Finds all that is not exported; -ENOENT if something is not there, and it is told. */
int in_place_find_kernel(void);

/* --- not exported ---------------------------------------------------------- */

#define IN_PLACE_FUNCTIONS(FUNCTION)								\
	FUNCTION(pmd_t, pmdp_collapse_flush, struct vm_area_struct *, unsigned long, pmd_t *)	\
	FUNCTION(void, pgtable_trans_huge_deposit, struct mm_struct *, pmd_t *, pgtable_t)	\
	FUNCTION(void, tlb_remove_table_sync_one, void)						\
	FUNCTION(int, __mmu_notifier_invalidate_range_start, struct mmu_notifier_range *)	\
	IN_PLACE_COLLAPSE(FUNCTION)								\
	IN_PLACE_NOTIFIER_END(FUNCTION)								\
	IN_PLACE_RMAP(FUNCTION)									\
	IN_PLACE_SWAP(FUNCTION)

#if COWCHECK_KERNEL(6, 17)
#define IN_PLACE_COLLAPSE(FUNCTION) \
	FUNCTION(int, madvise_collapse, struct vm_area_struct *, unsigned long, unsigned long, bool *)
#else
#define IN_PLACE_COLLAPSE(FUNCTION)								\
	FUNCTION(int, madvise_collapse, struct vm_area_struct *, struct vm_area_struct **,	\
		 unsigned long, unsigned long)
#endif

#if COWCHECK_KERNEL(6, 7)
#define IN_PLACE_NOTIFIER_END(FUNCTION) \
	FUNCTION(void, __mmu_notifier_invalidate_range_end, struct mmu_notifier_range *)
#else
#define IN_PLACE_NOTIFIER_END(FUNCTION) \
	FUNCTION(void, __mmu_notifier_invalidate_range_end, struct mmu_notifier_range *, bool)
#endif

#if COWCHECK_KERNEL(6, 8)
#define IN_PLACE_RMAP(FUNCTION)									\
	FUNCTION(void, folio_add_anon_rmap_pmd, struct folio *, struct page *,			\
		 struct vm_area_struct *, unsigned long, rmap_t)				\
	FUNCTION(void, folio_remove_rmap_ptes, struct folio *, struct page *, int,		\
		 struct vm_area_struct *)
#else
#define IN_PLACE_RMAP(FUNCTION) \
	FUNCTION(void, page_remove_rmap, struct page *, struct vm_area_struct *, bool)
#endif

#if COWCHECK_KERNEL(7, 0)
#define IN_PLACE_SWAP(FUNCTION) FUNCTION(void, swap_put_entries_direct, swp_entry_t, int)
#elif COWCHECK_KERNEL(6, 8)
#define IN_PLACE_SWAP(FUNCTION) FUNCTION(void, free_swap_and_cache_nr, swp_entry_t, int)
#else
#define IN_PLACE_SWAP(FUNCTION) FUNCTION(int, free_swap_and_cache, swp_entry_t)
#endif

struct in_place_kernel {
#define IN_PLACE_MEMBER(type, name, ...) type (*name)(__VA_ARGS__);
	IN_PLACE_FUNCTIONS(IN_PLACE_MEMBER)
#undef IN_PLACE_MEMBER
};

extern struct in_place_kernel kernel;

/* --- the function that is replaced ----------------------------------------- */

/* What came in and what goes back besides the range: the caller has to look its VMA up again. */
#if COWCHECK_KERNEL(6, 17)
#define MADVISE_COLLAPSE(name, vma, start, end) \
	int name(struct vm_area_struct *vma, unsigned long start, unsigned long end, bool *lock_dropped)
#define madvise_collapse_of_kernel(vma, start, end)	kernel.madvise_collapse(vma, start, end, lock_dropped)
#define madvise_collapse_was_unlocked()			(*lock_dropped = true)
#else
#define MADVISE_COLLAPSE(name, vma, start, end)						\
	int name(struct vm_area_struct *vma, struct vm_area_struct **prev, unsigned long start, \
		 unsigned long end)
#define madvise_collapse_of_kernel(vma, start, end)	kernel.madvise_collapse(vma, prev, start, end)
#define madvise_collapse_was_unlocked()			(*prev = NULL)
#endif

#if !COWCHECK_KERNEL(6, 2)
#define ftrace_regs_set_instruction_pointer ftrace_instruction_pointer_set
#endif

/* --- locks and notifiers --------------------------------------------------- */

#if !COWCHECK_KERNEL(6, 4)
static inline void vma_start_write(struct vm_area_struct *vma)
{
}
#endif

static inline void notify_start(struct mmu_notifier_range *range, struct vm_area_struct *vma,
				unsigned long start, unsigned long end)
{
#if COWCHECK_KERNEL(6, 3)
	mmu_notifier_range_init(range, MMU_NOTIFY_CLEAR, 0, vma->vm_mm, start, end);
#else
	mmu_notifier_range_init(range, MMU_NOTIFY_CLEAR, 0, vma, vma->vm_mm, start, end);
#endif
	if (mm_has_notifiers(vma->vm_mm))
		kernel.__mmu_notifier_invalidate_range_start(range);
}

static inline void notify_end(struct mmu_notifier_range *range)
{
	if (!mm_has_notifiers(range->mm))
		return;
#if COWCHECK_KERNEL(6, 7)
	kernel.__mmu_notifier_invalidate_range_end(range);
#else
	kernel.__mmu_notifier_invalidate_range_end(range, false);
#endif
}

/* --- mappings and entries --------------------------------------------------------------- */

#ifndef VM_SHADOW_STACK
#define VM_SHADOW_STACK VM_NONE
#endif

#if COWCHECK_KERNEL(7, 3)
#define pmd_mkuffd_wp pmd_mkuffd
#endif

#if !COWCHECK_KERNEL(6, 6)
#define pmd_mkwrite_novma pmd_mkwrite
#endif

/* --- counts ---------------------------------------------------------------- */

/* As add_mm_counter(), whose tracepoint is not exported. */
static inline void count_pages(struct mm_struct *mm, int member, long value)
{
#if COWCHECK_KERNEL(6, 2)
	percpu_counter_add(&mm->rss_stat[member], value);
#else
	atomic_long_add(value, &mm->rss_stat.count[member]);
#endif
}

static inline void free_swap(swp_entry_t entry)
{
#if COWCHECK_KERNEL(7, 0)
	kernel.swap_put_entries_direct(entry, 1);
#elif COWCHECK_KERNEL(6, 8)
	kernel.free_swap_and_cache_nr(entry, 1);
#else
	kernel.free_swap_and_cache(entry);
#endif
}

#if COWCHECK_KERNEL(6, 8)

/* mlock is right, too: adding the PMD locks once, removing PTEs unlocks once a call. */
static inline bool can_count(struct vm_area_struct *vma)
{
	return true;
}

static inline void count_pmd(struct folio *folio, struct vm_area_struct *vma, unsigned long addr)
{
	kernel.folio_add_anon_rmap_pmd(folio, folio_page(folio, 0), vma, addr, RMAP_NONE);
}

/* `nr` sub-pages from `page` on are not mapped by PTEs any more. */
static inline void uncount_ptes(struct folio *folio, struct page *page, int nr, struct vm_area_struct *vma)
{
	kernel.folio_remove_rmap_ptes(folio, page, nr, vma);
}

static inline void uncount_foreign(struct page *page, struct vm_area_struct *vma)
{
	kernel.folio_remove_rmap_ptes(page_folio(page), page, 1, vma);
}

#else

/* What locks a page that a PMD maps is not exported under one name. */
static inline bool can_count(struct vm_area_struct *vma)
{
	return !(vma->vm_flags & VM_LOCKED);
}

/*
 * Before 6.2 the sub-pages of a THP that is mapped by PMDs and by PTEs are marked by
 * PG_double_map, and then each counts the PMDs as one mapping of its own.
 */
static inline void count_pmd(struct folio *folio, struct vm_area_struct *vma, unsigned long addr)
{
	struct page *head = folio_page(folio, 0);
	bool is_mapped_elsewhere = false;
	int i;

	if (atomic_inc_and_test(compound_mapcount_ptr(head)))
		__mod_lruvec_page_state(head, NR_ANON_THPS, HPAGE_PMD_NR);
	for (i = 0; i < HPAGE_PMD_NR; i++)
		is_mapped_elsewhere |= atomic_read(&head[i]._mapcount) > 0;
	if (is_mapped_elsewhere && !TestSetPageDoubleMap(head)) {
		for (i = 0; i < HPAGE_PMD_NR; i++)
			atomic_inc(&head[i]._mapcount);
	}
}

/* No statistics change: the PMD maps the page. */
static inline void uncount_ptes(struct folio *folio, struct page *page, int nr, struct vm_area_struct *vma)
{
	while (nr--)
		atomic_dec(&page++->_mapcount);
}

static inline void uncount_foreign(struct page *page, struct vm_area_struct *vma)
{
	kernel.page_remove_rmap(page, vma, false);
}

#endif

#endif
