// SPDX-License-Identifier: GPL-2.0-only
/*
 * Comes before the kernel's madvise_collapse(): what can be collapsed in place is, then
 * the kernel goes on, and finds it collapsed. There is no way to unload it: a task may
 * sleep in it. It is for virtual machines that nobody needs afterwards.
 */
#include <linux/atomic.h>
#include <linux/ftrace.h>
#include <linux/module.h>
#include <linux/reboot.h>

#include "collapse.h"
#include "kernel.h"

module_param_named(bug, in_place_bug, uint, 0444);
MODULE_PARM_DESC(bug, "what is done wrong (bugs.h); 0: nothing");

static const char *const bugs[] = {
	[NO_BUG] = "none",
#define IN_PLACE_TEXT(number, name, about) [number] = about,
	IN_PLACE_BUGS(IN_PLACE_TEXT)
#undef IN_PLACE_TEXT
};

static const char *const fates[] = {
#define IN_PLACE_TEXT(name, text) [FATE_##name] = text,
	IN_PLACE_FATES(IN_PLACE_TEXT)
#undef IN_PLACE_TEXT
};

/* --- what was done --------------------------------------------------------- */

static atomic_long_t counts[FATES];

/* As `in-place 12, acted 3`, without those that are none. */
static int print_counts(char *buffer, const struct kernel_param *param)
{
	int length = 0;
	int fate;

	for (fate = 0; fate < FATES; fate++) {
		long count = atomic_long_read(&counts[fate]);

		if (count)
			length += scnprintf(buffer + length, PAGE_SIZE - length, "%s%s %ld", length ? ", " : "",
					    fates[fate], count);
	}
	return length + scnprintf(buffer + length, PAGE_SIZE - length, "\n");
}

static const struct kernel_param_ops counts_ops = { .get = print_counts };

module_param_cb(counts, &counts_ops, NULL, 0444);
MODULE_PARM_DESC(counts, "how many ranges were collapsed in place, in how many of them the bug acted, and why others were left to the kernel");

/* The console has them when the machine has gone. */
static int tell_counts(struct notifier_block *block, unsigned long action, void *data)
{
	static char text[PAGE_SIZE];

	print_counts(text, NULL);
	pr_alert("in-place: bug %u: %s", in_place_bug, text);
	return NOTIFY_DONE;
}

static struct notifier_block at_reboot = { .notifier_call = tell_counts };

/* --- the hook -------------------------------------------------------------- */

static void collapse_range(struct mm_struct *mm, unsigned long start, unsigned long end)
{
	unsigned long addr;

	for (addr = ALIGN(start, HPAGE_PMD_SIZE); addr + HPAGE_PMD_SIZE <= end; addr += HPAGE_PMD_SIZE) {
		bool is_acted = false;
		enum fate fate = in_place_collapse(mm, addr, &is_acted);

		atomic_long_inc(&counts[fate]);
		if (fate == FATE_IN_PLACE && is_acted)
			atomic_long_inc(&counts[FATE_ACTED]);
	}
}

/* As madvise_collapse(): called and left with the mmap lock held for reading. */
static noinline MADVISE_COLLAPSE(in_place_then_kernel, vma, start, end)
{
	struct mm_struct *mm = vma->vm_mm;
	int error = -EINVAL;

	mmap_read_unlock(mm);
	mmap_write_lock(mm);
	collapse_range(mm, start, end);
	mmap_write_downgrade(mm);
	/* Meanwhile anything may have been mapped there, or nothing. */
	vma = vma_lookup(mm, start);
	if (vma && vma->vm_end >= end)
		error = madvise_collapse_of_kernel(vma, start, end);
	madvise_collapse_was_unlocked();
	return error;
}

static void notrace on_call(unsigned long ip, unsigned long parent_ip, struct ftrace_ops *ops,
			    struct ftrace_regs *regs)
{
	if (!within_module(parent_ip, THIS_MODULE))
		ftrace_regs_set_instruction_pointer(regs, (unsigned long)in_place_then_kernel);
}

static struct ftrace_ops hook = {
	.func = on_call,
	.flags = FTRACE_OPS_FL_SAVE_REGS | FTRACE_OPS_FL_IPMODIFY,
};

static int __init in_place_init(void)
{
	static unsigned char name[] = "madvise_collapse";
	int error;

	if (in_place_bug >= BUGS_END) {
		pr_err("in-place: bug %u: there are %u\n", in_place_bug, BUGS_END - 1);
		return -EINVAL;
	}
	error = in_place_find_kernel();
	if (!error)
		error = ftrace_set_filter(&hook, name, sizeof(name) - 1, 1);
	if (!error)
		error = register_ftrace_function(&hook);
	if (error)
		return error;
	register_reboot_notifier(&at_reboot);
	pr_info("in-place: anonymous THPs are collapsed in place; bug %u: %s\n", in_place_bug, bugs[in_place_bug]);
	return 0;
}

module_init(in_place_init);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("collapses anonymous THPs in place, rightly or wrongly, for cowcheck's lab");
