// SPDX-License-Identifier: GPL-2.0-only
/*
 * Long-term pins at the place of the kernel's own gup_test, where the kernel has
 * none: its selftests (cow, gup_longterm) run as they are. A file has one pin,
 * where gup_test has one for all files.
 */
#include <linux/capability.h>
#include <linux/debugfs.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "compat.h"
#include "gup_test.h"
#include "pin.h"

/* As mm/gup_test.h has them. */
struct pin_longterm_test {
	__u64 addr;
	__u64 size;
	__u32 flags;
};

#define PIN_LONGTERM_TEST_START	_IOW('g', 7, struct pin_longterm_test)
#define PIN_LONGTERM_TEST_STOP	_IO('g', 8)
#define PIN_LONGTERM_TEST_READ	_IOW('g', 9, __u64)

#define USE_WRITE	1
#define USE_FAST	2

struct test {
	struct mutex lock;
	struct cowcheck_pins pins;
	/* 0 where nothing is pinned. */
	u32 id;
};

static struct dentry *place;

static long start(struct test *test, void __user *argument)
{
	struct pin_longterm_test asked;
	u32 flags = COWCHECK_PIN_LONGTERM;
	long id;

	if (test->id)
		return -EINVAL;
	if (copy_from_user(&asked, argument, sizeof(asked)))
		return -EFAULT;
	if (asked.flags & ~(USE_WRITE | USE_FAST))
		return -EINVAL;
	if (asked.flags & USE_WRITE)
		flags |= COWCHECK_PIN_WRITE;
	if (asked.flags & USE_FAST)
		flags |= COWCHECK_PIN_FAST;
	id = cowcheck_pin_range(&test->pins, asked.addr, asked.size, flags);
	if (id < 0)
		return id;
	test->id = id;
	return 0;
}

static long stop(struct test *test)
{
	if (test->id)
		cowcheck_unpin(&test->pins, test->id);
	test->id = 0;
	return 0;
}

static long read_all(struct test *test, void __user *argument)
{
	struct cowcheck_io io = { .id = test->id };
	long pages;

	if (!test->id)
		return -EINVAL;
	pages = cowcheck_pin_pages(&test->pins, test->id);
	if (pages < 0)
		return pages;
	io.len = (u64)pages * PAGE_SIZE;
	if (copy_from_user(&io.buf, argument, sizeof(io.buf)))
		return -EFAULT;
	return cowcheck_pin_read(&test->pins, &io);
}

static long gup_test_ioctl(struct file *file, unsigned int command, unsigned long argument)
{
	struct test *test = file->private_data;
	void __user *user = (void __user *)argument;
	long result = -EINVAL;

	if (mutex_lock_killable(&test->lock))
		return -EINTR;
	if (command == PIN_LONGTERM_TEST_START)
		result = start(test, user);
	else if (command == PIN_LONGTERM_TEST_STOP)
		result = stop(test);
	else if (command == PIN_LONGTERM_TEST_READ)
		result = read_all(test, user);
	mutex_unlock(&test->lock);
	return result;
}

static int gup_test_open(struct inode *inode, struct file *file)
{
	struct test *test;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	test = kzalloc(sizeof(*test), GFP_KERNEL_ACCOUNT);
	if (!test)
		return -ENOMEM;
	mutex_init(&test->lock);
	cowcheck_pins_init(&test->pins);
	file->private_data = test;
	return nonseekable_open(inode, file);
}

static int gup_test_release(struct inode *inode, struct file *file)
{
	struct test *test = file->private_data;

	cowcheck_pins_release(&test->pins);
	kfree(test);
	return 0;
}

static const struct file_operations gup_test_operations = {
	.owner = THIS_MODULE,
	.open = gup_test_open,
	.release = gup_test_release,
	.unlocked_ioctl = gup_test_ioctl,
};

/* Without it the device does all the same, so nothing here is an error. */
void cowcheck_gup_test_init(void)
{
	struct dentry *taken;

	if (IS_ENABLED(CONFIG_GUP_TEST))
		return;
	taken = debugfs_lookup("gup_test", NULL);
	if (!IS_ERR_OR_NULL(taken)) {
		dput(taken);
		return;
	}
	place = debugfs_create_file("gup_test", 0600, NULL, NULL, &gup_test_operations);
}

void cowcheck_gup_test_exit(void)
{
	debugfs_remove(place);
}
