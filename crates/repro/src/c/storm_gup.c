#include <fcntl.h>
#include <sys/uio.h>

/* Pages into a pipe, by GUP-fast, and out again. */
static bool through_pipe(const struct iovec *from, int nr, char *to, size_t size)
{
	int fd[2];
	bool done;

	if (pipe2(fd, O_CLOEXEC))
		return false;
	done = vmsplice(fd[1], from, nr, SPLICE_F_NONBLOCK) == (ssize_t)size && read(fd[0], to, size) == (ssize_t)size;
	close(fd[0]);
	close(fd[1]);
	return done;
}

/* Read some pages not by the page table, but by GUP. */
static bool gup_in_storm(unsigned int *dice)
{
	static uint64_t words[SOME][WORDS];
	struct iovec from[SOME], to = { words, 0 };
	struct counts least[SOME];
	int pages[SOME], nr = some_pages(dice, pages), i;
	bool done;

	for (i = 0; i < nr; i++) {
		from[i] = (struct iovec){ addr(pages[i]), PAGE_SIZE };
		to.iov_len += PAGE_SIZE;
		least[i] = written(pages[i]);
	}
	if (rand_r(dice) / 64 % 2)
		done = process_vm_readv(getpid(), &to, 1, from, nr, 0) == (ssize_t)to.iov_len;
	else
		done = through_pipe(from, nr, (char *)words, to.iov_len);
	for (i = 0; done && i < nr; i++)
		check_page("a reader by GUP", pages[i], words[i], least[i], begun_by_now(pages[i]));
	return done;
}
