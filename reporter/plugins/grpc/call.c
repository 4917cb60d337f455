/*
 * A call: begun by the driver, carried on by the pump, message after message, as C core takes them.
 *
 * Three strands end it, each with an operation underway or done: sending, the answer's messages,
 * and its status. When the last one is over it is told and freed; by the pump, but for a call that
 * cannot even begin. C core completes every operation of a call that is cancelled.
 */
#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/slice.h>
#include <grpc/support/alloc.h>
#include <grpc/support/time.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "reporter/plugins/grpc/core.h"

/* gRPC's prefix of a message. */
#define PREFIX 5
/* A collector sends one; who sends without end is not listened to without end. */
#define ANSWERS_MAX 8

struct call {
	struct sw_core_order order;
	struct sw_core_tag sent, heard, ended;
	struct call *next, **before; /* among those underway */
	unsigned line, number;
	bool why; /* nothing is called: a reason is wanted */
	const char *method;
	unsigned timeout_s;
	uint8_t *bytes; /* Owned, until the body has it */
	size_t len, at;
	grpc_slice body; /* Owned */
	grpc_call *call; /* Owned */
	grpc_byte_buffer *out, *in;
	grpc_metadata_array head, tail;
	grpc_metadata token;
	grpc_status_code status;
	grpc_slice details;
	_Atomic unsigned strands; /* not over yet */
	_Atomic bool over;	  /* a status has come: nothing more is sent */
	_Atomic bool begun;
	unsigned answers;
	bool wants_reply;
	uint8_t *reply; /* Owned; with its prefix */
	size_t reply_len;
};

/* Those that can be cancelled. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct call *underway;

static void link_call(struct call *call)
{
	pthread_mutex_lock(&lock);
	call->next = underway;
	call->before = &underway;
	if (underway)
		underway->before = &call->next;
	underway = call;
	pthread_mutex_unlock(&lock);
}

static void unlink_call(struct call *call)
{
	pthread_mutex_lock(&lock);
	*call->before = call->next;
	if (call->next)
		call->next->before = call->before;
	pthread_mutex_unlock(&lock);
}

/* ---- its end ---- */

static void copy_printable(char *ret_text, size_t room, grpc_slice slice)
{
	size_t len = SW_MIN(GRPC_SLICE_LENGTH(slice), room - 1);

	for (size_t i = 0; i < len; i++) {
		uint8_t byte = GRPC_SLICE_START_PTR(slice)[i];

		ret_text[i] = byte < ' ' || byte > '~' ? '?' : (char)byte;
	}
	ret_text[len] = 0;
}

static void tell_end(struct call *call)
{
	struct sw_core_news *news =
		sw_core_news_new(call->why ? SW_CORE_DOWN : SW_CORE_ANSWER, call->line);

	if (!news)
		return; /* it comes to its end by time */
	news->call = call->number;
	news->status = (unsigned)call->status;
	news->begun = atomic_load(&call->begun);
	news->reply = call->reply; /* taken */
	news->reply_len = call->reply_len;
	call->reply = NULL;
	copy_printable(news->message, sizeof(news->message), call->details);
	sw_core_tell(news);
}

static void end_call(struct call *call)
{
	tell_end(call);
	unlink_call(call);
	grpc_call_unref(call->call);
	grpc_slice_unref(call->body);
	grpc_slice_unref(call->details);
	grpc_metadata_array_destroy(&call->head);
	grpc_metadata_array_destroy(&call->tail);
	free(call->reply);
	free(call);
}

static void end_strand(struct call *call)
{
	if (atomic_fetch_sub(&call->strands, 1) == 1)
		end_call(call);
}

/* ---- operations ---- */

static bool begin(struct call *call, const grpc_op *ops, size_t count, struct sw_core_tag *tag)
{
	return grpc_call_start_batch(call->call, ops, count, tag, NULL) == GRPC_CALL_OK;
}

/* The next message of the body into an operation, and the end of all after the last. */
static size_t next_message(struct call *call, grpc_op *op)
{
	const uint8_t *at = GRPC_SLICE_START_PTR(call->body) + call->at;
	size_t len = (size_t)at[1] << 24 | (size_t)at[2] << 16 | (size_t)at[3] << 8 | at[4];
	grpc_slice message = grpc_slice_sub(call->body, call->at + PREFIX, call->at + PREFIX + len);

	call->at += PREFIX + len;
	call->out = grpc_raw_byte_buffer_create(&message, 1);
	grpc_slice_unref(message);
	op[0].op = GRPC_OP_SEND_MESSAGE;
	op[0].data.send_message.send_message = call->out;
	if (call->at < call->len) {
		op[0].flags = GRPC_WRITE_BUFFER_HINT; /* others follow: not a write for each */
		return 1;
	}
	op[1].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
	return 2;
}

static void sent(struct sw_core_tag *tag, bool ok)
{
	struct call *call = (struct call *)((char *)tag - offsetof(struct call, sent));
	grpc_op ops[2] = {0};

	if (call->out)
		grpc_byte_buffer_destroy(call->out);
	call->out = NULL;
	atomic_store(&call->begun, true);
	if (!ok || atomic_load(&call->over) || call->at == call->len ||
	    !begin(call, ops, next_message(call, ops), &call->sent))
		end_strand(call);
}

static bool hear(struct call *call)
{
	grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};

	op.data.recv_message.recv_message = &call->in;
	return begin(call, &op, 1, &call->heard);
}

/* The only message of it; C core has seen to its length. */
static void keep_reply(struct call *call)
{
	grpc_byte_buffer_reader reader;
	grpc_slice all;
	size_t len;

	if (!grpc_byte_buffer_reader_init(&reader, call->in))
		return;
	all = grpc_byte_buffer_reader_readall(&reader);
	len = GRPC_SLICE_LENGTH(all);
	call->reply = malloc(PREFIX + len);
	if (call->reply) {
		const uint8_t prefix[PREFIX] = {0, (uint8_t)(len >> 24), (uint8_t)(len >> 16),
						(uint8_t)(len >> 8), (uint8_t)len};

		memcpy(call->reply, prefix, PREFIX);
		memcpy(call->reply + PREFIX, GRPC_SLICE_START_PTR(all), len);
		call->reply_len = PREFIX + len;
	}
	grpc_slice_unref(all);
	grpc_byte_buffer_reader_destroy(&reader);
}

static void heard(struct sw_core_tag *tag, bool ok)
{
	struct call *call = (struct call *)((char *)tag - offsetof(struct call, heard));
	bool more = ok && call->in;

	if (more && call->wants_reply && !call->reply)
		keep_reply(call);
	if (call->in)
		grpc_byte_buffer_destroy(call->in);
	call->in = NULL;
	if (more && ++call->answers == ANSWERS_MAX)
		grpc_call_cancel(call->call, NULL);
	if (!more || call->answers == ANSWERS_MAX || !hear(call))
		end_strand(call);
}

static void ended(struct sw_core_tag *tag, bool ok)
{
	struct call *call = (struct call *)((char *)tag - offsetof(struct call, ended));

	(void)ok;
	atomic_store(&call->over, true);
	end_strand(call);
}

static bool await_status(struct call *call)
{
	grpc_op ops[2] = {{.op = GRPC_OP_RECV_INITIAL_METADATA},
			  {.op = GRPC_OP_RECV_STATUS_ON_CLIENT}};

	ops[0].data.recv_initial_metadata.recv_initial_metadata = &call->head;
	ops[1].data.recv_status_on_client.trailing_metadata = &call->tail;
	ops[1].data.recv_status_on_client.status = &call->status;
	ops[1].data.recv_status_on_client.status_details = &call->details;
	return begin(call, ops, 2, &call->ended);
}

static bool send_head(struct call *call)
{
	const char *token = sw_grpc_host->config->authentication;
	grpc_op ops[3] = {{.op = GRPC_OP_SEND_INITIAL_METADATA}};
	size_t count = 1;

	if (token[0] && !call->why) {
		call->token.key = grpc_slice_from_static_string("authentication");
		call->token.value = grpc_slice_from_static_string(token);
		ops[0].data.send_initial_metadata.metadata = &call->token;
		ops[0].data.send_initial_metadata.count = 1;
	}
	if (call->len)
		count += next_message(call, ops + 1);
	return begin(call, ops, count, &call->sent);
}

/* ---- its beginning ---- */

static void prepare(struct call *call)
{
	call->sent.done = sent;
	call->heard.done = heard;
	call->ended.done = ended;
	call->details = grpc_empty_slice();
	call->body = call->bytes ? grpc_slice_new_with_user_data(call->bytes, call->len, free,
								 call->bytes)
				 : grpc_empty_slice();
	call->status = GRPC_STATUS_UNKNOWN;
	grpc_metadata_array_init(&call->head);
	grpc_metadata_array_init(&call->tail);
}

static void begin_call(struct call *call, grpc_channel *channel)
{
	gpr_timespec end = gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
					gpr_time_from_seconds(call->timeout_s, GPR_TIMESPAN));

	prepare(call);
	call->call = grpc_channel_create_call(channel, NULL, GRPC_PROPAGATE_DEFAULTS, sw_core_queue,
					      grpc_slice_from_static_string(call->method), NULL,
					      end, NULL);
	link_call(call);
	atomic_store(&call->strands, 4); /* the fourth is this function */
	if (!await_status(call))
		end_strand(call);
	if (!hear(call))
		end_strand(call);
	if (!send_head(call)) { /* a token that no header can hold */
		grpc_call_cancel(call->call, NULL);
		end_strand(call);
	}
	end_strand(call);
}

/* The line has gone meanwhile. */
static void turn_away(struct call *call)
{
	struct sw_core_news *news = sw_core_news_new(SW_CORE_ANSWER, call->line);

	if (news) {
		news->call = call->number;
		news->status = GRPC_STATUS_UNAVAILABLE;
		sw_core_tell(news);
	}
	free(call->bytes);
	free(call);
}

static void run(struct sw_core_order *order)
{
	struct call *call = (struct call *)order;
	grpc_channel *channel = sw_core_line(call->line);

	if (channel)
		begin_call(call, channel);
	else
		turn_away(call);
}

void sw_core_ask_why(grpc_channel *channel, unsigned line)
{
	struct call *call = calloc(1, sizeof(*call));

	if (!call) {
		sw_core_tell(sw_core_news_new(SW_CORE_DOWN, line));
		return;
	}
	call->why = true;
	call->method = "/";
	call->line = line;
	call->timeout_s = 1;
	begin_call(call, channel);
}

/* References are taken first: a call may end, and free itself, while others are cancelled. */
void sw_core_cancel_calls(void)
{
	grpc_call *calls[64];
	size_t count = 0;

	pthread_mutex_lock(&lock);
	for (struct call *call = underway; call && count < SW_COUNT_OF(calls); call = call->next) {
		grpc_call_ref(call->call);
		calls[count++] = call->call;
	}
	pthread_mutex_unlock(&lock);
	while (count) {
		grpc_call_cancel(calls[--count], NULL);
		grpc_call_unref(calls[count]);
	}
}

/* ---- our thread ---- */

bool sw_core_call(unsigned line, unsigned number, const char *method, struct sw_bytes body,
		  unsigned timeout_s, bool wants_reply)
{
	struct call *call = calloc(1, sizeof(*call));

	if (!call)
		return false;
	call->order.run = run;
	call->line = line;
	call->number = number;
	call->method = method;
	call->timeout_s = timeout_s;
	call->wants_reply = wants_reply;
	call->len = body.len;
	call->bytes = malloc(body.len);
	if (!call->bytes) {
		free(call);
		return false;
	}
	memcpy(call->bytes, body.at, body.len);
	sw_core_post(&call->order);
	return true;
}
