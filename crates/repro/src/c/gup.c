#include <errno.h>
#include <fcntl.h>
#include <linux/types.h>
#include <string.h>
#include <sys/ioctl.h>

/* mm/gup_test.h; needs CONFIG_GUP_TEST and debugfs. */
struct pin_longterm_test {
	__u64 addr;
	__u64 size;
	__u32 flags;
};

#define PIN_LONGTERM_TEST_START		_IOW('g', 7, struct pin_longterm_test)
#define PIN_LONGTERM_TEST_FLAG_WRITE	1
#define PIN_LONGTERM_TEST_FLAG_FAST	2

/* Pin pages by pin_user_pages(FOLL_LONGTERM). The kernel's gup_test has one range at a time. */
static int pin_pages(int first, int count, int flags)
{
	struct pin_longterm_test test = {
		.addr = (uintptr_t)addr(first),
		.size = (__u64)count * PAGE_SIZE,
		.flags = flags,
	};
	int fd = open("/sys/kernel/debug/gup_test", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		stop(SKIP, "/sys/kernel/debug/gup_test: %s", strerror(errno));
	if (ioctl(fd, PIN_LONGTERM_TEST_START, &test))
		stop(SKIP, "PIN_LONGTERM_TEST_START: %s", strerror(errno));
	return fd;
}
