/*
 * What CPython's garbage collector did: noted by the program's threads when it has run
 * (hooks/python/collector.c), read by ours (reporter/meters_python.c). Any thread, any moment.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#define SW_GENERATIONS 3

struct sw_garbage {
	_Atomic uint32_t known;		       /* it is being watched; else nothing is known */
	_Atomic uint64_t runs[SW_GENERATIONS]; /* collections of each generation, since it began */
	_Atomic uint64_t pause_ns; /* for which they held the program up, while watched */
};

extern struct sw_garbage sw_garbage;

/* One collection of this generation took so long. Others, of newer interpreters, count as the
 * oldest. */
void sw_garbage_ran(uint64_t generation, uint64_t ns);

/* For Py_AddPendingCall: CPython calls it on the program's main thread, with the GIL, and from then
 * on collections are noted. The guest half's (hooks/python/collector.c). Returns 0. */
int sw_garbage_watch(void *none);
