/*
 * HTTP: one POST for each batch, to a collector's REST port (specification 3.7).
 *
 * The status of the answer is the receipt. Up to four calls are underway at once, on connections
 * that are kept. Of several collectors one is used until it fails; after all have failed we are
 * silent for a while that grows and is jittered. Names are resolved here, by the system's resolver,
 * and handed to curl, which would make a thread for it.
 *
 * Our thread is never in a system call that waits, but for the resolver's.
 */
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>

#include "preload/sys.h"
#include "reporter/backoff.h"
#include "reporter/plugins/http/client.h"
#include "reporter/plugins/http/sockets.h"
#include "reporter/say.h"

#define CONNECT_MS 5000
/* A collector under load answers in seconds; after this the call is given up. */
#define CALL_MS 20000
#define RESOLVED_NS (60 * SW_SECOND_NS)
/* How long after something moved the next event is waited for on the socket itself: a step of a
 * handshake or of a body. Whoever is slower than that is met on the tick. */
#define BUSY_NS (SW_SECOND_NS / 5)
#define URL_MAX (SW_AUTHORITY_MAX + 64)
#define RESOLVE_MAX 2048

/* What is sent where. A list takes many messages in one body. */
static const struct row {
	const char *path;
	bool list;
} rows[SW_BATCH_KINDS] = {
	[SW_BATCH_PROPERTIES] = {"/v3/management/reportProperties", false},
	[SW_BATCH_PING] = {"/v3/management/keepAlive", false},
	[SW_BATCH_SEGMENT] = {"/v3/segments", true},
	[SW_BATCH_LOG] = {"/v3/logs", true},
	[SW_BATCH_EVENT] = {"/v3/events", true},
};

/* What is said once, each. */
enum complaint {
	SAID_SETTING,
	SAID_UNREACHABLE,
	SAID_TRUST,
	SAID_SPEECH,
	SAID_BUSY,
	SAID_BATCH,
	COMPLAINTS
};

static struct {
	struct sw_agent *agent;
	unsigned hosts, at;   /* in the list; the one in use */
	uint32_t dice;	      /* where this process begins in the list, and among addresses */
	unsigned home;	      /* the one that this process began with */
	uint64_t home_ns;     /* not before is it tried again */
	unsigned failed;      /* attempts in a row that failed */
	unsigned turn;	      /* of its addresses: each failure moves the first one to the end */
	unsigned addresses;   /* the most that a host had */
	bool again;	      /* another collector is to be tried at once */
	bool useful;	      /* some collector has answered, ever */
	uint64_t resolved_ns; /* when `at` was; 0: it was not */
	struct sw_backoff backoff;
	char authority[SW_AUTHORITY_MAX]; /* of `at` */
	char proxy[SW_AUTHORITY_MAX];	  /* HOST:PORT; empty: none */
	char proxy_user[1024];
} http;

/* Who a batch underway was given to. */
static struct underway {
	struct sw_batch *batch; /* the queue's, lent; NULL: free */
	unsigned host;
	bool trial; /* of whether the home is well again */
} underway[SW_CLIENT_CALLS];

static bool said[COMPLAINTS]; /* kept across fork: once for all children */

/* ---- framing ---- */

static void http_frame(struct sw_batch *batch, struct sw_bytes message)
{
	if (rows[batch->kind].list)
		sw_buffer_add(&batch->bytes, batch->bytes.len ? SW_BYTES(",") : SW_BYTES("["));
	sw_buffer_add(&batch->bytes, message);
}

/* False: no memory. A list that comes again is closed already: messages end with a brace. */
static bool close_list(struct sw_batch *batch)
{
	struct sw_buffer *bytes = &batch->bytes;

	if (rows[batch->kind].list && bytes->at[bytes->len - 1] != ']')
		sw_buffer_add(bytes, SW_BYTES("]"));
	if (!bytes->failed)
		return true;
	bytes->failed = false;
	return false;
}

/* ---- failing ---- */

static void back_off(uint64_t least_ns)
{
	uint64_t wait_ns = sw_backoff_fail(&http.backoff);

	http.agent->retry_ns = http.agent->now_ns + (wait_ns > least_ns ? wait_ns : least_ns);
}

/*
 * The collector `host` does not serve us now. False: another one is tried first. Calls that were
 * underway with it at the same time fail together and count once.
 */
static bool fail_host(unsigned host, uint64_t least_ns)
{
	if (host != http.at || http.agent->retry_ns > http.agent->now_ns)
		return false;
	http.at = (http.at + 1) % http.hosts;
	http.turn += http.at == 0;
	http.resolved_ns = 0;
	if (++http.failed < http.hosts * SW_MAX(http.addresses, 1u)) {
		http.again = true;
		return false;
	}
	http.failed = 0;
	back_off(least_ns);
	return true;
}

static void unreachable(unsigned host, const char *why)
{
	char authority[SW_AUTHORITY_MAX];

	memcpy(authority, http.authority, sizeof(authority));
	if (fail_host(host, 0) && sw_say_first(&said[SAID_UNREACHABLE]))
		sw_http_host->say(SW_LEVEL_WARNING,
				  "no collector at %s: %s; what cannot wait is dropped "
				  "(SW_AGENT_COLLECTOR_BACKEND_SERVICES)",
				  authority, why);
}

static void distrusted(unsigned host, const char *why)
{
	if (sw_say_first(&said[SAID_TRUST]))
		sw_http_host->say(SW_LEVEL_WARNING,
				  "no TLS with %s: %s; what cannot wait is dropped "
				  "(SW_AGENT_SSL_TRUSTED_CA_PATH, SW_AGENT_SSL_CERT_CHAIN_PATH)",
				  http.authority, why);
	fail_host(host, 0);
}

/* One that answers and sometimes breaks off (it restarts, somebody between us ends connections) is
 * no news. */
static void cut(unsigned host, const char *why, bool strange)
{
	if (http.useful && !strange)
		sw_http_host->say(SW_LEVEL_DEBUG, "the connection to %s ended: %s", http.authority,
				  why);
	else if (sw_say_first(&said[SAID_SPEECH]))
		sw_http_host->say(SW_LEVEL_WARNING,
				  "%s does not answer as an HTTP server (%s); what cannot wait is "
				  "dropped (SW_AGENT_COLLECTOR_BACKEND_SERVICES)",
				  http.authority, why);
	fail_host(host, 0);
}

/* ---- answers ---- */

static enum sw_sent delivered(void)
{
	http.useful = true;
	http.failed = 0;
	sw_backoff_succeed(&http.backoff);
	return SW_SENT;
}

static enum sw_sent busy(unsigned host, const struct sw_client_end *end)
{
	uint64_t wait_s = SW_MIN(end->retry_after_s, SW_BACKOFF_MOST_NS / SW_SECOND_NS);

	if (sw_say_first(&said[SAID_BUSY]))
		sw_http_host->say(
			SW_LEVEL_WARNING,
			"%s answers with status %ld and is asked again later; what cannot "
			"wait is dropped",
			http.authority, end->status);
	fail_host(host, wait_s * SW_SECOND_NS);
	return SW_SENT_LATER;
}

/* What the configuration may have to do with a refusal. */
static const char *hint(long status)
{
	if (status / 100 == 3)
		return " (redirections are not followed)";
	if (status != 401 && status != 403)
		return "";
	return sw_http_host->config->authentication[0]
		       ? " (SW_AGENT_AUTHENTICATION is perhaps wrong)"
		       : " (SW_AGENT_AUTHENTICATION is not set)";
}

/* Sending it once more would bring the same answer. The first one is of instance properties, as a
 * rule, and nothing is said of the others: so it is said of all. */
static enum sw_sent refused(const struct sw_batch *batch, const struct sw_client_end *end)
{
	if (sw_say_first(&said[SAID_BATCH]))
		sw_http_host->say(
			SW_LEVEL_WARNING,
			"%s refuses a %s batch with status %ld%s; what it refuses is dropped",
			http.authority, sw_http_host->kinds[batch->kind].name, end->status,
			hint(end->status));
	return SW_SENT_NEVER;
}

static bool is_for_later(long status)
{
	return status / 100 == 5 || status == 429 || status == 408;
}

/* Whatever else came of it is no news: another one is in use, and gets this heartbeat too. */
static enum sw_sent judge_trial(const struct underway *call, const struct sw_client_end *end)
{
	http.again = true;
	if (end->outcome != SW_CLIENT_ANSWERED || end->status / 100 != 2)
		return SW_SENT_LATER;
	http.at = call->host;
	http.resolved_ns = 0;
	return delivered();
}

static enum sw_sent judge(const struct underway *call, const struct sw_client_end *end)
{
	struct sw_batch *batch = call->batch;

	if (call->trial)
		return judge_trial(call, end);

	batch->seen |= end->perhaps;
	switch (end->outcome) {
	case SW_CLIENT_ANSWERED:
		if (end->status / 100 == 2)
			return delivered();
		return is_for_later(end->status) ? busy(call->host, end) : refused(batch, end);
	case SW_CLIENT_NO_WAY:
		unreachable(call->host, end->why);
		break;
	case SW_CLIENT_NO_TRUST:
		distrusted(call->host, end->why);
		break;
	case SW_CLIENT_CUT:
	case SW_CLIENT_STRANGE:
		cut(call->host, end->why, end->outcome == SW_CLIENT_STRANGE);
		break;
	case SW_CLIENT_STALE:
		http.again = true;
		break;
	case SW_CLIENT_LEFT:
		break;
	}
	return SW_SENT_LATER;
}

static void ended(void *owner, const struct sw_client_end *end)
{
	struct underway *call = owner;
	struct sw_batch *batch = call->batch;
	enum sw_sent outcome;

	http.agent->now_ns = sw_clock_ns(CLOCK_MONOTONIC);
	outcome = judge(call, end);
	call->batch = NULL;
	sw_http_host->sent(http.agent, batch, outcome);
}

/* ---- addresses ---- */

static bool is_number(const char *host)
{
	struct in_addr v4;

	return strchr(host, ':') || inet_pton(AF_INET, host, &v4) == 1;
}

/* As curl wants it: HOST:PORT:ADDRESS,ADDRESS... It takes the first that can be connected to, which
 * says little, so after a failure of all hosts another one is the first, at once as long as there
 * is one. What does not fit is left out. */
static void write_addresses(const char *host, const char *port, const struct sw_address *address,
			    unsigned count, char ret_text[RESOLVE_MAX])
{
	int len = snprintf(ret_text, RESOLVE_MAX, "%s:%s:", host, port);
	char one[INET6_ADDRSTRLEN];

	for (unsigned i = 0; i < count && len < RESOLVE_MAX - INET6_ADDRSTRLEN - 4; i++) {
		const struct sw_address *a = &address[(http.turn + i) % count];
		const struct sockaddr_in *v4 = (const void *)&a->at;
		const struct sockaddr_in6 *v6 = (const void *)&a->at;
		bool is_v6 = a->at.ss_family == AF_INET6;

		inet_ntop(is_v6 ? AF_INET6 : AF_INET,
			  is_v6 ? (const void *)&v6->sin6_addr : (const void *)&v4->sin_addr, one,
			  sizeof(one));
		len += snprintf(ret_text + len, (size_t)(RESOLVE_MAX - len), "%s%s%s%s",
				i ? "," : "", is_v6 ? "[" : "", one, is_v6 ? "]" : "");
	}
}

/* Of what is connected to for it: itself or the proxy. 0, or a code for gai_strerror; an empty text
 * when there is nothing to resolve. */
static int resolve(unsigned wanted, char ret_text[RESOLVE_MAX])
{
	const char *list = http.proxy[0] ? http.proxy : sw_http_host->config->collector;
	char authority[SW_AUTHORITY_MAX], host[SW_AUTHORITY_MAX], port[8];
	struct sw_address address[SW_ADDRESSES_MAX];
	unsigned n = http.proxy[0] ? 0 : wanted, count = 0;
	int error;

	ret_text[0] = '\0';
	sw_http_host->address_nth(list, n, authority, host, port);
	if (is_number(host))
		return 0;
	sw_http_host->delicate(true);
	error = sw_http_host->address_resolve(list, n, http.dice, address, &count);
	sw_http_host->delicate(false);
	http.agent->now_ns = sw_clock_ns(CLOCK_MONOTONIC); /* the resolver may have waited */
	if (!error)
		write_addresses(host, port, address, count, ret_text);
	http.addresses = SW_MAX(http.addresses, count);
	return error;
}

static void unresolved(int error)
{
	const char *why;

	sw_http_host->delicate(true);
	why = gai_strerror(error);
	sw_http_host->delicate(false);
	unreachable(http.at, why);
}

/* Addresses are good for a while: a name server that is away is not asked again at every batch.
 * False: there are none. */
static bool look_up(char ret_text[RESOLVE_MAX])
{
	char host[SW_AUTHORITY_MAX], port[8];
	int error;

	ret_text[0] = '\0';
	if (http.resolved_ns && http.agent->now_ns - http.resolved_ns < RESOLVED_NS)
		return true;
	sw_http_host->address_nth(sw_http_host->config->collector, http.at, http.authority, host,
				  port);
	error = resolve(http.at, ret_text);
	if (error)
		unresolved(error);
	else
		http.resolved_ns = http.agent->now_ns;
	return !error;
}

/* ---- the way home ---- */

static bool homesick(const struct sw_batch *batch)
{
	return http.at != http.home && http.agent->now_ns >= http.home_ns &&
	       (batch->kind == SW_BATCH_PING || batch->kind == SW_BATCH_PROPERTIES);
}

/* Half of the time between two heartbeats: each is a trial, and only once. The resolver may wait,
 * so it is asked less often. */
static bool look_home_up(char ret_authority[SW_AUTHORITY_MAX], char ret_text[RESOLVE_MAX])
{
	char host[SW_AUTHORITY_MAX], port[8];
	uint64_t wait_ns = sw_http_host->config->heartbeat_s * SW_SECOND_NS / 2;

	sw_http_host->address_nth(sw_http_host->config->collector, http.home, ret_authority, host,
				  port);
	if (!http.proxy[0] && !is_number(host))
		wait_ns = wait_ns > RESOLVED_NS ? wait_ns : RESOLVED_NS;
	http.home_ns = http.agent->now_ns + wait_ns;
	return resolve(http.home, ret_text) == 0;
}

/* ---- settings ---- */

static int wrong(const char *key, const char *want)
{
	if (sw_say_first(&said[SAID_SETTING]))
		sw_http_host->say(SW_LEVEL_WARNING, "%s is not %s; nothing is sent", key, want);
	return -EINVAL;
}

static bool copy(struct sw_bytes text, char *ret_text, size_t room)
{
	if (text.len >= room)
		return false;
	memcpy(ret_text, text.at, text.len);
	ret_text[text.len] = '\0';
	return true;
}

/* [http://][USER:PASSWORD@]HOST:PORT; the last @ counts, a password may have others. */
static bool read_proxy(void)
{
	struct sw_bytes text = sw_bytes_text(sw_http_host->config->collector_proxy);
	size_t at;

	http.proxy[0] = http.proxy_user[0] = '\0';
	if (!text.len)
		return true;
	if (text.len > 7 && memcmp(text.at, "http://", 7) == 0)
		text = sw_bytes_from(text, 7);
	if (text.len && text.at[text.len - 1] == '/')
		text.len--;
	for (at = text.len; at && text.at[at - 1] != '@'; at--)
		;
	return copy(sw_bytes_slice(text, 0, at ? at - 1 : 0), http.proxy_user,
		    sizeof(http.proxy_user)) &&
	       copy(sw_bytes_from(text, at), http.proxy, sizeof(http.proxy)) &&
	       sw_http_host->address_check(http.proxy) == 1;
}

static int open_client(struct sw_agent *agent)
{
	const struct sw_config *config = sw_http_host->config;
	struct sw_client_wish wish = {
		.token = config->authentication,
		.proxy = http.proxy,
		.proxy_user = http.proxy_user,
		.tls = sw_config_wants_tls(config),
		.ca = config->tls_ca,
		.store_file = config->tls_store_file,
		.store_folder = config->tls_store_folder,
		.chain = config->tls_chain,
		.key = config->tls_key,
		.connect_ms = CONNECT_MS,
		.call_ms = CALL_MS,
		.ended = ended,
	};

	return sw_client_open(agent, &wish);
}

/* ---- the slots ---- */

static int http_open(struct sw_agent *agent)
{
	int hosts = sw_http_host->address_check(sw_http_host->config->collector);

	http.agent = agent;
	memset(underway, 0, sizeof(underway));
	if (hosts < 1)
		return wrong("SW_AGENT_COLLECTOR_BACKEND_SERVICES", "HOST:PORT");
	if (!read_proxy())
		return wrong("SW_AGENT_COLLECTOR_PROXY", "[http://][USER:PASSWORD@]HOST:PORT");
	if (http.hosts != (unsigned)hosts) {
		http.hosts = (unsigned)hosts;
		http.dice = sw_backoff_dice();
		http.home = http.at = http.dice % http.hosts;
	}
	http.resolved_ns = 0; /* curl's memory of it went with the last thread */
	return open_client(agent);
}

static struct underway *find_free(void)
{
	for (int i = 0; i < SW_CLIENT_CALLS; i++) {
		if (!underway[i].batch)
			return &underway[i];
	}
	return NULL;
}

static bool start(struct underway *call, const char *authority, const char *addresses)
{
	const struct sw_batch *batch = call->batch;
	char url[URL_MAX];

	snprintf(url, sizeof(url), "%s://%s%s",
		 sw_config_wants_tls(sw_http_host->config) ? "https" : "http", authority,
		 rows[batch->kind].path);
	return sw_client_start(&(struct sw_client_call){
		.url = url,
		.addresses = addresses[0] ? addresses : NULL,
		.body = sw_bytes(batch->bytes.at, batch->bytes.len),
		.owner = call,
	});
}

static enum sw_sent http_send(struct sw_agent *agent, struct sw_batch *batch)
{
	char authority[SW_AUTHORITY_MAX], addresses[RESOLVE_MAX];
	struct underway *call = find_free();
	bool trial = call && homesick(batch) && look_home_up(authority, addresses);

	(void)agent;
	if (!rows[batch->kind].path)
		return SW_SENT_NEVER; /* a kind that this protocol has not */
	if (!call || (!trial && !look_up(addresses)) || !close_list(batch))
		return SW_SENT_LATER;
	*call = (struct underway){batch, trial ? http.home : http.at, trial};
	if (start(call, trial ? authority : http.authority, addresses))
		return SW_SENT_UNDERWAY;
	call->batch = NULL;
	http.resolved_ns = 0; /* curl may not have got the addresses */
	return SW_SENT_LATER;
}

static void http_tick(struct sw_agent *agent)
{
	agent->due_ns = sw_client_run();
	if (http.again && agent->queue.first && agent->retry_ns <= agent->now_ns)
		agent->due_ns = agent->now_ns; /* a call ended just now that can be made again */
	http.again = false;
}

/* Answers wait for the tick: a wake-up for each of them would cost the program more than they are
 * worth. While records come, batches wait for them, too, and grow meanwhile (queue.h): fewer and
 * larger bodies cost less. Not while a call could go on after an event. */
static bool http_watchful(struct sw_agent *agent)
{
	bool next = agent->queue.first && !agent->ticking;

	return sw_client_calls() && (next || sw_client_busy()) &&
	       agent->now_ns < sw_client_stirred_ns() + BUSY_NS;
}

static void http_moved(int from, int to)
{
	sw_sockets_moved(from, to);
}

static void http_pause(struct sw_agent *agent)
{
	sw_client_close();
	agent->due_ns = 0;
}

static void http_forked(void)
{
	sw_client_forget();
	memset(&http, 0, sizeof(http));
	memset(underway, 0, sizeof(underway));
}

const struct sw_transport sw_transport_http = {
	.name = "http",
	.format = SW_FORMAT_JSON,
	.frame = http_frame,
	.open = http_open,
	.send = http_send,
	.tick = http_tick,
	.watchful = http_watchful,
	.moved = http_moved,
	.pause = http_pause,
	.forked = http_forked,
};
