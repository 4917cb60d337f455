/*
 * The transport of this plug-in, on our thread: one line at a time, one call for each batch, and
 * what our own engine (transport_grpc.c) makes of failures, in the same order.
 *
 * Differences come from C core: it tells nothing of bytes, so a collector is silent when a call has
 * had no answer in its time and no other had one since; and it does not say who gave a status.
 */
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "preload/sys.h"
#include "reporter/judge.h"
#include "reporter/plugins/grpc/core.h"
#include "reporter/plugins/grpc/grpc.h"
#include "reporter/say.h"

#define CALL_S 20
#define CALL_NS (CALL_S * SW_SECOND_NS)
/* C core ends a call in time; after this it never will. */
#define FORGET_NS (CALL_NS + 5 * SW_SECOND_NS)
/* A little longer than C core's own. */
#define CONNECT_NS (5 * SW_SECOND_NS + SW_SECOND_NS / 2)
#define CALLS_MAX 32

/* STATE_GOING: no further calls, but those underway may be answered. */
enum state { STATE_DOWN, STATE_CONNECTING, STATE_UP, STATE_GOING };

struct flight {
	struct sw_batch *batch; /* NULL: none */
	unsigned call;
	uint64_t begun_ns;
};

static struct {
	enum state state;
	unsigned line, call; /* last numbers given */
	struct flight flights[CALLS_MAX];
	unsigned flying;
	uint64_t connect_end_ns;
	bool homing;	   /* this line is left to try the first collector again */
	uint64_t heard_ns; /* last answer, or the connection */
	char authority[SW_AUTHORITY_MAX];
	struct sw_judge judge;
	struct sw_agent *agent;
	struct sw_watch watch; /* an eventfd: there is news */
} core = {.watch.fd = -1};

static const struct sw_config *config(void)
{
	return sw_grpc_host->config;
}

static void core_frame(struct sw_batch *batch, struct sw_bytes message)
{
	sw_grpc_host->native->frame(batch, message);
}

/* ---- going down ---- */

/* Calls underway come back as cancelled. */
static void go_down(void)
{
	if (core.state != STATE_DOWN)
		sw_core_hang_up();
	core.line++; /* what is told of the last one is old */
	core.state = STATE_DOWN;
	core.judge.leaving = false;
}

/* Not for a fault of a collector's: another one would fare no better. */
static void fail(enum sw_complaint complaint, const char *why)
{
	sw_grpc_host->judge->complain(&core.judge, complaint, why);
	go_down();
	sw_grpc_host->judge->back_off(&core.judge);
}

static void lost(const char *why, bool no_good)
{
	sw_grpc_host->say(SW_LEVEL_DEBUG, "the connection to %s ended: %s", core.authority, why);
	no_good = (no_good || !core.judge.useful) && !core.judge.leaving;
	go_down();
	if (no_good)
		sw_grpc_host->judge->elsewhere(&core.judge);
}

/* ---- going up ---- */

/* C core's name of an address. */
static bool target_of(const struct sw_address *address, char *ret_text, size_t room)
{
	char host[NI_MAXHOST], port[8];
	bool six = address->at.ss_family == AF_INET6;
	int len;

	if (getnameinfo((const struct sockaddr *)&address->at, address->len, host, sizeof(host),
			port, sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV))
		return false;
	len = snprintf(ret_text, room, six ? "ipv6:[%s]:%s" : "ipv4:%s:%s", host, port);
	return len > 0 && (size_t)len < room;
}

/* False: it was said. */
static bool fill_wish(struct sw_core_wish *wish, const struct sw_address *address)
{
	char port[8], why[320] = "its address is too long";

	memset(wish, 0, sizeof(*wish));
	sw_grpc_host->address_nth(config()->collector, address->host, core.authority, wish->host,
				  port);
	memcpy(wish->authority, core.authority, sizeof(wish->authority));
	wish->secure = sw_config_wants_tls(config());
	if (!target_of(address, wish->target, sizeof(wish->target))) {
		fail(SW_COMPLAINT_UNREACHABLE, why);
		return false;
	}
	if (wish->secure && !sw_core_read_files(config(), wish, why, sizeof(why))) {
		fail(SW_COMPLAINT_TLS, why);
		return false;
	}
	return true;
}

/* Begins to connect to the one whose turn it is. */
static void try_one(void)
{
	struct sw_core_wish wish;

	if (!fill_wish(&wish, &core.judge.roster.address[core.judge.roster.at]))
		return;
	if (!sw_core_start(core.watch.fd) || !sw_core_dial(core.line + 1, &wish)) {
		if (!sw_core_dead()) /* of which there is something else to say */
			fail(SW_COMPLAINT_UNREACHABLE, "no thread or no memory");
		return;
	}
	core.line++;
	core.state = STATE_CONNECTING;
	core.connect_end_ns = core.agent->now_ns + CONNECT_NS;
}

static int resolve(void)
{
	int error;

	sw_grpc_host->delicate(true);
	error = sw_grpc_host->judge->resolve(&core.judge.roster, config()->collector,
					     core.agent->now_ns, core.authority);
	sw_grpc_host->delicate(false);
	return error;
}

static void dial(void)
{
	int error = resolve();
	const char *why;

	core.agent->now_ns = sw_clock_ns(CLOCK_MONOTONIC); /* the resolver may have waited */
	if (!error) {
		try_one();
		return;
	}
	sw_grpc_host->delicate(true);
	why = gai_strerror(error);
	sw_grpc_host->delicate(false);
	fail(SW_COMPLAINT_UNREACHABLE, why);
}

/* What it was about, by C core's own words. */
static enum sw_complaint kind_of(const char *why)
{
	if (!why[0] || strstr(why, "onnect to remote host") || strstr(why, "timed out"))
		return SW_COMPLAINT_UNREACHABLE;
	return sw_config_wants_tls(config()) ? SW_COMPLAINT_TLS : SW_COMPLAINT_SPEECH;
}

/* C core puts one thing in front of another: the last is the cause. */
static const char *cause_of(const char *why)
{
	static const char *const fronts[] = {
		"last error: ", "UNKNOWN: ", "UNAVAILABLE: ",
		"ipv4:",	"ipv6:",     "Failed to connect to remote host: "};
	const char *found;

	for (size_t i = 0; i < SW_COUNT_OF(fronts); i++) {
		found = strstr(why, fronts[i]);
		if (!found)
			continue;
		if (fronts[i][0] == 'i') /* an address, which has been said */
			found = strstr(found, ": ");
		why = found ? found + (fronts[i][0] == 'i' ? 2 : strlen(fronts[i])) : why;
	}
	return why[0] ? why : "it cannot be reached";
}

/* The attempt under way failed: the next address, or silence. */
static void try_next(const char *why)
{
	go_down();
	if (sw_grpc_host->judge->elsewhere(&core.judge))
		try_one();
	else
		sw_grpc_host->judge->complain(&core.judge, kind_of(why), cause_of(why));
}

/* ---- news ---- */

static bool begins_with_one(const char *text, const char *const *ones, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (strncmp(text, ones[i], strlen(ones[i])) == 0)
			return true;
	}
	return false;
}

/* Has C core given the status itself? How it begins the reason then. A doubtful one is taken for
 * the other side's, which is heard of three times, where it would be a fault of the batch. */
static bool is_its_own(const struct sw_core_news *news)
{
	static const char *const any[] = {"Received RST_STREAM", "Stream removed"};
	static const char *const broken[] = {
		"Socket closed", "GOAWAY",	"Deadline",   "CANCELLED", "Cancelled",
		"Connection",	 "Broken pipe", "Endpoint",   "Transport", "recvmsg:",
		"sendmsg:",	 "Channel",	"channel is", "Failed",	   "failed to connect",
	};
	bool later = news->status == SW_GRPC_UNAVAILABLE || news->status == SW_GRPC_CANCELLED ||
		     news->status == SW_GRPC_DEADLINE_EXCEEDED;

	return begins_with_one(news->message, any, SW_COUNT_OF(any)) ||
	       (later &&
		(!news->message[0] || begins_with_one(news->message, broken, SW_COUNT_OF(broken))));
}

static struct sw_answer read_answer(const struct sw_core_news *news)
{
	bool given = news->status == SW_GRPC_OK || !is_its_own(news);

	return (struct sw_answer){
		.status = news->status < SW_GRPC_STATUSES ? (enum sw_grpc_status)news->status
							  : SW_GRPC_UNKNOWN,
		.given = given,
		.cut = !given && (news->line != core.line || core.state != STATE_UP),
		.perhaps = news->begun,
		.message = news->message,
		.reply = sw_bytes(news->reply, news->reply_len),
	};
}

static struct sw_batch *land(unsigned call)
{
	for (unsigned i = 0; i < CALLS_MAX; i++) {
		struct sw_batch *batch = core.flights[i].batch;

		if (!batch || core.flights[i].call != call)
			continue;
		core.flights[i].batch = NULL;
		core.flying--;
		return batch;
	}
	return NULL;
}

/* A call has had no answer in its time, nor has any other since. Of several collectors one that has
 * never answered well is left with the first, or the last would be waited for. */
static bool is_silent(const struct sw_answer *answer)
{
	bool fruitless = !core.judge.useful && core.judge.roster.count > 1;

	return answer->status == SW_GRPC_DEADLINE_EXCEEDED && !answer->given &&
	       core.state == STATE_UP &&
	       (fruitless || core.agent->now_ns - core.heard_ns >= CALL_NS);
}

static void take_answer(const struct sw_core_news *news)
{
	struct sw_batch *batch = land(news->call);
	struct sw_answer answer = read_answer(news);

	if (!batch)
		return;
	if (answer.given)
		core.heard_ns = core.agent->now_ns;
	sw_grpc_host->sent(core.agent, batch,
			   sw_grpc_host->judge->answer(&core.judge, batch, &answer));
	if (is_silent(&answer))
		lost("it is silent", true);
}

static void take_state(const struct sw_core_news *news)
{
	if (news->line != core.line)
		return;
	if (news->what == SW_CORE_UP && core.state == STATE_CONNECTING) {
		core.state = STATE_UP;
		core.heard_ns = core.agent->now_ns;
		sw_grpc_host->judge->begin(&core.judge);
	} else if (news->what == SW_CORE_DOWN && core.state == STATE_CONNECTING) {
		try_next(news->message);
	} else if (news->what == SW_CORE_DOWN && core.state == STATE_UP) {
		core.state = STATE_GOING;
	}
}

static void take_news(void)
{
	struct sw_core_news *news = sw_core_take_news();

	while (news) {
		struct sw_core_news *next = news->next;

		if (news->what == SW_CORE_ANSWER)
			take_answer(news);
		else
			take_state(news);
		free(news->reply);
		free(news);
		news = next;
	}
}

static void ready(struct sw_watch *watch, uint32_t events)
{
	uint64_t count;

	(void)events;
	if (sw_sys(read, watch->fd, &count, sizeof(count)) < 0)
		return;
	core.agent->now_ns = sw_clock_ns(CLOCK_MONOTONIC);
	take_news();
}

/* ---- the slots ---- */

static int open_news(struct sw_agent *agent)
{
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	core.watch = (struct sw_watch){sw_grpc_host->fd_adopt(fd), ready};
	return agent->loop.backend->watch(&agent->loop, &core.watch, EPOLLIN);
}

/* C core opens descriptors on threads of its own and keeps their numbers where nobody can change
 * them: in a table that the program shares they would be in its way. */
static int core_open(struct sw_agent *agent)
{
	if (sw_core_spent())
		return -EALREADY;
	core.agent = agent;
	core.judge.agent = agent;
	core.judge.authority = core.authority;
	core.state = STATE_DOWN;
	if (!sw_grpc_host->fd_private()) {
		sw_grpc_host->say(
			SW_LEVEL_WARNING,
			"C core needs a table of descriptors of its own, which this sandbox "
			"refuses; our own gRPC is used");
		return -EPERM;
	}
	if (sw_grpc_host->address_check(config()->collector) < 0)
		return -EINVAL; /* our own engine says so */
	sw_grpc_host->judge->warn();
	return open_news(agent);
}

static struct flight *free_flight(void)
{
	for (unsigned i = 0; i < CALLS_MAX; i++) {
		if (!core.flights[i].batch)
			return &core.flights[i];
	}
	return NULL;
}

static enum sw_sent core_send(struct sw_agent *agent, struct sw_batch *batch)
{
	struct sw_bytes body = sw_bytes(batch->bytes.at, batch->bytes.len);
	struct flight *flight = free_flight();

	if (core.judge.unimplemented[batch->kind])
		return SW_SENT_NEVER;
	if (core.state == STATE_DOWN)
		dial();
	if (core.state != STATE_UP || core.judge.leaving || !flight ||
	    !sw_core_call(core.line, core.call + 1, sw_grpc_host->kinds[batch->kind].method, body,
			  CALL_S, batch->kind == SW_BATCH_QUERY))
		return SW_SENT_LATER;
	*flight = (struct flight){batch, ++core.call, agent->now_ns};
	core.flying++;
	return SW_SENT_UNDERWAY;
}

/* They may have arrived. */
static void give_back(struct flight *flight)
{
	struct sw_batch *batch = flight->batch;

	flight->batch = NULL;
	core.flying--;
	batch->seen = true;
	sw_grpc_host->sent(core.agent, batch, SW_SENT_LATER);
}

static void forget_old(uint64_t before_ns)
{
	for (unsigned i = 0; i < CALLS_MAX; i++) {
		if (core.flights[i].batch && core.flights[i].begun_ns < before_ns)
			give_back(&core.flights[i]);
	}
}

/* Calls that were underway have ended where they were. */
static void leave_line(void)
{
	go_down();
	if (core.homing)
		sw_grpc_host->judge->go_home(&core.judge);
	core.homing = false;
}

static void core_tick(struct sw_agent *agent)
{
	agent->due_ns = 0;
	if (sw_core_dead()) {
		sw_grpc_host->say(SW_LEVEL_WARNING,
				  "gRPC C core has given up; our own gRPC goes on");
		sw_grpc_host->go_native(agent);
		return;
	}
	take_news();
	if (core.state == STATE_UP && !core.judge.leaving &&
	    sw_grpc_host->judge->homesick(&core.judge))
		core.judge.leaving = core.homing = true;
	if (agent->now_ns > FORGET_NS)
		forget_old(agent->now_ns - FORGET_NS);
	if (core.state == STATE_GOING && !core.flying)
		lost("it takes no further calls", false);
	if (core.state == STATE_UP && core.judge.leaving && !core.flying)
		leave_line();
	if (core.state == STATE_CONNECTING && agent->now_ns >= core.connect_end_ns)
		try_next("timed out");
	if (core.state == STATE_CONNECTING)
		agent->due_ns = SW_MIN(core.connect_end_ns, agent->now_ns + SW_TICK_NS);
	if (core.state == STATE_DOWN && agent->queue.first && agent->retry_ns <= agent->now_ns)
		agent->due_ns = agent->now_ns; /* it went down just now: dial again */
}

/* Answers wait for the tick, unless something waits for the room that they make. */
static bool core_watchful(struct sw_agent *agent)
{
	return core.state == STATE_UP && agent->queue.first && core.flying == CALLS_MAX;
}

static void core_moved(int from, int to)
{
	if (core.watch.fd == from)
		core.watch.fd = to;
}

/* No thread of C core's is left, or it is not used any more. */
static void core_pause(struct sw_agent *agent)
{
	bool stopped = sw_core_stop();

	core.line++;
	core.state = STATE_DOWN;
	take_news();
	forget_old(UINT64_MAX);
	if (core.watch.fd >= 0) {
		agent->loop.backend->watch(&agent->loop, &core.watch, 0);
		if (stopped)
			sw_grpc_host->fd_close(core.watch.fd);
	}
	core.watch.fd = -1;
	agent->due_ns = 0;
}

/* In the child of a fork, which never uses this plug-in again: all of it is the parent's, its
 * descriptors are in a table that is not ours. */
static void core_forked(void)
{
	memset(&core, 0, sizeof(core));
	core.watch.fd = -1;
}

const struct sw_transport sw_grpc_transport = {
	.name = "grpc",
	.format = SW_FORMAT_PROTOBUF,
	.frame = core_frame,
	.open = core_open,
	.send = core_send,
	.tick = core_tick,
	.watchful = core_watchful,
	.moved = core_moved,
	.pause = core_pause,
	.forked = core_forked,
	.threads = sw_core_threads,
};
