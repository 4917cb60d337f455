/*
 * The turns of event loops: how long a thread is busy between two waits for many descriptors.
 *
 * One struct sw_turns per thread that waits so, from a small pool. Its thread writes it around each
 * wait, with plain stores into memory that is its own, and without a system call; ours reads it at
 * any moment. It outlives its thread: ours frees it once the kernel does not know the thread.
 *
 * A thread is a loop only if it interleaves (`loop`): one that serves its requests one by one, and
 * waits for many descriptors in between (a worker of gunicorn or uWSGI), is busy with its work, not
 * blocked. See docs/metrics.md.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "preload/bytes.h"
#include "preload/guard.h"
#include "preload/ticks.h"

#define SW_TURNS_MAX 64

/* Classes of long turns. Bounds in milliseconds; the last has none above. */
#define SW_TURNS_BOUNDS                                                                            \
	{                                                                                          \
		1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000                                  \
	}
#define SW_TURNS_CLASSES 11

struct sw_turns {
	/* Written by its thread; each counts from its beginning on but `longest_ns`. */
	_Atomic uint64_t began;	       /* ticks at which this turn did; 0: it waits */
	_Atomic uint64_t turns;	       /* that have ended */
	_Atomic uint64_t busy_ns;      /* in them */
	_Atomic uint64_t square;       /* sum of their squares, in units of (1024 ns)^2 */
	_Atomic uint64_t longest_ns;   /* since it was last taken (sw_turns_take_longest) */
	_Atomic uint64_t heads;	       /* requests whose head this thread has read */
	_Atomic sw_ref entry;	       /* the last of these */
	_Atomic uint64_t heads_before; /* this turn */
	_Atomic uint32_t events;       /* that the wait before this turn brought */
	_Atomic bool loop;	       /* it is one; for ever */
	_Atomic uint64_t slow[SW_TURNS_CLASSES]; /* turns of 1 ms and more */
	uint32_t other_waits;			 /* in this turn; its thread alone, as the next */
	bool by_epoll;				 /* how it waits for its next turn */
	const void *waits_in; /* until it is a loop: CPython's context in which it waited last */
	uint64_t apart_turn;  /* likewise: the last turn that met a context where it had none */
	/* Written when it is taken or freed. */
	_Atomic int tid;	     /* 0: free */
	_Atomic uint32_t generation; /* its owner's, never the same twice */
	const void *_Atomic python;  /* its state as a thread of CPython, NULL: none */
} __attribute__((aligned(64)));

/* NULL until the process has begun to accept or connect. */
extern struct sw_turns *sw_turns;

/* A turn of at least so many ns ends by a call of sw_turns_was_long. Set at start: what
 * SW_AGENT_LOOP_BLOCKED says, or UINT64_MAX. */
extern uint64_t sw_turns_long_ns;

/* For the thread that calls it: one of its own, from now on in g->turns. NULL: not now. */
struct sw_turns *sw_turns_take(struct sw_guest *g);

/* A turn of 1 ms or more. */
void sw_turns_slow(struct sw_turns *turns, uint64_t ns);

/* Only its own thread writes: no lock prefix is needed. */
static inline void sw_turns_add(_Atomic uint64_t *number, uint64_t n)
{
	uint64_t sum = atomic_load_explicit(number, memory_order_relaxed) + n;

	atomic_store_explicit(number, sum, memory_order_relaxed);
}

/* Before the wait. The length of the turn that ends, or 0 when none had begun. */
static inline uint64_t sw_turns_end(struct sw_turns *t)
{
	uint64_t began = atomic_load_explicit(&t->began, memory_order_relaxed), ns;

	if (SW_UNLIKELY(!began))
		return 0;
	ns = sw_ticks_ns(began, sw_ticks());
	atomic_store_explicit(&t->began, 0, memory_order_relaxed);
	sw_turns_add(&t->turns, 1);
	sw_turns_add(&t->busy_ns, ns);
	sw_turns_add(&t->square, (ns >> 10) * (ns >> 10));
	if (SW_UNLIKELY(ns > atomic_load_explicit(&t->longest_ns, memory_order_relaxed)))
		atomic_store_explicit(&t->longest_ns, ns, memory_order_relaxed);
	if (SW_UNLIKELY(ns >= 1000000))
		sw_turns_slow(t, ns);
	return ns;
}

/* After it. */
static inline void sw_turns_begin(struct sw_turns *t, int events)
{
	atomic_store_explicit(&t->heads_before,
			      atomic_load_explicit(&t->heads, memory_order_relaxed),
			      memory_order_relaxed);
	atomic_store_explicit(&t->events, (uint32_t)events, memory_order_relaxed);
	/* Pairs with the acquire of the watch: whoever sees the turn sees what it began with. */
	atomic_store_explicit(&t->began, sw_ticks(), memory_order_release);
}

/* This thread has read a request's head. */
static inline void sw_turns_read(struct sw_turns *t, sw_ref entry)
{
	atomic_store_explicit(&t->entry, entry, memory_order_relaxed);
	sw_turns_add(&t->heads, 1);
}

/* How many were ever used: the bound of a walk over them. */
extern _Atomic uint32_t sw_turns_used;

/* Our thread: since the last call. */
static inline uint64_t sw_turns_take_longest(struct sw_turns *t)
{
	return atomic_exchange_explicit(&t->longest_ns, 0, memory_order_relaxed);
}

/* Our thread, rarely: frees those whose threads are gone. */
void sw_turns_sweep(void);
