/*
 * One connection's TLS: bytes in, bytes out.
 *
 * OpenSSL reads from and writes to a BIO of ours, which is the caller's two buffers: nothing is
 * copied on the way and nothing waits in between. What is half a record stays with OpenSSL.
 */
#include "reporter/plugins/tls/engine.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

#define READ_BYTES 16384 /* a record */
/* OpenSSL's error codes of alerts that the other side sent. */
#define REASON_ALERT_FIRST SSL_AD_REASON_OFFSET
#define REASON_ALERT_LAST (SSL_AD_REASON_OFFSET + 255)

struct sw_tls_session {
	SSL *ssl; /* Owned */
	enum sw_tls_state state;
	struct sw_bytes in;    /* Borrowed, while we are called: what OpenSSL has not taken */
	struct sw_buffer *out; /* Borrowed likewise */
	char host[256];
	char why[300];
};

static BIO_METHOD *pipe_method; /* Owned, for ever */

/* ---- the BIO ---- */

static int pipe_read(BIO *bio, char *to, int room)
{
	struct sw_tls_session *session = BIO_get_data(bio);
	size_t len = SW_MIN(session->in.len, (size_t)room);

	BIO_clear_retry_flags(bio);
	if (len == 0) {
		BIO_set_retry_read(bio);
		return -1;
	}
	memcpy(to, session->in.at, len);
	session->in = sw_bytes_from(session->in, len);
	return (int)len;
}

static int pipe_write(BIO *bio, const char *from, int len)
{
	struct sw_tls_session *session = BIO_get_data(bio);

	BIO_clear_retry_flags(bio);
	if (!session->out || len < 0)
		return -1;
	sw_buffer_add(session->out, sw_bytes(from, (size_t)len));
	return session->out->failed ? -1 : len;
}

static long pipe_control(BIO *bio, int command, long number, void *pointer)
{
	(void)bio, (void)number, (void)pointer;
	return command == BIO_CTRL_FLUSH;
}

bool sw_engine_prepare(void)
{
	pipe_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "swagent");
	return pipe_method && BIO_meth_set_read(pipe_method, pipe_read) == 1 &&
	       BIO_meth_set_write(pipe_method, pipe_write) == 1 &&
	       BIO_meth_set_ctrl(pipe_method, pipe_control) == 1;
}

/* ---- a session ---- */

static bool is_number(const char *host)
{
	unsigned char number[sizeof(struct in6_addr)];

	return inet_pton(AF_INET, host, number) == 1 || inet_pton(AF_INET6, host, number) == 1;
}

/* As a certificate has it: without the zone of an IPv6 address and the last dot of a name. */
static bool keep_host(struct sw_tls_session *session, const char *host)
{
	size_t len = strchr(host, ':') ? strcspn(host, "%") : strlen(host);

	if (len && host[len - 1] == '.')
		len--;
	if (len == 0 || len >= sizeof(session->host))
		return false;
	memcpy(session->host, host, len);
	return true;
}

/* The server must be it. Numbers are not told to the server (RFC 6066, 3). */
static bool expect(struct sw_tls_session *session)
{
	X509_VERIFY_PARAM *param = SSL_get0_param(session->ssl);

	if (is_number(session->host))
		return X509_VERIFY_PARAM_set1_ip_asc(param, session->host) == 1;
	X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return X509_VERIFY_PARAM_set1_host(param, session->host, 0) == 1 &&
	       SSL_set_tlsext_host_name(session->ssl, session->host) == 1;
}

static bool attach_pipe(struct sw_tls_session *session)
{
	BIO *bio = BIO_new(pipe_method);

	if (!bio)
		return false;
	BIO_set_data(bio, session);
	BIO_set_init(bio, 1);
	SSL_set_bio(session->ssl, bio, bio); /* theirs now */
	return true;
}

struct sw_tls_session *sw_engine_new(struct sw_tls_context *context, const char *host)
{
	struct sw_tls_session *session = calloc(1, sizeof(*session));

	if (session)
		session->ssl = SSL_new(context->ssl);
	if (session && session->ssl && keep_host(session, host) && expect(session) &&
	    attach_pipe(session)) {
		SSL_set_connect_state(session->ssl);
		return session;
	}
	sw_engine_free(session);
	return NULL;
}

void sw_engine_free(struct sw_tls_session *session)
{
	if (session)
		SSL_free(session->ssl);
	free(session);
}

/* ---- what went wrong ---- */

static void say_certificate(struct sw_tls_session *session, long result)
{
	const char *text = X509_verify_cert_error_string(result);

	if (result == X509_V_ERR_HOSTNAME_MISMATCH || result == X509_V_ERR_IP_ADDRESS_MISMATCH)
		snprintf(session->why, sizeof(session->why), "its certificate is not one of %s",
			 session->host);
	else
		snprintf(session->why, sizeof(session->why), "its certificate is refused: %s",
			 text);
}

/* "tlsv13 alert certificate required": its last words. */
static void say_alert(struct sw_tls_session *session, const char *reason)
{
	const char *words = strstr(reason, "alert ");

	snprintf(session->why, sizeof(session->why), "it refuses us: %s",
		 words ? words + strlen("alert ") : reason);
}

static bool is_alert(unsigned long error)
{
	int reason = ERR_GET_REASON(error);

	return ERR_GET_LIB(error) == ERR_LIB_SSL && reason >= REASON_ALERT_FIRST &&
	       reason <= REASON_ALERT_LAST;
}

/* What came is no TLS record. */
static bool is_foreign(unsigned long error)
{
	int reason = ERR_GET_REASON(error);

	return ERR_GET_LIB(error) == ERR_LIB_SSL &&
	       (reason == SSL_R_WRONG_VERSION_NUMBER || reason == SSL_R_HTTP_REQUEST ||
		reason == SSL_R_PACKET_LENGTH_TOO_LONG);
}

static enum sw_tls_state fail(struct sw_tls_session *session)
{
	unsigned long error = ERR_peek_last_error();
	long result = SSL_get_verify_result(session->ssl);
	const char *reason = ERR_reason_error_string(error);
	bool shaking = session->state == SW_TLS_SHAKING;

	if (!reason)
		reason = "no memory"; /* all that our BIO can fail for */
	if (shaking && result != X509_V_OK)
		say_certificate(session, result);
	else if (is_alert(error))
		say_alert(session, reason);
	else if (shaking && is_foreign(error))
		snprintf(session->why, sizeof(session->why), "it does not speak TLS");
	else
		snprintf(session->why, sizeof(session->why), "%s", reason);
	ERR_clear_error();
	return SW_TLS_FAILED;
}

const char *sw_engine_why(const struct sw_tls_session *session)
{
	return session->why;
}

/* ---- bytes ---- */

static enum sw_tls_state shake(struct sw_tls_session *session)
{
	int done = SSL_do_handshake(session->ssl);

	if (done == 1)
		return SW_TLS_OPEN;
	return SSL_get_error(session->ssl, done) == SSL_ERROR_WANT_READ ? SW_TLS_SHAKING
									: fail(session);
}

/* All that can be made of the input. */
static enum sw_tls_state take(struct sw_tls_session *session, struct sw_buffer *plain)
{
	for (;;) {
		uint8_t *at = sw_buffer_room(plain, READ_BYTES);
		size_t got = 0;

		if (!at)
			return fail(session);
		if (SSL_read_ex(session->ssl, at, READ_BYTES, &got) == 1) {
			plain->len += got;
			continue;
		}
		switch (SSL_get_error(session->ssl, 0)) {
		case SSL_ERROR_WANT_READ:
			return SW_TLS_OPEN;
		case SSL_ERROR_ZERO_RETURN:
			return SW_TLS_CLOSED;
		default:
			return fail(session);
		}
	}
}

enum sw_tls_state sw_engine_feed(struct sw_tls_session *session, struct sw_bytes bytes,
				 struct sw_buffer *plain, struct sw_buffer *cipher)
{
	ERR_clear_error();
	session->in = bytes;
	session->out = cipher;
	if (session->state == SW_TLS_SHAKING)
		session->state = shake(session);
	if (session->state == SW_TLS_OPEN)
		session->state = take(session, plain);
	session->in = sw_bytes(NULL, 0);
	session->out = NULL;
	return session->state;
}

enum sw_tls_state sw_engine_seal(struct sw_tls_session *session, struct sw_bytes bytes,
				 struct sw_buffer *cipher)
{
	size_t wrote;

	if (session->state != SW_TLS_OPEN || bytes.len == 0)
		return session->state;
	ERR_clear_error();
	session->out = cipher;
	if (SSL_write_ex(session->ssl, bytes.at, bytes.len, &wrote) != 1)
		session->state = fail(session);
	session->out = NULL;
	return session->state;
}

void sw_engine_end(struct sw_tls_session *session, struct sw_buffer *cipher)
{
	if (session->state != SW_TLS_OPEN && session->state != SW_TLS_CLOSED)
		return;
	session->out = cipher;
	SSL_shutdown(session->ssl);
	session->out = NULL;
	ERR_clear_error();
}
