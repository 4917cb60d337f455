/*
 * Kafka, by librdkafka: one message for each record, and its delivery reports decide.
 *
 * A client is made when there is something to send. While no broker can be reached the records wait
 * with us, not with librdkafka, so that our limit holds for them and the end of a program does not
 * wait for them; librdkafka connects again by itself, and we ask it each second whether it has.
 * What it has to say comes through its queue, whose descriptor is on our loop.
 */
#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <syslog.h>
#include <unistd.h>

#include "preload/sys.h"
#include "reporter/plugins/kafka/flight.h"
#include "reporter/say.h"

#define PAUSE_MOST_NS (30 * SW_SECOND_NS)
#define TOPIC_ROOM 256
/* Kinds of librdkafka's lines that are remembered, to say each once. */
#define FACILITIES_MAX 16
#define FACILITY_BYTES 16

const struct sw_host *sw_kafka_host;

/* What is said once, each. */
enum complaint {
	SAID_SHARED,
	SAID_UNREACHABLE,
	SAID_LOST,
	SAID_REFUSED,
	SAID_CLIENT,
	SAID_DEAD,
	COMPLAINTS
};

static struct {
	rd_kafka_t *client;	  /* NULL: none yet */
	rd_kafka_queue_t *events; /* what the client has to say */
	rd_kafka_topic_t *topics[SW_BATCH_KINDS];
	struct sw_watch watch; /* an eventfd that librdkafka writes to; -1: none */
	struct sw_agent *agent;
	pid_t owner;	   /* the process that all this belongs to */
	bool busy;	   /* a client is being made or dropped */
	bool down;	   /* no broker can be reached */
	uint64_t pause_ns; /* how long the last failure was waited for; 0: none */
	char reason[256];  /* of the last trouble with a broker */
} kafka = {.watch = {.fd = -1}};

/* In a child that began while a lock of the libraries was held: they cannot be used any more. */
static bool broken;

/* Kept across fork: once for all children. */
static bool said[COMPLAINTS];
static char facilities[FACILITIES_MAX][FACILITY_BYTES];

/* ---- what librdkafka says ---- */

/* A line of this kind for the first time? When the table is full all are old. */
static bool is_new(const char *facility)
{
	for (size_t i = 0; i < FACILITIES_MAX; i++) {
		if (!facilities[i][0]) {
			snprintf(facilities[i], FACILITY_BYTES, "%s", facility);
			return true;
		}
		if (strncmp(facilities[i], facility, FACILITY_BYTES - 1) == 0)
			return false;
	}
	return false;
}

/* What these tell comes as an event, too, and is said there. */
static bool is_said_elsewhere(const char *facility)
{
	static const char *const ones[] = {"FAIL",     "ERROR", "TERMINATE",
					   "REQTMOUT", "FATAL", "THREAD"};

	for (size_t i = 0; i < SW_COUNT_OF(ones); i++) {
		if (strcmp(ones[i], facility) == 0)
			return true;
	}
	return false;
}

static void take_line(rd_kafka_event_t *event)
{
	const char *facility, *text;
	int level;

	if (rd_kafka_event_log(event, &facility, &text, &level))
		return;
	if (level <= LOG_WARNING && !is_said_elsewhere(facility) && is_new(facility))
		sw_kafka_host->say(SW_LEVEL_WARNING, "Kafka: %s", text);
	else
		sw_kafka_host->say(SW_LEVEL_DEBUG, "Kafka: %s: %s", facility, text);
}

/* Everything comes back to us, and waits here until a broker is there. */
static void go_down(void)
{
	kafka.down = true;
	kafka.agent->retry_ns = kafka.agent->now_ns + SW_SECOND_NS;
	rd_kafka_purge(kafka.client, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT |
					     RD_KAFKA_PURGE_F_NON_BLOCKING);
	if (sw_say_first(&said[SAID_UNREACHABLE]))
		sw_kafka_host->say(SW_LEVEL_WARNING,
				   "no Kafka broker can be used: %s; what cannot wait is dropped "
				   "(SW_KAFKA_BOOTSTRAP_SERVERS=%s)",
				   kafka.reason, sw_kafka_host->config->kafka_servers);
}

static void take_error(rd_kafka_event_t *event)
{
	rd_kafka_resp_err_t error = rd_kafka_event_error(event);
	const char *text = rd_kafka_event_error_string(event);

	if (error == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) {
		go_down();
		return;
	}
	snprintf(kafka.reason, sizeof(kafka.reason), "%s", text ? text : rd_kafka_err2str(error));
	sw_kafka_host->say(SW_LEVEL_DEBUG, "Kafka: %s", kafka.reason);
}

static void take_reports(rd_kafka_event_t *event)
{
	const rd_kafka_message_t *message;

	while ((message = rd_kafka_event_message_next(event)))
		sw_flight_report(message);
}

static void take_event(rd_kafka_event_t *event)
{
	switch (rd_kafka_event_type(event)) {
	case RD_KAFKA_EVENT_DR:
		take_reports(event);
		break;
	case RD_KAFKA_EVENT_ERROR:
		take_error(event);
		break;
	case RD_KAFKA_EVENT_LOG:
		take_line(event);
		break;
	default:
		break;
	}
}

static void pause_offering(void)
{
	kafka.pause_ns = kafka.pause_ns ? SW_MIN(kafka.pause_ns * 8 / 5, PAUSE_MOST_NS) : SW_SECOND_NS;
	kafka.agent->retry_ns = kafka.agent->now_ns + kafka.pause_ns;
}

static void land(void)
{
	struct sw_flight_news news = sw_flight_land(kafka.agent, !kafka.down);

	if (news.lost && sw_say_first(&said[SAID_LOST]))
		sw_kafka_host->say(SW_LEVEL_WARNING,
				   "Kafka refuses a record for good: %s; it is dropped",
				   rd_kafka_err2str(news.lost));
	if (news.error) {
		pause_offering();
		if (sw_say_first(&said[SAID_REFUSED]))
			sw_kafka_host->say(SW_LEVEL_WARNING,
					   "Kafka does not take our records: %s; what cannot wait "
					   "is dropped",
					   rd_kafka_err2str(news.error));
	} else if (news.arrived) {
		kafka.pause_ns = 0;
	}
}

static void take_events(void)
{
	rd_kafka_event_t *event;

	while ((event = rd_kafka_queue_poll(kafka.events, 0))) {
		take_event(event);
		rd_kafka_event_destroy(event);
	}
}

static void ready(struct sw_watch *watch, uint32_t events)
{
	uint64_t count;

	(void)events;
	if (read(watch->fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		return;
	kafka.agent->now_ns = sw_clock_ns(CLOCK_MONOTONIC);
	if (kafka.client) {
		take_events();
		land();
	}
}

/* ---- the client ---- */

static bool make_topics(void)
{
	char name[TOPIC_ROOM];

	for (int kind = 0; kind < SW_BATCH_KINDS; kind++) {
		if (!sw_flight_knows((enum sw_batch_kind)kind))
			continue;
		if (!sw_kafka_topic((enum sw_batch_kind)kind, name, sizeof(name)))
			return false;
		kafka.topics[kind] = rd_kafka_topic_new(kafka.client, name, NULL);
		if (!kafka.topics[kind])
			return false;
	}
	return true;
}

static void drop_client(void)
{
	for (int kind = 0; kind < SW_BATCH_KINDS; kind++) {
		if (kafka.topics[kind])
			rd_kafka_topic_destroy(kafka.topics[kind]);
		kafka.topics[kind] = NULL;
	}
	if (kafka.events)
		rd_kafka_queue_destroy(kafka.events);
	kafka.events = NULL;
	if (kafka.client)
		rd_kafka_destroy(kafka.client);
	kafka.client = NULL;
}

static rd_kafka_t *new_client(char *ret_why, size_t room)
{
	rd_kafka_conf_t *conf = sw_kafka_conf();
	rd_kafka_t *client;

	if (!conf)
		return NULL;
	rd_kafka_conf_set_events(conf,
				 RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR | RD_KAFKA_EVENT_LOG);
	client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, ret_why, room);
	if (client)
		return client;
	sw_kafka_conf_blames(conf, ret_why, room);
	rd_kafka_conf_destroy(conf);
	return NULL;
}

static bool begin_client(char *ret_why, size_t room)
{
	static const uint64_t one = 1;

	kafka.client = new_client(ret_why, room);
	if (!kafka.client)
		return false;
	rd_kafka_set_log_queue(kafka.client, NULL);
	kafka.events = rd_kafka_queue_get_main(kafka.client);
	rd_kafka_queue_io_event_enable(kafka.events, kafka.watch.fd, &one, sizeof(one));
	return make_topics();
}

/* It takes locks of OpenSSL's and its own that a child would miss. */
static bool make_client(void)
{
	char why[256] = "a topic's name is too long (SW_KAFKA_NAMESPACE, SW_KAFKA_TOPIC_*)";
	bool ok;

	sw_kafka_host->delicate(true);
	kafka.busy = true;
	ok = begin_client(why, sizeof(why));
	if (!ok)
		drop_client();
	kafka.busy = false;
	sw_kafka_host->delicate(false);
	if (!ok && sw_say_first(&said[SAID_CLIENT]))
		sw_kafka_host->say(SW_LEVEL_WARNING,
				   "Kafka cannot be used: %s; what cannot wait is dropped", why);
	kafka.down = false;
	return ok;
}

/* What is not known to have arrived is offered again. No thread of librdkafka's is left. */
static void end_client(struct sw_agent *agent)
{
	sw_kafka_host->delicate(true);
	kafka.busy = true;
	if (kafka.client) {
		rd_kafka_purge(kafka.client, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
		take_events();
	}
	drop_client();
	kafka.busy = false;
	sw_kafka_host->delicate(false);
	sw_flight_abandon(agent);
}

/* An idempotent producer may lose its right to go on. The next one begins anew. */
static void bury(struct sw_agent *agent)
{
	if (sw_say_first(&said[SAID_DEAD]))
		sw_kafka_host->say(SW_LEVEL_WARNING,
				   "Kafka's producer must begin anew: %s; what cannot wait is "
				   "dropped",
				   kafka.reason);
	end_client(agent);
	pause_offering();
}

/* ---- the slots ---- */

/* In the child of a fork. The client is the parent's, its threads are not here and its locks may
 * be held: it is left where it is. Its descriptors are in a table that is not ours. */
static void kafka_forked(void)
{
	bool whole = sw_kafka_gate_forked();

	broken |= !whole && (kafka.client || kafka.busy);
	memset(&kafka, 0, sizeof(kafka));
	kafka.watch.fd = -1;
	sw_flight_forget();
	sw_kafka_threads_forget();
}

static int open_events(struct sw_agent *agent)
{
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	fd = sw_kafka_host->fd_adopt(fd);
	if (fd < 0)
		return fd;
	kafka.watch = (struct sw_watch){fd, ready};
	return agent->loop.backend->watch(&agent->loop, &kafka.watch, EPOLLIN);
}

/*
 * librdkafka opens descriptors on threads of its own and keeps their numbers where nobody can
 * change them. In a table that the program shares it could close or replace them, and its bytes
 * would meet ours.
 */
static int kafka_open(struct sw_agent *agent)
{
	rd_kafka_conf_t *conf;

	if (kafka.owner != getpid()) /* forked while the client was being dropped */
		kafka_forked();
	kafka.owner = getpid();
	kafka.agent = agent;
	if (!sw_kafka_host->fd_private()) {
		if (sw_say_first(&said[SAID_SHARED]))
			sw_kafka_host->say(SW_LEVEL_WARNING,
					   "Kafka needs a table of descriptors of its own, which "
					   "this sandbox refuses; nothing is sent");
		return -EPERM;
	}
	if (broken) {
		sw_kafka_host->say(SW_LEVEL_WARNING,
				   "this process began in the midst of its parent's work with "
				   "Kafka; nothing is sent");
		return -EDEADLK;
	}
	conf = sw_kafka_conf();
	if (!conf)
		return -EINVAL;
	rd_kafka_conf_destroy(conf);
	return open_events(agent);
}

/*
 * Is no broker there? librdkafka tells when the last one goes, but not when one comes. A question
 * to any broker tells: there is nobody to ask, or there is no answer in no time.
 */
static bool is_away(struct sw_agent *agent)
{
	const struct rd_kafka_metadata *none = NULL;
	rd_kafka_resp_err_t error;

	if (!kafka.down)
		return false;
	error = rd_kafka_metadata(kafka.client, 0, kafka.topics[SW_BATCH_SEGMENT], &none, 0);
	if (!error)
		rd_kafka_metadata_destroy(none);
	kafka.down = error == RD_KAFKA_RESP_ERR__TRANSPORT;
	if (kafka.down)
		agent->retry_ns = agent->now_ns + SW_SECOND_NS;
	return kafka.down;
}

static enum sw_sent kafka_send(struct sw_agent *agent, struct sw_batch *batch)
{
	if (!kafka.client && !make_client()) {
		pause_offering();
		return SW_SENT_LATER;
	}
	if (!kafka.topics[batch->kind])
		return SW_SENT_NEVER;
	if (is_away(agent) || !sw_flight_begin(kafka.topics[batch->kind], batch))
		return SW_SENT_LATER;
	return SW_SENT_UNDERWAY;
}

static void kafka_tick(struct sw_agent *agent)
{
	agent->due_ns = 0;
	if (!kafka.client)
		return;
	take_events();
	if (rd_kafka_fatal_error(kafka.client, kafka.reason, sizeof(kafka.reason)))
		bury(agent);
	else
		land();
}

/* Reports wait for the tick, unless something waits for the room that they make. */
static bool kafka_watchful(struct sw_agent *agent)
{
	return !kafka.down && agent->queue.first && agent->retry_ns <= agent->now_ns;
}

static void kafka_moved(int from, int to)
{
	if (kafka.watch.fd == from)
		kafka.watch.fd = to;
}

static void kafka_pause(struct sw_agent *agent)
{
	end_client(agent);
	if (kafka.watch.fd >= 0) {
		agent->loop.backend->watch(&agent->loop, &kafka.watch, 0);
		sw_kafka_host->fd_close(kafka.watch.fd);
	}
	kafka.watch.fd = -1;
	agent->due_ns = 0;
}

static const struct sw_transport transport = {
	.name = "kafka",
	.format = SW_FORMAT_PROTOBUF,
	.frame = sw_flight_frame,
	.open = kafka_open,
	.send = kafka_send,
	.tick = kafka_tick,
	.watchful = kafka_watchful,
	.moved = kafka_moved,
	.pause = kafka_pause,
	.forked = kafka_forked,
	.fork_prepare = sw_kafka_gate_shut,
	.fork_parent = sw_kafka_gate_open,
	.threads = sw_kafka_threads,
	.looks_up = sw_kafka_looks_up,
};

/* OpenSSL is told to leave the program's end and the system's configuration alone. */
static int start(const struct sw_host *host)
{
	sw_kafka_host = host;
	OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT | OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
	return 0;
}

__attribute__((visibility("default"))) extern const struct sw_plugin sw_plugin;

const struct sw_plugin sw_plugin = {
	.version = SW_VERSION,
	.agent_size = sizeof(struct sw_agent),
	.inside = "librdkafka, " OPENSSL_VERSION_TEXT ", lz4, zstd, zlib",
	.start = start,
	.transport = &transport,
};
