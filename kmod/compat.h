/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What differs between kernels, from 5.10 on. All other files are written for the
 * newest one; nothing outside this file asks for a version.
 */
#ifndef COWCHECK_COMPAT_H
#define COWCHECK_COMPAT_H

#include <linux/hugetlb.h>
#include <linux/mm.h>
#include <linux/swap.h>
#include <linux/swapops.h>
#include <linux/version.h>

#ifndef CONFIG_64BIT
#error "the module reaches pages through the direct map, which has all of them on 64-bit kernels only"
#endif

#define COWCHECK_KERNEL(major, minor) (LINUX_VERSION_CODE >= KERNEL_VERSION(major, minor, 0))

/* --- pins ------------------------------------------------------------------ */

#if !COWCHECK_KERNEL(6, 5)
#define pin_user_pages(start, count, flags, pages) (pin_user_pages)(start, count, flags, pages, NULL)
#endif

/* --- folios ---------------------------------------------------------------- */

#if !COWCHECK_KERNEL(5, 16)
struct folio {
	struct page page;	/* the head */
};

#define page_folio(of)			((struct folio *)compound_head(of))
#define folio_page(folio, n)		(&(folio)->page + (n))
#define folio_test_anon(folio)		PageAnon(&(folio)->page)
#define folio_test_large(folio)		PageCompound(&(folio)->page)
#define folio_test_hugetlb(folio)	PageHuge(&(folio)->page)
#define folio_test_ksm(folio)		PageKsm(&(folio)->page)
#define folio_test_lru(folio)		PageLRU(&(folio)->page)
#define folio_test_swapcache(folio)	PageSwapCache(&(folio)->page)
#define folio_order(folio)		compound_order(&(folio)->page)
#define folio_ref_count(folio)		page_ref_count(&(folio)->page)
#define folio_maybe_dma_pinned(folio)	page_maybe_dma_pinned(&(folio)->page)
#endif

/* The mark of this very page, which must be one of an anonymous folio. */
static inline bool cowcheck_anon_exclusive(struct page *page)
{
#if COWCHECK_KERNEL(6, 18)
	return test_bit(PG_anon_exclusive, &page->flags.f);
#elif COWCHECK_KERNEL(5, 19)
	return test_bit(PG_anon_exclusive, &page->flags);
#else
	return false;
#endif
}

#define COWCHECK_HAS_MARKS COWCHECK_KERNEL(5, 19)

#if COWCHECK_KERNEL(6, 10)

static inline int cowcheck_page_mapcount(struct folio *folio, struct page *page)
{
#ifdef CONFIG_NO_PAGE_MAPCOUNT
	if (folio_test_large(folio) && !folio_test_hugetlb(folio))
		return -1;
#endif
	if (folio_test_hugetlb(folio) || !folio_test_large(folio))
		return folio_mapcount(folio);
	return atomic_read(&page->_mapcount) + 1 + folio_entire_mapcount(folio);
}

static inline int cowcheck_folio_mapcount(struct folio *folio)
{
	return folio_mapcount(folio);
}

#else

static inline int cowcheck_page_mapcount(struct folio *folio, struct page *page)
{
	return page_mapcount(page);
}

/* What total_mapcount() counts, which is not exported. */
static inline int cowcheck_folio_mapcount(struct folio *folio)
{
	struct page *head = folio_page(folio, 0);
	int entire, count, i, nr;

	if (!folio_test_large(folio))
		return page_mapcount(head);
#if COWCHECK_KERNEL(6, 4)
	entire = folio_entire_mapcount(folio);
#else
	entire = compound_mapcount(head);
#endif
	if (folio_test_hugetlb(folio))
		return entire;
	nr = 1 << folio_order(folio);
	count = entire;
	for (i = 0; i < nr; i++)
		count += atomic_read(&head[i]._mapcount) + 1;
#if !COWCHECK_KERNEL(6, 2)
	/* A file's sub-pages count what maps the whole, too. */
	if (!folio_test_anon(folio))
		return count - entire * nr;
	if (PageDoubleMap(head))
		count -= nr;
#endif
	return count;
}

#endif

/* --- page tables ----------------------------------------------------------- */

#if COWCHECK_KERNEL(7, 3)
#define pte_uffd_wp	pte_uffd
#define pmd_uffd_wp	pmd_uffd
#define pte_swp_uffd_wp	pte_swp_uffd
#define pmd_swp_uffd_wp	pmd_swp_uffd
#endif

#if !COWCHECK_KERNEL(5, 19)
#define pte_swp_exclusive(pte) false
#endif

#if !COWCHECK_KERNEL(6, 12)
#define pmd_special(pmd) false
#endif

#if __has_include(<linux/leafops.h>)

#include <linux/leafops.h>

#define cowcheck_entry_t			softleaf_t
#define cowcheck_entry_of_pte			softleaf_from_pte
#define cowcheck_entry_of_pmd			softleaf_from_pmd
#define cowcheck_entry_is_swap			softleaf_is_swap
#define cowcheck_entry_is_migration		softleaf_is_migration
#define cowcheck_entry_is_guard			softleaf_is_guard_marker
#define cowcheck_entry_is_uffd_wp		softleaf_is_uffd_wp_marker

static inline bool cowcheck_entry_keeps_exclusive(softleaf_t entry)
{
	return softleaf_is_migration_write(entry) || softleaf_is_migration_read_exclusive(entry);
}

#else

#define cowcheck_entry_t			swp_entry_t
#define cowcheck_entry_of_pte			pte_to_swp_entry
#define cowcheck_entry_of_pmd			pmd_to_swp_entry
#define cowcheck_entry_is_migration		is_migration_entry

static inline bool cowcheck_entry_is_swap(swp_entry_t entry)
{
	return !non_swap_entry(entry);
}

static inline bool cowcheck_entry_is_guard(swp_entry_t entry)
{
#ifdef PTE_MARKER_GUARD
	return is_guard_swp_entry(entry);
#else
	return false;
#endif
}

static inline bool cowcheck_entry_is_uffd_wp(swp_entry_t entry)
{
#ifdef PTE_MARKER_UFFD_WP
	return is_pte_marker_entry(entry) && (pte_marker_get(entry) & PTE_MARKER_UFFD_WP);
#else
	return false;
#endif
}

static inline bool cowcheck_entry_keeps_exclusive(swp_entry_t entry)
{
#if COWCHECK_KERNEL(5, 19)
	return is_writable_migration_entry(entry) || is_readable_exclusive_migration_entry(entry);
#else
	return false;
#endif
}

#endif

#endif
