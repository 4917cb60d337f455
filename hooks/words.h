/* What a log line says of the request that it was written for. */
#pragma once

#include "preload/guard.h"
#include "preload/process.h"

/* base64 of a trace id, an operation: as long as open spans keep them. */
#define SW_WORDS_MAX (128 + 150)

struct sw_words {
	struct sw_id segment;
	uint16_t trace_len; /* base64 of the caller's trace id; 0: the trace is the segment's own */
	uint16_t endpoint_len;
	uint8_t text[SW_WORDS_MAX]; /* both, one after the other */
};

/*
 * The words of an Entry that is open, or ended a short while ago. False: there is none, it is not
 * reported, or another process began it; then a line is nobody's.
 */
bool sw_words_find(sw_ref entry, struct sw_words *ret_words);
