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
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/random.h>

#include "preload/config.h"
#include "preload/fds.h"
#include "preload/sys.h"
#include "reporter/address.h"
#include "reporter/backoff.h"
#include "reporter/reporter.h"
#include "reporter/say.h"
#include "reporter/session.h"

#define SECOND 1000000000ull
#define CONNECT_NS (5 * SECOND)
/* A collector under load answers in seconds; after this the call is given up. */
#define CALL_NS (20 * SECOND)
/* Faults found with one batch itself, after which it is not offered any more. */
#define REFUSALS_MAX 3
#define READ_BYTES 16384
#define RESOLVED_NS (60 * SECOND)

enum state { STATE_DOWN, STATE_CONNECTING, STATE_UP };

/* What is said once, each. */
enum complaint { SAID_UNREACHABLE, SAID_SPEECH, SAID_TOKEN, SAID_METHOD, SAID_BATCH, COMPLAINTS };

static struct {
	enum state state;
	struct sw_watch watch; /* fd -1: none */
	uint32_t events;       /* watched for */
	struct sw_address address[SW_ADDRESSES_MAX];
	unsigned addresses, at;	 /* resolved; the one in use or tried */
	uint64_t connect_end_ns; /* STATE_CONNECTING: not longer than until then */
	struct sw_backoff backoff;
	uint64_t cookie; /* SO_COOKIE, in a shared table */
	_Atomic bool was_moved;
	uint64_t stuck_ns;    /* since when it takes no calls; 0: it does */
	uint64_t resolved_ns; /* when the addresses were */
	uint64_t heard_ns;    /* last byte from the other side */
	bool useful;	      /* this connection has brought an answer */
	char authority[SW_AUTHORITY_MAX];
	struct sw_session *session; /* Owned */
	struct sw_agent *agent;
	bool unimplemented[SW_BATCH_KINDS]; /* on this connection */
} grpc = {.watch = {.fd = -1}};

static bool said[COMPLAINTS]; /* kept across fork: once for all children */

static bool first_time(enum complaint complaint)
{
	bool first = !said[complaint];

	said[complaint] = true;
	return first;
}

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

/*
 * Is it still our socket? Where we share the program's table it may have been closed unseen, and
 * its number be a file of the program's by now, or have been moved, which the loop has not seen.
 */
static bool ours(void)
{
	uint64_t cookie = 0;
	socklen_t len = sizeof(cookie);

	if (sw_fd_private())
		return true;
	return !atomic_load(&grpc.was_moved) &&
	       sw_sys(getsockopt, grpc.watch.fd, SOL_SOCKET, SO_COOKIE, &cookie, &len) == 0 &&
	       cookie == grpc.cookie;
}

static void close_descriptor(void)
{
	if (grpc.watch.fd >= 0 && grpc.events)
		grpc.agent->loop.backend->watch(&grpc.agent->loop, &grpc.watch, 0);
	if (grpc.watch.fd >= 0 && ours())
		sw_fd_close_ours(grpc.watch.fd);
	else if (grpc.watch.fd >= 0)
		sw_fd_clear(grpc.watch.fd, SW_FD_OURS);
	grpc.events = 0;
	grpc.watch.fd = -1;
}

/* The connection is no more; what was underway comes back through `answered`. */
static void go_down(void)
{
	close_descriptor();
	grpc.state = STATE_DOWN;
	sw_session_abort(grpc.session);
}

static void lost(const char *why)
{
	if (grpc.session->settled) {
		sw_say(SW_LEVEL_DEBUG, "the connection to %s ended: %s", grpc.authority, why);
	} else if (first_time(SAID_SPEECH)) {
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
	if (first_time(SAID_UNREACHABLE))
		sw_say(SW_LEVEL_WARNING,
		       "no collector at %s: %s; what cannot wait is dropped "
		       "(SW_AGENT_COLLECTOR_BACKEND_SERVICES)",
		       grpc.authority, why);
	go_down();
	back_off();
}

/* ---- going up ---- */

static void watch_for(uint32_t events)
{
	if (events == grpc.events)
		return;
	if (grpc.agent->loop.backend->watch(&grpc.agent->loop, &grpc.watch, events) == 0)
		grpc.events = events;
}

static void answered(void *arg, void *owner, const struct sw_answer *answer);

static void connected(void)
{
	struct sw_session_peer peer = {grpc.authority, sw_config.authentication, answered, NULL};

	grpc.state = STATE_UP;
	grpc.useful = false;
	memset(grpc.unimplemented, 0, sizeof(grpc.unimplemented)); /* it may be another */
	grpc.heard_ns = grpc.agent->now_ns;
	sw_session_start(grpc.session, &peer);
	watch_for(EPOLLIN);
}

static long open_socket(const struct sw_address *address)
{
	int on = 1, patience_ms = CALL_NS / 1000000;
	socklen_t len = sizeof(grpc.cookie);
	long fd = sw_sys(socket, address->at.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
			 0);

	if (fd < 0)
		return fd;
	fd = sw_fd_adopt((int)fd);
	if (fd < 0)
		return fd;
	atomic_store(&grpc.was_moved, false);
	sw_sys(getsockopt, fd, SOL_SOCKET, SO_COOKIE, &grpc.cookie, &len);
	sw_sys(setsockopt, fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	/* a peer that vanished is found out by data that it does not acknowledge */
	sw_sys(setsockopt, fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &patience_ms, sizeof(patience_ms));
	return fd;
}

/* Begins to connect to address[at] or, if that fails at once, one after it. -errno: none left. */
static long try_from(unsigned at)
{
	long error = -EADDRNOTAVAIL;

	for (; at < grpc.addresses; at++) {
		const struct sw_address *address = &grpc.address[at];
		long fd = open_socket(address);

		if (fd < 0) {
			error = fd;
			continue;
		}
		grpc.at = at;
		grpc.watch.fd = (int)fd;
		sw_address_authority(sw_config.collector, address->host, grpc.authority);
		error = sw_sys(connect, fd, &address->at, address->len);
		if (error == 0 || error == -EINPROGRESS) {
			grpc.state = STATE_CONNECTING;
			grpc.connect_end_ns = grpc.agent->now_ns + CONNECT_NS;
			watch_for(EPOLLOUT);
			if (error == 0)
				connected();
			return 0;
		}
		close_descriptor();
	}
	return error;
}

/* All hosts, beginning anywhere: many programs with one list share its load. */
static int resolve_now(void)
{
	int hosts = sw_address_check(sw_config.collector), error = 0;
	uint32_t dice = 0;

	grpc.addresses = 0;
	sw_sys(getrandom, &dice, sizeof(dice), GRND_NONBLOCK);
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
	failed = try_from(0);
	if (failed)
		unreachable(sw_say_error(failed));
}

/* The attempt under way failed: the next address, or back off. */
static void try_next(long error)
{
	close_descriptor();
	grpc.state = STATE_DOWN;
	if (try_from(grpc.at + 1))
		unreachable(sw_say_error(error));
}

static void attempt_ended(void)
{
	int error = 0;
	socklen_t len = sizeof(error);

	if (sw_sys(getsockopt, grpc.watch.fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 || error)
		try_next(error ? -error : -EBADF);
	else
		connected();
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
	if (first_time(SAID_BATCH))
		sw_say(SW_LEVEL_WARNING, "%s refuses a %s batch: %s (%s)", grpc.authority,
		       sw_kinds[batch->kind].name, status_names[answer->status],
		       answer->message[0] ? answer->message : "no reason given");
}

static void say_refused(const struct sw_answer *answer)
{
	if (first_time(SAID_TOKEN))
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
	if (batch->kind == SW_BATCH_SEGMENT && first_time(SAID_METHOD))
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

static uint32_t interest(void)
{
	const struct sw_session *s = grpc.session;

	if (s->out.len)
		return EPOLLIN | EPOLLOUT;
	return EPOLLIN;
}

static void write_out(void)
{
	struct sw_session *s = grpc.session;

	for (;;) {
		long wrote;

		sw_session_fill(s);
		if (!s->out.len)
			break;
		wrote = sw_sys(sendto, grpc.watch.fd, s->out.at, s->out.len,
			       MSG_NOSIGNAL | MSG_DONTWAIT, NULL, 0);
		if (wrote == -EAGAIN || wrote == -EINTR)
			break;
		if (wrote < 0) {
			lost(sw_say_error(wrote));
			return;
		}
		sw_session_wrote(s, (size_t)wrote);
	}
	watch_for(interest());
}

static void read_in(void)
{
	uint8_t bytes[READ_BYTES];
	long got;
	int error;

	do {
		got = sw_sys(recvfrom, grpc.watch.fd, bytes, sizeof(bytes), MSG_DONTWAIT, NULL, 0);
		if (got == -EAGAIN || got == -EINTR)
			return;
		if (got <= 0) {
			lost(got ? sw_say_error(got) : "it was closed");
			return;
		}
		grpc.heard_ns = grpc.agent->now_ns;
		error = sw_session_feed(grpc.session, sw_bytes(bytes, (size_t)got));
		if (error) {
			write_out(); /* our GOAWAY */
			if (grpc.state == STATE_UP)
				lost("what it sends is not HTTP/2");
			return;
		}
	} while (got == sizeof(bytes));
}

static void ready(struct sw_watch *watch, uint32_t events)
{
	(void)watch;
	grpc.agent->now_ns = sw_clock_ns(CLOCK_MONOTONIC);
	if (!ours())
		return; /* the tick will see to it */
	if (grpc.state == STATE_CONNECTING) {
		attempt_ended();
		return;
	}
	if (events & (EPOLLIN | EPOLLERR | EPOLLHUP))
		read_in();
	/* what is to be written then is written at the end of the turn that follows */
}

/* ---- the slots ---- */

static int grpc_open(struct sw_agent *agent)
{
	static bool told;

	grpc.agent = agent;
	grpc.watch = (struct sw_watch){-1, ready};
	grpc.state = STATE_DOWN;
	if (sw_config.force_tls) {
		if (!told)
			sw_say(SW_LEVEL_WARNING, "TLS to the collector is not built in; nothing is "
						 "sent (SW_AGENT_FORCE_TLS)");
		told = true;
		return -EPROTONOSUPPORT;
	}
	if (sw_address_check(sw_config.collector) < 0) {
		if (!told)
			sw_say(SW_LEVEL_WARNING,
			       "SW_AGENT_COLLECTOR_BACKEND_SERVICES=%s is not HOST:PORT; nothing "
			       "is "
			       "sent",
			       sw_config.collector);
		told = true;
		return -EINVAL;
	}
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
	if (grpc.state != STATE_DOWN && !ours())
		lost("its descriptor was taken");
	if (grpc.state == STATE_UP) {
		agent->due_ns = expire(agent);
		if (grpc.state == STATE_UP)
			write_out();
		/* It said goodbye and has answered what it wanted to; the next batch dials. */
		if (grpc.state == STATE_UP && grpc.session->going && !grpc.session->calls)
			lost("it said goodbye");
	}
	give_up_stuck(agent);
	if (grpc.state == STATE_CONNECTING && agent->now_ns >= grpc.connect_end_ns)
		try_next(-ETIMEDOUT);
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
	       (agent->queue.first || grpc.session->out.len || sw_session_stalled(grpc.session));
}

/* On a thread of the program. The new number is only closed. */
static void grpc_moved(int from, int to)
{
	if (grpc.watch.fd != from)
		return;
	atomic_store(&grpc.was_moved, true);
	if (to >= 0)
		sw_fd_close_ours(to);
}

static void grpc_pause(struct sw_agent *agent)
{
	if (grpc.session)
		go_down();
	agent->due_ns = 0;
}

static void grpc_forked(void)
{
	if (grpc.watch.fd >= 0)
		sw_fd_close_ours(grpc.watch.fd);
	memset(&grpc, 0, sizeof(grpc));
	grpc.watch.fd = -1;
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
