/* The halves of the engine, as tls.c puts them together; contracts in reporter/tls.h. */
#pragma once

#include <openssl/ssl.h>
#include <sys/types.h>
#include <time.h>

#include "reporter/plugins/tls/why.h"
#include "reporter/tls.h"

/* A file as it was read. */
struct sw_tls_stamp {
	dev_t device;
	ino_t inode;
	off_t size;
	struct timespec written, changed;
};

struct sw_tls_context {
	SSL_CTX *ssl;		       /* Owned */
	char *wish;		       /* Owned: all its texts */
	struct sw_tls_stamp stamps[4]; /* of authorities, our certificate, its key */
	unsigned uses;
};

/* context.c */
struct sw_tls_context *sw_context_get(const struct sw_tls_wish *wish, struct sw_why *why);
void sw_context_put(struct sw_tls_context *context);

/* engine.c. Once, before the others; false: no memory. */
bool sw_engine_prepare(void);
struct sw_tls_session *sw_engine_new(struct sw_tls_context *context, const char *host);
void sw_engine_free(struct sw_tls_session *session);
enum sw_tls_state sw_engine_feed(struct sw_tls_session *session, struct sw_bytes bytes,
				 struct sw_buffer *plain, struct sw_buffer *cipher);
enum sw_tls_state sw_engine_seal(struct sw_tls_session *session, struct sw_bytes bytes,
				 struct sw_buffer *cipher);
void sw_engine_end(struct sw_tls_session *session, struct sw_buffer *cipher);
const char *sw_engine_why(const struct sw_tls_session *session);
