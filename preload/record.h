/*
 * What crosses the ring: length-prefixed records without pointers, written by the guest half and
 * read by the agent half of the same process. A fixed head, then text as fields, each cut at a
 * stated length. Native byte order; never leaves the process.
 */
#pragma once

#include <stdint.h>

#include "preload/bytes.h"
#include "preload/process.h"

/* Longest record, head included; an open span keeps its text in the same room. */
#define SW_RECORD_MAX 4096

enum sw_record_kind {
	SW_RECORD_FILLER,  /* to the end of the ring; skipped */
	SW_RECORD_SPAN,	   /* struct sw_record_span */
	SW_RECORD_LOG,	   /* struct sw_record_log */
	SW_RECORD_BLOCKED, /* struct sw_record_blocked */
};

struct sw_record {
	uint32_t size; /* whole record, a multiple of 8 */
	uint32_t kind;
};

enum sw_span_type { /* specification 3.4, SpanType */
		    SW_SPAN_ENTRY = 0,
		    SW_SPAN_EXIT = 1,
};

enum sw_span_flag {
	SW_SPAN_ERROR = 1 << 0,
	SW_SPAN_CUT = 1 << 1,	     /* a text did not fit */
	SW_SPAN_LIMITED = 1 << 2,    /* Entry: calls were left out because of the span limit */
	SW_SPAN_UNFINISHED = 1 << 3, /* Exit: closed because its Entry ended */
	SW_SPAN_ALONE = 1 << 4,	     /* Exit outside an Entry's segment: one of its own */
	SW_SPAN_LATE = 1 << 5,	     /* ... that goes on for the Entry in its carrier field */
};

struct sw_record_span {
	struct sw_record record;
	struct sw_id segment;
	int64_t start_ms; /* Unix time */
	int64_t end_ms;
	int32_t span;
	int32_t parent; /* -1: first of its segment */
	uint32_t exits; /* Entry: Exit records of this segment that were or will be put */
	uint32_t component;
	uint32_t status;    /* 0: no answer, or a format without one */
	uint8_t type;	    /* enum sw_span_type */
	uint8_t layer;	    /* enum sw_layer */
	uint8_t flags;	    /* enum sw_span_flag */
	uint8_t status_tag; /* tag key that carries the status, SW_TAG_COUNT: none */
	uint32_t text;	    /* bytes of fields that follow */
};

/* Text fields. The order of tags is the order in which they are shown. */
enum sw_field_kind {
	SW_FIELD_OPERATION,   /* at most 150 bytes, OAP's limit */
	SW_FIELD_PEER,	      /* at most 256 */
	SW_FIELD_CARRIER,     /* sw8 as an Entry received it, whole; at most 2048 (specification
			       * 3.2). SW_SPAN_LATE: what its Entry would have sent */
	SW_FIELD_CORRELATION, /* Entry: sw8-correlation as received, whole; never sent on its own */
	SW_FIELD_TAG,	      /* key in `key` */
};

struct sw_field {
	uint8_t kind;
	uint8_t key;
	uint16_t len; /* bytes that follow, unpadded */
};

/* Reads the next field. False at the end, and on a field that does not fit (a broken record). */
static inline bool sw_field_next(struct sw_bytes *text, struct sw_field *ret_field,
				 struct sw_bytes *ret_value)
{
	struct sw_field field;

	if (text->len < sizeof(field))
		return false;
	memcpy(&field, text->at, sizeof(field));
	if (field.len > text->len - sizeof(field))
		return false;
	*ret_field = field;
	*ret_value = sw_bytes(text->at + sizeof(field), field.len);
	*text = sw_bytes_from(*text, sizeof(field) + field.len);
	return true;
}

/* Where the bytes of a log went. */
enum sw_log_source {
	SW_LOG_STDOUT,
	SW_LOG_STDERR,
	SW_LOG_FILE,	/* a file whose name matches SW_AGENT_LOG_REPORTER_FILES */
	SW_LOG_SYSLOG,	/* syslog(3): one whole message, its severity in `severity` */
	SW_LOG_DEVLOG,	/* the socket of syslog: one whole datagram, "<PRI>..." */
	SW_LOG_JOURNAL, /* the socket of journald: one whole datagram of its native protocol */
	SW_LOG_SOURCE_COUNT
};

enum sw_log_flag {
	SW_LOG_MORE = 1 << 0,	 /* the next record of the stream is of the same write */
	SW_LOG_SKIPPED = 1 << 1, /* the write had more bytes, which were left out */
};

/* Severity of what has none of its own; else 0 (emergency) to 7 (debug), as in syslog(3). */
#define SW_LOG_NO_SEVERITY 0xff

/* Bytes that a thread wrote: `trace` bytes of base64 (0: the trace of our own segment), `endpoint`
 * bytes of the operation, then `text` bytes. A segment of zeros: written for no request. Before the
 * text stand `level`, `logger` and `name` (of a thread) bytes, where the record of a logging
 * library is known that they are the text of; it may say a severity instead of a level, or both. */
struct sw_record_log {
	struct sw_record record;
	struct sw_id segment;
	int64_t time_ns;   /* Unix time, after the write */
	uint64_t sequence; /* of the stream, from 0, without gaps but for what was dropped */
	uint32_t stream;   /* its number and its generation: never another stream's */
	uint32_t thread;
	uint32_t text;
	uint16_t trace, endpoint;
	uint8_t source; /* enum sw_log_source */
	uint8_t flags;	/* enum sw_log_flag */
	uint8_t severity;
	uint8_t level, logger, name;
};

/* At most, of each; a longer one is left out. */
#define SW_LOG_LEVEL_MAX 16
#define SW_LOG_LOGGER_MAX 100
#define SW_LOG_THREAD_MAX 48

/* Of a turn of an event loop that lasts too long (hooks/blocked.h). */
enum sw_blocked_what {
	SW_BLOCKED_CAUGHT, /* it goes on; what was read of its thread meanwhile */
	SW_BLOCKED_STILL,  /* one that was caught still goes on, and will be waited for no more */
	SW_BLOCKED_OVER,   /* it has ended, caught or not */
};

/* Bytes of text: names of frames are long. */
#define SW_BLOCKED_TEXT_MAX 3840

/* CAUGHT: `trace` bytes of base64 (0: the trace of our own segment), `endpoint` bytes of the
 * operation, and the rest of `text` bytes is the stack, a line for each frame, innermost first;
 * from its byte `python` on the innermost of Python's. A segment of zeros: it works for no request,
 * or for none that could be told. */
struct sw_record_blocked {
	struct sw_record record;
	struct sw_id segment;
	uint64_t turn; /* these three tell turns apart */
	uint32_t generation;
	uint8_t loop;
	uint8_t what; /* enum sw_blocked_what */
	int32_t thread;
	int64_t start_ms; /* Unix time */
	uint64_t lasted_ns;
	uint64_t watched_ns; /* OVER: how much of that somebody was looking at the loop */
	uint32_t text;
	uint16_t trace, endpoint;
	uint16_t python;
};
