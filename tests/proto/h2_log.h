/*
 * What the HTTP/2 reader says of bytes, written down, so that two readings can be compared; and
 * watched for what h2.h promises on each call. A broken promise aborts: under a fuzzer that is what
 * saves the input.
 *
 * Pieces of DATA on one stream become one line: where it is cut is not the reader's doing. Bytes
 * are handed over in blocks of their exact size that are gone before the next call, so that a
 * sanitizer sees what reads beyond them, or keeps them.
 */
#pragma once

#include "proto/h2.h"
#include "tests/parsers/play.h"

struct h2_log {
	struct sw_h2 h2;
	uint8_t *memory;  /* Owned: the reader's */
	struct text text; /* Owned: a line for each event */
	struct text data; /* Owned: of DATA that may go on */
	struct sw_h2_event event;
	bool has_data;
	int error;
};

static inline void h2_must(bool holds, const char *promise)
{
	if (!holds) {
		fprintf(stderr, "broken: %s\n", promise);
		abort();
	}
}

static inline void h2_log_init(struct h2_log *log, enum sw_h2_role role, size_t room)
{
	*log = (struct h2_log){.memory = malloc(room)};
	text_add(&log->text, "%s", "");
	sw_h2_init(&log->h2, role, log->memory, room);
}

static inline void h2_log_free(struct h2_log *log)
{
	free(log->memory);
	free(log->text.at);
	free(log->data.at);
}

static inline void h2_log_flush(struct h2_log *log)
{
	if (!log->has_data)
		return;
	text_add(&log->text, "DATA %u flow %u%s ", log->event.stream, log->event.flow,
		 log->event.end_stream ? " end" : "");
	text_add_bytes(&log->text, sw_bytes(log->data.at, log->data.len));
	text_add(&log->text, "\n");
	log->data.len = 0;
	log->has_data = false;
}

static inline void h2_log_data(struct h2_log *log, const struct sw_h2_event *event)
{
	h2_must(event->flow >= event->bytes.len, "DATA counts at least its bytes");
	h2_must(event->flow || event->end_stream, "DATA says something");
	if (log->has_data && (log->event.stream != event->stream || log->event.end_stream))
		h2_log_flush(log);
	if (!log->has_data)
		log->event = (struct sw_h2_event){.stream = event->stream};
	log->has_data = true;
	log->event.flow += event->flow;
	log->event.end_stream = event->end_stream;
	text_room(&log->data, event->bytes.len);
	if (event->bytes.len)
		memcpy(log->data.at + log->data.len, event->bytes.at, event->bytes.len);
	log->data.len += event->bytes.len;
}

static inline void h2_log_event(struct h2_log *log, const struct sw_h2_event *event)
{
	static const char *const names[] = {
		[SW_H2_DATA] = "DATA",
		[SW_H2_HEADERS] = "HEADERS",
		[SW_H2_PUSH_PROMISE] = "PUSH_PROMISE",
		[SW_H2_RESET] = "RESET",
		[SW_H2_SETTING] = "SETTING",
		[SW_H2_SETTINGS_END] = "SETTINGS_END",
		[SW_H2_SETTINGS_ACK] = "SETTINGS_ACK",
		[SW_H2_PING] = "PING",
		[SW_H2_PING_ACK] = "PING_ACK",
		[SW_H2_GOAWAY] = "GOAWAY",
		[SW_H2_WINDOW_UPDATE] = "WINDOW_UPDATE",
	};

	h2_must(event->kind < SW_COUNT_OF(names), "events have a kind");
	if (event->kind == SW_H2_DATA) {
		h2_log_data(log, event);
		return;
	}
	h2_log_flush(log);
	text_add(&log->text, "%s %u", names[event->kind], event->stream);
	if (event->id)
		text_add(&log->text, " id %u", event->id);
	if (event->value)
		text_add(&log->text, " value %u", event->value);
	text_add(&log->text, "%s ", event->end_stream ? " end" : "");
	text_add_bytes(&log->text, event->bytes);
	text_add(&log->text, "\n");
}

/* All of one piece. What `see` makes of the events is its own. */
static inline void h2_log_read(struct h2_log *log, struct sw_bytes piece,
			       void (*see)(void *self, const struct sw_h2_event *event), void *self)
{
	uint8_t *exact = malloc(piece.len ? piece.len : 1);
	struct sw_bytes in = sw_bytes(exact, piece.len);
	struct sw_h2_event event;
	int result;

	if (piece.len)
		memcpy(exact, piece.at, piece.len);
	while ((result = sw_h2_read(&log->h2, &in, &event)) == 1) {
		h2_log_event(log, &event);
		if (see)
			see(self, &event);
	}
	h2_must(result < 0 || in.len == 0, "0 means that the bytes are used up");
	if (result < 0 && !log->error) {
		h2_log_flush(log);
		text_add(&log->text, "error %d\n", -result);
	}
	h2_must(!log->error || result == log->error, "an error stays");
	log->error = SW_MIN(result, 0);
	free(exact);
}

/* Whole, or in pieces of at most `step` bytes. Returns the log, to be freed by the caller. */
static inline struct h2_log h2_log_all(enum sw_h2_role role, size_t room, struct sw_bytes bytes,
				       size_t step)
{
	struct h2_log log;

	h2_log_init(&log, role, room);
	for (size_t i = 0; i < bytes.len; i += SW_MIN(step, bytes.len - i))
		h2_log_read(&log, sw_bytes_slice(bytes, i, i + SW_MIN(step, bytes.len - i)), NULL,
			    NULL);
	h2_log_flush(&log);
	return log;
}

/* xorshift; never zero when it did not begin so. */
static inline uint32_t h2_random(uint32_t *random)
{
	*random ^= *random << 13;
	*random ^= *random >> 17;
	*random ^= *random << 5;
	return *random;
}

/* A length between 1 and `most`, of any order of magnitude. */
static inline size_t h2_random_len(uint32_t *random, size_t most)
{
	size_t order = (size_t)1 << h2_random(random) % 15;

	return 1 + h2_random(random) % SW_MIN(order, most);
}
