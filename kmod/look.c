// SPDX-License-Identifier: GPL-2.0-only
/*
 * Looks at page tables. Nothing is taken but locks: neither is a page faulted in,
 * nor is a reference held, nor is a mark or an accessed bit changed.
 *
 * The mmap lock of the process, held for read, keeps VMAs and upper tables. What
 * can go under it:
 * - a table of PTEs (collapse of a file's pages; reclaim of empty tables): it is
 *   freed after an RCU grace period, so it is entered in an RCU section, and the
 *   PMD is compared again under the table's lock.
 * - a table of PMDs that hugetlb mappings of a file share: it is read with
 *   interrupts off, as GUP-fast does, and without its lock.
 */
#include <linux/mm.h>
#include <linux/pid.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "compat.h"
#include "look.h"
#include "page.h"

/* Runs on their way to user space: written there without the mmap lock, which its page faults may need. */
#define ROOM 256

struct look {
	struct mm_struct *mm;
	/* The first address that was not looked at, and that where it ends. */
	unsigned long at;
	unsigned long end;
	struct cowcheck_run *runs;
	unsigned int filled;
	/* Of the last run. */
	struct cowcheck_counted counted;
};

/* Whether `run` carries on the last run. */
static bool is_alike(const struct look *look, const struct cowcheck_run *run)
{
	const struct cowcheck_run *last = &look->runs[look->filled - 1];
	u64 ahead = last->count;

	if (run->addr != last->addr + ahead * PAGE_SIZE || run->flags != last->flags ||
	    run->order != last->order || run->mapcount != last->mapcount ||
	    run->folio_mapcount != last->folio_mapcount || run->refcount != last->refcount)
		return false;
	if (ahead + run->count > U32_MAX)
		return false;
	if (run->flags & COWCHECK_PRESENT) {
		/* Where there is no folio, there is no place in it. */
		bool is_page = !(run->flags & COWCHECK_SPECIAL);

		return run->pfn == last->pfn + ahead && run->index == last->index + (is_page ? ahead : 0);
	}
	if (run->flags & COWCHECK_SWAPPED)
		return run->swap == last->swap + ahead;
	return true;
}

/* Puts a run at the end, where `at` is; false where there is no room. */
static bool append(struct look *look, struct cowcheck_run *run)
{
	run->addr = look->at;
	if (look->filled && is_alike(look, run)) {
		look->runs[look->filled - 1].count += run->count;
	} else {
		if (look->filled == ROOM)
			return false;
		look->runs[look->filled++] = *run;
	}
	look->at += (unsigned long)run->count * PAGE_SIZE;
	return true;
}

/* Nothing is there up to `stop`. */
static bool append_hole(struct look *look, struct vm_area_struct *vma, unsigned long stop)
{
	while (look->at < stop) {
		struct cowcheck_run run = { 0 };

		run.count = min_t(unsigned long, (stop - look->at) / PAGE_SIZE, 1UL << 30);
		if (COWCHECK_HAS_MARKS)
			run.flags |= COWCHECK_MARKS_KNOWN;
		if (vma && is_vm_hugetlb_page(vma))
			run.flags |= COWCHECK_HUGETLB;
		if (!append(look, &run))
			return false;
	}
	return true;
}

/* What one entry maps up to `stop`; `base` is where it begins. */
static bool append_entry(struct look *look, struct vm_area_struct *vma, const struct cowcheck_entry *entry,
			 unsigned long base, unsigned long stop)
{
	struct cowcheck_run run;

	while (look->at < stop) {
		unsigned long nth = (look->at - base) / PAGE_SIZE;

		cowcheck_describe(&run, vma, entry, nth, &look->counted);
		if (!(entry->flags & COWCHECK_PRESENT) || !entry->is_page) {
			run.count = (stop - look->at) / PAGE_SIZE;
		} else if (entry->flags & COWCHECK_HUGETLB && nth) {
			/* One folio as a whole: its tails are alike, and there can be 262143 of them. */
			run.count = (stop - look->at) / PAGE_SIZE;
		}
		if (!append(look, &run))
			return false;
	}
	return true;
}

/* --- hugetlb --------------------------------------------------------------- */

static pte_t *hugetlb_entry(struct mm_struct *mm, unsigned long addr, unsigned long size)
{
	pgd_t *pgd = pgd_offset(mm, addr);
	p4d_t *p4d;
	pud_t *pud;

	if (pgd_none(READ_ONCE(*pgd)))
		return NULL;
	p4d = p4d_offset(pgd, addr);
	if (p4d_none(READ_ONCE(*p4d)))
		return NULL;
	pud = pud_offset(p4d, addr);
	if (size == PUD_SIZE)
		return (pte_t *)pud;
	if (pud_none(READ_ONCE(*pud)) || !pud_present(READ_ONCE(*pud)) || pud_leaf(READ_ONCE(*pud)))
		return NULL;
	return (pte_t *)pmd_offset(pud, addr);
}

static bool hugetlb_page(struct look *look, struct vm_area_struct *vma, unsigned long vma_stop)
{
	struct hstate *h = hstate_vma(vma);
	unsigned long size = huge_page_size(h);
	unsigned long base = look->at & ~(size - 1);
	unsigned long stop = min(vma_stop, base + size);
	bool is_shared = vma->vm_flags & VM_MAYSHARE;
	struct cowcheck_entry entry = { 0 };
	spinlock_t *lock = NULL;
	bool is_room;
	pte_t *at;

	if (size != PUD_SIZE && size != PMD_SIZE) {
		/* Of several entries (arm64); they would have to be put together. */
		entry.flags = COWCHECK_SPECIAL | COWCHECK_HUGETLB;
		return append_entry(look, vma, &entry, base, stop);
	}
	if (is_shared)
		local_irq_disable();
	at = hugetlb_entry(look->mm, base, size);
	if (!at) {
		is_room = append_hole(look, vma, stop);
		goto out;
	}
	if (!is_shared) {
		lock = huge_pte_lockptr(h, look->mm, at);
		spin_lock(lock);
	}
	cowcheck_pte_entry(&entry, vma, READ_ONCE(*at));
	if (entry.flags & ~(u64)(COWCHECK_MARKS_KNOWN | COWCHECK_HUGETLB)) {
		entry.flags |= size == PUD_SIZE ? COWCHECK_PUD : COWCHECK_PMD;
		is_room = append_entry(look, vma, &entry, base, stop);
	} else {
		is_room = append_hole(look, vma, stop);
	}
	if (lock)
		spin_unlock(lock);
out:
	if (is_shared)
		local_irq_enable();
	return is_room;
}

/* --- page tables ----------------------------------------------------------- */

/* The PTEs of one table, unless the table went while we came. */
static bool ptes(struct look *look, struct vm_area_struct *vma, pmd_t *pmd, unsigned long stop)
{
	bool is_room = true;
	spinlock_t *lock;
	pmd_t table;
	pte_t *pte;

	rcu_read_lock();
	table = READ_ONCE(*pmd);
	if (pmd_none(table) || !pmd_present(table) || pmd_leaf(table) || pmd_bad(table))
		goto out;
	lock = pte_lockptr(look->mm, &table);
	spin_lock(lock);
	if (pmd_val(READ_ONCE(*pmd)) != pmd_val(table))
		goto unlock;
	pte = pte_offset_kernel(&table, look->at);
	while (look->at < stop && is_room) {
		struct cowcheck_entry entry;

		cowcheck_pte_entry(&entry, vma, ptep_get(pte));
		is_room = append_entry(look, vma, &entry, look->at, look->at + PAGE_SIZE);
		pte++;
	}
unlock:
	spin_unlock(lock);
out:
	rcu_read_unlock();
	return is_room;
}

static bool pmd_page_or_entry(struct look *look, struct vm_area_struct *vma, pmd_t *pmd, unsigned long stop)
{
	spinlock_t *lock = pmd_lock(look->mm, pmd);
	pmd_t here = READ_ONCE(*pmd);
	bool is_room = true;

	/* Else it has just become something else: it is looked at again. */
	if (!pmd_none(here) && (!pmd_present(here) || pmd_leaf(here))) {
		struct cowcheck_entry entry;

		cowcheck_pmd_entry(&entry, vma, here);
		is_room = append_entry(look, vma, &entry, look->at & PMD_MASK, stop);
	}
	spin_unlock(lock);
	return is_room;
}

/* Something that no user's page table should have. */
static bool append_special(struct look *look, struct vm_area_struct *vma, unsigned long stop)
{
	struct cowcheck_entry entry = { .flags = COWCHECK_SPECIAL };

	return append_entry(look, vma, &entry, look->at, stop);
}

/* One step: an entry or a table of PTEs. It may get nowhere, then it is tried again. */
static bool step(struct look *look, struct vm_area_struct *vma, unsigned long stop)
{
	unsigned long at = look->at;
	pgd_t *pgd = pgd_offset(look->mm, at);
	p4d_t *p4d;
	pud_t *pud, pud_here;
	pmd_t *pmd, pmd_here;

	if (pgd_none(READ_ONCE(*pgd)))
		return append_hole(look, vma, pgd_addr_end(at, stop));
	if (pgd_bad(READ_ONCE(*pgd)))
		return append_special(look, vma, pgd_addr_end(at, stop));

	p4d = p4d_offset(pgd, at);
	if (p4d_none(READ_ONCE(*p4d)))
		return append_hole(look, vma, p4d_addr_end(at, stop));
	if (p4d_bad(READ_ONCE(*p4d)))
		return append_special(look, vma, p4d_addr_end(at, stop));

	pud = pud_offset(p4d, at);
	pud_here = READ_ONCE(*pud);
	if (pud_none(pud_here))
		return append_hole(look, vma, pud_addr_end(at, stop));
	if (pud_leaf(pud_here)) {
		struct cowcheck_entry entry;

		cowcheck_pud_entry(&entry, pud_here);
		return append_entry(look, vma, &entry, at & PUD_MASK, pud_addr_end(at, stop));
	}
	if (!pud_present(pud_here) || pud_bad(pud_here))
		return append_special(look, vma, pud_addr_end(at, stop));

	pmd = pmd_offset(pud, at);
	pmd_here = READ_ONCE(*pmd);
	stop = pmd_addr_end(at, stop);
	if (pmd_none(pmd_here))
		return append_hole(look, vma, stop);
	if (!pmd_present(pmd_here) || pmd_leaf(pmd_here))
		return pmd_page_or_entry(look, vma, pmd, stop);
	if (pmd_bad(pmd_here))
		return append_special(look, vma, stop);
	return ptes(look, vma, pmd, stop);
}

/* Looks until the end or until there is no room. */
static int walk(struct look *look)
{
	bool is_room = true;
	int error = 0;

	if (mmap_read_lock_killable(look->mm))
		return -EINTR;
	while (is_room && look->at < look->end) {
		struct vm_area_struct *vma = find_vma(look->mm, look->at);

		look->counted.folio = NULL;
		if (fatal_signal_pending(current)) {
			error = -EINTR;
			break;
		}
		if (!vma || vma->vm_start >= look->end)
			is_room = append_hole(look, NULL, look->end);
		else if (vma->vm_start > look->at)
			is_room = append_hole(look, NULL, vma->vm_start);
		else if (is_vm_hugetlb_page(vma))
			is_room = hugetlb_page(look, vma, min(look->end, vma->vm_end));
		else
			is_room = step(look, vma, min(look->end, vma->vm_end));
		cond_resched();
	}
	mmap_read_unlock(look->mm);
	return error;
}

/* --- the call -------------------------------------------------------------- */

static struct mm_struct *mm_of(int pid)
{
	struct task_struct *task;
	struct mm_struct *mm;
	struct pid *found;

	if (!pid) {
		mmget(current->mm);
		return current->mm;
	}
	found = find_get_pid(pid);
	task = get_pid_task(found, PIDTYPE_PID);
	put_pid(found);
	if (!task)
		return NULL;
	mm = get_task_mm(task);
	put_task_struct(task);
	return mm;
}

/* Looks at all, and writes the runs into user space as they come. */
static long fill(struct look *look, struct cowcheck_look *asked)
{
	struct cowcheck_run __user *to = u64_to_user_ptr(asked->runs);

	while (look->at < look->end && asked->filled < asked->room) {
		unsigned int ready;
		int error;

		error = walk(look);
		if (error)
			return error;
		/* The last may go on; it is kept back until it cannot. */
		ready = look->at < look->end ? look->filled - 1 : look->filled;
		ready = min(ready, asked->room - asked->filled);
		if (copy_to_user(to + asked->filled, look->runs, ready * sizeof(*to)))
			return -EFAULT;
		asked->filled += ready;
		if (asked->filled == asked->room && ready < look->filled)
			look->at = look->runs[ready].addr;
		look->filled -= ready;
		memmove(look->runs, look->runs + ready, look->filled * sizeof(*look->runs));
	}
	asked->end = look->at;
	return 0;
}

long cowcheck_look(struct cowcheck_look __user *argument)
{
	struct cowcheck_look asked;
	struct look look = { 0 };
	u64 end;
	long error;

	if (copy_from_user(&asked, argument, sizeof(asked)))
		return -EFAULT;
	if (asked.zero || asked.pid < 0 || !asked.room || !asked.len)
		return -EINVAL;
	if (!PAGE_ALIGNED(asked.addr) || !PAGE_ALIGNED(asked.len) || check_add_overflow(asked.addr, asked.len, &end))
		return -EINVAL;
	if (end > TASK_SIZE_MAX)
		return -EFAULT;
	asked.filled = 0;
	look.at = asked.addr;
	look.end = end;
	look.mm = mm_of(asked.pid);
	if (!look.mm)
		return -ESRCH;
	look.runs = kvmalloc_array(ROOM, sizeof(*look.runs), GFP_KERNEL);
	error = look.runs ? fill(&look, &asked) : -ENOMEM;
	kvfree(look.runs);
	mmput(look.mm);
	if (!error && copy_to_user(argument, &asked, sizeof(asked)))
		error = -EFAULT;
	return error;
}
