/* Pools with limits; see arena.h. */
#include "preload/arena.h"

#include "preload/module.h"
#include "preload/sys.h"

#define CACHE_LINE 64ul
#define HEAD_BYTES 65536
/* 64 heads in pieces at once: a slow or hostile peer cannot make us hold more than 4 MiB. */
#define HEADS_MAX 64

struct sw_pool sw_pool_heads;
_Atomic uint64_t sw_pools_touched;

/* An odd number of cache lines: items at distances of a power of two would all want the same few
 * sets of the cache, and take them from the program. */
static size_t spread(size_t item_size)
{
	return ((item_size + CACHE_LINE - 1) / CACHE_LINE | 1) * CACHE_LINE;
}

bool sw_pool_map(struct sw_pool *pool, size_t item_size, uint32_t limit)
{
	item_size = spread(item_size);
	pool->item_size = item_size;
	pool->limit = limit;
	pool->items = sw_sys_map(item_size * limit);
	pool->next = sw_sys_map(sizeof(*pool->next) * limit);
	return pool->items && pool->next;
}

static int64_t take_fresh(struct sw_pool *pool)
{
	uint32_t index = atomic_load_explicit(&pool->fresh, memory_order_relaxed);

	do {
		if (index >= pool->limit)
			return -1;
	} while (!atomic_compare_exchange_weak(&pool->fresh, &index, index + 1));
	atomic_fetch_add_explicit(&sw_pools_touched, pool->item_size, memory_order_relaxed);
	return index;
}

int64_t sw_pool_take(struct sw_pool *pool)
{
	uint64_t top = atomic_load(&pool->free);

	while ((uint32_t)top) {
		uint32_t index = (uint32_t)top - 1;
		uint64_t rest = atomic_load_explicit(&pool->next[index], memory_order_relaxed);

		/* Pairs with the exchange in sw_pool_give. */
		if (atomic_compare_exchange_weak(&pool->free, &top, ((top >> 32) + 1) << 32 | rest))
			return index;
	}
	return take_fresh(pool);
}

void sw_pool_give(struct sw_pool *pool, uint32_t index)
{
	uint64_t top = atomic_load(&pool->free);

	do {
		atomic_store_explicit(&pool->next[index], (uint32_t)top, memory_order_relaxed);
		/* Pairs with the exchange in sw_pool_take. */
	} while (!atomic_compare_exchange_weak(&pool->free, &top,
					       ((top >> 32) + 1) << 32 | (index + 1)));
}

static bool arena_start(void)
{
	return sw_pool_map(&sw_pool_heads, HEAD_BYTES, HEADS_MAX);
}

const struct sw_module sw_module_arena = {.name = "arena", .start = arena_start};
