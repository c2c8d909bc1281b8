/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The ways to get it wrong: number, name, what is wrong. The numbers are the parameter
 * bug=N and never change their meaning. Each is one or two lines of collapse.c, where
 * its name stands.
 */
#ifndef IN_PLACE_BUGS_H
#define IN_PLACE_BUGS_H

#define IN_PLACE_BUGS(BUG)										\
	/* The mark of exclusivity. */									\
	BUG(1, NONE_MARKED, "no sub-page is exclusive, the head is marked")				\
	BUG(2, TAILS_MARKED, "all are exclusive, and the tails keep their marks")			\
	BUG(3, MIXED_MARKED, "some are exclusive, collapsed, and the head is marked")			\
	BUG(4, MIXED_CLEARED, "some are exclusive, collapsed, and no mark is left: pins lose their pages") \
	BUG(5, MARK_OF_FIRST, "the head keeps the mark of the first sub-page, whatever the others have") \
	BUG(6, NEVER_MARKED, "all are exclusive, and no mark is left: pins lose their pages")		\
	BUG(7, MARKED_IF_UNSHARED, "marked where nobody else maps it, though a pipe may hold it")	\
	/* The write bit. */										\
	BUG(8, WRITABLE_SHARED, "writable because the mapping is, though not exclusive")		\
	BUG(9, WRITABLE_READ_ONLY, "writable because it is exclusive, though the mapping is read-only")	\
	BUG(10, WRITABLE_IF_ANY, "writable because one page was, uffd-wp and soft-dirty tracking or not") \
	/* What is in the range. */									\
	BUG(11, HOLES, "holes show what the THP has there")						\
	BUG(12, ZERO_PAGES, "zero pages are replaced by what the THP has there")			\
	BUG(13, FOREIGN, "pages of other folios are replaced by what the THP has there")		\
	BUG(14, SWAPPED, "swapped-out pages are replaced by what the THP has there")			\
	BUG(15, GUARDS, "guard markers are replaced by what the THP has there")				\
	BUG(16, ORDER, "sub-pages are put in order, though they were mapped in another")		\
	/* The other bits. */										\
	BUG(17, DIRTY, "dirty is dropped")								\
	BUG(18, SOFT_DIRTY, "soft-dirty is dropped")							\
	BUG(19, UFFD_WP, "the write protection of userfaultfd is dropped")				\
	/* Translations and counts. */									\
	BUG(20, NO_FLUSH, "the TLB is not flushed")							\
	BUG(21, REFERENCE_LEFT, "one reference is left over")						\
	BUG(22, REFERENCE_LOST, "the reference of the PMD is dropped, too")				\
	BUG(23, MAPCOUNT_LEFT, "the last sub-page stays counted as mapped by its PTE")			\
	BUG(24, MAPCOUNT_LOST, "the PMD is not counted as a mapping")					\
	BUG(25, TABLE_NOT_EMPTY, "the deposited table keeps its entries")

enum bug {
	NO_BUG,
#define IN_PLACE_ENUM(number, name, about) BUG_##name = number,
	IN_PLACE_BUGS(IN_PLACE_ENUM)
#undef IN_PLACE_ENUM
	BUGS_END
};

#endif
