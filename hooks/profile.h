/*
 * Requests that are being profiled: those of the task's endpoint, a few at a time.
 *
 * A hook that sees a request begin gives it a slot; the sampler looks at the slots. A slot is free
 * again when its request is over, which nobody needs to say: its span is asked.
 */
#pragma once

#include "preload/guard.h"
#include "preload/profile.h"

#define SW_PROFILE_SLOTS 64 /* at once, whatever SW_AGENT_PROFILE_MAX_PARALLEL says */

struct sw_profile_slot {
	_Atomic uint64_t state; /* 0: free; SW_PROFILE_FILLING; else the Entry's sw_ref */
	uint32_t task;		/* number of the task */
	struct sw_id segment;
	uint64_t start_ns; /* CLOCK_MONOTONIC */
	/* The sampler's alone, zero when the slot is taken. */
	int32_t sequence;
};

/* Never a reference: those have an index in the lower half. */
#define SW_PROFILE_FILLING (1ull << 63)

extern struct sw_profile_slot sw_profile_slots[SW_PROFILE_SLOTS];

/* An Entry begins, which is reported, while a task is current. */
void sw_profile_entry(struct sw_guest *g, sw_ref entry, struct sw_id segment, uint64_t start_ns,
		      struct sw_bytes operation);

/* Is it over? Then its slot is free from now on. */
bool sw_profile_over(struct sw_profile_slot *slot);
