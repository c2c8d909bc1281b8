// SPDX-License-Identifier: GPL-2.0-only
/* cowcheck's helper: /dev/cowcheck. What it is told and what it answers is in cowcheck.h. */
#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "cowcheck.h"
#include "gup_test.h"
#include "look.h"
#include "pin.h"

static long ioctl_pin(struct cowcheck_pins *pins, struct cowcheck_pin __user *argument)
{
	struct cowcheck_pin asked;
	long id;

	if (copy_from_user(&asked, argument, sizeof(asked)))
		return -EFAULT;
	id = cowcheck_pin_range(pins, asked.addr, asked.len, asked.flags);
	if (id < 0)
		return id;
	if (put_user((u32)id, &argument->id)) {
		cowcheck_unpin(pins, id);
		return -EFAULT;
	}
	return 0;
}

static long ioctl_io(struct cowcheck_pins *pins, struct cowcheck_io __user *argument, bool is_write)
{
	struct cowcheck_io asked;

	if (copy_from_user(&asked, argument, sizeof(asked)))
		return -EFAULT;
	return is_write ? cowcheck_pin_write(pins, &asked) : cowcheck_pin_read(pins, &asked);
}

static long cowcheck_ioctl(struct file *file, unsigned int command, unsigned long argument)
{
	struct cowcheck_pins *pins = file->private_data;
	void __user *user = (void __user *)argument;

	switch (command) {
	case COWCHECK_IOC_ABI:
		return COWCHECK_ABI;
	case COWCHECK_IOC_PIN:
		return ioctl_pin(pins, user);
	case COWCHECK_IOC_READ:
		return ioctl_io(pins, user, false);
	case COWCHECK_IOC_WRITE:
		return ioctl_io(pins, user, true);
	case COWCHECK_IOC_UNPIN:
		return cowcheck_unpin(pins, argument);
	case COWCHECK_IOC_LOOK:
		return cowcheck_look(user);
	default:
		return -ENOTTY;
	}
}

static int cowcheck_open(struct inode *inode, struct file *file)
{
	struct cowcheck_pins *pins;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	pins = kzalloc(sizeof(*pins), GFP_KERNEL_ACCOUNT);
	if (!pins)
		return -ENOMEM;
	cowcheck_pins_init(pins);
	file->private_data = pins;
	return nonseekable_open(inode, file);
}

static int cowcheck_release(struct inode *inode, struct file *file)
{
	struct cowcheck_pins *pins = file->private_data;

	cowcheck_pins_release(pins);
	kfree(pins);
	return 0;
}

static const struct file_operations cowcheck_operations = {
	.owner = THIS_MODULE,
	.open = cowcheck_open,
	.release = cowcheck_release,
	.unlocked_ioctl = cowcheck_ioctl,
};

static struct miscdevice cowcheck_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "cowcheck",
	.mode = 0600,
	.fops = &cowcheck_operations,
};

static int __init cowcheck_init(void)
{
	int error = misc_register(&cowcheck_device);

	if (!error)
		cowcheck_gup_test_init();
	return error;
}

static void __exit cowcheck_exit(void)
{
	cowcheck_gup_test_exit();
	misc_deregister(&cowcheck_device);
}

module_init(cowcheck_init);
module_exit(cowcheck_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("pins and page states for cowcheck, which checks copy-on-write");
