/*
 * CPython's garbage collector (specification 5.1), as the program's threads have noted it.
 *
 * That they do is asked for by the first period: from a process that ends before it nothing would
 * be sent, and its collector is left alone. What is asked comes to pass when the main thread runs
 * Python code; one that waits for ever has no figures. CPython 3.8 has none at all: while its
 * atexit handlers run it answers a call without the GIL by a crash, and when they begin nobody here
 * knows.
 */
#include <dlfcn.h>

#include "preload/garbage.h"
#include "reporter/meters.h"
#include "reporter/reporter.h"

#define CRASHES_AT_EXIT 308

static double read_relaxed(const _Atomic uint64_t *n)
{
	return (double)atomic_load_explicit(n, memory_order_relaxed);
}

/* Both are made to be called by any thread, without the GIL. The call takes a lock for a moment. */
static bool ask(void)
{
	int (*initialized)(void);
	int (*add)(int (*call)(void *), void *arg);
	bool asked = false;

	if (sw_management_python() == CRASHES_AT_EXIT)
		return false;
	sw_reporter_delicate(true);
	initialized = (int (*)(void))dlsym(RTLD_DEFAULT, "Py_IsInitialized");
	add = (int (*)(int (*)(void *), void *))dlsym(RTLD_DEFAULT, "Py_AddPendingCall");
	if (initialized && add && initialized())
		asked = add(sw_garbage_watch, NULL) == 0;
	sw_reporter_delicate(false);
	return asked;
}

/* Kept across fork: the child has what was asked for, and what came of it. A Python may come later,
 * with a module of a web server. */
static void ask_once(void)
{
	static bool asked;

	asked = asked || ask();
}

static void collect(struct sw_agent *agent, struct sw_meter_sink *sink)
{
	(void)agent;
	ask_once();
	if (!atomic_load(&sw_garbage.known))
		return;
	sw_meters_put(sink, SW_METER_PVM_GC_G0, NULL, read_relaxed(&sw_garbage.runs[0]));
	sw_meters_put(sink, SW_METER_PVM_GC_G1, NULL, read_relaxed(&sw_garbage.runs[1]));
	sw_meters_put(sink, SW_METER_PVM_GC_G2, NULL, read_relaxed(&sw_garbage.runs[2]));
	sw_meters_put(sink, SW_METER_PVM_GC_TIME, NULL,
		      read_relaxed(&sw_garbage.pause_ns) / 1000000);
}

const struct sw_meter_source sw_meters_python = {.name = "python", .collect = collect};
