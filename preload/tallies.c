/* The places of tallies.h, and their sums. */
#include "preload/tallies.h"

struct sw_tally_place sw_tally_places[SW_TALLY_PLACES];
struct sw_backlog sw_backlog;
_Atomic uint64_t sw_lookup_longest_ns;
_Atomic uint64_t sw_handshake_longest_ns[2];

/* What the parent had counted when this process was forked from it. */
static uint64_t inherited[SW_TALLY_COUNT];

static uint64_t sum(enum sw_tally id)
{
	uint64_t n = 0;

	for (int i = 0; i < SW_TALLY_PLACES; i++)
		n += atomic_load_explicit(&sw_tally_places[i].n[id], memory_order_relaxed);
	return n;
}

uint64_t sw_tally_read(enum sw_tally id)
{
	return sum(id) - inherited[id];
}

uint64_t sw_tally_open(enum sw_tally began, enum sw_tally ended)
{
	uint64_t past = sum(ended), all = sum(began); /* in this order: never less than none */

	return all > past ? all - past : 0;
}

void sw_tallies_forked(void)
{
	for (int i = 0; i < SW_TALLY_COUNT; i++)
		inherited[i] = sum((enum sw_tally)i);
	atomic_store(&sw_backlog.most, 0);
	atomic_store(&sw_backlog.waited_ms, 0);
	atomic_store(&sw_lookup_longest_ns, 0);
	atomic_store(&sw_handshake_longest_ns[0], 0);
	atomic_store(&sw_handshake_longest_ns[1], 0);
}
