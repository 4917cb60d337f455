/* What all our sessions have in common: versions, whom we trust, who we are. */
#include <openssl/err.h>
#include <stdlib.h>

#include "reporter/plugins/tls/engine.h"
#include "reporter/plugins/tls/pem.h"
#include "reporter/plugins/tls/trust.h"

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

struct sw_tls_context *sw_context_new(const struct sw_tls_wish *wish, struct sw_why *why)
{
	struct sw_tls_context *context = calloc(1, sizeof(*context));

	ERR_clear_error();
	if (context)
		context->ssl = SSL_CTX_new(TLS_client_method());
	sw_why(why, "OpenSSL does not work here: %s", reason());
	if (context && context->ssl && set_habits(context->ssl, wish->protocol) &&
	    sw_trust_load(context->ssl, wish, why) && set_identity(context->ssl, wish, why))
		return context;
	sw_context_free(context);
	return NULL;
}

void sw_context_free(struct sw_tls_context *context)
{
	if (context)
		SSL_CTX_free(context->ssl);
	free(context);
}
