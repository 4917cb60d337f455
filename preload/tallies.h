/*
 * Numbers of what the program does; rows in tallies.def. Any thread, any moment, never waits.
 *
 * Each is kept in several places, by thread, so that no two busy threads fight for a cache line;
 * who reads sums. What a conversation counts it keeps to itself and adds now and then.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "preload/guard.h"

enum sw_tally {
#define SW_TALLY(id, doc) SW_TALLY_##id,
#include "preload/tallies.def"
#undef SW_TALLY
	SW_TALLY_COUNT
};

#define SW_TALLY_PLACES 16

struct sw_tally_place {
	_Atomic uint64_t n[SW_TALLY_COUNT];
} __attribute__((aligned(64)));

extern struct sw_tally_place sw_tally_places[SW_TALLY_PLACES];

/* Thread-local memory lies at distances of a power of two: the product spreads it. */
static inline struct sw_tally_place *sw_tally_place(const struct sw_guest *g)
{
	return &sw_tally_places[((uintptr_t)g >> 6) * 0x9e3779b97f4a7c15ull >> 60];
}

static inline void sw_tally_add(const struct sw_guest *g, enum sw_tally id, uint64_t n)
{
	atomic_fetch_add_explicit(&sw_tally_place(g)->n[id], n, memory_order_relaxed);
}

/* Since the process began: a child of a fork does not count what its parent did. */
uint64_t sw_tally_read(enum sw_tally id);

/* What `began` and has not `ended`: also in a child, which has its parent's connections. */
uint64_t sw_tally_open(enum sw_tally began, enum sw_tally ended);

/* In the child of a fork. */
void sw_tallies_forked(void);

/*
 * How many connections waited to be accepted when one was: what the kernel said last, and the most
 * since it was taken, and the room of that queue; and how long that one had waited, the longest
 * since it was taken. Asked some times a second at most.
 */
struct sw_backlog {
	_Atomic uint32_t last, most, room;
	_Atomic uint64_t waited_ms;
	_Atomic uint64_t asked_ns; /* CLOCK_MONOTONIC_COARSE */
};

extern struct sw_backlog sw_backlog;

/* The longest lookup, in nanoseconds, since it was taken. */
extern _Atomic uint64_t sw_lookup_longest_ns;
/* The longest handshake, by enum sw_role of hooks/flow.h. */
extern _Atomic uint64_t sw_handshake_longest_ns[2];

static inline void sw_tally_most(_Atomic uint64_t *most, uint64_t n)
{
	uint64_t old = atomic_load_explicit(most, memory_order_relaxed);

	while (old < n && !atomic_compare_exchange_weak_explicit(
				  most, &old, n, memory_order_relaxed, memory_order_relaxed))
		;
}
