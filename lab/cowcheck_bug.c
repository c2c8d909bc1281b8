// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which of the planted bugs is alive: the boot parameter cowcheck_bug=NUMBER,
 * 0 being none. It can be read in /sys/module/kernel/parameters.
 */
#include <linux/init.h>
#include <linux/moduleparam.h>
#include <linux/printk.h>

extern int cowcheck_bug;
int cowcheck_bug __ro_after_init;
core_param(cowcheck_bug, cowcheck_bug, int, 0444);

static int __init tell(void)
{
	pr_info("cowcheck: the planted bug is number %d\n", cowcheck_bug);
	return 0;
}
late_initcall(tell);
