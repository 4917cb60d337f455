/*
 * All memory of the guest half: one mapping per pool, made at the first network call of the
 * process and touched only as used. Taking and giving are lock-free, any thread, any moment,
 * handlers included. An empty pool is an ordinary answer; the caller counts it.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sw_pool {
	size_t item_size;
	uint32_t limit;		/* items */
	uint8_t *items;		/* Owned, for ever */
	_Atomic uint32_t *next; /* free list: index + 1 of the next free item */
	_Atomic uint64_t free;	/* change count << 32 | index + 1; the count defeats ABA */
	_Atomic uint32_t fresh; /* items below this have been used once */
};

/* Reserves address space. False: refused by a limit of the program. */
bool sw_pool_map(struct sw_pool *pool, size_t item_size, uint32_t limit);

/* An index below limit, or -1. The content is whatever the last owner left (zeros when fresh). */
int64_t sw_pool_take(struct sw_pool *pool);
void sw_pool_give(struct sw_pool *pool, uint32_t index);

static inline void *sw_pool_item(struct sw_pool *pool, uint32_t index)
{
	return pool->items + (size_t)index * pool->item_size;
}

/* Items ever used: the bound of a walk over all of them. */
static inline uint32_t sw_pool_used(struct sw_pool *pool)
{
	uint32_t used = atomic_load_explicit(&pool->fresh, memory_order_acquire);

	return used < pool->limit ? used : pool->limit;
}

/* Bytes of items that were ever used, of all pools: what of the address space is memory. */
extern _Atomic uint64_t sw_pools_touched;

/* Buffers of SW_HEAD_MAX bytes for message heads that come or go in pieces. */
extern struct sw_pool sw_pool_heads;
