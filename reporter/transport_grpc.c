/*
 * gRPC, natively: one connection on our loop, one call for each batch.
 *
 * The connection is made when there is something to send and kept until it fails; heartbeats are
 * all that passes on an idle one, never a PING (a stock OAP minds). Whatever had no answer when it
 * failed is offered again. Between attempts we are silent for a while that grows and is jittered,
 * so that a collector that comes back is not met by all its programs at once.
 *
 * Our thread is never in a system call that waits, but for the resolver's.
 */
#include <netdb.h>
#include <sys/epoll.h>

#include "preload/config.h"
#include "preload/sys.h"
#include "reporter/address.h"
#include "reporter/backoff.h"
#include "reporter/channel.h"
#include "reporter/plugin.h"
#include "reporter/reporter.h"
#include "reporter/say.h"
#include "reporter/session.h"

#define SECOND 1000000000ull
/* And TLS has shaken hands. */
#define CONNECT_NS (5 * SECOND)
/* A collector under load answers in seconds; after this the call is given up. */
#define CALL_NS (20 * SECOND)
/* Faults found with one batch itself, after which it is not offered any more. */
#define REFUSALS_MAX 3
#define RESOLVED_NS (60 * SECOND)

enum state { STATE_DOWN, STATE_CONNECTING, STATE_UP };

/* What is said once, each. */
enum complaint {
	SAID_UNREACHABLE,
	SAID_TLS,
	SAID_SPEECH,
	SAID_TOKEN,
	SAID_METHOD,
	SAID_BATCH,
	COMPLAINTS
};

static struct {
	enum state state;
	struct sw_channel channel;
	struct sw_address address[SW_ADDRESSES_MAX];
	unsigned addresses, at;	 /* resolved; the one in use or tried */
	uint64_t connect_end_ns; /* STATE_CONNECTING: not longer than until then */
	struct sw_backoff backoff;
	uint64_t stuck_ns;    /* since when it takes no calls; 0: it does */
	uint64_t resolved_ns; /* when the addresses were */
	uint64_t heard_ns;    /* last byte from the other side */
	bool useful;	      /* this connection has brought an answer */
	char authority[SW_AUTHORITY_MAX];
	struct sw_session *session; /* Owned */
	struct sw_agent *agent;
	bool unimplemented[SW_BATCH_KINDS]; /* on this connection */
} grpc = {.channel.watch.fd = -1};

static bool said[COMPLAINTS]; /* kept across fork: once for all children */

/* ---- framing ---- */

/* gRPC's length prefix: not compressed, four bytes of length. */
static void grpc_frame(struct sw_batch *batch, struct sw_bytes message)
{
	uint8_t head[5] = {0, (uint8_t)(message.len >> 24), (uint8_t)(message.len >> 16),
			   (uint8_t)(message.len >> 8), (uint8_t)message.len};

	sw_buffer_add(&batch->bytes, sw_bytes(head, sizeof(head)));
	sw_buffer_add(&batch->bytes, message);
}

/* ---- going down ---- */

static void back_off(void)
{
	grpc.agent->retry_ns = grpc.agent->now_ns + sw_backoff_fail(&grpc.backoff);
}

/* The connection is no more; what was underway comes back through `answered`. */
static void go_down(void)
{
	sw_channel_close(&grpc.channel);
	grpc.state = STATE_DOWN;
	sw_session_abort(grpc.session);
}

/* Certificates, ours and theirs; what of it the configuration can mend. */
static void say_tls(const char *why)
{
	if (sw_say_first(&said[SAID_TLS]))
		sw_say(SW_LEVEL_WARNING,
		       "no TLS with the collector %s: %s; what cannot wait is dropped "
		       "(SW_AGENT_SSL_TRUSTED_CA_PATH, SW_AGENT_SSL_CERT_CHAIN_PATH, "
		       "SW_AGENT_SSL_KEY_PATH)",
		       grpc.authority, why);
}

static void lost(const char *why)
{
	if (grpc.session->settled) {
		sw_say(SW_LEVEL_DEBUG, "the connection to %s ended: %s", grpc.authority, why);
	} else if (why == grpc.channel.why && grpc.channel.by_tls) {
		say_tls(why);
	} else if (sw_say_first(&said[SAID_SPEECH])) {
		sw_say(SW_LEVEL_WARNING,
		       "%s does not answer as a gRPC server (%s); what cannot wait is dropped "
		       "(SW_AGENT_COLLECTOR_BACKEND_SERVICES)",
		       grpc.authority, why);
	}
	go_down();
	if (!grpc.useful)
		back_off();
}

static void unreachable(const char *why)
{
	if (sw_say_first(&said[SAID_UNREACHABLE]))
		sw_say(SW_LEVEL_WARNING,
		       "no collector at %s: %s; what cannot wait is dropped "
		       "(SW_AGENT_COLLECTOR_BACKEND_SERVICES)",
		       grpc.authority, why);
	go_down();
	back_off();
}

static void untrusted(const char *why)
{
	say_tls(why);
	go_down();
	back_off();
}

/* ---- going up ---- */

static void read_in(void);
static void answered(void *arg, void *owner, const struct sw_answer *answer);

static void connected(void)
{
	struct sw_session_peer peer = {grpc.authority, sw_config.authentication, answered, NULL,
				       grpc.channel.tls != NULL};

	grpc.state = STATE_UP;
	grpc.useful = false;
	memset(grpc.unimplemented, 0, sizeof(grpc.unimplemented)); /* it may be another */
	grpc.heard_ns = grpc.agent->now_ns;
	sw_session_start(grpc.session, &peer);
	if (grpc.channel.tls)
		read_in(); /* what came with the end of the handshake */
}

/* Begins to connect to address[at] or, if that fails at once, one after it. -errno: none left. */
static long try_from(unsigned at)
{
	char host[SW_AUTHORITY_MAX] = "", port[8];
	long error = -EADDRNOTAVAIL;

	for (; at < grpc.addresses; at++) {
		const struct sw_address *address = &grpc.address[at];

		grpc.at = at;
		sw_address_nth(sw_config.collector, address->host, grpc.authority, host, port);
		error = sw_channel_connect(&grpc.channel, address, host);
		if (error)
			continue;
		grpc.state = STATE_CONNECTING;
		grpc.connect_end_ns = grpc.agent->now_ns + CONNECT_NS;
		return 0;
	}
	return error;
}

/* All hosts, beginning anywhere: many programs with one list share its load. */
static int resolve_now(void)
{
	int hosts = sw_address_check(sw_config.collector), error = 0;
	uint32_t dice = sw_backoff_dice();

	grpc.addresses = 0;
	for (int i = 0; i < hosts; i++) {
		unsigned n = (dice + (unsigned)i) % (unsigned)hosts;
		int failed =
			sw_address_resolve(sw_config.collector, n, grpc.address, &grpc.addresses);

		if (failed)
			error = failed;
		if (failed && !grpc.addresses)
			sw_address_authority(sw_config.collector, n, grpc.authority);
	}
	return grpc.addresses ? 0 : error;
}

/* Addresses are good for a while: a name server that is away is not asked again at every attempt.
 */
static int resolve(void)
{
	uint64_t age_ns = grpc.agent->now_ns - grpc.resolved_ns;
	int error;

	if (grpc.addresses && age_ns < RESOLVED_NS)
		return 0;
	sw_reporter_delicate(true);
	error = resolve_now();
	sw_reporter_delicate(false);
	grpc.resolved_ns = grpc.agent->now_ns;
	return error;
}

static void dial(void)
{
	long failed;
	int error;

	error = resolve();
	grpc.agent->now_ns = sw_clock_ns(CLOCK_MONOTONIC); /* the resolver may have waited */
	if (error) {
		const char *why;

		sw_reporter_delicate(true);
		why = gai_strerror(error);
		sw_reporter_delicate(false);
		unreachable(why);
		return;
	}
	if (!sw_channel_dial(&grpc.channel)) {
		sw_address_authority(sw_config.collector, 0, grpc.authority);
		untrusted(grpc.channel.why);
		return;
	}
	failed = try_from(0);
	if (failed)
		unreachable(sw_say_error(failed));
}

/* The attempt under way failed: the next address, or back off. */
static void try_next(const char *why, bool by_tls)
{
	char authority[SW_AUTHORITY_MAX];

	memcpy(authority, grpc.authority, sizeof(authority));
	sw_channel_close(&grpc.channel);
	grpc.state = STATE_DOWN;
	if (try_from(grpc.at + 1) == 0)
		return;
	memcpy(grpc.authority, authority, sizeof(authority)); /* whom `why` is about */
	if (by_tls)
		untrusted(why);
	else
		unreachable(why);
}

static void go_on_connecting(void)
{
	switch (sw_channel_proceed(&grpc.channel)) {
	case SW_CHANNEL_OPEN:
		connected();
		break;
	case SW_CHANNEL_DOWN:
		try_next(grpc.channel.why, grpc.channel.by_tls);
		break;
	case SW_CHANNEL_CONNECTING:
	case SW_CHANNEL_SHAKING:
		break;
	}
}

static void time_out(void)
{
	if (grpc.channel.state == SW_CHANNEL_SHAKING)
		try_next("it does not finish the TLS handshake", true);
	else
		try_next(sw_say_error(-ETIMEDOUT), false);
}

/* ---- answers ---- */

enum verdict { IS_SENT, IS_LATER, IS_FAULTY, IS_REFUSED, IS_UNKNOWN };

/* What a status means for the batch. */
static const enum verdict verdicts[SW_GRPC_STATUSES] = {
	[SW_GRPC_OK] = IS_SENT,
	[SW_GRPC_CANCELLED] = IS_LATER,
	[SW_GRPC_UNKNOWN] = IS_FAULTY,
	[SW_GRPC_INVALID_ARGUMENT] = IS_FAULTY,
	[SW_GRPC_DEADLINE_EXCEEDED] = IS_LATER,
	[SW_GRPC_NOT_FOUND] = IS_FAULTY,
	[SW_GRPC_ALREADY_EXISTS] = IS_FAULTY,
	[SW_GRPC_PERMISSION_DENIED] = IS_REFUSED,
	[SW_GRPC_RESOURCE_EXHAUSTED] = IS_LATER,
	[SW_GRPC_FAILED_PRECONDITION] = IS_FAULTY,
	[SW_GRPC_ABORTED] = IS_LATER,
	[SW_GRPC_OUT_OF_RANGE] = IS_FAULTY,
	[SW_GRPC_UNIMPLEMENTED] = IS_UNKNOWN,
	[SW_GRPC_INTERNAL] = IS_FAULTY,
	[SW_GRPC_UNAVAILABLE] = IS_LATER,
	[SW_GRPC_DATA_LOSS] = IS_FAULTY,
	[SW_GRPC_UNAUTHENTICATED] = IS_REFUSED,
};

static const char *const status_names[SW_GRPC_STATUSES] = {
	"OK",
	"CANCELLED",
	"UNKNOWN",
	"INVALID_ARGUMENT",
	"DEADLINE_EXCEEDED",
	"NOT_FOUND",
	"ALREADY_EXISTS",
	"PERMISSION_DENIED",
	"RESOURCE_EXHAUSTED",
	"FAILED_PRECONDITION",
	"ABORTED",
	"OUT_OF_RANGE",
	"UNIMPLEMENTED",
	"INTERNAL",
	"UNAVAILABLE",
	"DATA_LOSS",
	"UNAUTHENTICATED",
};

static void say_faulty(const struct sw_batch *batch, const struct sw_answer *answer)
{
	if (sw_say_first(&said[SAID_BATCH]))
		sw_say(SW_LEVEL_WARNING, "%s refuses a %s batch: %s (%s)", grpc.authority,
		       sw_kinds[batch->kind].name, status_names[answer->status],
		       answer->message[0] ? answer->message : "no reason given");
}

static void say_refused(const struct sw_answer *answer)
{
	if (sw_say_first(&said[SAID_TOKEN]))
		sw_say(SW_LEVEL_WARNING,
		       "%s refuses us: %s (%s); what cannot wait is dropped "
		       "(SW_AGENT_AUTHENTICATION %s)",
		       grpc.authority, status_names[answer->status],
		       answer->message[0] ? answer->message : "no reason given",
		       sw_config.authentication[0] ? "is perhaps wrong" : "is not set");
}

static void note_unknown(const struct sw_batch *batch)
{
	grpc.unimplemented[batch->kind] = true;
	if (batch->kind == SW_BATCH_SEGMENT && sw_say_first(&said[SAID_METHOD]))
		sw_say(SW_LEVEL_WARNING, "%s does not know %s; these records are dropped",
		       grpc.authority, sw_kinds[batch->kind].method);
}

/* The status was given by the other side: it decides. */
static enum sw_sent judge(struct sw_batch *batch, const struct sw_answer *answer)
{
	switch (verdicts[answer->status]) {
	case IS_SENT:
		grpc.useful = true;
		sw_backoff_succeed(&grpc.backoff);
		return SW_SENT;
	case IS_UNKNOWN:
		note_unknown(batch);
		return SW_SENT_NEVER;
	case IS_REFUSED:
		say_refused(answer);
		break;
	case IS_FAULTY:
		say_faulty(batch, answer);
		if (++batch->refused >= REFUSALS_MAX)
			return SW_SENT_NEVER;
		break;
	case IS_LATER:
		break;
	}
	back_off();
	return SW_SENT_LATER;
}

static void answered(void *arg, void *owner, const struct sw_answer *answer)
{
	struct sw_batch *batch = owner;
	enum sw_sent outcome = SW_SENT_LATER;

	(void)arg;
	if (answer->given)
		outcome = judge(batch, answer);
	else
		batch->seen |= answer->perhaps;
	if (!answer->given && !answer->cut)
		back_off(); /* this call alone went wrong; the next one would, too */
	sw_reporter_sent(grpc.agent, batch, outcome);
}

/* ---- bytes ---- */

/* Does anything wait for the socket to take it? */
static bool blocked(void)
{
	return grpc.session->out.len || sw_channel_waiting(&grpc.channel);
}

/* False: the connection is over. */
static bool write_out(void)
{
	struct sw_session *s = grpc.session;
	size_t taken;

	for (;;) {
		sw_session_fill(s);
		if (!blocked())
			break;
		if (!sw_channel_write(&grpc.channel, sw_bytes(s->out.at, s->out.len), &taken))
			return false;
		sw_session_wrote(s, taken);
		if (blocked())
			break;
	}
	sw_channel_watch(&grpc.channel, blocked());
	return true;
}

static void take(struct sw_bytes bytes)
{
	grpc.heard_ns = grpc.agent->now_ns;
	if (sw_session_feed(grpc.session, bytes) == 0)
		return;
	write_out(); /* our GOAWAY */
	lost("what it sends is not HTTP/2");
}

static void read_in(void)
{
	struct sw_bytes bytes;

	do {
		switch (sw_channel_read(&grpc.channel, &bytes)) {
		case SW_CHANNEL_BYTES:
			take(bytes);
			break;
		case SW_CHANNEL_OVER:
			lost(grpc.channel.why);
			break;
		case SW_CHANNEL_NOTHING:
			return;
		}
	} while (grpc.state == STATE_UP && grpc.channel.more);
}

/* What the other side said before it went tells more than that we cannot write: a status, or why it
 * refuses our certificate. */
static void write_all(void)
{
	if (write_out())
		return;
	read_in();
	if (grpc.state == STATE_UP)
		lost(grpc.channel.why);
}

static void ready(struct sw_watch *watch, uint32_t events)
{
	(void)watch;
	grpc.agent->now_ns = sw_clock_ns(CLOCK_MONOTONIC);
	if (!sw_channel_ours(&grpc.channel))
		return; /* the tick will see to it */
	if (grpc.state == STATE_CONNECTING) {
		go_on_connecting();
		return;
	}
	if (events & (EPOLLIN | EPOLLERR | EPOLLHUP))
		read_in();
	/* what is to be written then is written at the end of the turn that follows */
}

/* ---- the slots ---- */

static int check_address(void)
{
	static bool told;

	if (sw_address_check(sw_config.collector) >= 0)
		return 0;
	if (!told)
		sw_say(SW_LEVEL_WARNING,
		       "SW_AGENT_COLLECTOR_BACKEND_SERVICES=%s is not HOST:PORT; nothing is sent",
		       sw_config.collector);
	told = true;
	return -EINVAL;
}

/* As there: alone they do not ask for it. */
static void warn_of_lone_files(void)
{
	static bool told;

	if (!told && !sw_config_wants_tls(&sw_config) &&
	    (sw_config.tls_chain[0] || sw_config.tls_key[0]))
		sw_say(SW_LEVEL_WARNING,
		       "SW_AGENT_SSL_CERT_CHAIN_PATH and SW_AGENT_SSL_KEY_PATH are not used: "
		       "neither SW_AGENT_FORCE_TLS nor SW_AGENT_SSL_TRUSTED_CA_PATH asks for TLS");
	told = true;
}

static int grpc_open(struct sw_agent *agent)
{
	const struct sw_plugin *plugin =
		sw_config_wants_tls(&sw_config) ? sw_plugin_load("tls") : NULL;

	grpc.agent = agent;
	grpc.state = STATE_DOWN;
	sw_channel_init(&grpc.channel, agent, plugin ? plugin->tls : NULL, ready);
	if (sw_config_wants_tls(&sw_config) && !grpc.channel.tls)
		return -EPROTONOSUPPORT; /* the plug-in's loader has said why */
	warn_of_lone_files();
	if (check_address())
		return -EINVAL;
	if (!grpc.session)
		grpc.session = calloc(1, sizeof(*grpc.session));
	return grpc.session ? 0 : -ENOMEM;
}

static enum sw_sent grpc_send(struct sw_agent *agent, struct sw_batch *batch)
{
	const struct sw_kind *kind = &sw_kinds[batch->kind];

	if (grpc.unimplemented[batch->kind])
		return SW_SENT_NEVER;
	if (grpc.state == STATE_DOWN)
		dial();
	if (grpc.state != STATE_UP || !sw_session_call(grpc.session, kind->method,
						       sw_bytes(batch->bytes.at, batch->bytes.len),
						       batch, agent->now_ns + CALL_NS))
		return SW_SENT_LATER;
	return SW_SENT_UNDERWAY;
}

/* Calls that are too old; and when none of them ever hears anything, the connection is dead. */
static uint64_t expire(struct sw_agent *agent)
{
	unsigned before = grpc.session->calls;
	uint64_t next = sw_session_expire(grpc.session, agent->now_ns);

	if (grpc.session->calls < before && agent->now_ns - grpc.heard_ns >= CALL_NS) {
		lost("it is silent");
		return 0;
	}
	return next;
}

/* It allows no streams, and no call of ours is left to end: it will not get better by waiting. */
static void give_up_stuck(struct sw_agent *agent)
{
	bool stuck = grpc.state == STATE_UP && agent->queue.first && !grpc.session->calls &&
		     !sw_session_room(grpc.session);

	if (!stuck)
		grpc.stuck_ns = 0;
	else if (!grpc.stuck_ns)
		grpc.stuck_ns = agent->now_ns;
	else if (agent->now_ns - grpc.stuck_ns >= CALL_NS)
		lost("it takes no calls");
}

static void grpc_tick(struct sw_agent *agent)
{
	agent->due_ns = 0;
	if (grpc.state != STATE_DOWN && !sw_channel_ours(&grpc.channel))
		lost("its descriptor was taken");
	if (grpc.state == STATE_UP) {
		agent->due_ns = expire(agent);
		if (grpc.state == STATE_UP)
			write_all();
		/* It said goodbye and has answered what it wanted to; the next batch dials. */
		if (grpc.state == STATE_UP && grpc.session->going && !grpc.session->calls)
			lost("it said goodbye");
	}
	give_up_stuck(agent);
	if (grpc.state == STATE_CONNECTING && agent->now_ns >= grpc.connect_end_ns)
		time_out();
	if (grpc.state == STATE_CONNECTING)
		agent->due_ns = SW_MIN(grpc.connect_end_ns, agent->now_ns + SW_TICK_NS);
	if (grpc.state == STATE_DOWN && agent->queue.first && agent->retry_ns <= agent->now_ns)
		agent->due_ns = agent->now_ns; /* it went down just now: dial again */
}

/* Answers wait for the tick: a wake-up for each of them would cost the program more than they are
 * worth. Not when we could go on sending after one. */
static bool grpc_watchful(struct sw_agent *agent)
{
	return grpc.state == STATE_UP &&
	       (agent->queue.first || blocked() || sw_session_stalled(grpc.session));
}

/* On a thread of the program. The new number is only closed. */
static void grpc_moved(int from, int to)
{
	sw_channel_moved(&grpc.channel, from, to);
}

static void grpc_pause(struct sw_agent *agent)
{
	if (grpc.session)
		go_down();
	agent->due_ns = 0;
}

static void grpc_forked(void)
{
	sw_channel_forget(&grpc.channel);
	memset(&grpc, 0, sizeof(grpc));
	grpc.channel.watch.fd = -1;
}

const struct sw_transport sw_transport_grpc = {
	.name = "grpc",
	.format = SW_FORMAT_PROTOBUF,
	.frame = grpc_frame,
	.open = grpc_open,
	.send = grpc_send,
	.tick = grpc_tick,
	.watchful = grpc_watchful,
	.moved = grpc_moved,
	.pause = grpc_pause,
	.forked = grpc_forked,
};
