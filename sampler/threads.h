/* The threads of a CPython, what each does, and for whom. The sampler's thread only. */
#pragma once

#include "hooks/python/frames.h"
#include "preload/guard.h"
#include "sampler/signal.h"

struct sw_sampled {
	int tid;
	const void *state;	/* CPython's; NULL: it does not know the thread */
	uint64_t used_ns;	/* of a processor, when it was last looked at */
	bool known;		/* what follows was true then, and is while used_ns is */
	bool sure;		/* that it works for `entry`, and for no other that is profiled */
	bool ran;		/* since it was last looked at */
	bool pending;		/* it was asked, and what it answers will be collected */
	bool waits;		/* by sw_look.running: what it did when it ran is not known */
	uint64_t asked_ns;	/* CLOCK_MONOTONIC, likewise */
	uint64_t asked_used_ns; /* used_ns then */
	sw_ref entry;		/* 0: of no request that is being profiled */
	sw_ref whose;		/* whom it worked for, profiled or not */
	uint32_t held;		/* sampler/whole.c's; 0 for a new thread */
	uint64_t time_ns;	/* when it was so, CLOCK_MONOTONIC */
	/* With registers, and the stack if that was asked for: as the thread wrote them down, or
	 * where it waits (then `told` is false). NULL: neither. Until the next look. */
	const struct sw_shot *shot;
	struct sw_signal signal;
	struct sw_frames frames;
};

#define SW_THREADS_MAX 1024

/* Which threads there are at now_ns. all: also those that CPython does not know, by /proc, but for
 * ours; opens a file there, so only with a descriptor table of its own. False: no memory. */
bool sw_threads_list(uint64_t now_ns, bool all);

/* How to look. */
struct sw_look {
	bool (*wanted)(sw_ref entry);  /* is that request being profiled? 0: work for none */
	uint32_t stack_max;	       /* bytes of the stack that are wanted with a shot */
	const _Atomic uint32_t *leave; /* not 0: waits no more, once sw_shots_look_up was called */
	/* Only what they do while they run is wanted: who waits by now is pending until it has run
	 * again. In two steps only. */
	bool running;
};

/* Looks at all of them. Where some run it takes up to a tick of the kernel's (signal.h). */
void sw_threads_look(const struct sw_look *how);

/*
 * The same in two steps, which waits for nobody and costs the sampler one sleep a look, not two:
 * asks those that run; and by the next look collects what they have answered. Who has not, and runs
 * or waits for a processor, is pending still; it may be asked for its stack before it goes on. Who
 * waits for something else is read from beside, but by `running`. Answers are to be collected
 * before the next look, because it takes their place.
 */
void sw_threads_ask(const struct sw_look *how);
void sw_threads_collect(const struct sw_look *how);

/* The i-th, or NULL after the last. */
struct sw_sampled *sw_threads_at(unsigned i);

/* Threads that the last listing had no room for. */
unsigned sw_threads_beyond(void);

/* What those of ours that the last listing of all has found have used of a processor. */
uint64_t sw_threads_ours_ns(void);

/* Grows with each look but where no thread had run since the one before. */
uint64_t sw_threads_moves(void);

/* The one that works for this request, rather one that ran; NULL: none. *ret_certain: of all others
 * it is known that they do not, and there were none but those since the request began. */
const struct sw_sampled *sw_threads_of(sw_ref entry, uint64_t start_ns, bool *ret_certain);

/* Forgets all. */
void sw_threads_clear(void);
/* The same in a child, where there is nothing to give back. */
void sw_threads_forked(void);
