/*
 * From log records to what is sent: order, whole lines, records of several lines, what they say of
 * themselves, and what is left out. Our thread only.
 */
#pragma once

#include "preload/record.h"
#include "proto/encode.h"

struct sw_logs;

/* `emit` gets each log; it is good until it returns. NULL: no memory. */
struct sw_logs *sw_logs_new(void (*emit)(void *arg, const struct sw_log *log), void *arg);
struct sw_logs *sw_logs_free(struct sw_logs *logs);

/* One record, borrowed. now_ns: CLOCK_MONOTONIC. */
void sw_logs_take(struct sw_logs *logs, const struct sw_record_log *record, uint64_t now_ns);

/* After each drain: what nothing more is to be waited for leaves; with `all` everything does. */
void sw_logs_turn(struct sw_logs *logs, uint64_t now_ns, bool all);

/* Does anything wait for a line to end, or for a record before it? */
bool sw_logs_waiting(const struct sw_logs *logs);
