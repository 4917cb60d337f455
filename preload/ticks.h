/*
 * The clock of the hottest places: ticks of the processor's counter where it runs evenly, else
 * CLOCK_MONOTONIC's nanoseconds. Measured: 10 ns against 24; no system call either way.
 *
 * Ticks mean something only as a difference, after sw_ticks_ns. How long one is, is measured
 * against CLOCK_MONOTONIC: roughly at once, better whenever our thread asks again.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "preload/sys.h"

/* The counter is used. Set once, before anybody asks. */
extern bool sw_ticks_counter;
/* Nanoseconds of a tick, times 2^32; 0: not known yet. */
extern _Atomic uint64_t sw_ticks_scale;

static inline uint64_t sw_ticks(void)
{
#if defined(__x86_64__)
	if (SW_LIKELY(sw_ticks_counter))
		return __builtin_ia32_rdtsc();
#endif
	return sw_clock_ns(CLOCK_MONOTONIC);
}

/* The time from one to the other. 0 where the counter went back: another processor's, or a machine
 * that was put to sleep. */
static inline uint64_t sw_ticks_ns(uint64_t from, uint64_t to)
{
	uint64_t scale = atomic_load_explicit(&sw_ticks_scale, memory_order_relaxed);

	if (SW_UNLIKELY((int64_t)(to - from) <= 0))
		return 0;
	return (uint64_t)((unsigned __int128)(to - from) * scale >> 32);
}

/* Chooses the clock, and notes where it stands. Once, before any other call. */
void sw_ticks_start(void);

/* The scale is known; else measures it since the start. False: too soon. Any thread. */
bool sw_ticks_known(void);

/* Measures it better, over the time since the last call if that is a second at least. Our thread
 * alone. A machine that slept meanwhile gives a wrong figure once: one that differs must be
 * confirmed by the next. */
void sw_ticks_refine(void);
