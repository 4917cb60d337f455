/*
 * Whose request is this thread working for? The one question behind every Exit.
 *
 * Asked in this order: the context of CPython's that is current (hooks/python), which tells tasks
 * and greenlets apart; what was lent to the thread, by an item of a queue or by who made it; the
 * oldest unanswered request of the conversation that the thread read last, and only where a thread
 * serves one request at a time. A thread that interleaves gets "none" rather than a guess.
 */
#pragma once

#include "preload/guard.h"

/* The Entry, or 0. It may have ended: trace.h knows for how long that still counts. */
sw_ref sw_context_request(struct sw_guest *g);

/* The same for what is handed on, with the conversation. {0, 0}: of none. */
struct sw_whom sw_context_whom(struct sw_guest *g);

/* Whom the thread `tid` of a CPython works for, as far as it can be told from outside; `state`: its
 * state (hooks/python/frames.h). It may change meanwhile; 0: none. */
sw_ref sw_context_of(int tid, const void *state);

/* This thread works for `whom` from now on; {0, 0}: for none that it was lent. While a request that
 * it read itself is unanswered it works for that. */
void sw_context_lend(struct sw_guest *g, struct sw_whom whom, enum sw_lent by);

/* Some thread of this process has been lent a request. */
bool sw_context_has_lent(void);

/* This thread is about to wait for events of many descriptors. */
void sw_context_waits(struct sw_guest *g);

/* This thread tells another, by a condition or a semaphore. One that reads requests and tells may
 * have threads that work for all of them, and who is told may not have had to wait: from then on
 * no thread of this process works for the request that it was made in. Not for Python, whose own
 * locks are these. */
void sw_context_tells(struct sw_guest *g);
/* It need not be called any more. */
extern _Atomic bool sw_context_all_told;

/* A request was answered by another thread than the one that read it: threads of this process hand
 * requests over, and what a thread read last says nothing of what it works for. */
void sw_context_handed_over(void);

/* This thread has read a request head from `fd` and now works for `talk`. */
void sw_context_serves(struct sw_guest *g, int fd, sw_ref talk, sw_ref entry);
