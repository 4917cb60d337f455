/*
 * What this process is: its mark, its ids, whether it serves.
 *
 * Ids never repeat: 64 random bits drawn per process, and again in every child however it was
 * made, then a counter. Both halves read; only the guest draws ids.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "preload/bytes.h"

/* Written as 32 hexadecimal digits. */
struct sw_id {
	uint64_t high, low;
};

#define SW_ID_TEXT 32

/* An id of a segment; that of its trace, when it starts one, is the same with the top bit of
 * `low` set. Never repeats within a process tree. */
struct sw_id sw_process_id_next(void);
struct sw_id sw_process_trace_of(struct sw_id segment);

static inline void sw_write_id(struct sw_writer *w, struct sw_id id)
{
	sw_write_hex(w, id.high);
	sw_write_hex(w, id.low);
}

/* Set at the first accept, never cleared but in a child: exits without parent are ambiguous. */
extern _Atomic bool sw_process_serves;

/* Set at the first listen: an image of its own, whoever started it (preload/lineage.h). */
extern _Atomic bool sw_process_listens;

/* Lines came whose text says no level: where a logging library can tell it (hooks/python/records.c)
 * it is asked from then on. Set by the agent half, never cleared. */
extern _Atomic bool sw_process_levels_asked;

/* The program has made a thread of its own at some time. */
extern _Atomic bool sw_process_threads;

/* The main thread has ended by pthread_exit; the process goes on. */
extern _Atomic bool sw_process_main_left;
/* By exit(2) itself: with this status, past libc; else -1. */
extern _Atomic int sw_process_main_status;

/* How often this process image has forked or been forked; spans remember it. */
extern _Atomic uint32_t sw_process_forks;
/* How often it has been forked: changes in a child only. */
extern _Atomic uint32_t sw_process_births;

/* In the constructor: who we are before any fork. */
void sw_process_note(void);

/* Service and instance names, at most 70 bytes each (OAP's limit); static, empty before start.
 * Instance changes in a child: "-child(PID)" replaces any such suffix. */
const char *sw_process_service(void);
const char *sw_process_instance(void);
