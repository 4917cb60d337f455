/*
 * The contract of a parser: one wire format that we overhear.
 *
 * A parser is a pure function of bytes. It owns no descriptor, clock, memory or thread; the same
 * bytes give the same facts however they were cut, so it belongs to neither half. It never sees
 * who is client and who is server of the process: bytes come labelled as requests or responses.
 *
 * Adding one: hooks/parsers/NAME.c with `const struct sw_parser sw_parser_NAME`, a row in
 * hooks/parsers.def and golden conversations in tests/parsers/NAME/.
 */
#pragma once

#include <sys/types.h>

#include "preload/bytes.h"
#include "preload/tags.h"

/* Bytes that a parser may keep for one conversation; the pool of talks reserves them inline. */
#define SW_PARSER_STATE_MAX 96
/* A message head longer than this ends our interest in the connection. */
#define SW_HEAD_MAX 65536

enum sw_side {
	SW_REQUESTS,  /* client to server */
	SW_RESPONSES, /* server to client */
	SW_SIDE_COUNT
};

/* The numbers are those of SkyWalking's SpanLayer (specification 3.4). */
enum sw_layer {
	SW_LAYER_UNKNOWN = 0,
	SW_LAYER_DATABASE = 1,
	SW_LAYER_RPC = 2,
	SW_LAYER_HTTP = 3,
	SW_LAYER_MQ = 4,
	SW_LAYER_CACHE = 5,
};

/* One tag. Its value is the parts one after the other, so that nothing is copied to join them. */
struct sw_tag {
	enum sw_tag_key key;
	struct sw_bytes part[3];
};

#define SW_REQUEST_TAGS 4

/* What a request said. All views are good only during the call that reports them. */
struct sw_request {
	enum sw_layer layer;
	struct sw_bytes method;	     /* for the method filter */
	struct sw_bytes operation;   /* span name; never empty */
	struct sw_bytes peer;	     /* the server as the client named it; may be empty */
	struct sw_bytes carrier;     /* value of sw8; at == NULL when there was none */
	struct sw_bytes correlation; /* value of sw8-correlation; at == NULL when there was none */
	struct sw_bytes params;	     /* query string, reported only by key */
	size_t tag_count;
	struct sw_tag tag[SW_REQUEST_TAGS]; /* in the order in which they are shown */
};

/* What the final answer to the oldest open request said. */
struct sw_response {
	uint32_t status; /* 0 when the format has none */
	bool error;
};

/* What becomes of the handshake that a conversation begins with. */
enum sw_handshake {
	SW_HANDSHAKE_BEGINS,
	SW_HANDSHAKE_ANSWERED, /* all is said; whether the server likes it is to be seen */
	SW_HANDSHAKE_DONE,     /* this and what follows are outcomes, and told last */
	SW_HANDSHAKE_FAILED,
	SW_HANDSHAKE_CUT,     /* a side ends before: failed, if all bytes were seen */
	SW_HANDSHAKE_UNKNOWN, /* the bytes do not tell */
};

/*
 * Where facts go. Implemented by the flow and by the tests. Callbacks run inside feed(), skip() and
 * finish(), never reach back into the parser, and come in this order for each exchange:
 * request, request_end, response, response_end, where request_end may also come after response.
 * Of a handshake: BEGINS, perhaps ANSWERED, an outcome.
 */
struct sw_sink {
	void (*request)(struct sw_sink *sink, const struct sw_request *request);
	void (*request_end)(struct sw_sink *sink);
	void (*response)(struct sw_sink *sink, const struct sw_response *response);
	/* whole is false when the answer was cut short. The exchange is over. */
	void (*response_end)(struct sw_sink *sink, bool whole);
	void (*handshake)(struct sw_sink *sink, enum sw_handshake what);
};

enum sw_sniff {
	SW_SNIFF_NO,   /* not this format, and more bytes will not change that */
	SW_SNIFF_MORE, /* could be */
	SW_SNIFF_YES,
};

/* Lost: framing is no longer certain. The connection is never looked at again. */
#define SW_FEED_LOST (-1)
/* The two sides agreed to speak something else from here on; not an error. */
#define SW_FEED_OPAQUE (-2)

enum sw_carry {
	SW_CARRY_MORE,	/* the head is not complete in these bytes */
	SW_CARRY_NO,	/* complete, but nothing may be added to it, now or later on this talk */
	SW_CARRY_TAKEN, /* carries a carrier already; see struct sw_seam.had */
	SW_CARRY_YES,
};

/* Where our lines may go. Offsets count from the first byte of the head. */
struct sw_seam {
	size_t at; /* our lines are written before the byte at this offset: the last CRLF */
	size_t head_len;
	/* Whole lines, CRLF included, of carriers already present, in order; had_count of them. */
	struct {
		size_t from, to;
	} had[2];
	size_t had_count;
};

struct sw_parser {
	const char *name;
	uint32_t entry_component; /* specification 7.1; 0: no requests are told of */
	uint32_t exit_component;
	size_t state_size; /* <= SW_PARSER_STATE_MAX; all zero is the start */

	/*
	 * Looks at the first bytes of a conversation's request side. Any number of bytes, at
	 * least one. Exactly one parser says yes to any golden conversation, whatever the order
	 * of the rows.
	 */
	enum sw_sniff (*sniff)(struct sw_bytes first);

	/*
	 * Consumes bytes of one side. Returns how many it took (> 0), 0 for "need more": the
	 * caller keeps these bytes and calls again with the same ones and at least one more, or
	 * SW_FEED_LOST / SW_FEED_OPAQUE. Only heads are ever kept by the caller; bodies of any
	 * length are taken as they come. Never called with an empty view.
	 */
	ssize_t (*feed)(void *state, enum sw_side side, struct sw_bytes bytes,
			struct sw_sink *sink);

	/*
	 * `count` bytes passed that nobody could read (sendfile, splice). True when they were
	 * certainly body bytes and have been accounted; false means lost.
	 */
	bool (*skip)(void *state, enum sw_side side, uint64_t count, struct sw_sink *sink);

	/* No more bytes will come on this side. Ends answers that last until the end. */
	void (*finish)(void *state, enum sw_side side, struct sw_sink *sink);

	/*
	 * May NULL: this format carries no context. Looks, without consuming, at a request head
	 * that begins at `head` (the caller vouches that it is the first byte of a call of the
	 * program's). Answers anything but MORE only from a certain message border. On YES and
	 * TAKEN both outputs are written.
	 */
	enum sw_carry (*carry)(const void *state, struct sw_bytes head,
			       struct sw_request *ret_request, struct sw_seam *ret_seam);

	/* True between two requests, when the next byte of the request side begins a message. */
	bool (*at_border)(const void *state);
};
