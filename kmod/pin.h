/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef COWCHECK_PIN_H
#define COWCHECK_PIN_H

#include <linux/atomic.h>
#include <linux/xarray.h>

#include "cowcheck.h"

/* What one file may hold: 4 GiB in base pages, in no more pins than anyone needs. */
#define COWCHECK_MOST_PAGES (1UL << 20)
#define COWCHECK_MOST_PINS 4096

/* The pins of one open file. */
struct cowcheck_pins {
	struct xarray by_id;
	u32 next;
	atomic_long_t pages;
	atomic_long_t count;
};

void cowcheck_pins_init(struct cowcheck_pins *pins);
/* Releases all; nobody else may use them any more. */
void cowcheck_pins_release(struct cowcheck_pins *pins);

/* The id of a new pin, or an error. */
long cowcheck_pin_range(struct cowcheck_pins *pins, u64 addr, u64 len, u32 flags);
long cowcheck_unpin(struct cowcheck_pins *pins, unsigned long id);
/* How many pages a pin has, or an error. */
long cowcheck_pin_pages(struct cowcheck_pins *pins, u32 id);

long cowcheck_pin_read(struct cowcheck_pins *pins, const struct cowcheck_io *io);
long cowcheck_pin_write(struct cowcheck_pins *pins, const struct cowcheck_io *io);

#endif
