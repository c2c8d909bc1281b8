/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * What user space says to the helper module, and what it is told. The device is
 * /dev/cowcheck; opening it needs CAP_SYS_ADMIN. crates/sys/src/helper.rs says
 * the same in Rust.
 *
 * Sizes and addresses are in bytes and multiples of the base page, but for READ
 * and WRITE, which take any bytes within a pin.
 *
 * Errors: EINVAL what no call takes, or what is beyond a pin; EFAULT an address of
 * the kernel's, or where nothing can be read, written or pinned; ENOENT no pin has
 * this id; EACCES a WRITE through a pin that was not taken with PIN_WRITE; ENOMEM
 * more pins or pages than one file may hold (4096 and 4 GiB); ESRCH no process, or
 * one without memory; EINTR the caller is being killed.
 */
#ifndef COWCHECK_H
#define COWCHECK_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* Counts up whenever something below changes its meaning or its size. */
#define COWCHECK_ABI 1

/* How a pin is taken. */
#define COWCHECK_PIN_LONGTERM	(1 << 0)	/* FOLL_LONGTERM */
#define COWCHECK_PIN_WRITE	(1 << 1)	/* FOLL_WRITE */
#define COWCHECK_PIN_FAST	(1 << 2)	/* by pin_user_pages_fast() */

/* Pins a range of the caller's memory. Several may be held at a time. */
struct cowcheck_pin {
	__u64 addr;
	__u64 len;
	__u32 flags;
	__u32 id;	/* out: what the pin is called on this file, from 1 */
};

/* Bytes through a pin: READ copies them to buf, WRITE from buf. */
struct cowcheck_io {
	__u64 offset;	/* from the beginning of the pin */
	__u64 len;
	__u64 buf;
	__u32 id;
	__u32 zero;
};

/* What is known of a page, beside its numbers. */
#define COWCHECK_PRESENT	(1ULL << 0)
#define COWCHECK_SWAPPED	(1ULL << 1)	/* a swap entry */
#define COWCHECK_MIGRATING	(1ULL << 2)	/* a migration entry */
#define COWCHECK_SPECIAL	(1ULL << 3)	/* a marker (guard, uffd-wp, poison) or another entry that is no page */
#define COWCHECK_PMD		(1ULL << 4)	/* mapped by a PMD */
#define COWCHECK_PUD		(1ULL << 5)	/* mapped by a PUD */
#define COWCHECK_WRITABLE	(1ULL << 6)	/* in the page table */
#define COWCHECK_DIRTY		(1ULL << 7)	/* in the page table */
#define COWCHECK_SOFT_DIRTY	(1ULL << 8)	/* the page, or all of its mapping */
#define COWCHECK_UFFD_WP	(1ULL << 9)
#define COWCHECK_ANON		(1ULL << 10)	/* an anonymous folio */
#define COWCHECK_KSM		(1ULL << 11)
#define COWCHECK_ZERO		(1ULL << 12)	/* the zero page, small or huge */
#define COWCHECK_HUGETLB	(1ULL << 13)
#define COWCHECK_LRU		(1ULL << 14)
#define COWCHECK_SWAPCACHE	(1ULL << 15)
/*
 * PG_anon_exclusive. Where a PMD or PUD maps the page, and in a hugetlb folio,
 * it is the head page's, which counts for all of them. Of a swap or migration
 * entry: the mark in the entry.
 */
#define COWCHECK_EXCLUSIVE	(1ULL << 16)
/*
 * The mark of this very page struct, whoever's counts: on a tail of a PMD-mapped
 * THP it must not be set. The tails of a hugetlb folio are told like the first.
 */
#define COWCHECK_OWN_EXCLUSIVE	(1ULL << 17)
#define COWCHECK_PINNED		(1ULL << 18)	/* maybe pinned for DMA: true may be wrong, false is right */
#define COWCHECK_GUARD		(1ULL << 19)	/* a guard region's marker (Linux 6.13) */
#define COWCHECK_MARKS_KNOWN	(1ULL << 20)	/* this kernel has PG_anon_exclusive (Linux 5.19) */

/* A swap entry has the number of the swap area from this bit on. */
#define COWCHECK_SWAP_AREA	56

/*
 * `count` neighbouring pages that are alike: what differs between two of them is
 * only that pfn, index and swap offset count up. So a run of present pages never
 * goes beyond their folio, and each mapping of the small zero page is one of its own.
 */
struct cowcheck_run {
	__u64 addr;
	__u64 flags;
	__u64 pfn;		/* of the first; 0 where nothing is present */
	__u64 swap;		/* of the first: area << COWCHECK_SWAP_AREA | offset; 0 otherwise */
	__u32 count;
	__u32 order;		/* of the folio */
	__u32 index;		/* the first page's place in the folio */
	__s32 mapcount;		/* of each page; -1 where this kernel does not count it */
	__s32 folio_mapcount;	/* of the whole folio */
	__s32 refcount;		/* of the whole folio; references that are on their way count */
};

/*
 * Looks at the page table of a process without changing anything: nothing is
 * faulted in or unshared, and no reference is left behind. Fills as many runs as
 * there is room for and tells how far it got.
 */
struct cowcheck_look {
	__u64 addr;
	__u64 len;
	__u64 runs;	/* where the runs go */
	__u32 room;	/* how many fit there */
	__u32 filled;	/* out */
	__u64 end;	/* out: the first address that was not looked at */
	__s32 pid;	/* whose memory; 0: the caller's */
	__u32 zero;
};

#define COWCHECK_IOC_ABI	_IO(0xCC, 0)	/* returns COWCHECK_ABI */
#define COWCHECK_IOC_PIN	_IOWR(0xCC, 1, struct cowcheck_pin)
#define COWCHECK_IOC_READ	_IOW(0xCC, 2, struct cowcheck_io)
#define COWCHECK_IOC_WRITE	_IOW(0xCC, 3, struct cowcheck_io)
#define COWCHECK_IOC_UNPIN	_IO(0xCC, 4)	/* the argument is the id */
#define COWCHECK_IOC_LOOK	_IOWR(0xCC, 5, struct cowcheck_look)

#endif
