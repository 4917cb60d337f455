/*
 * Guest to agent: rings of records. Never waits; full means drop and count.
 *
 * There are few rings and no thread owns one: a put takes the first ring, from the one that served
 * it last, that nobody is writing to at this moment. So 2,000 threads need no 2,000 rings, a
 * thread that ends leaves nothing behind, and a program with one busy thread touches one ring.
 * A thread that dies or long-jumps in mid-put has published nothing: the record is lost, and the
 * ring is taken over by the thread itself at its next put, or freed by the reporter when the
 * thread is gone.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "preload/guard.h"
#include "preload/record.h"

/* What the reporter is doing; written by both halves. */
enum sw_ring_reader {
	SW_READER_ABSENT, /* no thread: a put kicks */
	SW_READER_LEFT,	  /* the same, but it was there and should come back: waiting kicks, too */
	SW_READER_IDLE,	  /* asleep without a timer: a put kicks */
	SW_READER_TICK,	  /* asleep until its next tick: only a ring past half kicks */
	SW_READER_AWAKE,
};

extern _Atomic uint32_t sw_ring_reader;

/* Something was put that is worth a reporter of its own: also at the end of the process. */
extern _Atomic bool sw_ring_wanted;

/*
 * Puts one record, given as head and text (text may be empty). The size field is set here.
 * False: dropped and counted. May set g->kick.
 */
bool sw_ring_put(struct sw_guest *g, struct sw_record *head, size_t head_len, struct sw_bytes text);

/*
 * The same for what must not crowd out others: it may fill half of each ring, and comes in
 * parts. Dropped, it is counted by the caller, and nothing is tried again until rings were drained.
 * Wakes a reporter that sleeps, and starts none unless `starts`.
 */
bool sw_ring_put_some(struct sw_guest *g, struct sw_record *head, size_t head_len,
		      const struct sw_bytes *part, size_t parts, bool starts);

/* Reporter thread only: hands every waiting record to `take` and frees it. Returns how many.
 * The record is good until `take` returns. */
unsigned sw_ring_drain(void (*take)(void *arg, const struct sw_record *record), void *arg);

/* Reporter thread only, once per tick: frees rings whose writer no longer exists. */
void sw_ring_sweep(void);

/* Anything waiting? Any thread. */
bool sw_ring_waiting(void);

/* Bytes of the rings that were ever written: what of their address space is memory. */
uint64_t sw_ring_touched(void);
