/*
 * Where text and bytes go that are written piece by piece: collected, and handed to somebody's
 * `put`. Who refuses once is not asked again. Agent half; no memory of its own.
 */
#pragma once

#include "preload/bytes.h"

struct sw_output {
	bool (*put)(void *arg, const void *at, size_t len);
	void *arg;
	bool failed; /* put has refused */
	size_t len;
	uint8_t at[8192];
};

void sw_output_init(struct sw_output *out, bool (*put)(void *arg, const void *at, size_t len),
		    void *arg);
void sw_output_flush(struct sw_output *out);

void sw_output_bytes(struct sw_output *out, struct sw_bytes bytes);
void sw_output_number(struct sw_output *out, uint64_t n);
void sw_output_signed(struct sw_output *out, int64_t n);

static inline void sw_output_text(struct sw_output *out, const char *text)
{
	sw_output_bytes(out, sw_bytes_text(text));
}

static inline void sw_output_char(struct sw_output *out, char c)
{
	sw_output_bytes(out, sw_bytes(&c, 1));
}

/*
 * UTF-8 as a string of JSON, in quotes. It may stand inside a <script> too: <, > and & are written
 * as \u003c etc., and the two line ends that only JavaScript knows likewise.
 */
void sw_output_json(struct sw_output *out, struct sw_bytes text);
