/*
 * What all our sessions have in common: versions, whom we trust, who we are.
 *
 * A bundle of authorities costs 20 ms to read. So the last context is kept, also for the children
 * of a fork, and is good as long as no file that it was made of has changed.
 */
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "reporter/plugins/tls/engine.h"
#include "reporter/plugins/tls/pem.h"
#include "reporter/plugins/tls/store.h"

static bool set_protocol(SSL_CTX *ssl, const char *protocol)
{
	unsigned char list[256];
	size_t len = strlen(protocol);

	if (len == 0)
		return true;
	if (len > sizeof(list) - 1)
		return false;
	list[0] = (unsigned char)len;
	memcpy(list + 1, protocol, len);
	return SSL_CTX_set_alpn_protos(ssl, list, (unsigned)len + 1) == 0;
}

static bool set_habits(SSL_CTX *ssl, const char *protocol)
{
	SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
	/* an idle connection keeps no buffers */
	SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
	return SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION) == 1 &&
	       set_protocol(ssl, protocol);
}

static bool set_identity(SSL_CTX *ssl, const struct sw_tls_wish *wish, struct sw_why *why)
{
	if (!wish->chain[0] && !wish->key[0])
		return true;
	if (!wish->chain[0] || !wish->key[0])
		return sw_why(why, "%s: a certificate and its key are needed, both",
			      wish->chain[0] ? wish->chain : wish->key);
	return sw_pem_chain(ssl, wish->chain, why) && sw_pem_key(ssl, wish->key, why);
}

/* No memory, or no random numbers. */
static const char *reason(void)
{
	const char *text = ERR_reason_error_string(ERR_peek_error()); /* the first has the cause */

	return text ? text : "no memory";
}

static SSL_CTX *make(const struct sw_tls_wish *wish, const struct sw_trust *trust,
		     struct sw_why *why)
{
	SSL_CTX *ssl;

	ERR_clear_error();
	ssl = SSL_CTX_new(TLS_client_method());
	sw_why(why, "OpenSSL does not work here: %s", reason());
	if (ssl && set_habits(ssl, wish->protocol) && sw_store_load(ssl, trust, why) &&
	    set_identity(ssl, wish, why)) {
		if (wish->ca[0]) /* who names an authority in the middle of a chain means it */
			X509_STORE_set_flags(SSL_CTX_get_cert_store(ssl),
					     X509_V_FLAG_PARTIAL_CHAIN);
		return ssl;
	}
	SSL_CTX_free(ssl);
	return NULL;
}

/* ---- the last one ---- */

static struct sw_tls_context *kept; /* Owned: one of its uses */

static void stamp(const char *path, struct sw_tls_stamp *ret_stamp)
{
	struct stat is;

	memset(ret_stamp, 0, sizeof(*ret_stamp));
	if (!path || stat(path, &is))
		return;
	ret_stamp->device = is.st_dev;
	ret_stamp->inode = is.st_ino;
	ret_stamp->size = is.st_size;
	ret_stamp->written = is.st_mtim;
	ret_stamp->changed = is.st_ctim;
}

static char *text_of(const struct sw_tls_wish *wish)
{
	char *text;

	if (asprintf(&text, "%s\n%s\n%s\n%s\n%s\n%s", wish->ca, wish->store_file,
		     wish->store_folder, wish->chain, wish->key, wish->protocol) < 0)
		return NULL;
	return text;
}

void sw_context_put(struct sw_tls_context *context)
{
	if (!context || --context->uses > 0)
		return;
	SSL_CTX_free(context->ssl);
	free(context->wish);
	free(context);
}

/* What it was made of, as it is before it is made: what changes meanwhile is seen the next time. */
static struct sw_tls_context *draft(const struct sw_tls_wish *wish, const struct sw_trust *trust)
{
	struct sw_tls_context *context = calloc(1, sizeof(*context));

	if (!context)
		return NULL;
	context->uses = 1;
	context->wish = text_of(wish);
	stamp(trust->file, &context->stamps[0]);
	stamp(trust->folder, &context->stamps[1]);
	stamp(wish->chain, &context->stamps[2]);
	stamp(wish->key, &context->stamps[3]);
	return context;
}

static bool same(const struct sw_tls_context *a, const struct sw_tls_context *b)
{
	return a->wish && b->wish && strcmp(a->wish, b->wish) == 0 &&
	       memcmp(a->stamps, b->stamps, sizeof(a->stamps)) == 0;
}

struct sw_tls_context *sw_context_get(const struct sw_tls_wish *wish, struct sw_why *why)
{
	struct sw_trust trust = sw_trust_find(wish);
	struct sw_tls_context *context = draft(wish, &trust);

	if (!context) {
		sw_why(why, "no memory");
		return NULL;
	}
	if (!kept || !same(kept, context)) {
		context->ssl = make(wish, &trust, why);
		sw_context_put(kept);
		kept = context->ssl ? context : NULL;
	}
	if (kept)
		kept->uses++;
	if (kept != context || !context->ssl)
		sw_context_put(context);
	return kept;
}
