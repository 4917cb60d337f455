/* What a sink counts, and prints at its end. */
#pragma once

#include <stdint.h>

/* tests/bench/sink.py knows the order. */
struct counts {
	uint64_t segments;	/* messages of COLLECT */
	uint64_t segment_bytes; /* their bytes without prefixes */
	uint64_t segment_calls;
	uint64_t others; /* messages of other paths */
	uint64_t other_bytes;
	uint64_t other_calls;
	uint64_t answered;    /* calls answered */
	uint64_t cut;	      /* calls that ended without our answer */
	uint64_t torn;	      /* calls that ended within a message */
	uint64_t connections; /* ever */
	uint64_t broken;      /* connections given up because of what came */
	uint64_t received;    /* bytes of the connection, inside TLS */
	uint64_t reads;	      /* reads that brought them */
};
