/*
 * The plug-in `tls`: OpenSSL as an engine of bytes.
 *
 * OpenSSL is told to leave the process alone: no configuration file (the program's may load
 * engines), no handler at exit, no descriptor that stays open; libc.c has what it is not told.
 *
 * A process may fork while our thread is in here. Whoever forks waits for us shortly
 * (sw_reporter_delicate); where that was not enough OpenSSL's memory may be in mid-change in the
 * child, so the child has no TLS.
 */
#include <errno.h>
#include <openssl/rand.h>

#include "reporter/plugin.h"
#include "reporter/plugins/tls/engine.h"

/* Our thread is within OpenSSL. Kept across fork. */
static volatile bool within;

static int tls_start(const struct sw_host *host)
{
	(void)host;
	if (OPENSSL_init_ssl(OPENSSL_INIT_NO_ATEXIT | OPENSSL_INIT_NO_LOAD_CONFIG, NULL) != 1)
		return -ENOMEM;
	RAND_keep_random_devices_open(0);
	return sw_engine_prepare() ? 0 : -ENOMEM;
}

static struct sw_tls_context *tls_context_new(const struct sw_tls_wish *wish, char *ret_why,
					      size_t room)
{
	struct sw_why why = {ret_why, room};
	struct sw_tls_context *context;

	if (within) {
		sw_why(&why, "the process forked while TLS was at work");
		return NULL;
	}
	within = true;
	context = sw_context_get(wish, &why);
	within = false;
	return context;
}

static struct sw_tls_context *tls_context_free(struct sw_tls_context *context)
{
	if (!context) /* a child's first word: the mark of its parent stays */
		return NULL;
	within = true;
	sw_context_put(context);
	within = false;
	return NULL;
}

static struct sw_tls_session *tls_session_new(struct sw_tls_context *context, const char *host)
{
	struct sw_tls_session *session;

	within = true;
	session = sw_engine_new(context, host);
	within = false;
	return session;
}

static struct sw_tls_session *tls_session_free(struct sw_tls_session *session)
{
	if (!session)
		return NULL;
	within = true;
	sw_engine_free(session);
	within = false;
	return NULL;
}

static enum sw_tls_state tls_feed(struct sw_tls_session *session, struct sw_bytes bytes,
				  struct sw_buffer *plain, struct sw_buffer *cipher)
{
	enum sw_tls_state state;

	within = true;
	state = sw_engine_feed(session, bytes, plain, cipher);
	within = false;
	return state;
}

static enum sw_tls_state tls_seal(struct sw_tls_session *session, struct sw_bytes bytes,
				  struct sw_buffer *cipher)
{
	enum sw_tls_state state;

	within = true;
	state = sw_engine_seal(session, bytes, cipher);
	within = false;
	return state;
}

static void tls_end(struct sw_tls_session *session, struct sw_buffer *cipher)
{
	within = true;
	sw_engine_end(session, cipher);
	within = false;
}

static const struct sw_tls engine = {
	.context_new = tls_context_new,
	.context_free = tls_context_free,
	.session_new = tls_session_new,
	.session_free = tls_session_free,
	.feed = tls_feed,
	.seal = tls_seal,
	.end = tls_end,
	.why = sw_engine_why,
};

const struct sw_plugin sw_plugin = {
	.version = SW_VERSION,
	.agent_size = sizeof(struct sw_agent),
	.inside = OPENSSL_VERSION_TEXT,
	.start = tls_start,
	.tls = &engine,
};
