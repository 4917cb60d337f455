/* Sums over places: nothing is lost between threads, and a child begins at 0. */
#include "preload/tallies.h"

#include <criterion/criterion.h>
#include <pthread.h>

#define THREADS 8
#define TIMES 20000

static void *thread(void *arg)
{
	(void)arg;
	for (int i = 0; i < TIMES; i++)
		sw_tally_add(&sw_guest_self, SW_TALLY_BYTES_IN, 3);
	return NULL;
}

Test(tallies, add_up)
{
	pthread_t threads[THREADS];

	for (int i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, thread, NULL);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	cr_assert_eq(sw_tally_read(SW_TALLY_BYTES_IN), 3ull * THREADS * TIMES);
	cr_assert_eq(sw_tally_read(SW_TALLY_BYTES_OUT), 0);
}

Test(tallies, a_child_counts_anew_but_has_the_connections)
{
	struct sw_guest *g = &sw_guest_self;

	sw_tally_add(g, SW_TALLY_LOOKUPS, 5);
	sw_tally_add(g, SW_TALLY_ACCEPTED, 4);
	sw_tally_add(g, SW_TALLY_ACCEPTED_ENDED, 1);
	sw_tallies_forked();
	cr_assert_eq(sw_tally_read(SW_TALLY_LOOKUPS), 0);
	cr_assert_eq(sw_tally_read(SW_TALLY_ACCEPTED), 0);
	cr_assert_eq(sw_tally_open(SW_TALLY_ACCEPTED, SW_TALLY_ACCEPTED_ENDED), 3);
	sw_tally_add(g, SW_TALLY_ACCEPTED_ENDED, 3);
	cr_assert_eq(sw_tally_open(SW_TALLY_ACCEPTED, SW_TALLY_ACCEPTED_ENDED), 0);
	cr_assert_eq(sw_tally_read(SW_TALLY_ACCEPTED_ENDED), 3);
}

Test(tallies, never_fewer_than_none_are_open)
{
	sw_tally_add(&sw_guest_self, SW_TALLY_MADE_ENDED, 2);
	cr_assert_eq(sw_tally_open(SW_TALLY_MADE, SW_TALLY_MADE_ENDED), 0);
}

Test(tallies, the_most_stays)
{
	_Atomic uint64_t most = 5;

	sw_tally_most(&most, 3);
	cr_assert_eq(most, 5);
	sw_tally_most(&most, 9);
	cr_assert_eq(most, 9);
}
