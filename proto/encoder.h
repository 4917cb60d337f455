/*
 * What the encoders share: their memory, and texts as protobuf-c wants them. Inside proto/ only.
 *
 * protobuf-c wants texts that end in NUL and writable pointers: texts of others are copied into one
 * run of bytes, mended there, and never longer than they came. Constant ones are lent. Room is
 * reserved before anything is filled, so no pointer into it moves.
 */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "proto/encode.h"
#include "proto/json.h"
#include "proto/pack.h"
#include "proto/text.h"

struct span_room;

struct sw_encoder {
	struct span_room *spans; /* encode.c's; Owned */
	struct sw_writer text;	 /* Owned */
	uint8_t *parts;		 /* Owned; what is repeated in messages of other kinds */
	size_t parts_room, parts_used;
};

/* At least `want`, and some more, so that slowly growing messages do not allocate each time. */
static inline size_t sw_encoder_generous(size_t want)
{
	return want + want / 2 + 16;
}

/* Room for so many bytes of texts, each with its NUL; forgets those of the last message. False: no
 * memory. */
bool sw_encoder_reserve_text(struct sw_encoder *encoder, size_t want);

static inline size_t sw_encoder_sender_text(const struct sw_sender *sender)
{
	return strlen(sender->service) + 1 + strlen(sender->instance) + 1;
}

/* ---- texts ---- */

/* protobuf-c's fields are not const; packing only reads them. */
static inline char *sw_text_lend(const char *text)
{
	return (char *)(uintptr_t)text;
}

/* Ends what was written since `from` with its NUL: digits, which need no mending. */
static inline char *sw_text_seal(struct sw_writer *text, size_t from)
{
	if (text->len == text->room) {
		text->cut = true;
		return sw_text_lend("");
	}
	text->at[text->len++] = '\0';
	return (char *)text->at + from;
}

/* The same for bytes of others. */
static inline char *sw_text_finish(struct sw_writer *text, size_t from)
{
	uint8_t *at = text->at + from;

	if (!sw_text_is_ascii(at, text->len - from))
		sw_text_mend(at, text->len - from);
	return sw_text_seal(text, from);
}

static inline char *sw_text_keep(struct sw_writer *text, struct sw_bytes bytes)
{
	size_t from = text->len;

	sw_write(text, bytes);
	return sw_text_finish(text, from);
}

static inline char *sw_text_number(struct sw_writer *text, uint64_t n)
{
	size_t from = text->len;

	sw_write_number(text, n);
	return sw_text_seal(text, from);
}

/* Appends a message to `out`, or nothing: false. */
static inline bool sw_encoder_put(const ProtobufCMessage *message, enum sw_format format,
				  struct sw_buffer *out)
{
	struct sw_buffer before = *out;

	if (format == SW_FORMAT_JSON ? sw_json_message(message, out) : sw_pack(message, out))
		return true;
	/* what was there is whole again, so nothing of it is missing */
	out->len = before.len;
	out->failed = before.failed;
	return false;
}
