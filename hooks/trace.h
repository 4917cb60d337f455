/*
 * Spans that are open, the segments they belong to, and the context carried in and out.
 *
 * An open span is a prepared record in a pool; it is put into a ring when it ends. An Entry is also
 * the context of its request: calls made on its behalf take their ids from it. Handles (sw_ref)
 * stay safe to ask after the span is gone.
 */
#pragma once

#include "hooks/parser.h"
#include "preload/guard.h"
#include "preload/process.h"

/* Everything that begins a span, from the flow. Views are good during the call. */
struct sw_begin {
	const struct sw_request *request;
	uint32_t component;
	uint64_t start_ns;    /* CLOCK_MONOTONIC of the first byte */
	struct sw_bytes peer; /* Entry: the client; Exit: the server as the program called it */
};

/* An Entry, traced or suppressed; 0 when there is no room for it. */
sw_ref sw_trace_entry(struct sw_guest *g, const struct sw_begin *begin);

/*
 * An Exit of the request `entry` (0: of none, a segment of its own). *ret_suppressed tells that
 * the call must carry the suppressed marker; the result is then 0.
 */
sw_ref sw_trace_exit(struct sw_guest *g, sw_ref entry, const struct sw_begin *begin,
		     bool *ret_suppressed);

/* The header lines that a call carries: those of the Exit, or with ref 0 the suppressed marker.
 * Writes nothing when the span is gone. */
void sw_trace_carrier(sw_ref exit, struct sw_writer *w);

/* The answer's head has come. */
void sw_trace_answer(sw_ref span, const struct sw_response *response);

/* How an exchange came to its end. */
enum sw_ending {
	SW_ENDING_WHOLE,  /* its last byte was seen */
	SW_ENDING_CLOSED, /* this process closed it, which is where such an answer ends */
	SW_ENDING_CUT,	  /* closed before its end: in error */
	SW_ENDING_UNSEEN, /* bytes passed that we did not see: nothing can be said, it is counted */
};

/* The span ends now. Ends that find the span gone do nothing. Across a fork only the process that
 * saw the last byte reports; a close says nothing there, the other process may go on. */
void sw_trace_end(struct sw_guest *g, sw_ref span, enum sw_ending ending);

/* The span never happened (nothing of it was sent). */
void sw_trace_forget(sw_ref span);

/* True while the span is open. */
bool sw_trace_open(sw_ref span);

/* The segment of a span that is open and is reported. False: there is none. Holds nothing. */
bool sw_trace_segment(sw_ref span, struct sw_id *ret_segment);

/* The one open Entry of the process whose caller sent exactly this carrier; 0 when none or more
 * than one did. How a proxy's forwarded head tells whose request it is. */
sw_ref sw_trace_entry_of_carrier(struct sw_bytes carrier);
