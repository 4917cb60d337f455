/* Pools: every item has one owner at a time, the limit holds, an empty pool is an answer. */
#include "preload/arena.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>

#include "preload/module.h"

#define LIMIT 100
#define THREADS 4
#define TIMES 50000

extern const struct sw_module sw_module_arena;

Test(arena, items_up_to_the_limit)
{
	struct sw_pool pool = {0};
	bool seen[LIMIT] = {false};

	cr_assert(sw_pool_map(&pool, 64, LIMIT));
	cr_assert_eq(sw_pool_used(&pool), 0);
	for (int i = 0; i < LIMIT; i++) {
		int64_t index = sw_pool_take(&pool);

		cr_assert(index >= 0 && index < LIMIT);
		cr_assert_not(seen[index], "%d twice", (int)index);
		seen[index] = true;
	}
	cr_assert_eq(sw_pool_take(&pool), -1);
	cr_assert_eq(sw_pool_take(&pool), -1, "and stays so");
	cr_assert_eq(sw_pool_used(&pool), LIMIT);
}

Test(arena, items_do_not_overlap_and_begin_as_zeros)
{
	struct sw_pool pool = {0};

	cr_assert(sw_pool_map(&pool, 24, LIMIT));
	for (int i = 0; i < LIMIT; i++) {
		uint8_t *item = sw_pool_item(&pool, (uint32_t)sw_pool_take(&pool));

		for (int k = 0; k < 24; k++)
			cr_assert_eq(item[k], 0);
		memset(item, i + 1, 24);
	}
	for (uint32_t i = 0; i < LIMIT; i++)
		cr_assert_eq(((uint8_t *)sw_pool_item(&pool, i))[23], i + 1);
}

Test(arena, what_was_given_back_comes_again)
{
	struct sw_pool pool = {0};

	cr_assert(sw_pool_map(&pool, 8, 2));
	cr_assert_eq(sw_pool_take(&pool), 0);
	cr_assert_eq(sw_pool_take(&pool), 1);
	sw_pool_give(&pool, 0);
	cr_assert_eq(sw_pool_take(&pool), 0);
	cr_assert_eq(sw_pool_take(&pool), -1);
	sw_pool_give(&pool, 1);
	sw_pool_give(&pool, 0);
	cr_assert_neq(sw_pool_take(&pool), -1);
	cr_assert_neq(sw_pool_take(&pool), -1);
	cr_assert_eq(sw_pool_take(&pool), -1);
}

/* Memory that was never used is not touched: the walk over a pool ends at what was. */
Test(arena, used_items_are_preferred)
{
	struct sw_pool pool = {0};

	cr_assert(sw_pool_map(&pool, 8, LIMIT));
	for (int i = 0; i < 1000; i++)
		sw_pool_give(&pool, (uint32_t)sw_pool_take(&pool));
	cr_assert_eq(sw_pool_used(&pool), 1);
}

Test(arena, what_was_touched)
{
	struct sw_pool pool = {0};

	cr_assert(sw_pool_map(&pool, 64, 2));
	cr_assert_eq(sw_pools_touched, 0);
	for (int i = 0; i < 5; i++)
		sw_pool_give(&pool, (uint32_t)sw_pool_take(&pool));
	cr_assert_eq(sw_pools_touched, pool.item_size, "one item, again and again");
	sw_pool_take(&pool);
	sw_pool_take(&pool);
	cr_assert_eq(sw_pool_take(&pool), -1);
	cr_assert_eq(sw_pools_touched, 2 * pool.item_size);
}

Test(arena, refused_memory_is_an_answer)
{
	struct sw_pool pool = {0};

	cr_assert_not(sw_pool_map(&pool, (size_t)1 << 40, 1u << 20));
}

Test(arena, the_module_maps_heads)
{
	cr_assert(sw_module_arena.start());
	for (uint32_t i = 0; i < sw_pool_heads.limit; i++) {
		uint8_t *head =
			sw_pool_item(&sw_pool_heads, (uint32_t)sw_pool_take(&sw_pool_heads));

		head[0] = head[65535] = 1; /* as long as a head may be */
	}
	cr_assert_eq(sw_pool_take(&sw_pool_heads), -1);
}

static struct sw_pool shared;
static _Atomic int owner[THREADS]; /* of each item: 0 nobody, else a thread */
static _Atomic unsigned two_owners;
static uint64_t touched[THREADS]; /* plain memory that the owner alone may change */

/* Fewer items than threads want, so that the pool is always near empty and lists change fast. */
static void *take_and_give(void *arg)
{
	int me = (int)(intptr_t)arg;

	for (int i = 0; i < TIMES; i++) {
		int64_t index = sw_pool_take(&shared);

		if (index < 0)
			continue;
		if (atomic_exchange(&owner[index], me) != 0)
			atomic_fetch_add(&two_owners, 1);
		touched[index]++;
		if (atomic_exchange(&owner[index], 0) != me)
			atomic_fetch_add(&two_owners, 1);
		sw_pool_give(&shared, (uint32_t)index);
	}
	return NULL;
}

Test(arena, threads_never_share_an_item)
{
	pthread_t thread[THREADS];
	uint64_t all = 0;

	cr_assert(sw_pool_map(&shared, 8, THREADS - 1));
	for (intptr_t i = 0; i < THREADS; i++)
		cr_assert_eq(pthread_create(&thread[i], NULL, take_and_give, (void *)(i + 1)), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	cr_assert_eq(atomic_load(&two_owners), 0);
	for (int i = 0; i < THREADS; i++)
		all += touched[i];
	cr_assert(all > 0 && all <= (uint64_t)THREADS * TIMES);
	for (int i = 0; i < THREADS - 1; i++)
		cr_assert_neq(sw_pool_take(&shared), -1, "none was lost");
	cr_assert_eq(sw_pool_take(&shared), -1);
}
