/* A ring of what has ended; see ended.h. */
#include "hooks/ended.h"

#include "preload/arena.h"
#include "preload/config.h"
#include "preload/sys.h"

#define BUSY UINT64_MAX /* no reference: generations have 30 bits */

/* Searched apart from the texts: 32 KiB, newest first, and only for calls that come late. */
static _Atomic sw_ref refs[SW_ENDED_MAX];
static struct sw_ended *items;
static _Atomic uint32_t next;

bool sw_ended_start(void)
{
	items = sw_sys_map(sizeof(*items) * SW_ENDED_MAX);
	return items != NULL;
}

void sw_ended_note(sw_ref entry, const struct sw_ended *ended)
{
	uint32_t at = atomic_fetch_add_explicit(&next, 1, memory_order_relaxed) % SW_ENDED_MAX;
	size_t text = (size_t)ended->trace_len + ended->operation_len + ended->correlation_len;

	if (atomic_exchange(&refs[at], BUSY) == BUSY)
		return; /* its writer lost the CPU for a whole round */
	memcpy(&items[at], ended, offsetof(struct sw_ended, text) + SW_MIN(text, SW_ENDED_TEXT));
	atomic_store_explicit(&refs[at], entry, memory_order_release);
}

static bool counts_still(const struct sw_ended *ended)
{
	uint64_t age = sw_clock_ns(CLOCK_MONOTONIC) - ended->end_ns;

	return age < sw_config.context_linger_ms * 1000000ull &&
	       ended->births == atomic_load(&sw_process_births);
}

bool sw_ended_still(const struct sw_ended *ended, sw_ref entry)
{
	atomic_thread_fence(memory_order_acquire);
	return atomic_load_explicit(&refs[ended - items], memory_order_relaxed) == entry;
}

const struct sw_ended *sw_ended_recent(sw_ref entry, uint32_t most)
{
	uint32_t newest = atomic_load_explicit(&next, memory_order_relaxed);

	for (uint32_t back = 1; back <= most; back++) {
		uint32_t at = (newest - back) % SW_ENDED_MAX;

		if (atomic_load_explicit(&refs[at], memory_order_acquire) == entry)
			return counts_still(&items[at]) ? &items[at] : NULL;
	}
	return NULL;
}

const struct sw_ended *sw_ended_find(sw_ref entry)
{
	return sw_ended_recent(entry, SW_ENDED_MAX);
}
