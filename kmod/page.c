// SPDX-License-Identifier: GPL-2.0-only
#include <linux/hugetlb_inline.h>
#include <linux/ksm.h>
#include <linux/string.h>

#include "compat.h"
#include "page.h"

/* What is there instead of a page. */
static void not_present(struct cowcheck_entry *entry, struct vm_area_struct *vma, cowcheck_entry_t swap)
{
	if (cowcheck_entry_is_swap(swap)) {
		entry->flags |= COWCHECK_SWAPPED;
		entry->swap = (u64)swp_type(swap) << COWCHECK_SWAP_AREA | swp_offset(swap);
	} else if (cowcheck_entry_is_migration(swap)) {
		entry->flags |= COWCHECK_MIGRATING;
		/* A shared mapping's writable entry says the same of a page that has no mark. */
		if (cowcheck_entry_keeps_exclusive(swap) && !(vma->vm_flags & VM_SHARED))
			entry->flags |= COWCHECK_EXCLUSIVE;
	} else {
		entry->flags |= COWCHECK_SPECIAL;
		if (cowcheck_entry_is_guard(swap))
			entry->flags |= COWCHECK_GUARD;
		if (cowcheck_entry_is_uffd_wp(swap))
			entry->flags |= COWCHECK_UFFD_WP;
	}
}

static void begin(struct cowcheck_entry *entry, struct vm_area_struct *vma)
{
	memset(entry, 0, sizeof(*entry));
	if (COWCHECK_HAS_MARKS)
		entry->flags |= COWCHECK_MARKS_KNOWN;
	if (is_vm_hugetlb_page(vma))
		entry->flags |= COWCHECK_HUGETLB;
}

static void flag(struct cowcheck_entry *entry, u64 flag, bool is_set)
{
	if (is_set)
		entry->flags |= flag;
}

/* As pagemap has it: a mapping that is new, or was joined to a new one, is soft-dirty as a whole. */
static void soft_dirty(struct cowcheck_entry *entry, struct vm_area_struct *vma, bool is_set)
{
	flag(entry, COWCHECK_SOFT_DIRTY, is_set || (vma->vm_flags & VM_SOFTDIRTY));
}

void cowcheck_pte_entry(struct cowcheck_entry *entry, struct vm_area_struct *vma, pte_t pte)
{
	begin(entry, vma);
	if (pte_none(pte))
		return;
	if (!pte_present(pte)) {
		not_present(entry, vma, cowcheck_entry_of_pte(pte));
		if (entry->flags & (COWCHECK_SWAPPED | COWCHECK_MIGRATING)) {
			soft_dirty(entry, vma, pte_swp_soft_dirty(pte));
			flag(entry, COWCHECK_UFFD_WP, pte_swp_uffd_wp(pte));
		}
		if (entry->flags & COWCHECK_SWAPPED)
			flag(entry, COWCHECK_EXCLUSIVE, pte_swp_exclusive(pte));
		return;
	}
	entry->flags |= COWCHECK_PRESENT;
	entry->pfn = pte_pfn(pte);
	flag(entry, COWCHECK_WRITABLE, pte_write(pte));
	flag(entry, COWCHECK_DIRTY, pte_dirty(pte));
	soft_dirty(entry, vma, pte_soft_dirty(pte));
	flag(entry, COWCHECK_UFFD_WP, pte_uffd_wp(pte));
	if (entry->pfn == page_to_pfn(ZERO_PAGE(0)))
		entry->flags |= COWCHECK_ZERO;
	else if (pte_special(pte) || !pfn_valid(entry->pfn))
		entry->flags |= COWCHECK_SPECIAL;
	entry->is_page = !(entry->flags & COWCHECK_SPECIAL);
}

void cowcheck_pmd_entry(struct cowcheck_entry *entry, struct vm_area_struct *vma, pmd_t pmd)
{
	begin(entry, vma);
	entry->flags |= COWCHECK_PMD;
	if (!pmd_present(pmd)) {
		not_present(entry, vma, cowcheck_entry_of_pmd(pmd));
		if (entry->flags & (COWCHECK_SWAPPED | COWCHECK_MIGRATING)) {
			soft_dirty(entry, vma, pmd_swp_soft_dirty(pmd));
			flag(entry, COWCHECK_UFFD_WP, pmd_swp_uffd_wp(pmd));
		}
		return;
	}
	entry->flags |= COWCHECK_PRESENT;
	entry->pfn = pmd_pfn(pmd);
	flag(entry, COWCHECK_WRITABLE, pmd_write(pmd));
	flag(entry, COWCHECK_DIRTY, pmd_dirty(pmd));
	soft_dirty(entry, vma, pmd_soft_dirty(pmd));
	flag(entry, COWCHECK_UFFD_WP, pmd_uffd_wp(pmd));
	if (!pfn_valid(entry->pfn) || (vma->vm_flags & VM_PFNMAP)) {
		entry->flags |= COWCHECK_SPECIAL;
		return;
	}
	/*
	 * The huge zero page is not exported. In an anonymous mapping it is the one
	 * folio that is not anonymous; it is marked special on some kernels.
	 */
	if (vma_is_anonymous(vma) && !folio_test_anon(page_folio(pfn_to_page(entry->pfn))))
		entry->flags |= COWCHECK_ZERO;
	else if (pmd_special(pmd))
		entry->flags |= COWCHECK_SPECIAL;
	entry->is_page = !(entry->flags & COWCHECK_SPECIAL);
}

/* Outside of hugetlb a PUD maps memory of devices only. */
void cowcheck_pud_entry(struct cowcheck_entry *entry, pud_t pud)
{
	memset(entry, 0, sizeof(*entry));
	entry->flags = COWCHECK_PUD | COWCHECK_PRESENT | COWCHECK_SPECIAL;
	if (COWCHECK_HAS_MARKS)
		entry->flags |= COWCHECK_MARKS_KNOWN;
	entry->pfn = pud_pfn(pud);
	flag(entry, COWCHECK_WRITABLE, pud_write(pud));
	flag(entry, COWCHECK_DIRTY, pud_dirty(pud));
}

void cowcheck_describe(struct cowcheck_run *run, struct vm_area_struct *vma,
		       const struct cowcheck_entry *entry, unsigned long nth,
		       struct cowcheck_counted *counted)
{
	struct page *page, *mapped;
	struct folio *folio;
	bool is_whole;

	memset(run, 0, sizeof(*run));
	run->flags = entry->flags;
	run->count = 1;
	if (entry->flags & COWCHECK_SWAPPED)
		run->swap = entry->swap + nth;
	if (!(entry->flags & COWCHECK_PRESENT))
		return;
	run->pfn = entry->pfn + nth;
	if (!entry->is_page)
		return;

	mapped = pfn_to_page(entry->pfn);
	page = pfn_to_page(run->pfn);
	folio = page_folio(mapped);
	run->order = folio_order(folio);
	run->index = run->pfn - page_to_pfn(folio_page(folio, 0));
	run->refcount = folio_ref_count(folio);
	/* Of the zero page nobody counts mappings. */
	if (!(entry->flags & COWCHECK_ZERO)) {
		run->mapcount = cowcheck_page_mapcount(folio, page);
		if (counted->folio != folio) {
			counted->folio = folio;
			counted->mapcount = cowcheck_folio_mapcount(folio);
		}
		run->folio_mapcount = counted->mapcount;
	}
	if (folio_maybe_dma_pinned(folio))
		run->flags |= COWCHECK_PINNED;
	if (folio_test_lru(folio))
		run->flags |= COWCHECK_LRU;
	if (folio_test_swapcache(folio))
		run->flags |= COWCHECK_SWAPCACHE;
	if (folio_test_ksm(folio))
		run->flags |= COWCHECK_KSM;
	if (!folio_test_anon(folio))
		return;
	run->flags |= COWCHECK_ANON;
	is_whole = entry->flags & (COWCHECK_PMD | COWCHECK_PUD | COWCHECK_HUGETLB);
	if (cowcheck_anon_exclusive(is_whole ? mapped : page))
		run->flags |= COWCHECK_EXCLUSIVE;
	if (cowcheck_anon_exclusive(page))
		run->flags |= COWCHECK_OWN_EXCLUSIVE;
}
