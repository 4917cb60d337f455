/*
 * The contract of TLS to the collector: bytes in, bytes out, no socket and no clock. Our thread
 * only. Implemented by a plug-in; a transport that speaks through a socket of ours asks for it.
 */
#pragma once

#include "proto/buffer.h"

struct sw_tls_context;
struct sw_tls_session;

/* Texts are Borrowed for the call; an empty one is not set. */
struct sw_tls_wish {
	const char *ca;	      /* PEM file of trusted authorities; else the system's trust store */
	const char *chain;    /* our certificate and those behind it, PEM file; with `key` */
	const char *key;      /* PEM file */
	const char *protocol; /* to agree on by ALPN, such as "h2" */
};

/* What became of bytes that were fed. */
enum sw_tls_state {
	SW_TLS_SHAKING, /* the handshake goes on */
	SW_TLS_OPEN,	/* plain bytes pass */
	SW_TLS_CLOSED,	/* the other side said that it ends */
	SW_TLS_FAILED,	/* for good; `why` says so */
};

struct sw_tls {
	/* NULL: `why` is written, a sentence with the file's name where one is to blame. */
	struct sw_tls_context *(*context_new)(const struct sw_tls_wish *wish, char *ret_why,
					      size_t room);
	struct sw_tls_context *(*context_free)(struct sw_tls_context *context);

	/* A client's session with `host`, which the certificate must name (a name or a number).
	 * NULL: no memory. */
	struct sw_tls_session *(*session_new)(struct sw_tls_context *context, const char *host);
	struct sw_tls_session *(*session_free)(struct sw_tls_session *session);

	/*
	 * Takes what the socket gave (may be empty), appends what it meant to `plain` and what is
	 * to be written to the socket to `cipher`. The first call, with nothing, begins the
	 * handshake.
	 */
	enum sw_tls_state (*feed)(struct sw_tls_session *session, struct sw_bytes bytes,
				  struct sw_buffer *plain, struct sw_buffer *cipher);
	/* Appends `bytes` in sealed form; only when open. */
	enum sw_tls_state (*seal)(struct sw_tls_session *session, struct sw_bytes bytes,
				  struct sw_buffer *cipher);
	/* After SW_TLS_FAILED. Borrowed from the session. */
	const char *(*why)(struct sw_tls_session *session);
};
