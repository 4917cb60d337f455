/*
 * A line: one channel of C core's to one address. Made and dropped by the driver; the pump is told
 * when its state changes.
 *
 * It does what our own engine's connection does and no more: one attempt to connect, no names
 * looked up, no proxy, no repetitions, no pings. What follows a failure our thread decides.
 */
#include <grpc/grpc_security.h>
#include <stdlib.h>
#include <string.h>

#include "reporter/plugins/grpc/core.h"

/* And TLS has shaken hands, and settings have come. */
#define CONNECT_MS 5000
/* After a failure our thread hangs up; C core is not to try again before. */
#define AGAIN_MS 60000
/* Of the only message that a collector sends. */
#define ANSWER_BYTES_MAX 65536

struct line {
	struct sw_core_order order;
	struct sw_core_tag watch;
	unsigned number;
	struct sw_core_wish wish;
	grpc_channel *channel;
	grpc_connectivity_state state;
	bool began, was_up, over; /* over: nothing more is told */
	bool closing;
};

/* Held while the pump looks at a channel, so that the driver does not destroy it under its eyes. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct line *current;

static void free_line(struct line *line)
{
	free(line->wish.trusted);
	free(line->wish.chain);
	free(line->wish.key);
	free(line);
}

/* ---- the pump ---- */

static void watch(struct line *line)
{
	grpc_channel_watch_connectivity_state(line->channel, line->state,
					      gpr_inf_future(GPR_CLOCK_MONOTONIC), sw_core_queue,
					      &line->watch);
}

static void note_down(struct line *line)
{
	line->over = true;
	if (line->state != GRPC_CHANNEL_TRANSIENT_FAILURE) /* it was up, or nearly */
		sw_core_tell(sw_core_news_new(SW_CORE_DOWN, line->number));
	else
		sw_core_ask_why(line->channel, line->number);
}

static void note_state(struct line *line)
{
	if (line->over)
		return;
	if (line->state == GRPC_CHANNEL_READY) {
		line->was_up = true;
		sw_core_tell(sw_core_news_new(SW_CORE_UP, line->number));
	} else if (line->was_up || line->state == GRPC_CHANNEL_TRANSIENT_FAILURE ||
		   (line->began && line->state == GRPC_CHANNEL_IDLE)) {
		note_down(line);
	}
	line->began |= line->state == GRPC_CHANNEL_CONNECTING;
}

static void changed(struct sw_core_tag *tag, bool ok)
{
	struct line *line = (struct line *)((char *)tag - offsetof(struct line, watch));
	bool closing;

	(void)ok;
	pthread_mutex_lock(&lock);
	closing = line->closing;
	if (!closing) {
		/* it is not asked to connect again: what is down is for our thread to mend */
		line->state = grpc_channel_check_connectivity_state(line->channel, 0);
		note_state(line);
		watch(line);
	}
	pthread_mutex_unlock(&lock);
	if (closing)
		free_line(line);
}

/* ---- the driver ---- */

static grpc_arg number(const char *key, int value)
{
	return (grpc_arg){
		.type = GRPC_ARG_INTEGER, .key = (char *)(uintptr_t)key, .value.integer = value};
}

static grpc_arg text(const char *key, char *value)
{
	return (grpc_arg){
		.type = GRPC_ARG_STRING, .key = (char *)(uintptr_t)key, .value.string = value};
}

/* C core copies a channel's arguments into all that belongs to it: when the last copy of this one
 * is gone, so is the channel. */
static _Atomic long copies;

static void *copy_mark(void *mark)
{
	atomic_fetch_add(&copies, 1);
	return mark;
}

static void drop_mark(void *mark)
{
	(void)mark;
	atomic_fetch_sub(&copies, 1);
}

static int compare_marks(void *a, void *b)
{
	return (a > b) - (a < b);
}

static const grpc_arg_pointer_vtable mark_table = {copy_mark, drop_mark, compare_marks};

static grpc_arg mark(void)
{
	return (grpc_arg){.type = GRPC_ARG_POINTER,
			  .key = (char *)(uintptr_t) "swagent.mark",
			  .value.pointer = {&copies, &mark_table}};
}

bool sw_core_line_connecting(void)
{
	bool connecting;

	pthread_mutex_lock(&lock);
	connecting = current && !current->was_up && !current->over;
	pthread_mutex_unlock(&lock);
	return connecting;
}

bool sw_core_lines_gone(void)
{
	return atomic_load(&copies) == 0;
}

static grpc_channel_credentials *credentials(const struct sw_core_wish *wish)
{
	grpc_ssl_pem_key_cert_pair pair = {wish->key, wish->chain};

	if (!wish->secure)
		return grpc_insecure_credentials_create();
	return grpc_ssl_credentials_create_ex(wish->trusted, wish->chain ? &pair : NULL, NULL,
					      NULL);
}

static grpc_channel *new_channel(struct sw_core_wish *wish)
{
	grpc_arg list[] = {
		mark(),
		text(GRPC_ARG_DEFAULT_AUTHORITY, wish->authority),
		text(GRPC_SSL_TARGET_NAME_OVERRIDE_ARG, wish->host),
		number(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, CONNECT_MS),
		number(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, AGAIN_MS),
		number(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2 * AGAIN_MS),
		number(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, ANSWER_BYTES_MAX),
		number(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1),
		number(GRPC_ARG_MINIMAL_STACK, 1),
		number(GRPC_ARG_ENABLE_DEADLINE_CHECKS, 1),
		number(GRPC_ARG_ENABLE_RETRIES, 0),
		number(GRPC_ARG_ENABLE_CHANNELZ, 0),
		number(GRPC_ARG_ENABLE_HTTP_PROXY, 0),
		number(GRPC_ARG_HTTP2_BDP_PROBE, 0),
		number(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1),
		number(GRPC_ARG_MAX_CHANNEL_TRACE_EVENT_MEMORY_PER_NODE, 0),
	};
	grpc_channel_args args = {sizeof(list) / sizeof(list[0]), list};
	grpc_channel_credentials *who = credentials(wish);
	grpc_channel *channel;

	if (!who)
		return grpc_lame_client_channel_create(wish->target, GRPC_STATUS_UNAVAILABLE,
						       "the certificates cannot be used");
	channel = grpc_channel_create(wish->target, who, &args);
	grpc_channel_credentials_release(who);
	return channel;
}

static void dial(struct sw_core_order *order)
{
	struct line *line = (struct line *)order;

	sw_core_drop_line();
	line->channel = new_channel(&line->wish);
	pthread_mutex_lock(&lock);
	current = line;
	line->state = grpc_channel_check_connectivity_state(line->channel, 1);
	note_state(line);
	watch(line);
	pthread_mutex_unlock(&lock);
}

grpc_channel *sw_core_line(unsigned number)
{
	return current && current->number == number ? current->channel : NULL;
}

void sw_core_drop_line(void)
{
	struct line *line = current;
	grpc_channel *channel;

	sw_core_cancel_calls();
	if (!line)
		return;
	pthread_mutex_lock(&lock);
	current = NULL;
	channel = line->channel;
	line->closing = true; /* the pump frees it when the watch ends */
	pthread_mutex_unlock(&lock);
	grpc_channel_destroy(channel);
}

static void hang_up(struct sw_core_order *order)
{
	sw_core_drop_line();
	free(order);
}

/* ---- our thread ---- */

bool sw_core_dial(unsigned number, struct sw_core_wish *wish)
{
	struct line *line = calloc(1, sizeof(*line));

	if (!line) {
		free(wish->trusted);
		free(wish->chain);
		free(wish->key);
		return false;
	}
	line->order.run = dial;
	line->watch.done = changed;
	line->number = number;
	line->wish = *wish;
	sw_core_post(&line->order);
	return true;
}

bool sw_core_hang_up(void)
{
	struct sw_core_order *order = calloc(1, sizeof(*order));

	if (!order)
		return false;
	order->run = hang_up;
	sw_core_post(order);
	return true;
}
