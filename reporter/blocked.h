/*
 * Blocked event loops, as they are reported: once for each turn that was too long, by a log record
 * that bears the request's ids and the stack, and by an event. What hooks/blocked.c puts into the
 * ring is joined here. Our thread only.
 */
#pragma once

#include "preload/record.h"
#include "reporter/reporter.h"

/* A record of the kind, good until this returns. */
void sw_blocked_take(struct sw_agent *agent, const struct sw_record_blocked *record);

/* The process ends: reports what was caught and is not over. */
void sw_blocked_finish(struct sw_agent *agent);

/* In the child of a fork: the parent reports what the parent caught. */
void sw_blocked_forked(void);

/* "THREAD/NUMBER": the name that the thread has, and which of the loops it is. */
void sw_blocked_loop_name(int thread, unsigned loop, struct sw_writer *w);
