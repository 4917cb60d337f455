/* What CPython's garbage collector did; see garbage.h. */
#include "preload/garbage.h"

#include "preload/bytes.h"

struct sw_garbage sw_garbage;

void sw_garbage_ran(uint64_t generation, uint64_t ns)
{
	_Atomic uint64_t *runs = &sw_garbage.runs[SW_MIN(generation, SW_GENERATIONS - 1ul)];

	atomic_fetch_add_explicit(runs, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&sw_garbage.pause_ns, ns, memory_order_relaxed);
}
