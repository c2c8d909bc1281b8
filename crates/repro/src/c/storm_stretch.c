#define MANY	64

/* Some pages of the storm in a row: the first, and the one behind the last, by their index. */
static int stretch(unsigned int *dice, int *first)
{
	int end;

	*first = rand_r(dice) / 64 % nr_field;
	end = *first + 1 + rand_r(dice) / 64 % MANY;
	return end < nr_field ? end : nr_field;
}
