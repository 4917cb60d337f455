/*
 * Whose request is this thread working for? The one question behind every Exit.
 *
 * Today the answer is the thread's: the oldest unanswered request of the conversation that this
 * thread read last, and only where a thread serves one request at a time. A thread that interleaves
 * gets "none" rather than a guess. What is known of tasks and greenlets will be asked here first.
 */
#pragma once

#include "preload/guard.h"

/* The open Entry, or 0. */
sw_ref sw_context_request(struct sw_guest *g);

/* A request was answered by another thread than the one that read it: threads of this process hand
 * requests over, and what a thread read last says nothing of what it works for. */
void sw_context_handed_over(void);

/* This thread has read a request head from `fd` and now works for `talk`. */
void sw_context_serves(struct sw_guest *g, int fd, sw_ref talk);
