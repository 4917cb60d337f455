/*
 * The contract of TLS to the collector: bytes in, bytes out, no socket and no clock. Our thread
 * only. Implemented by a plug-in; reporter/channel.c puts it between a socket and a transport.
 *
 * What is inside takes locks that a forked child would miss: every call is made between two of
 * sw_reporter_delicate. A child forgets sessions and contexts of its parent, and does not free
 * them.
 */
#pragma once

#include "proto/buffer.h"

struct sw_tls_context;
struct sw_tls_session;

/* Texts are Borrowed for the call; an empty one is not set. */
struct sw_tls_wish {
	const char *ca;		  /* PEM file of trusted authorities */
	const char *store_file;	  /* SSL_CERT_FILE and SSL_CERT_DIR, when there is no `ca`; */
	const char *store_folder; /* without them the system's trust store */
	const char *chain;	  /* our certificate and those behind it, PEM file; with `key` */
	const char *key;	  /* PEM file */
	const char *protocol;	  /* offered by ALPN, such as "h2"; a server without ALPN will do */
};

/* What became of bytes that were fed. */
enum sw_tls_state {
	SW_TLS_SHAKING, /* the handshake goes on */
	SW_TLS_OPEN,	/* plain bytes pass */
	SW_TLS_CLOSED,	/* the other side said that it ends */
	SW_TLS_FAILED,	/* for good; `why` says so */
};

struct sw_tls {
	/* Reads all files, or finds the same ones read. NULL: `why` is written, a sentence with the
	 * file's name where one is to blame. */
	struct sw_tls_context *(*context_new)(const struct sw_tls_wish *wish, char *ret_why,
					      size_t room);
	/* NULL in, NULL out, as below. Sessions made from it go on. */
	struct sw_tls_context *(*context_free)(struct sw_tls_context *context);

	/* A client's session with `host`, which the certificate must name (a name or a number).
	 * NULL: no memory, or no name. */
	struct sw_tls_session *(*session_new)(struct sw_tls_context *context, const char *host);
	struct sw_tls_session *(*session_free)(struct sw_tls_session *session);

	/*
	 * Takes what the socket gave (may be empty), appends what it meant to `plain` and what is
	 * to be written to the socket to `cipher`; also after a failure, which the other side is
	 * told of. The first call, with nothing, begins the handshake; it ends with SW_TLS_OPEN,
	 * perhaps with the first plain bytes. A buffer that fails makes the session fail.
	 */
	enum sw_tls_state (*feed)(struct sw_tls_session *session, struct sw_bytes bytes,
				  struct sw_buffer *plain, struct sw_buffer *cipher);
	/* Appends `bytes` in sealed form; only when open. */
	enum sw_tls_state (*seal)(struct sw_tls_session *session, struct sw_bytes bytes,
				  struct sw_buffer *cipher);
	/* Appends the goodbye, where one is due. Nothing follows but session_free. */
	void (*end)(struct sw_tls_session *session, struct sw_buffer *cipher);
	/* After SW_TLS_FAILED. Borrowed from the session. */
	const char *(*why)(const struct sw_tls_session *session);
};
