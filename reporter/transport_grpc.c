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
#include "reporter/judge.h"
#include "reporter/link.h"
#include "reporter/plugin.h"
#include "reporter/reporter.h"
#include "reporter/say.h"

/* And TLS has shaken hands. */
#define CONNECT_NS (5 * SW_SECOND_NS)
/* A collector under load answers in seconds; after this the call is given up. */
#define CALL_NS (20 * SW_SECOND_NS)

enum state { STATE_DOWN, STATE_CONNECTING, STATE_UP };

static struct sw_link links[2] = {{.channel.watch.fd = -1}, {.channel.watch.fd = -1}};

static struct {
	enum state state;
	struct sw_link *link; /* the one that calls are made on */
	struct sw_scout scout;
	struct sw_judge judge;
	uint64_t greet_end_ns; /* until then it has connected, and one of several has spoken */
	uint64_t stuck_ns;     /* since when it takes no calls; 0: it does */
	uint64_t heard_ns;     /* last byte from the other side */
	struct sw_agent *agent;
} grpc = {.link = &links[0], .scout.link = &links[1]};

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

/* The connection is no more; what was underway comes back through `answered`. */
static void go_down(void)
{
	sw_channel_close(&grpc.link->channel);
	grpc.state = STATE_DOWN;
	grpc.judge.leaving = false;
	sw_session_abort(grpc.link->session);
}

static void lost(const char *why, bool no_good)
{
	if (grpc.link->session->settled) {
		sw_say(SW_LEVEL_DEBUG, "the connection to %s ended: %s", grpc.link->authority, why);
	} else if (why == grpc.link->channel.why && grpc.link->channel.by_tls) {
		sw_judge_complain(&grpc.judge, SW_COMPLAINT_TLS, why);
	} else {
		sw_judge_complain(&grpc.judge, SW_COMPLAINT_SPEECH, why);
	}
	no_good = (no_good || !grpc.judge.useful) && !grpc.judge.leaving;
	go_down();
	if (no_good)
		sw_judge_elsewhere(&grpc.judge);
}

/* None of them. */
static void unreachable(const char *why)
{
	sw_judge_complain(&grpc.judge, SW_COMPLAINT_UNREACHABLE, why);
	go_down();
}

/* ---- going up ---- */

static void read_in(void);
static void answered(void *arg, void *owner, const struct sw_answer *answer);

static bool wants(void *owner)
{
	return ((const struct sw_batch *)owner)->kind == SW_BATCH_QUERY;
}

static struct sw_session_peer peer(void)
{
	return (struct sw_session_peer){
		.authority = grpc.link->authority,
		.token = sw_config.authentication,
		.done = answered,
		.secure = grpc.link->channel.tls != NULL,
		.wants = wants,
	};
}

static void go_up(void)
{
	grpc.state = STATE_UP;
	grpc.judge.authority = grpc.link->authority;
	sw_judge_begin(&grpc.judge);
	grpc.heard_ns = grpc.agent->now_ns;
}

static void connected(void)
{
	struct sw_session_peer other = peer();

	go_up();
	sw_session_start(grpc.link->session, &other);
	if (grpc.link->channel.tls)
		read_in(); /* what came with the end of the handshake */
}

/* 0 or -errno. */
static long try_one(void)
{
	const struct sw_roster *roster = &grpc.judge.roster;
	long error = sw_link_connect(grpc.link, &roster->address[roster->at]);

	if (error)
		return error;
	grpc.state = STATE_CONNECTING;
	grpc.greet_end_ns = grpc.agent->now_ns + CONNECT_NS;
	return 0;
}

/* Begins to connect to the one whose turn it is or, if that fails at once, one after it. */
static void try_some(void)
{
	long error = try_one();

	while (error && sw_judge_elsewhere(&grpc.judge))
		error = try_one();
	if (error)
		unreachable(sw_say_error(error));
}

static int resolve(void)
{
	int error;

	sw_reporter_delicate(true);
	error = sw_roster_resolve(&grpc.judge.roster, sw_config.collector, grpc.agent->now_ns,
				  grpc.link->authority);
	sw_reporter_delicate(false);
	return error;
}

static void unresolved(int error)
{
	const char *why;

	sw_reporter_delicate(true);
	why = gai_strerror(error);
	sw_reporter_delicate(false);
	unreachable(why);
	sw_judge_back_off(&grpc.judge);
}

static void dial(void)
{
	int error = resolve();

	grpc.agent->now_ns = sw_clock_ns(CLOCK_MONOTONIC); /* the resolver may have waited */
	if (error) {
		unresolved(error);
	} else if (!sw_channel_dial(&grpc.link->channel)) {
		sw_address_authority(sw_config.collector, 0, grpc.link->authority);
		sw_judge_complain(&grpc.judge, SW_COMPLAINT_TLS, grpc.link->channel.why);
		go_down();
		sw_judge_back_off(&grpc.judge);
	} else {
		try_some();
	}
}

/* The attempt under way failed: the next address, or silence. */
static void try_next(const char *why, bool by_tls)
{
	sw_channel_close(&grpc.link->channel);
	grpc.state = STATE_DOWN;
	if (sw_judge_elsewhere(&grpc.judge))
		try_some();
	else if (by_tls)
		sw_judge_complain(&grpc.judge, SW_COMPLAINT_TLS, why);
	else
		unreachable(why);
}

static void go_on_connecting(void)
{
	switch (sw_channel_proceed(&grpc.link->channel)) {
	case SW_CHANNEL_OPEN:
		connected();
		break;
	case SW_CHANNEL_DOWN:
		try_next(grpc.link->channel.why, grpc.link->channel.by_tls);
		break;
	case SW_CHANNEL_CONNECTING:
	case SW_CHANNEL_SHAKING:
		break;
	}
}

static void time_out(void)
{
	if (grpc.link->channel.state == SW_CHANNEL_SHAKING)
		try_next("it does not finish the TLS handshake", true);
	else
		try_next(sw_say_error(-ETIMEDOUT), false);
}

/* ---- answers ---- */

static void answered(void *arg, void *owner, const struct sw_answer *answer)
{
	struct sw_batch *batch = owner;

	(void)arg;
	sw_reporter_sent(grpc.agent, batch, sw_judge_answer(&grpc.judge, batch, answer));
}

/* ---- bytes ---- */

static void take(struct sw_bytes bytes)
{
	grpc.heard_ns = grpc.agent->now_ns;
	if (sw_session_feed(grpc.link->session, bytes) == 0)
		return;
	sw_link_write(grpc.link); /* our GOAWAY */
	lost("what it sends is not HTTP/2", false);
}

static void read_in(void)
{
	struct sw_bytes bytes;

	do {
		switch (sw_channel_read(&grpc.link->channel, &bytes)) {
		case SW_CHANNEL_BYTES:
			take(bytes);
			break;
		case SW_CHANNEL_OVER:
			lost(grpc.link->channel.why, false);
			break;
		case SW_CHANNEL_NOTHING:
			return;
		}
	} while (grpc.state == STATE_UP && grpc.link->channel.more);
}

/* What the other side said before it went tells more than that we cannot write: a status, or why it
 * refuses our certificate. */
static void write_all(void)
{
	if (sw_link_write(grpc.link))
		return;
	read_in();
	if (grpc.state == STATE_UP)
		lost(grpc.link->channel.why, false);
}

static void ready(struct sw_watch *watch, uint32_t events)
{
	grpc.agent->now_ns = sw_clock_ns(CLOCK_MONOTONIC);
	if (watch == &grpc.scout.link->channel.watch) {
		sw_scout_ready(&grpc.scout);
		return;
	}
	if (!sw_channel_ours(&grpc.link->channel))
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

static int grpc_open(struct sw_agent *agent)
{
	const struct sw_plugin *plugin =
		sw_config_wants_tls(&sw_config) ? sw_plugin_load("tls", "nothing is sent") : NULL;

	grpc.agent = agent;
	grpc.judge.agent = agent;
	grpc.judge.authority = grpc.link->authority;
	grpc.state = STATE_DOWN;
	for (unsigned i = 0; i < SW_COUNT_OF(links); i++)
		sw_channel_init(&links[i].channel, agent, plugin ? plugin->tls : NULL, ready);
	if (sw_config_wants_tls(&sw_config) && !grpc.link->channel.tls)
		return -EPROTONOSUPPORT; /* the plug-in's loader has said why */
	sw_judge_warn();
	if (check_address())
		return -EINVAL;
	if (!grpc.link->session)
		grpc.link->session = calloc(1, sizeof(*grpc.link->session));
	return grpc.link->session ? 0 : -ENOMEM;
}

/* A heartbeat may come twice. */
static void teach(const struct sw_batch *batch)
{
	if (grpc.judge.roster.count > 1 &&
	    (batch->kind == SW_BATCH_PING || batch->kind == SW_BATCH_PROPERTIES))
		sw_scout_learn(&grpc.scout, sw_kinds[batch->kind].method,
			       sw_bytes(batch->bytes.at, batch->bytes.len));
}

static enum sw_sent grpc_send(struct sw_agent *agent, struct sw_batch *batch)
{
	const struct sw_kind *kind = &sw_kinds[batch->kind];

	if (grpc.judge.unimplemented[batch->kind])
		return SW_SENT_NEVER;
	if (grpc.state == STATE_DOWN)
		dial();
	if (grpc.state != STATE_UP || grpc.judge.leaving ||
	    !sw_session_call(grpc.link->session, kind->method,
			     sw_bytes(batch->bytes.at, batch->bytes.len), batch,
			     agent->now_ns + CALL_NS))
		return SW_SENT_LATER;
	teach(batch);
	return SW_SENT_UNDERWAY;
}

static void sooner(struct sw_agent *agent, uint64_t moment_ns)
{
	agent->due_ns = agent->due_ns ? SW_MIN(agent->due_ns, moment_ns) : moment_ns;
}

/* Calls that are too old; and when none of them ever hears anything, the connection is dead. Of
 * several one that has never answered well is left with the first, or the last would be waited for.
 */
static uint64_t expire(struct sw_agent *agent)
{
	unsigned before = grpc.link->session->calls;
	bool fruitless = !grpc.judge.useful && grpc.judge.roster.count > 1;
	uint64_t next = sw_session_expire(grpc.link->session, agent->now_ns);

	if (grpc.link->session->calls < before &&
	    (fruitless || agent->now_ns - grpc.heard_ns >= CALL_NS)) {
		lost("it is silent", true);
		return 0;
	}
	return next;
}

/* It allows no streams, and no call of ours is left to end: it will not get better by waiting. */
static void give_up_stuck(struct sw_agent *agent)
{
	bool stuck = grpc.state == STATE_UP && agent->queue.first && !grpc.link->session->calls &&
		     !sw_session_room(grpc.link->session);

	if (!stuck)
		grpc.stuck_ns = 0;
	else if (!grpc.stuck_ns)
		grpc.stuck_ns = agent->now_ns;
	else if (agent->now_ns - grpc.stuck_ns >= CALL_NS)
		lost("it takes no calls", true);
}

/* ---- the way home ---- */

/* Nothing is underway, and no batch has left for it before: none is lost, none comes twice. */
static void go_home(void)
{
	go_down();
	grpc.link = sw_scout_take(&grpc.scout, grpc.link);
	sw_roster_return(&grpc.judge.roster, sw_judge_period_ns());
	go_up();
	sw_say(SW_LEVEL_DEBUG, "back to the collector %s", grpc.link->authority);
}

static void find_home(struct sw_agent *agent)
{
	struct sw_roster *roster = &grpc.judge.roster;
	struct sw_session_peer wanted = peer();

	if (!grpc.link->session->settled || grpc.judge.leaving ||
	    !sw_roster_homesick(roster, agent->now_ns))
		return;
	sw_roster_stay(roster, agent->now_ns, sw_judge_period_ns());
	sw_scout_send(&grpc.scout, &roster->address[0], &wanted, agent->now_ns + CONNECT_NS);
}

/* The home is well: calls that are underway end where they are, then it has the next ones. */
static void follow(struct sw_agent *agent)
{
	bool found = grpc.scout.state == SW_SCOUT_FOUND;

	if (grpc.scout.state == SW_SCOUT_HOME)
		find_home(agent);
	else if (sw_scout_tick(&grpc.scout, agent->now_ns) == SW_SCOUT_FOUND)
		grpc.judge.leaving = true;
	else if (found)
		grpc.judge.leaving = false;
	if (grpc.scout.state == SW_SCOUT_AWAY)
		sooner(agent, SW_MIN(grpc.scout.end_ns, agent->now_ns + SW_TICK_NS));
	if (grpc.scout.state == SW_SCOUT_FOUND && !grpc.link->session->calls)
		go_home();
}

/* ---- the end of a turn ---- */

/* The moment at which it must have spoken; 0: it has, or is the only one, which has more time. */
static uint64_t greeting_due(void)
{
	return grpc.link->session->settled || grpc.judge.roster.count < 2 ? 0 : grpc.greet_end_ns;
}

static void tend(struct sw_agent *agent)
{
	agent->due_ns = expire(agent);
	if (grpc.state == STATE_UP)
		write_all();
	if (grpc.state == STATE_UP && greeting_due() && agent->now_ns >= greeting_due())
		lost("it is silent", true);
	/* It said goodbye and has answered what it wanted to; the next batch dials. */
	if (grpc.state == STATE_UP && grpc.link->session->going && !grpc.link->session->calls)
		lost("it said goodbye", false);
	if (grpc.state == STATE_UP)
		follow(agent);
	if (grpc.state == STATE_UP && grpc.judge.leaving && !grpc.link->session->calls)
		go_down();
	if (grpc.state == STATE_UP && greeting_due())
		sooner(agent, greeting_due());
}

static void tend_connecting(struct sw_agent *agent)
{
	if (agent->now_ns >= grpc.greet_end_ns)
		time_out();
	if (grpc.state == STATE_CONNECTING)
		sooner(agent, SW_MIN(grpc.greet_end_ns, agent->now_ns + SW_TICK_NS));
}

static void grpc_tick(struct sw_agent *agent)
{
	agent->due_ns = 0;
	if (grpc.state != STATE_DOWN && !sw_channel_ours(&grpc.link->channel))
		lost("its descriptor was taken", false);
	if (grpc.state == STATE_UP)
		tend(agent);
	give_up_stuck(agent);
	if (grpc.state != STATE_UP)
		sw_scout_end(&grpc.scout);
	if (grpc.state == STATE_CONNECTING)
		tend_connecting(agent);
	if (grpc.state == STATE_DOWN && agent->queue.first && agent->retry_ns <= agent->now_ns)
		agent->due_ns = agent->now_ns; /* it went down just now: dial again */
}

/* Answers wait for the tick: a wake-up for each of them would cost the program more than they are
 * worth. Not when we could go on sending after one. */
static bool grpc_watchful(struct sw_agent *agent)
{
	return grpc.state == STATE_UP && (agent->queue.first || sw_link_blocked(grpc.link) ||
					  sw_session_stalled(grpc.link->session));
}

/* On a thread of the program. The new number is only closed. */
static void grpc_moved(int from, int to)
{
	sw_channel_moved(&links[0].channel, from, to);
	sw_channel_moved(&links[1].channel, from, to);
}

static void grpc_pause(struct sw_agent *agent)
{
	sw_scout_end(&grpc.scout);
	if (grpc.link->session)
		go_down();
	agent->due_ns = 0;
}

static void grpc_forked(void)
{
	for (unsigned i = 0; i < SW_COUNT_OF(links); i++) {
		sw_channel_forget(&links[i].channel);
		links[i].session = NULL; /* it may be in mid-change */
	}
	memset(&grpc, 0, sizeof(grpc));
	grpc.link = &links[0];
	grpc.scout.link = &links[1];
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
