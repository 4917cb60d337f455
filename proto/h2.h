/*
 * HTTP/2 framing (RFC 9113), both roles, both directions.
 *
 * Pure: no allocation, no globals that change, no descriptor, no clock; may run on any thread, also
 * in a signal handler. The reader turns bytes, however cut, into events, one at a time; the writer
 * appends frames. Neither knows of streams' states, windows or header fields: streams and flow
 * control are the caller's, fields are hpack.h's. What only framing can tell is checked here:
 * sizes, stream ids that must (not) be 0, CONTINUATION in its place, padding, the client's preface.
 */
#pragma once

#include "preload/bytes.h"

#define SW_H2_PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" /* section 3.4 */
#define SW_H2_FRAME_HEAD 9				 /* section 4.1 */
#define SW_H2_FRAME_MAX 16384 /* SETTINGS_MAX_FRAME_SIZE before anything was negotiated */
#define SW_H2_WINDOW 65535    /* SETTINGS_INITIAL_WINDOW_SIZE, and that of the connection */
#define SW_H2_WINDOW_MAX 0x7fffffff
#define SW_H2_STREAM_MAX 0x7fffffff

/* Section 7. As negative results: -SW_H2_PROTOCOL_ERROR. */
enum sw_h2_error {
	SW_H2_NO_ERROR,
	SW_H2_PROTOCOL_ERROR,
	SW_H2_INTERNAL_ERROR,
	SW_H2_FLOW_CONTROL_ERROR,
	SW_H2_SETTINGS_TIMEOUT,
	SW_H2_STREAM_CLOSED,
	SW_H2_FRAME_SIZE_ERROR,
	SW_H2_REFUSED_STREAM,
	SW_H2_CANCEL,
	SW_H2_COMPRESSION_ERROR,
	SW_H2_CONNECT_ERROR,
	SW_H2_ENHANCE_YOUR_CALM,
	SW_H2_INADEQUATE_SECURITY,
	SW_H2_HTTP_1_1_REQUIRED,
};

/* Section 6.5.2. */
enum sw_h2_setting {
	SW_H2_HEADER_TABLE_SIZE = 1,
	SW_H2_ENABLE_PUSH = 2,
	SW_H2_MAX_CONCURRENT_STREAMS = 3,
	SW_H2_INITIAL_WINDOW_SIZE = 4,
	SW_H2_MAX_FRAME_SIZE = 5,
	SW_H2_MAX_HEADER_LIST_SIZE = 6,
};

enum sw_h2_kind {
	SW_H2_DATA,    /* a piece of a DATA frame: bytes; may be empty when it ends the stream */
	SW_H2_HEADERS, /* a whole header block: bytes, for sw_hpack_read */
	SW_H2_PUSH_PROMISE, /* the same; value is the promised stream */
	SW_H2_RESET,	    /* value is the error */
	SW_H2_SETTING,	    /* value of the setting `id`; its range was checked */
	SW_H2_SETTINGS_END, /* all settings of one frame were told: acknowledge them */
	SW_H2_SETTINGS_ACK,
	SW_H2_PING, /* bytes: 8 to be sent back */
	SW_H2_PING_ACK,
	SW_H2_GOAWAY, /* stream is the last that was or will be looked at, value the error, bytes
		       * the beginning of the debug data */
	SW_H2_WINDOW_UPDATE, /* value is the increment, never 0 */
};

struct sw_h2_event {
	enum sw_h2_kind kind;
	uint32_t stream;
	uint32_t id; /* enum sw_h2_setting, or one that we do not know */
	uint32_t value;
	uint32_t flow;	 /* DATA: octets that count against the windows, padding included */
	bool end_stream; /* DATA, HEADERS: nothing follows from this side (on the last piece) */
	struct sw_bytes bytes; /* Borrowed from the input or from the reader's memory, until the
				* next call */
};

/* Who speaks on the side that is read. */
enum sw_h2_role {
	SW_H2_CLIENT, /* its preface comes first, and is checked */
	SW_H2_SERVER,
};

struct sw_h2 {
	enum sw_h2_role role;
	/* Largest frame that this side may send: what its peer announced as MAX_FRAME_SIZE, at
	 * first SW_H2_FRAME_MAX. The caller may raise it at any time. */
	uint32_t frame_max;
	uint8_t *memory; /* Borrowed from the caller; for header blocks that come in pieces */
	size_t room;
	size_t held;	    /* bytes of a block in memory */
	unsigned state;	    /* where in the stream of bytes: h2.c */
	uint32_t left;	    /* bytes of this frame's payload not yet seen */
	uint32_t pad;	    /* of these, padding */
	uint32_t stream;    /* of this frame */
	uint32_t promised;  /* of a block that is being gathered */
	uint32_t gathering; /* stream of a block whose CONTINUATION must follow; 0: none */
	uint8_t type, flags, first_type, first_flags;
	uint8_t part[32]; /* a frame head, or a short payload, that came in pieces */
	uint8_t part_len;
	bool settled; /* the first frame, which must be SETTINGS, has come */
	int error;    /* what reading came to, for whoever goes on asking */
};

/* `memory` of `room` bytes bounds one header block; a longer one is -SW_H2_ENHANCE_YOUR_CALM. */
void sw_h2_init(struct sw_h2 *h2, enum sw_h2_role role, void *memory, size_t room);

/*
 * Takes bytes off the front of `in` until there is an event: 1, written to *ret_event. 0: `in` is
 * used up, more is needed; only this says so, there may be an event when `in` is already empty.
 * Negative: a connection error, -enum sw_h2_error (stream errors that
 * framing can tell are treated as such, as section 5.4.1 allows); the reader must not be used
 * again. Frames of unknown types and PRIORITY are passed over silently.
 */
int sw_h2_read(struct sw_h2 *h2, struct sw_bytes *in, struct sw_h2_event *ret_event);

/*
 * The writers append whole frames. When one does not fit, or `out` was marked cut before, `out` is
 * marked cut and nothing of it is written.
 */
void sw_h2_write_settings(struct sw_writer *out, const uint32_t (*setting)[2], size_t count);
void sw_h2_write_settings_ack(struct sw_writer *out);
void sw_h2_write_ping(struct sw_writer *out, const uint8_t data[8], bool ack);
void sw_h2_write_goaway(struct sw_writer *out, uint32_t last_stream, uint32_t error);
void sw_h2_write_reset(struct sw_writer *out, uint32_t stream, uint32_t error);
void sw_h2_write_window_update(struct sw_writer *out, uint32_t stream, uint32_t increment);
/* One block, in HEADERS and as many CONTINUATION frames of at most frame_max bytes as it takes. */
void sw_h2_write_headers(struct sw_writer *out, uint32_t stream, struct sw_bytes block,
			 bool end_stream, uint32_t frame_max);
/* The head of a DATA frame of `len` bytes, which the caller appends. */
void sw_h2_write_data_head(struct sw_writer *out, uint32_t stream, uint32_t len, bool end_stream);
