/*
 * Records to messages to bytes. The only includer of generated headers.
 *
 * Called by the reporter on our thread. Allocates only in the output buffer; messages are
 * protobuf-c structs that the encoder owns and uses again. One encoder per reporter.
 */
#pragma once

#include "preload/record.h"
#include "proto/buffer.h"

/* How a message becomes bytes. */
enum sw_format {
	SW_FORMAT_PROTOBUF, /* the message alone, no length prefix */
	SW_FORMAT_JSON,	    /* protobuf's JSON mapping, no line end */
};

/* What every message says of its sender. Borrowed, NUL terminated. */
struct sw_sender {
	const char *service;
	const char *instance;
};

struct sw_property {
	const char *key, *value; /* Borrowed */
};

/* The spans of one segment, children first, span 0 last (specification 2). Borrowed. */
struct sw_segment {
	const struct sw_record_span *const *span;
	size_t count;
};

struct sw_encoder; /* Owned by the reporter */

struct sw_encoder *sw_encoder_new(void); /* NULL: no memory */
struct sw_encoder *sw_encoder_free(struct sw_encoder *encoder);

/*
 * Each appends one message to `out` and returns true, or appends nothing and returns false (a
 * record that is broken, or no memory). Texts that are not valid UTF-8 are mended: one bad byte
 * makes a collector refuse the whole message.
 */
bool sw_encode_segment(struct sw_encoder *encoder, enum sw_format format,
		       const struct sw_sender *sender, const struct sw_segment *segment,
		       struct sw_buffer *out);
bool sw_encode_properties(struct sw_encoder *encoder, enum sw_format format,
			  const struct sw_sender *sender, const struct sw_property *property,
			  size_t count, struct sw_buffer *out);
bool sw_encode_ping(struct sw_encoder *encoder, enum sw_format format,
		    const struct sw_sender *sender, struct sw_buffer *out);
