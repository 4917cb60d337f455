/* Storage of the counters; see counters.h. */
#include "preload/counters.h"

_Atomic uint64_t sw_counters[SW_COUNTER_COUNT];

const char *const sw_counter_names[SW_COUNTER_COUNT] = {
#define SW_COUNTER(id, name, doc) [SW_COUNTER_##id] = name,
#include "preload/counters.def"
#undef SW_COUNTER
};

void sw_counters_reset(void)
{
	for (int i = 0; i < SW_COUNTER_COUNT; i++)
		atomic_store_explicit(&sw_counters[i], 0, memory_order_relaxed);
}
