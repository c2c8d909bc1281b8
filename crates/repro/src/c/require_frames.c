#include <fcntl.h>
#include <linux/kernel-page-flags.h>
#include <stdbool.h>
#include <unistd.h>

/* What kpagecount and kpageflags tell (Documentation/admin-guide/mm/pagemap.rst). */
enum frame_state { SHARED, EXCLUSIVE, KSM, ZERO_PAGE };

static bool frame_is(enum frame_state state, uint64_t number)
{
	switch (state) {
	case SHARED:
		return number > 1;
	case EXCLUSIVE:
		return number == 1;
	case KSM:
		return number >> KPF_KSM & 1;
	default:
		return number >> KPF_ZERO_PAGE & 1;
	}
}

/* Only root sees frame numbers; who does not, takes the state as given. */
static void require_frames(int first, int count, enum frame_state state, const char *name)
{
	const char *file = state == SHARED || state == EXCLUSIVE ? "/proc/kpagecount" : "/proc/kpageflags";
	int pagemap = open_pagemap(), frames = open(file, O_RDONLY | O_CLOEXEC), page;
	uint64_t entry, number;

	for (page = first; page < first + count; page++) {
		entry = pagemap_entry(pagemap, addr(page));
		if (entry & PM_PRESENT && (frames < 0 || !(entry & PM_PFN))) {
			say("note", "only root sees whether pages are %s: not looked at", name);
			break;
		}
		if (!(entry & PM_PRESENT) ||
		    pread(frames, &number, sizeof(number), (entry & PM_PFN) * sizeof(number)) != sizeof(number) ||
		    !frame_is(state, number)) {
			not_reached("page %d is not %s", page, name);
			break;
		}
	}
	close(pagemap);
	if (frames >= 0)
		close(frames);
}
