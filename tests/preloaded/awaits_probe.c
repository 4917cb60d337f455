/*
 * What hooks/python/awaits.h answers, for test_awaits_storm.py, which loads this by ctypes into
 * interpreters of all versions. Requests are numbers that the program writes into its contexts.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "hooks/profile.h"
#include "hooks/python/awaits_at.h"
#include "hooks/python/code.h"
#include "hooks/python/internal.h"
#include "preload/sys.h"

#define SHOWN __attribute__((visibility("default")))
#define CHAINS 4096
#define CHAIN_MAX 1024

static char chains[CHAINS][CHAIN_MAX];
static unsigned times_seen[CHAINS], chain_count;
static _Atomic bool stop;

/* What the rest of the agent would say: all of it would need the agent loaded. */
static bool ready;

struct sw_profile_slot sw_profile_slots[SW_PROFILE_SLOTS];

enum sw_python_state sw_python_state(void)
{
	return ready ? SW_PYTHON_READY : SW_PYTHON_UNKNOWN;
}

bool sw_python_ready(void)
{
	return ready;
}

sw_ref sw_flow_unanswered(sw_ref talk)
{
	(void)talk;
	return 0;
}

sw_object *sw_python_attribute(sw_object *of, const char *name)
{
	sw_object *found = sw_py.PyObject_GetAttrString(of, name);

	if (!found)
		sw_py.PyErr_Restore(NULL, NULL, NULL);
	return found;
}

/* With the GIL (ctypes.PyDLL), as the next. */
SHOWN int probe_find(void)
{
	ready = sw_python_found() && !sw_python_find_layout();
	if (ready)
		sw_python_find_tasks(sw_py.PyImport_GetModuleDict());
	return sw_awaits_ready();
}

SHOWN void probe_serve(int entry)
{
	struct sw_whom whom = {.entry = (sw_ref)entry};
	sw_object *value = sw_py.PyBytes_FromStringAndSize((const char *)&whom, sizeof(whom));

	sw_py.Py_DecRef(sw_py.PyContextVar_Set(sw_python_at.var, value));
	sw_py.Py_DecRef(value);
}

/* Of the greenlet that calls; `type`: greenlet.greenlet, which is kept. */
SHOWN void probe_serve_greenlet(int entry, const void *type)
{
	atomic_store(&sw_profile_current, 1);
	atomic_store(&sw_profile_slots[entry].state, (sw_ref)entry);
	sw_python_greenlet_type(type);
	probe_serve(entry);
	sw_python_greenlet_serves((sw_ref)entry);
}

static bool any(sw_ref entry)
{
	return entry != 0;
}

/* "OUTER:LINE;INNER:LINE;...|ON", or nothing. */
static bool write_chain(const struct sw_awaits *awaits, char *to)
{
	struct sw_code code;
	int used = 0;

	for (uint32_t i = awaits->frames.count; i-- > 0;) {
		if (!sw_code_read(&awaits->frames.at[i], &code))
			return false;
		used += snprintf(to + used, (size_t)(CHAIN_MAX - used), "%s:%d;", code.name,
				 code.line);
		if (used > CHAIN_MAX - 200)
			return false;
	}
	snprintf(to + used, (size_t)(CHAIN_MAX - used), "|%s", awaits->on);
	return true;
}

SHOWN int probe_chain(int entry, char *to)
{
	const struct sw_awaits *awaits = sw_awaits_of((sw_ref)entry, any);

	return awaits && write_chain(awaits, to);
}

static void note(const char *chain)
{
	for (unsigned i = 0; i < chain_count; i++) {
		if (strcmp(chains[i], chain) == 0) {
			times_seen[i]++;
			return;
		}
	}
	if (chain_count < CHAINS) {
		strcpy(chains[chain_count], chain);
		times_seen[chain_count++] = 1;
	}
}

/* Reads the chains of requests 1 to `entries` in turn, until told to stop. Returns how many could
 * not be read. What was read is in probe_seen, each with its request in front. */
SHOWN int probe_watch(int entries)
{
	char text[CHAIN_MAX + 16];
	int failed = 0;

	chain_count = 0;
	sw_awaits_clear();
	stop = false;
	for (unsigned i = 0; !stop; i++) {
		int entry = 1 + (int)(i % (unsigned)entries);
		int used = snprintf(text, sizeof(text), "%d ", entry);

		if (probe_chain(entry, text + used))
			note(text);
		else
			failed++;
	}
	return failed;
}

SHOWN void probe_stop(void)
{
	stop = true;
}

SHOWN const char *probe_seen(int which, int *ret_times)
{
	if ((unsigned)which >= chain_count)
		return NULL;
	*ret_times = (int)times_seen[which];
	return chains[which];
}

/* Nanoseconds for the stack of the greenlet that serves request 1. */
SHOWN int probe_cost_greenlet(int rounds)
{
	uint64_t begin = sw_clock_ns(CLOCK_MONOTONIC);

	for (int i = 0; i < rounds; i++) {
		if (!sw_awaits_greenlet(1))
			return -1;
	}
	return (int)((sw_clock_ns(CLOCK_MONOTONIC) - begin) / (uint64_t)rounds);
}

/* Nanoseconds for a walk over all tasks, and for a chain once they are known. */
SHOWN int probe_cost_walk(int rounds)
{
	uint64_t begin = sw_clock_ns(CLOCK_MONOTONIC);

	for (int i = 0; i < rounds; i++) {
		sw_awaits_clear();
		sw_awaits_tasks(1, any);
	}
	return (int)((sw_clock_ns(CLOCK_MONOTONIC) - begin) / (uint64_t)rounds);
}

SHOWN int probe_cost_chain(int rounds)
{
	const struct sw_awaits_request *request;
	uint64_t begin;

	sw_awaits_clear();
	request = sw_awaits_tasks(1, any);
	begin = sw_clock_ns(CLOCK_MONOTONIC);
	for (int i = 0; i < rounds; i++) {
		if (!request || !sw_awaits_chain(request->at[0].task, request))
			return -1;
	}
	return (int)((sw_clock_ns(CLOCK_MONOTONIC) - begin) / (uint64_t)rounds);
}
