/*
 * What a request waits for while no thread works for it: the chain of awaits of its suspended task,
 * asyncio's or uvloop's, read from memory. CPython 3.7 to 3.13.
 *
 * The tasks of a process are in a set of asyncio's; a task's context says for which request it is
 * (docs/context.md). All is read by the kernel's answer, without the GIL, and types are compared by
 * their addresses; a chain is believed when three readings agree, and the task was pending and of
 * that request before and after.
 *
 * Of a request that a greenlet has read it is the stack of that one, which is believed if its
 * thread switched to no other meanwhile (greenlets.c).
 *
 * One chain stands for a request: that of its first task, and of what that awaits, also where
 * another task of the request must end first (gather, wait, wait_for, task groups, shield; of
 * several the first). It goes from the outermost coroutine to the innermost.
 *
 * The sampler's thread only: buffers are shared.
 */
#pragma once

#include "hooks/python/frames.h"
#include "preload/guard.h"

#define SW_AWAITS_TASKS 16  /* of one chain */
#define SW_AWAITS_ON_MAX 64 /* characters of a type's name; longer ones are cut */

struct sw_awaits {
	/* The coroutines', or a greenlet's, innermost first; `entry` says nothing. */
	struct sw_frames frames;
	/* What the innermost one awaits, by its type: "_asyncio.Future"; "": nothing more, it goes
	 * on when its turn comes; of a greenlet "greenlet.switch". */
	char on[SW_AWAITS_ON_MAX];
	uint32_t count; /* tasks that the chain passes, or the greenlet */
	const void *tasks[SW_AWAITS_TASKS];
};

/* Where tasks are is known. */
bool sw_awaits_ready(void);

/* The chain of this request, of those that are `wanted`; it is good until the next call. NULL: it
 * has no suspended task that is known, or that could be read. Some 20 us; tasks are listed anew, at
 * 60 ns each, as often as that takes 2 % of a processor. */
const struct sw_awaits *sw_awaits_of(sw_ref entry, bool (*wanted)(sw_ref entry));

/* Forgets all tasks. */
void sw_awaits_clear(void);
