// SPDX-License-Identifier: GPL-2.0-only
/* Finds functions of the kernel that modules are not given: through kallsyms, which a kprobe finds. */
#include <linux/kallsyms.h>
#include <linux/kprobes.h>

#include "kernel.h"

struct in_place_kernel kernel;

int in_place_find_kernel(void)
{
	struct kprobe probe = { .symbol_name = "kallsyms_lookup_name" };
	unsigned long (*lookup)(const char *name);
	int error = register_kprobe(&probe);

	if (error)
		return error;
	/* Behind the ENDBR64 where there is one. */
	lookup = (void *)probe.addr;
	unregister_kprobe(&probe);
#define IN_PLACE_FIND(type, name, ...)						\
	kernel.name = (void *)lookup(#name);					\
	if (!kernel.name) {							\
		pr_err("in-place: this kernel has no " #name "()\n");		\
		return -ENOENT;							\
	}
	IN_PLACE_FUNCTIONS(IN_PLACE_FIND)
#undef IN_PLACE_FIND
	return 0;
}
