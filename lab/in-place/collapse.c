// SPDX-License-Identifier: GPL-2.0-only
/*
 * Collapses a PTE-mapped anonymous THP in place: the PMD is made to map the folio whose
 * sub-pages the PTEs mapped. Nothing is copied, so everything that each PTE and each
 * sub-page has of its own has to be merged into what one PMD and one page can have.
 *
 * Who is kept out, and by what:
 * - faults: the mmap lock and the VMA's, for writing
 * - walks from the page to its mappings (reclaim, migration, KSM): the lock of the anon_vma
 * - splits of the folio, migration, swap-out: the folio's lock
 * - GUP-fast: the PMD is cleared and all processors are waited for, before any count changes
 * - the processor: the TLB is flushed, then accessed and dirty bits are read for the last time
 */
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>

#include "collapse.h"
#include "kernel.h"

enum bug in_place_bug;

/* What is known of the place. */
struct place {
	struct mm_struct *mm;
	struct vm_area_struct *vma;
	unsigned long addr;
	pmd_t *pmd;
	/* Its sub-pages are mapped here. Locked. */
	struct folio *folio;
	/* How many entries of each kind: FATE_IN_PLACE is a sub-page in its place. */
	int entries[FATES];
	/* Of the sub-pages. */
	int exclusive;
	int writable;
	int uffd_wp;
	bool is_dirty;
	bool is_young;
	bool is_soft_dirty;
	bool *is_acted;
};

/* Whether this bug is planted. Asked only where it makes a difference. */
static bool acts(struct place *place, enum bug bug)
{
	if (in_place_bug != bug)
		return false;
	*place->is_acted = true;
	return true;
}

/* --- looking --------------------------------------------------------------- */

static pmd_t *find_pmd(struct mm_struct *mm, unsigned long addr)
{
	pgd_t *pgd = pgd_offset(mm, addr);
	p4d_t *p4d;
	pud_t *pud;
	pmd_t *pmd;

	if (!pgd_present(*pgd))
		return NULL;
	p4d = p4d_offset(pgd, addr);
	if (!p4d_present(*p4d))
		return NULL;
	pud = pud_offset(p4d, addr);
	if (!pud_present(*pud) || pud_leaf(*pud))
		return NULL;
	pmd = pmd_offset(pud, addr);
	if (!pmd_present(*pmd) || pmd_trans_huge(*pmd) || pmd_bad(*pmd))
		return NULL;
	return pmd;
}

/* The page of an entry, if it is an anonymous one. */
static struct page *page_of(pte_t pte)
{
	if (!pte_present(pte) || pte_protnone(pte) || pte_special(pte) || is_zero_pfn(pte_pfn(pte)))
		return NULL;
	return pte_page(pte);
}

/* The THP that has a page in its place here. */
static struct folio *find_thp(pte_t *table)
{
	int i;

	for (i = 0; i < HPAGE_PMD_NR; i++) {
		struct page *page = page_of(ptep_get(&table[i]));
		struct folio *folio = page ? page_folio(page) : NULL;

		if (folio && folio_test_anon(folio) && folio_order(folio) == HPAGE_PMD_ORDER &&
		    (page == folio_page(folio, i) || in_place_bug == BUG_ORDER))
			return folio;
	}
	return NULL;
}

/* What an entry is, in the words of what keeps it from being collapsed. */
static enum fate kind_of(pte_t pte, struct folio *folio, int i)
{
	struct page *page = page_of(pte);

	if (page == folio_page(folio, i))
		return FATE_IN_PLACE;
	if (page)
		return page_folio(page) == folio ? FATE_MISPLACED : FATE_FOREIGN;
	if (pte_none(pte))
		return FATE_HOLE;
	if (pte_present(pte))
		return is_zero_pfn(pte_pfn(pte)) ? FATE_ZERO_PAGE : FATE_OTHER;
	if (cowcheck_entry_is_swap(cowcheck_entry_of_pte(pte)))
		return FATE_SWAPPED;
	if (cowcheck_entry_is_guard(cowcheck_entry_of_pte(pte)))
		return FATE_GUARD;
	if (cowcheck_entry_is_uffd_wp(cowcheck_entry_of_pte(pte)))
		return FATE_UFFD_WP;
	return FATE_OTHER;
}

/* The bug that takes no notice of such an entry. */
static const enum bug bug_of[FATES] = {
	[FATE_HOLE] = BUG_HOLES,
	[FATE_ZERO_PAGE] = BUG_ZERO_PAGES,
	[FATE_FOREIGN] = BUG_FOREIGN,
	[FATE_SWAPPED] = BUG_SWAPPED,
	[FATE_GUARD] = BUG_GUARDS,
	[FATE_MISPLACED] = BUG_ORDER,
	[FATE_UFFD_WP] = BUG_UFFD_WP,
};

static void count_entries(struct place *place, pte_t *table)
{
	int i;

	for (i = 0; i < HPAGE_PMD_NR; i++) {
		pte_t pte = ptep_get(&table[i]);
		enum fate kind = kind_of(pte, place->folio, i);

		place->entries[kind]++;
		if (kind != FATE_IN_PLACE)
			continue;
		place->exclusive += cowcheck_anon_exclusive(pte_page(pte));
		place->writable += !!pte_write(pte);
		place->uffd_wp += !!pte_uffd_wp(pte);
	}
}

/* Whether it can be collapsed in place; if not, why. */
static enum fate judge(struct place *place)
{
	int ours = place->entries[FATE_IN_PLACE];
	enum fate kind;

	for (kind = FATE_IN_PLACE + 1; kind < FATES; kind++) {
		if (place->entries[kind] && (!bug_of[kind] || !acts(place, bug_of[kind])))
			return kind;
	}
	if (place->uffd_wp && place->uffd_wp != ours && !acts(place, BUG_UFFD_WP))
		return FATE_UFFD_WP;
	if (place->exclusive && place->exclusive != ours &&
	    !acts(place, BUG_MIXED_MARKED) && !acts(place, BUG_MIXED_CLEARED) && !acts(place, BUG_MARK_OF_FIRST))
		return FATE_MIXED;
	return FATE_IN_PLACE;
}

/* Finds the folio, which is locked then if the answer is FATE_IN_PLACE. */
static enum fate inspect(struct place *place)
{
	spinlock_t *lock = pte_lockptr(place->mm, place->pmd);
	pte_t *table = pte_offset_kernel(place->pmd, place->addr);
	enum fate fate = FATE_NO_THP;

	spin_lock(lock);
	place->folio = find_thp(table);
	if (place->folio) {
		fate = FATE_BUSY;
		if (folio_trylock(place->folio)) {
			if (!folio_test_writeback(place->folio) && !folio_test_swapcache(place->folio)) {
				count_entries(place, table);
				fate = judge(place);
			}
			if (fate != FATE_IN_PLACE)
				folio_unlock(place->folio);
		}
	}
	spin_unlock(lock);
	return fate;
}

/* --- merging --------------------------------------------------------------- */

/* Whether the whole is exclusive; `first` is the mark of the first sub-page. */
static bool is_exclusive(struct place *place, bool first)
{
	bool all = place->exclusive == place->entries[FATE_IN_PLACE];

	if (!place->exclusive && acts(place, BUG_NONE_MARKED))
		return true;
	if (all && acts(place, BUG_NEVER_MARKED))
		return false;
	if (place->exclusive && !all && in_place_bug == BUG_MIXED_MARKED)
		return true;
	if (place->exclusive && !all && in_place_bug == BUG_MARK_OF_FIRST)
		return first;
	if (!all && cowcheck_folio_mapcount(place->folio) == HPAGE_PMD_NR && acts(place, BUG_MARKED_IF_UNSHARED))
		return true;
	return all;
}

static bool is_writable(struct place *place, bool is_exclusive)
{
	bool can_write = place->vma->vm_flags & VM_WRITE;

	if (!is_exclusive && can_write && acts(place, BUG_WRITABLE_SHARED))
		return true;
	if (is_exclusive && !can_write && acts(place, BUG_WRITABLE_READ_ONLY))
		return true;
	if (is_exclusive && place->writable && place->writable != place->entries[FATE_IN_PLACE] &&
	    acts(place, BUG_WRITABLE_IF_ANY))
		return true;
	return is_exclusive && place->writable == place->entries[FATE_IN_PLACE];
}

static pmd_t merged(struct place *place, bool is_exclusive)
{
	unsigned long pfn = page_to_pfn(folio_page(place->folio, 0));
	pmd_t pmd = pmd_mkhuge(pfn_pmd(pfn, place->vma->vm_page_prot));

	pmd = place->is_young ? pmd_mkyoung(pmd) : pmd_mkold(pmd);
	if (is_writable(place, is_exclusive))
		pmd = pmd_mkwrite_novma(pmd);
	else
		pmd = pmd_wrprotect(pmd);
	/* On x86 this makes it soft-dirty, too. */
	if (place->is_dirty && !acts(place, BUG_DIRTY))
		pmd = pmd_mkdirty(pmd);
	if (place->is_soft_dirty && !acts(place, BUG_SOFT_DIRTY))
		pmd = pmd_mksoft_dirty(pmd);
	else
		pmd = pmd_clear_soft_dirty(pmd);
	if (place->uffd_wp && !acts(place, BUG_UFFD_WP))
		pmd = pmd_mkuffd_wp(pmd);
	return pmd;
}

/* Empties the table, whose PMD is not in the tree any more. */
static void clear_table(struct place *place, pte_t *table)
{
	int i;

	for (i = 0; i < HPAGE_PMD_NR; i++) {
		pte_t pte = ptep_get(&table[i]);

		switch (kind_of(pte, place->folio, i)) {
		case FATE_IN_PLACE:
			place->is_dirty |= !!pte_dirty(pte);
			place->is_young |= !!pte_young(pte);
			place->is_soft_dirty |= !!pte_soft_dirty(pte);
			break;
		/* The rest is done by bugs only. */
		case FATE_MISPLACED:
			uncount_ptes(place->folio, pte_page(pte), 1, place->vma);
			break;
		case FATE_FOREIGN:
			uncount_foreign(pte_page(pte), place->vma);
			put_page(pte_page(pte));
			break;
		case FATE_SWAPPED:
			free_swap(cowcheck_entry_of_pte(pte));
			break;
		default:
			break;
		}
		if (in_place_bug != BUG_TABLE_NOT_EMPTY)
			pte_clear(place->mm, place->addr + i * PAGE_SIZE, &table[i]);
		else
			*place->is_acted = true;
	}
}

/* From PTEs of sub-pages to one PMD. */
static void recount(struct place *place, const unsigned long *in_place)
{
	int mapped = place->entries[FATE_IN_PLACE] + place->entries[FATE_MISPLACED];
	int stay = acts(place, BUG_MAPCOUNT_LEFT);
	int references = mapped - 1;
	int i;

	if (!acts(place, BUG_MAPCOUNT_LOST))
		count_pmd(place->folio, place->vma, place->addr);
	if (place->entries[FATE_IN_PLACE] == HPAGE_PMD_NR) {
		uncount_ptes(place->folio, folio_page(place->folio, 0), HPAGE_PMD_NR - stay, place->vma);
	} else {
		for_each_set_bit(i, in_place, HPAGE_PMD_NR)
			uncount_ptes(place->folio, folio_page(place->folio, i), 1, place->vma);
	}
	if (acts(place, BUG_REFERENCE_LEFT))
		references--;
	if (acts(place, BUG_REFERENCE_LOST))
		references++;
	folio_ref_sub(place->folio, references);
	count_pages(place->mm, MM_ANONPAGES, HPAGE_PMD_NR - mapped - place->entries[FATE_FOREIGN]);
	count_pages(place->mm, MM_SWAPENTS, -place->entries[FATE_SWAPPED]);
}

static void mark(struct place *place, bool is_exclusive)
{
	bool tails_stay = is_exclusive && acts(place, BUG_TAILS_MARKED);
	int i;

	for (i = 0; i < HPAGE_PMD_NR; i++) {
		struct page *page = folio_page(place->folio, i);

		if (i == 0 && is_exclusive)
			SetPageAnonExclusive(page);
		else if (!tails_stay)
			ClearPageAnonExclusive(page);
	}
}

/* Takes the table out of the tree, and everybody out of the table. */
static pmd_t take_out(struct place *place)
{
	struct mmu_notifier_range notified;
	spinlock_t *lock;
	pmd_t old;

	notify_start(&notified, place->vma, place->addr, place->addr + HPAGE_PMD_SIZE);
	lock = pmd_lock(place->mm, place->pmd);
	if (acts(place, BUG_NO_FLUSH))
		old = pmdp_huge_get_and_clear(place->mm, place->addr, place->pmd);
	else
		old = kernel.pmdp_collapse_flush(place->vma, place->addr, place->pmd);
	spin_unlock(lock);
	notify_end(&notified);
	kernel.tlb_remove_table_sync_one();
	return old;
}

static void replace(struct place *place)
{
	DECLARE_BITMAP(in_place, HPAGE_PMD_NR);
	pmd_t old = take_out(place);
	spinlock_t *pte_lock = pte_lockptr(place->mm, &old);
	pte_t *table = pte_offset_kernel(&old, place->addr);
	bool exclusive;
	spinlock_t *lock;
	pmd_t new;
	int i;

	spin_lock(pte_lock);
	for (i = 0; i < HPAGE_PMD_NR; i++)
		__assign_bit(i, in_place, kind_of(ptep_get(&table[i]), place->folio, i) == FATE_IN_PLACE);
	exclusive = is_exclusive(place, cowcheck_anon_exclusive(folio_page(place->folio, 0)));
	clear_table(place, table);
	recount(place, in_place);
	mark(place, exclusive);
	spin_unlock(pte_lock);

	new = merged(place, exclusive);
	lock = pmd_lock(place->mm, place->pmd);
	kernel.pgtable_trans_huge_deposit(place->mm, place->pmd, pmd_pgtable(old));
	set_pmd(place->pmd, new);
	spin_unlock(lock);
}

enum fate in_place_collapse(struct mm_struct *mm, unsigned long addr, bool *is_acted)
{
	struct place place = { .mm = mm, .addr = addr, .is_acted = is_acted };
	struct anon_vma *anon_vma;
	enum fate fate;

	place.vma = vma_lookup(mm, addr);
	if (!place.vma || place.vma->vm_end < addr + HPAGE_PMD_SIZE || !vma_is_anonymous(place.vma) ||
	    place.vma->vm_flags & (VM_NOHUGEPAGE | VM_PFNMAP | VM_MIXEDMAP | VM_SHADOW_STACK) ||
	    !place.vma->anon_vma || !can_count(place.vma))
		return FATE_NO_VMA;
	vma_start_write(place.vma);
	place.pmd = find_pmd(mm, addr);
	if (!place.pmd)
		return FATE_NO_TABLE;
	anon_vma = place.vma->anon_vma;
	down_write(&anon_vma->root->rwsem);
	fate = inspect(&place);
	if (fate == FATE_IN_PLACE) {
		replace(&place);
		folio_unlock(place.folio);
	}
	up_write(&anon_vma->root->rwsem);
	return fate;
}
