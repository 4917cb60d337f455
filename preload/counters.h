/* Numbers that we keep about ourselves; rows in counters.def. Any thread, any moment, lock-free. */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

enum sw_counter {
#define SW_COUNTER(id, name, doc) SW_COUNTER_##id,
#include "preload/counters.def"
#undef SW_COUNTER
	SW_COUNTER_COUNT
};

extern _Atomic uint64_t sw_counters[SW_COUNTER_COUNT];
extern const char *const sw_counter_names[SW_COUNTER_COUNT];

/* Relaxed: a count is read for information only and orders nothing. */
#define sw_count(ID) sw_count_many(SW_COUNTER_##ID, 1)

static inline void sw_count_many(enum sw_counter id, uint64_t n)
{
	atomic_fetch_add_explicit(&sw_counters[id], n, memory_order_relaxed);
}

static inline uint64_t sw_counter_read(enum sw_counter id)
{
	return atomic_load_explicit(&sw_counters[id], memory_order_relaxed);
}

/* In the child of a fork: the parent reports what the parent counted. */
void sw_counters_reset(void);
