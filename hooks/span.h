/*
 * An open span: a prepared record and its text. Private to hooks/trace.c, which makes, ends and
 * frees them, and hooks/words.c, which reads what log lines say of the request that they were
 * written for.
 */
#pragma once

#include "hooks/trace.h"
#include "preload/record.h"

#define SPAN_BYTES 4096
#define OPEN_EXITS 48
#define SW_TRACE64_MAX 128

enum span_state { SPAN_FREE, SPAN_OPEN, SPAN_HELD };

struct span {
	_Atomic uint64_t state; /* generation << 2 | enum span_state */
	uint64_t start_ns;	/* CLOCK_MONOTONIC */
	uint64_t
		wall_ns; /* what to add for Unix time: asked once per segment, so its spans agree */
	_Atomic sw_ref entry; /* Exit: its request, 0: alone */
	uint32_t forks;	      /* sw_process_forks when it began */
	uint32_t births;      /* sw_process_births when it began */
	bool suppressed;      /* Entry that is context only: nothing is reported */
	bool calls_nobody;    /* Entry: its trace id cannot be passed on */
	uint16_t trace_len;   /* Entry: base64 of the caller's trace id, 0: the trace is ours */
	uint16_t carrier_at, carrier_len; /* Entry: in text */
	uint16_t correlation_at, correlation_len;
	uint16_t operation_at, operation_len; /* of a late Exit: its Entry's, beyond the record */
	uint16_t peer_at, peer_len;
	/* Of an Entry, changed while it is held. */
	uint32_t next_span;
	uint32_t exits;		 /* Exit records put or certain to be put */
	uint64_t listed;	 /* which of these are taken, by bit */
	sw_ref open[OPEN_EXITS]; /* Exits to close with it */
	char trace64[SW_TRACE64_MAX];
	struct sw_record_span record;
	uint8_t text[]; /* fields */
};

#define TEXT_BYTES (SPAN_BYTES - offsetof(struct span, text))

/* For a few instructions, before sw_span_let_go. NULL: it is gone, or not to be had. */
struct span *sw_span_hold(sw_ref ref);
void sw_span_let_go(struct span *span, sw_ref ref);
