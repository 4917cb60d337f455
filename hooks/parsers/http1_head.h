/*
 * The syntax of HTTP/1 heads: where one ends, and what it says. See http1_head.c.
 */
#pragma once

#include "hooks/parser.h"

enum sw_http1_framing {
	SW_HTTP1_UNFRAMED, /* neither Content-Length nor Transfer-Encoding */
	SW_HTTP1_LENGTH,
	SW_HTTP1_CHUNKED,
};

/* A header field of which we must know the lines, because they may have to be left out. */
struct sw_http1_field {
	struct sw_bytes value; /* of the first line that had one */
	size_t from, to;       /* the last such line, its line end included */
	size_t count;
};

/* What one head said. The views point into the head. */
struct sw_http1_head {
	struct sw_bytes method; /* of a request */
	struct sw_bytes target; /* of a request */
	uint32_t status;	/* of a response */
	bool old;		/* HTTP/1.0 */
	bool bare;		/* its lines end in LF, without CR */
	enum sw_http1_framing framing;
	uint64_t length;
	size_t length_count; /* how many equal Content-Length lines there were */
	struct sw_bytes host;
	struct sw_http1_field carrier;
	struct sw_http1_field correlation;
};

/* The parts of a request target. */
struct sw_http1_target {
	struct sw_bytes scheme;	   /* with its "://"; empty unless absolute-form */
	struct sw_bytes authority; /* without user:password@; empty when not in the target */
	struct sw_bytes path;	   /* empty in authority-form */
	struct sw_bytes query;	   /* without its '?' */
};

/*
 * Length of the head that begins at the first byte, up to and with its empty line; 0 when that
 * has not come yet. `scanned` bytes were already looked at by an earlier call.
 */
size_t sw_http1_head_end(struct sw_bytes bytes, size_t scanned);

/* Could these first bytes, be they few, begin a head of this side? At least one byte. */
bool sw_http1_head_plausible(struct sw_bytes bytes, enum sw_side side);

/*
 * Reads a whole head. False when any part of it could be read in two ways that matter;
 * then *ret_head is of no use.
 */
bool sw_http1_head_read(struct sw_bytes head, enum sw_side side, struct sw_http1_head *ret_head);

/* Takes a request target apart. False when it is of none of the four forms. */
bool sw_http1_head_target(struct sw_bytes method, struct sw_bytes target,
			  struct sw_http1_target *ret_target);

/* Host value without user:password@, which some clients leave there. */
struct sw_bytes sw_http1_head_without_user(struct sw_bytes authority);

/* Does this part of a conversation begin with a request line of HTTP/1.0 or HTTP/1.1? */
enum sw_sniff sw_http1_head_sniff(struct sw_bytes first);
