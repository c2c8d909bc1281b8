#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/*
 * A storm: two writers go round some pages, a thread each. In every page either of them has a
 * word, in which it counts up; one more is written through pins. So whoever looks at a word
 * knows which counts were surely written before, and which can have been written until now:
 * another one was lost, or is where it must not be. Rivals, a thread each, do meanwhile what
 * must not be noticed. The other words of a page stay as they were.
 */
#define WRITERS			2
#define PINNED			WRITERS
#define SLOTS			(WRITERS + 1)
#define SLOT_WORD(slot)		(5 + 64 * (slot))
#define MOST_RIVALS		7

struct counts {
	unsigned int of[SLOTS];
};

/* What the children of a rival see, too. */
static struct {
	atomic_uint written[NR_PAGES][SLOTS];	/* so many counts were surely written */
	atomic_uint rounds[WRITERS];
} *field;

static int field_page[NR_PAGES], nr_field;	/* the pages of the storm, in ascending order */
static unsigned int before[NR_PAGES];		/* what each of them held */
static atomic_bool storm_over;
static int storm_step;

/* Each of these pages holds this. */
static void add_to_storm(int first, int count, const unsigned int *content)
{
	int page;

	for (page = first; page < first + count; page++) {
		field_page[nr_field++] = page;
		before[page] = *content;
	}
}

/* The word that says so many; 0 is what was there before. */
static uint64_t counted(int page, int slot, unsigned int count)
{
	if (!count)
		return word(before[page], page, SLOT_WORD(slot));
	return (uint64_t)0xc0de << 48 | (uint64_t)(page & 0x3fff) << 34 | (uint64_t)slot << 32 | count;
}

static struct counts written(int page)
{
	struct counts counts;
	int slot;

	for (slot = 0; slot < SLOTS; slot++)
		counts.of[slot] = atomic_load(&field->written[page][slot]);
	return counts;
}

/* Whoever looked at a word saw this: is it one of these counts? */
static void check_count(const char *who, int page, int slot, uint64_t seen, unsigned int least, unsigned int most)
{
	bool is_one = seen >> 32 == counted(page, slot, 1) >> 32 && (uint32_t)seen;

	if (seen == counted(page, slot, 0) ? !least : is_one && (uint32_t)seen >= least && (uint32_t)seen <= most)
		return;
	if (is_one)
		stop(BROKEN, "%s saw in word %d of page %d count %u; allowed there: %u to %u", who, SLOT_WORD(slot),
		     page, (uint32_t)seen, least, most);
	stop(BROKEN, "%s saw in word %d of page %d %#llx, which is no count; allowed there: %u to %u", who,
	     SLOT_WORD(slot), page, (unsigned long long)seen, least, most);
}

static void check_page(const char *who, int page, const volatile uint64_t *words, struct counts least,
		       struct counts most)
{
	int slot, index;

	for (slot = 0; slot < SLOTS; slot++)
		check_count(who, page, slot, words[SLOT_WORD(slot)], least.of[slot], most.of[slot]);
	for (index = 0; index < WORDS; index++) {
		bool is_slot = index % 64 == 5 && index / 64 < SLOTS;

		if (!is_slot && words[index] != word(before[page], page, index))
			stop(BROKEN, "%s saw in word %d of page %d %#llx, and nobody wrote there", who, index, page,
			     (unsigned long long)words[index]);
	}
}

/* Wait until the writers came round, or so many microseconds. */
static void wait_a_round(int limit)
{
	unsigned int first = field->rounds[0], second = field->rounds[1];
	double began = microseconds();

	while (!storm_over && microseconds() - began < limit &&
	       (field->rounds[0] - first < 2 || field->rounds[1] - second < 2))
		usleep(50);
}

static void *write_in_storm(void *which)
{
	int slot = (intptr_t)which, i;

	step = storm_step;
	while (!storm_over) {
		for (i = 0; i < nr_field; i++) {
			int page = field_page[i];
			volatile uint64_t *at = (uint64_t *)addr(page) + SLOT_WORD(slot);
			unsigned int count = field->written[page][slot];

			check_count("its writer", page, slot, *at, count, count);
			if (store(page, at, counted(page, slot, count + 1)))
				atomic_store(&field->written[page][slot], count + 1);
		}
		atomic_fetch_add(&field->rounds[slot], 1);
	}
	return NULL;
}

/* What is done beside the writers: false and errno where the kernel refused it. */
struct rival {
	const char *name;
	bool (*work)(unsigned int *dice);
};

static struct went {
	const struct rival *rival;
	atomic_int done, refused, error;
} went[MOST_RIVALS];

static void *do_rival(void *which)
{
	struct went *mine = which;
	unsigned int dice = getpid() * MOST_RIVALS + (mine - went);

	step = storm_step;
	wait_a_round(50000);
	while (!storm_over) {
		if (mine->rival->work(&dice)) {
			mine->done++;
		} else {
			mine->error = errno;
			mine->refused++;
		}
		/* Most often the writers get on in between, but not always. */
		if (rand_r(&dice) / 64 % 4)
			wait_a_round(1000);
	}
	return NULL;
}

static bool is_long_enough(int nr, double lasted)
{
	unsigned int least = field->rounds[0] < field->rounds[1] ? field->rounds[0] / 2 : field->rounds[1] / 2;
	int i;

	for (i = 0; i < nr; i++)
		if ((unsigned int)(went[i].done + went[i].refused) < least)
			least = went[i].done + went[i].refused;
	return lasted >= (least == 0 ? 4e6 : least < 16 ? 6e5 : 1.2e5);
}

static void storm(int nr, const struct rival *rivals)
{
	pthread_t threads[WRITERS + MOST_RIVALS];
	double began = microseconds();
	int i, error = 0;

	field = mmap(NULL, sizeof(*field), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (field == MAP_FAILED)
		stop(SKIP, "mmap(): %s", strerror(errno));
	memset(went, 0, sizeof(went));
	storm_step = step;
	storm_over = false;
	for (i = 0; i < WRITERS && !error; i++)
		error = pthread_create(&threads[i], NULL, write_in_storm, (void *)(intptr_t)i);
	for (i = 0; i < nr && !error; i++) {
		went[i].rival = &rivals[i];
		error = pthread_create(&threads[WRITERS + i], NULL, do_rival, &went[i]);
	}
	if (error)
		stop(SKIP, "no thread could be made: %s", strerror(error));
	while (!is_long_enough(nr, microseconds() - began))
		usleep(2000);
	storm_over = true;
	for (i = 0; i < WRITERS + nr; i++)
		pthread_join(threads[i], NULL);

	/* What was written last is there. */
	for (i = 0; i < nr_field; i++)
		check_page("the last look", field_page[i], addr(field_page[i]), written(field_page[i]),
			   written(field_page[i]));
	if (field->rounds[0] < 2 || field->rounds[1] < 2)
		not_reached("a writer did not go round twice");
	/* To refuse a collapse is the kernel's right. */
	for (i = 0; i < nr; i++)
		if (!went[i].done && !(went[i].refused && !strcmp(rivals[i].name, "collapse")))
			not_reached("%s was %s", rivals[i].name,
				    went[i].refused ? strerror(went[i].error) : "not done once");
	munmap(field, sizeof(*field));
	nr_field = 0;
}
