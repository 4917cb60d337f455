/*
 * Event loops that one callback holds for too long: found, and told to our thread as records.
 *
 * Our thread looks at the loops' turns (preload/turns.h) while they turn. One that it has seen in
 * the same turn for SW_AGENT_LOOP_BLOCKED is caught: whose request its thread works for, and the
 * Python frames it is in, are read while it is held. Only time that our thread has itself seen pass
 * counts: a process that is stopped, or a machine that sleeps, blocks no loop. When nobody looks (a
 * turn that begins after a while of idleness, for no request) the loop finds it at its end.
 */
#pragma once

#include "preload/guard.h"
#include "preload/ring.h"
#include "preload/turns.h"

/* A long turn of the calling thread has ended. Outside the guest. */
void sw_blocked_ended(struct sw_turns *turns, uint64_t ns);

/* Is this thread, which reads or answers a request, or is about to wait, a loop? */
void sw_blocked_consider(struct sw_guest *g, bool waits);

static inline bool sw_blocked_undecided(const struct sw_turns *t)
{
	return SW_UNLIKELY(!atomic_load_explicit(&t->loop, memory_order_relaxed));
}

/* This thread handles requests in greenlets. */
static inline void sw_blocked_interleaves(const struct sw_guest *g)
{
	if (g->turns)
		atomic_store(&g->turns->loop, true);
}

/* This thread has read the head of a request. A loop may be held by what follows: our thread is
 * told, if it sleeps, which costs no more than to be told when the request has ended. */
static inline void sw_blocked_serves(struct sw_guest *g, sw_ref entry)
{
	struct sw_turns *t = g->turns;

	if (!t)
		return;
	sw_turns_read(t, entry);
	if (sw_blocked_undecided(t))
		sw_blocked_consider(g, false);
	if (sw_turns_long_ns != UINT64_MAX &&
	    atomic_load_explicit(&sw_ring_reader, memory_order_relaxed) == SW_READER_IDLE)
		g->kick = true;
}

/* This thread has begun to answer one, or makes a call. */
static inline void sw_blocked_works(struct sw_guest *g)
{
	if (g->turns && sw_blocked_undecided(g->turns))
		sw_blocked_consider(g, false);
}

/* ---- for sampler/held.c, on our thread ---- */

/* A loop that was caught and is held on. */
struct sw_blocked_held {
	unsigned loop; /* where to look for the next one: 0 to begin */
	const struct sw_turns *turns;
	uint64_t turn;
};

/* The next one of which no more than Python's frames was told; each a few times in its turn. False:
 * there is none. */
bool sw_blocked_next(struct sw_blocked_held *held);

/* How a frame is written: "function (file:line)". A file of no bytes, or a line below 0: not known.
 */
void sw_blocked_write(struct sw_writer *w, struct sw_bytes function, struct sw_bytes file,
		      int64_t line);

/* All its frames, a line for each, innermost first; `python`: where the innermost of Python's is, 0
 * where there is none. Takes the place of what was told before, if the turn goes on. */
void sw_blocked_tell(const struct sw_blocked_held *held, struct sw_bytes stack, size_t python);
