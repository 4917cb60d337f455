/*
 * gRPC calls over one HTTP/2 connection, client side, without any input or output: bytes in, bytes
 * out, and the moments that the caller tells. Our thread only; allocates in its output buffer.
 *
 * Every call sends one body, a run of length-prefixed messages, and half-closes; of the answer only
 * the status matters to it, and of the few calls that ask something, the reply. Rules: RFC 9113,
 * and gRPC's own document "gRPC over HTTP2".
 */
#pragma once

#include "proto/buffer.h"
#include "proto/h2.h"
#include "proto/hpack.h"

/* Calls at once. The rest waits in the queue; the peer may allow fewer. */
#define SW_SESSION_CALLS 32

/* Bytes of a reply that are kept; a longer one is dropped whole. */
#define SW_SESSION_REPLY_MAX 65536

/* gRPC's status codes. */
enum sw_grpc_status {
	SW_GRPC_OK,
	SW_GRPC_CANCELLED,
	SW_GRPC_UNKNOWN,
	SW_GRPC_INVALID_ARGUMENT,
	SW_GRPC_DEADLINE_EXCEEDED,
	SW_GRPC_NOT_FOUND,
	SW_GRPC_ALREADY_EXISTS,
	SW_GRPC_PERMISSION_DENIED,
	SW_GRPC_RESOURCE_EXHAUSTED,
	SW_GRPC_FAILED_PRECONDITION,
	SW_GRPC_ABORTED,
	SW_GRPC_OUT_OF_RANGE,
	SW_GRPC_UNIMPLEMENTED,
	SW_GRPC_INTERNAL,
	SW_GRPC_UNAVAILABLE,
	SW_GRPC_DATA_LOSS,
	SW_GRPC_UNAUTHENTICATED,
	SW_GRPC_STATUSES
};

/* How a call ended. */
struct sw_answer {
	enum sw_grpc_status status;
	bool given;	     /* by the other side; else it is our reading of what happened */
	bool cut;	     /* not given, because the connection ends; another may do better */
	bool perhaps;	     /* not given, and the other side may have taken the messages */
	const char *message; /* of the other side, cut, printable; Borrowed until `done` returns */
	/* Messages, length-prefixed, where the owner wants them; empty when they were too long.
	 * Borrowed as well. */
	struct sw_bytes reply;
};

struct sw_call {
	uint32_t stream; /* 0: free */
	void *owner;
	struct sw_bytes body; /* Borrowed until `done`: what is not in the output yet */
	bool begun;	      /* something of it went out */
	bool closed;	      /* all of it */
	int64_t window;	      /* what the peer takes on this stream; may fall below 0 */
	uint64_t deadline_ns;
	unsigned http_status;
	int status; /* -1: none yet */
	char message[80];
	struct sw_buffer reply; /* Owned; of those whose owner wants it */
};

struct sw_session_peer {
	const char *authority; /* HOST:PORT. Borrowed for the session's life, like the next */
	const char *token;     /* metadata `authentication`; empty: none */
	/* A call has ended. From within feed, expire and abort; must not call the session. */
	void (*done)(void *arg, void *owner, const struct sw_answer *answer);
	void *arg;
	bool secure; /* through TLS */
	/* Is there something to read in the answer to this call? NULL: never. */
	bool (*wants)(void *owner);
};

struct sw_session {
	struct sw_session_peer peer;
	struct sw_buffer out; /* Owned: what is to be written */
	struct sw_h2 reader;
	struct sw_hpack in, fields; /* of the peer's header blocks, and of ours */
	struct sw_call call[SW_SESSION_CALLS];
	unsigned calls; /* in use */
	uint32_t next_stream;
	int64_t window;	       /* what the peer takes on the connection */
	int64_t window_stream; /* what it takes on a new stream */
	uint32_t frame_max, streams_max;
	uint32_t unreturned; /* bytes of DATA for which the peer has got no window back */
	bool settled;	     /* the peer's first settings have come: it speaks HTTP/2 */
	bool going;	     /* no further calls: GOAWAY, or stream ids are used up */
	_Alignas(8) uint8_t block[8192];
	_Alignas(8) uint8_t in_table[SW_HPACK_BYTES(SW_HPACK_TABLE)],
		fields_table[SW_HPACK_BYTES(2048)];
	uint8_t text[SW_HPACK_TABLE];
};

/* A fresh connection; the client's preface is the first output. The output's memory is kept. */
void sw_session_start(struct sw_session *session, const struct sw_session_peer *peer);

/* Begins a call. False: not now (no room, or going). */
bool sw_session_call(struct sw_session *session, const char *path, struct sw_bytes body,
		     void *owner, uint64_t deadline_ns);
/* Could one be begun? */
bool sw_session_room(const struct sw_session *session);

/* Does a body wait for a window? After fill. */
bool sw_session_stalled(const struct sw_session *session);

/* Moves bodies into the output as far as windows allow, up to some bytes. */
void sw_session_fill(struct sw_session *session);
/* The first n bytes of the output were written. */
void sw_session_wrote(struct sw_session *session, size_t n);

/* Bytes from the peer. Negative: -enum sw_h2_error; a GOAWAY that says so is in the output. */
int sw_session_feed(struct sw_session *session, struct sw_bytes bytes);

/* Ends calls whose deadline has come. Returns the earliest deadline of the others, or 0. */
uint64_t sw_session_expire(struct sw_session *session, uint64_t now_ns);

/* The connection is gone: ends all calls. */
void sw_session_abort(struct sw_session *session);
