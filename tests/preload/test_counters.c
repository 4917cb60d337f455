/* Counters: a name for each, no update lost. */
#include "preload/counters.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>

#define THREADS 4
#define TIMES 100000

Test(counters, each_has_a_name_of_its_own)
{
	for (int i = 0; i < SW_COUNTER_COUNT; i++) {
		cr_assert_not_null(sw_counter_names[i]);
		cr_assert(sw_counter_names[i][0]);
		for (int k = 0; k < i; k++)
			cr_assert_str_neq(sw_counter_names[i], sw_counter_names[k]);
	}
}

Test(counters, begin_at_zero_and_count)
{
	for (int i = 0; i < SW_COUNTER_COUNT; i++)
		cr_assert_eq(sw_counter_read((enum sw_counter)i), 0);
	sw_count(RING_FULL);
	sw_count_many(SW_COUNTER_RING_FULL, 41);
	cr_assert_eq(sw_counter_read(SW_COUNTER_RING_FULL), 42);
	cr_assert_eq(sw_counter_read(SW_COUNTER_RECORDS), 0);
}

Test(counters, reset_forgets_all)
{
	for (int i = 0; i < SW_COUNTER_COUNT; i++)
		sw_count_many((enum sw_counter)i, 7);
	sw_counters_reset();
	for (int i = 0; i < SW_COUNTER_COUNT; i++)
		cr_assert_eq(sw_counter_read((enum sw_counter)i), 0);
}

static void *count_often(void *arg)
{
	(void)arg;
	for (int i = 0; i < TIMES; i++)
		sw_count(RECORDS);
	return NULL;
}

Test(counters, threads_lose_nothing)
{
	pthread_t thread[THREADS];

	for (int i = 0; i < THREADS; i++)
		cr_assert_eq(pthread_create(&thread[i], NULL, count_often, NULL), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	cr_assert_eq(sw_counter_read(SW_COUNTER_RECORDS), THREADS * TIMES);
}
