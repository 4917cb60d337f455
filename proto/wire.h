/*
 * What is sent thousands of times a second, straight to the wire: segments and lines of log. Inside
 * proto/ only.
 *
 * The way by messages of protobuf-c copies each text twice, ends it in NUL and measures it again;
 * here a text goes from where it is to where it leaves. The bytes are those that protobuf-c, or
 * proto/json.c, makes of the same message: fields in the order of their numbers, and none that is 0
 * or empty. What is sent seldom keeps to the messages.
 */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "proto/encode.h"
#include "proto/text.h"

/* ---- fields; their numbers are below 16, and the caller has made room ---- */

/* Longest number on the wire, and the byte that says which field it is. */
#define SW_WIRE_NUMBER 11
/* Most that a text, or the head of a message in a message, takes beside its bytes. */
#define SW_WIRE_HEAD 6

static inline uint8_t *sw_wire_varint(uint8_t *at, uint64_t n)
{
	for (; n >= 0x80; n >>= 7)
		*at++ = (uint8_t)(n | 0x80);
	*at++ = (uint8_t)n;
	return at;
}

static inline size_t sw_wire_varint_len(uint64_t n)
{
	size_t len = 1;

	for (; n >= 0x80; n >>= 7)
		len++;
	return len;
}

static inline uint8_t *sw_wire_number(uint8_t *at, unsigned field, int64_t n)
{
	if (n == 0)
		return at;
	*at++ = (uint8_t)(field << 3);
	return sw_wire_varint(at, (uint64_t)n); /* -1 has ten bytes */
}

/* Of what comes next, which is a text or a message. */
static inline uint8_t *sw_wire_length(uint8_t *at, unsigned field, size_t len)
{
	*at++ = (uint8_t)(field << 3 | 2);
	return sw_wire_varint(at, len);
}

/* One of ours, which needs no mending. */
static inline uint8_t *sw_wire_own(uint8_t *at, unsigned field, struct sw_bytes text)
{
	if (!text.len)
		return at;
	at = sw_wire_length(at, field, text.len);
	memcpy(at, text.at, text.len);
	return at + text.len;
}

/* Mended where it lies then: that changes no length. */
static inline uint8_t *sw_wire_text(uint8_t *at, unsigned field, struct sw_bytes text)
{
	if (!text.len)
		return at;
	at = sw_wire_length(at, field, text.len);
	memcpy(at, text.at, text.len);
	if (!sw_text_is_ascii(at, text.len))
		sw_text_mend(at, text.len);
	return at + text.len;
}

/* How long it becomes. */
static inline size_t sw_wire_text_len(size_t len)
{
	return len ? 1 + sw_wire_varint_len(len) + len : 0;
}

/* ---- messages ---- */

/* A segment whose records were looked at. Borrowed. */
struct sw_wired {
	const struct sw_sender *sender;
	const struct sw_segment *segment;
	struct sw_bytes trace; /* empty: the segment's own */
	/* Of each span the SegmentReference, or NULL; NULL: none has one. */
	const ProtobufCMessage *const *refs;
	size_t texts; /* bytes of all texts, at most */
	size_t tags;  /* of all spans, at most */
};

/* Append one message each; false: no memory, and what is behind out->len is nothing. */
bool sw_wire_segment(const struct sw_wired *wired, struct sw_buffer *out);
bool sw_wire_segment_json(const struct sw_wired *wired, struct sw_buffer *out);
bool sw_wire_log(const struct sw_sender *sender, const struct sw_log *log, struct sw_buffer *out);
bool sw_wire_log_json(const struct sw_sender *sender, const struct sw_log *log,
		      struct sw_buffer *out);

/* ---- what there is to say, in both forms ---- */

/* Most tags that are said of a span beside those that it came with. */
#define SW_OWN_TAGS 3

struct sw_own_tag {
	unsigned key; /* enum sw_tag_key */
	struct sw_bytes value;
};

/* Status, sw.unfinished, sw.parent: how many. The digits of a status stand in `digits`. */
size_t sw_span_own_tags(const struct sw_record_span *record, uint8_t digits[10],
			struct sw_own_tag ret_tag[SW_OWN_TAGS]);

/* Of each kind of field the last; empty where there is none. */
void sw_span_names(const struct sw_record_span *record, struct sw_bytes *ret_operation,
		   struct sw_bytes *ret_peer);

/* Bytes of all texts of a line and of its sender. */
size_t sw_wire_log_texts(const struct sw_sender *sender, const struct sw_log *log);

/* As the wire has it: Skywalking__V3__SpanType. */
int sw_span_type(const struct sw_record_span *record);
