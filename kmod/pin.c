// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pins of the caller's memory. A pin holds pages, not the address space that they
 * came from, so it outlives munmap() and the process, until it is given back or
 * the file is closed.
 */
#include <linux/kref.h>
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "compat.h"
#include "pin.h"

/* Between two looks at signals. */
#define AT_ONCE 1024UL

struct pin {
	/* One of the file, one of each read or write that is under way. */
	struct kref ref;
	struct cowcheck_pins *pins;
	u32 flags;
	/* Room for all that was asked for, and how many are pinned. */
	unsigned long room;
	unsigned long count;
	struct page **pages;
};

void cowcheck_pins_init(struct cowcheck_pins *pins)
{
	xa_init_flags(&pins->by_id, XA_FLAGS_ALLOC1);
	pins->next = 1;
	atomic_long_set(&pins->pages, 0);
	atomic_long_set(&pins->count, 0);
}

static void pin_free(struct pin *pin)
{
	unsigned long at = 0;

	while (at < pin->count) {
		unsigned long some = min(pin->count - at, AT_ONCE);

		unpin_user_pages(pin->pages + at, some);
		at += some;
		cond_resched();
	}
	atomic_long_sub(pin->room, &pin->pins->pages);
	atomic_long_dec(&pin->pins->count);
	kvfree(pin->pages);
	kfree(pin);
}

static void pin_last(struct kref *ref)
{
	pin_free(container_of(ref, struct pin, ref));
}

static void pin_put(struct pin *pin)
{
	kref_put(&pin->ref, pin_last);
}

/* Pins cannot go while this file's pin is looked up: the array's lock is held. */
static struct pin *pin_get(struct cowcheck_pins *pins, u32 id)
{
	struct pin *pin;

	xa_lock(&pins->by_id);
	pin = xa_load(&pins->by_id, id);
	if (pin)
		kref_get(&pin->ref);
	xa_unlock(&pins->by_id);
	return pin;
}

static struct pin *pin_alloc(struct cowcheck_pins *pins, unsigned long room, u32 flags)
{
	struct pin *pin;

	if (atomic_long_inc_return(&pins->count) > COWCHECK_MOST_PINS)
		goto too_many;
	if (atomic_long_add_return(room, &pins->pages) > COWCHECK_MOST_PAGES)
		goto too_large;
	pin = kzalloc(sizeof(*pin), GFP_KERNEL_ACCOUNT);
	if (!pin)
		goto too_large;
	pin->pages = kvmalloc_array(room, sizeof(*pin->pages), GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!pin->pages)
		goto no_array;
	kref_init(&pin->ref);
	pin->pins = pins;
	pin->flags = flags;
	pin->room = room;
	return pin;

no_array:
	kfree(pin);
too_large:
	atomic_long_sub(room, &pins->pages);
too_many:
	atomic_long_dec(&pins->count);
	return NULL;
}

static long pin_some(unsigned long addr, unsigned long some, u32 flags, struct page **pages)
{
	unsigned int gup_flags = 0;
	long done;

	if (flags & COWCHECK_PIN_LONGTERM)
		gup_flags |= FOLL_LONGTERM;
	if (flags & COWCHECK_PIN_WRITE)
		gup_flags |= FOLL_WRITE;
	if (flags & COWCHECK_PIN_FAST)
		return pin_user_pages_fast(addr, some, gup_flags, pages);
	if (mmap_read_lock_killable(current->mm))
		return -EINTR;
	done = pin_user_pages(addr, some, gup_flags, pages);
	mmap_read_unlock(current->mm);
	return done;
}

static long pin_all(struct pin *pin, unsigned long addr)
{
	while (pin->count < pin->room) {
		unsigned long some = min(pin->room - pin->count, AT_ONCE);
		long done;

		if (fatal_signal_pending(current))
			return -EINTR;
		done = pin_some(addr + pin->count * PAGE_SIZE, some, pin->flags, pin->pages + pin->count);
		if (done <= 0)
			return done ?: -EFAULT;
		pin->count += done;
		cond_resched();
	}
	return 0;
}

long cowcheck_pin_range(struct cowcheck_pins *pins, u64 addr, u64 len, u32 flags)
{
	struct pin *pin;
	long error;
	u64 end;
	u32 id;

	if (flags & ~(COWCHECK_PIN_LONGTERM | COWCHECK_PIN_WRITE | COWCHECK_PIN_FAST))
		return -EINVAL;
	if (!len || !PAGE_ALIGNED(addr) || !PAGE_ALIGNED(len) || check_add_overflow(addr, len, &end))
		return -EINVAL;
	if (end > TASK_SIZE_MAX || !access_ok((void __user *)(unsigned long)addr, len))
		return -EFAULT;
	if (len / PAGE_SIZE > COWCHECK_MOST_PAGES)
		return -ENOMEM;

	pin = pin_alloc(pins, len / PAGE_SIZE, flags);
	if (!pin)
		return -ENOMEM;
	error = pin_all(pin, addr);
	if (!error) {
		/* As soon as it is among them, anybody can give it back. */
		error = xa_alloc_cyclic(&pins->by_id, &id, pin, XA_LIMIT(1, INT_MAX), &pins->next,
					GFP_KERNEL_ACCOUNT);
		error = min(error, 0L);
	}
	if (error) {
		pin_put(pin);
		return error;
	}
	return id;
}

long cowcheck_unpin(struct cowcheck_pins *pins, unsigned long id)
{
	struct pin *pin = id <= INT_MAX ? xa_erase(&pins->by_id, id) : NULL;

	if (!pin)
		return -ENOENT;
	pin_put(pin);
	return 0;
}

void cowcheck_pins_release(struct cowcheck_pins *pins)
{
	unsigned long id;
	struct pin *pin;

	xa_for_each(&pins->by_id, id, pin) {
		xa_erase(&pins->by_id, id);
		pin_put(pin);
	}
	xa_destroy(&pins->by_id);
}

long cowcheck_pin_pages(struct cowcheck_pins *pins, u32 id)
{
	struct pin *pin = pin_get(pins, id);
	long count;

	if (!pin)
		return -ENOENT;
	count = pin->count;
	pin_put(pin);
	return count;
}

/* --- through a pin --------------------------------------------------------- */

/* The bytes of one page. Only what was pinned for it may be written, and then the page is dirty. */
static int copy_in_page(struct page *page, unsigned long from, unsigned long len, char __user *user, bool is_write)
{
	char *at = page_address(page) + from;

	if (!is_write)
		return copy_to_user(user, at, len) ? -EFAULT : 0;
	if (copy_from_user(at, user, len))
		return -EFAULT;
	set_page_dirty_lock(page);
	return 0;
}

static long copy(struct cowcheck_pins *pins, const struct cowcheck_io *io, bool is_write)
{
	char __user *user = u64_to_user_ptr(io->buf);
	u64 at = io->offset;
	struct pin *pin;
	long error = 0;
	u64 end;

	if (io->zero || check_add_overflow(io->offset, io->len, &end))
		return -EINVAL;
	pin = pin_get(pins, io->id);
	if (!pin)
		return -ENOENT;
	if (end > (u64)pin->count * PAGE_SIZE)
		error = -EINVAL;
	else if (is_write && !(pin->flags & COWCHECK_PIN_WRITE))
		error = -EACCES;
	else if (!access_ok(user, io->len))
		error = -EFAULT;
	while (!error && at < end) {
		unsigned long from = offset_in_page(at);
		unsigned long len = min_t(u64, end - at, PAGE_SIZE - from);

		if (fatal_signal_pending(current)) {
			error = -EINTR;
			break;
		}
		error = copy_in_page(pin->pages[at / PAGE_SIZE], from, len, user, is_write);
		user += len;
		at += len;
		cond_resched();
	}
	pin_put(pin);
	return error;
}

long cowcheck_pin_read(struct cowcheck_pins *pins, const struct cowcheck_io *io)
{
	return copy(pins, io, false);
}

long cowcheck_pin_write(struct cowcheck_pins *pins, const struct cowcheck_io *io)
{
	return copy(pins, io, true);
}
