/*
 * Requests that have ended and may still have work done for them: a task that fires after the
 * response, a thread that was started. Their calls begin segments of their own that refer to the
 * Entry's (specification 3.1, CrossThread), for as long as SW_AGENT_CONTEXT_LINGER says.
 *
 * The last SW_ENDED_MAX are remembered, each in a few hundred bytes; a busier process forgets
 * sooner, and what is forgotten counts as unknown. Any thread, any moment, nothing waits.
 */
#pragma once

#include "preload/guard.h"
#include "preload/process.h"

#define SW_ENDED_MAX 4096
#define SW_ENDED_TEXT 384

struct sw_ended {
	uint64_t end_ns; /* CLOCK_MONOTONIC */
	struct sw_id segment;
	uint32_t births; /* sw_process_births: only the process that served it says so */
	bool suppressed; /* calls for it must carry the suppressed marker */
	uint16_t trace_len, operation_len, correlation_len;
	/* base64 of the trace id (0 bytes: that of our own segment), operation, correlation */
	uint8_t text[SW_ENDED_TEXT];
};

/* Maps the memory. */
bool sw_ended_start(void);

/* `ended` is over. Its texts follow one another in `text`. */
void sw_ended_note(sw_ref entry, const struct sw_ended *ended);

/* What is remembered, not owned; NULL: forgotten, never ended, over for too long, or another
 * process's. It may be overwritten at any moment: once it has been read, ask whether it was. */
const struct sw_ended *sw_ended_find(sw_ref entry);
/* The same, looking at the last `most` only. */
const struct sw_ended *sw_ended_recent(sw_ref entry, uint32_t most);
bool sw_ended_still(const struct sw_ended *ended, sw_ref entry);
