#define PIN_WRITES	8

/* Pin some pages as fixed buffers, write through the pin and look by the CPU, and the other way round. */
static bool pin_in_storm(unsigned int *dice)
{
	struct fixed pin = { .nr = 0 };
	int pages[SOME], nr = some_pages(dice, pages), i;

	for (i = 0; i < nr; i++)
		add_buffer(&pin, pages[i], 1);
	/* Another rival may have made the pages read-only. */
	if (!try_register_buffers(&pin))
		return false;
	for (i = 0; i < PIN_WRITES; i++) {
		int page = pages[rand_r(dice) / 64 % nr], slot = rand_r(dice) / 64 % WRITERS;
		unsigned int count = field->written[page][PINNED] + 1, least;
		uint64_t through = counted(page, PINNED, count);

		if (pwrite(scratch, &through, 8, SCRATCH_PLACE) != 8)
			stop(SKIP, "pwrite(): %s", strerror(errno));
		fixed_io(&pin, IORING_OP_READ_FIXED, page, SLOT_WORD(PINNED) * 8, 8);
		atomic_store(&field->written[page][PINNED], count);
		check_count("who wrote it through a fixed buffer", page, PINNED,
			    *((volatile uint64_t *)addr(page) + SLOT_WORD(PINNED)), count, count);
		least = field->written[page][slot];
		fixed_io(&pin, IORING_OP_WRITE_FIXED, page, SLOT_WORD(slot) * 8, 8);
		if (pread(scratch, &through, 8, SCRATCH_PLACE) != 8)
			stop(SKIP, "pread(): %s", strerror(errno));
		check_count("a reader through a fixed buffer", page, slot, through, least,
			    field->written[page][slot] + 1);
	}
	unregister_buffers(&pin);
	/* For a while nothing is pinned; a ring's end is some time before that of its pins. */
	usleep(4000);
	return true;
}
