/* Batches underway; see flight.h. */
#include "reporter/plugins/kafka/flight.h"

#define CHUNK 64
/* Faults found with messages of one batch, after which they are not offered any more. */
#define REFUSALS_MAX 3
/* Kinds whose key is composed: Kafka's own limit of a name twice over. */
#define KEY_MAX 512

/* The word before each message: length, and in the three highest bits its fate. */
#define FATE_SHIFT 29
#define LENGTH_MASK ((1u << FATE_SHIFT) - 1)

/* COUNTED: it has arrived or is lost, and no longer counts as underway. */
enum fate { FATE_OPEN, FATE_ARRIVED, FATE_LOST, FATE_AGAIN, FATE_COUNTED };

struct key_row;

static struct flight {
	struct sw_batch *batch; /* NULL: free */
	rd_kafka_topic_t *topic;
	size_t next;	  /* offset of the first message that is not handed over yet */
	unsigned pending; /* handed over, nothing known */
	unsigned count;	  /* messages at the start */
	bool stirred;	  /* a report has come that is not counted yet */
	bool singly;	  /* one after the other: it is to be found out which is at fault */
	bool faulty;	  /* the other side found fault with some of it */
	const struct key_row *row;
} flights[SW_FLIGHTS_MAX];

static struct sw_flight_news news;

/* ---- keys ---- */

/* Where the key of a kind is: the numbers of fields, from the message inwards. All messages of a
 * batch may be gathered in one of Kafka's. */
static const struct key_row {
	const char *kind;
	const char *prefix;
	uint8_t path[2];
	bool gathered;
} key_rows[] = {
	{"properties", "register-", {2}, false}, /* InstanceProperties.serviceInstance */
	{"ping", "", {2}, false},		 /* InstancePingPkg.serviceInstance */
	{"segment", "", {2}, false},		 /* SegmentObject.traceSegmentId */
	{"log", "", {6, 2}, false},		 /* LogData.traceContext.traceSegmentId */
	{"meter", "", {1, 4}, true},		 /* MeterDataCollection.meterData.serviceInstance */
};

static const struct key_row *row_of(enum sw_batch_kind kind)
{
	for (size_t i = 0; i < SW_COUNT_OF(key_rows); i++) {
		if (strcmp(key_rows[i].kind, sw_kafka_host->kinds[kind].name) == 0)
			return &key_rows[i];
	}
	return NULL;
}

/* A number of seven bits a byte. 0 is returned beyond the end, too: then nothing is left either. */
static uint64_t take_varint(struct sw_bytes *rest)
{
	uint64_t n = 0;
	unsigned shift = 0;
	uint8_t byte = 0x80;

	while (rest->len && byte & 0x80 && shift < 64) {
		byte = rest->at[0];
		n |= (uint64_t)(byte & 0x7f) << shift;
		shift += 7;
		*rest = sw_bytes_from(*rest, 1);
	}
	return n;
}

/* The content of the first field of this number that is a text or a message. */
static struct sw_bytes field_of(struct sw_bytes rest, unsigned number)
{
	while (rest.len) {
		uint64_t tag = take_varint(&rest), len = 0;

		switch (tag & 7) {
		case 0:
			take_varint(&rest);
			break;
		case 1:
			len = 8;
			break;
		case 2:
			len = take_varint(&rest);
			if (tag >> 3 == number)
				return sw_bytes_slice(rest, 0, SW_MIN(len, rest.len));
			break;
		case 5:
			len = 4;
			break;
		default: /* not ours */
			return sw_bytes(NULL, 0);
		}
		rest = sw_bytes_from(rest, SW_MIN(len, rest.len));
	}
	return rest;
}

bool sw_flight_knows(enum sw_batch_kind kind)
{
	return row_of(kind) != NULL;
}

static struct sw_bytes key_of(const struct key_row *row, struct sw_bytes message)
{
	for (size_t i = 0; i < sizeof(row->path) && row->path[i]; i++)
		message = field_of(message, row->path[i]);
	return message;
}

/* ---- messages in a batch ---- */

static uint32_t word_at(const uint8_t *at)
{
	uint32_t word;

	memcpy(&word, at, sizeof(word));
	return word;
}

static void frame_alone(struct sw_batch *batch, struct sw_bytes message)
{
	uint32_t word = (uint32_t)message.len;

	sw_buffer_add(&batch->bytes, sw_bytes(&word, sizeof(word)));
	sw_buffer_add(&batch->bytes, message);
}

/*
 * A collection is its members, each as field 1 with its length; so one more is appended to the
 * message that is there, whose length grows.
 */
static void frame_gathered(struct sw_batch *batch, struct sw_bytes message)
{
	struct sw_buffer *bytes = &batch->bytes;
	uint32_t word = 0;
	uint8_t head[8] = {1 << 3 | 2}, *at = head + 1;

	for (size_t n = message.len; n >= 0x80; n >>= 7)
		*at++ = (uint8_t)(n | 0x80);
	*at = (uint8_t)(message.len >> 7 * (at - head - 1));
	if (!bytes->len)
		sw_buffer_add(bytes, sw_bytes(&word, sizeof(word)));
	sw_buffer_add(bytes, sw_bytes(head, (size_t)(at + 1 - head)));
	sw_buffer_add(bytes, message);
	if (bytes->failed)
		return; /* the length is that of before, as all will be */
	word = (uint32_t)(bytes->len - sizeof(word));
	memcpy(bytes->at, &word, sizeof(word));
}

void sw_flight_frame(struct sw_batch *batch, struct sw_bytes message)
{
	const struct key_row *row = row_of(batch->kind);

	if (row && row->gathered)
		frame_gathered(batch, message);
	else
		frame_alone(batch, message);
}

static struct sw_bytes message_at(const struct sw_batch *batch, size_t offset)
{
	const uint8_t *at = batch->bytes.at + offset;

	return sw_bytes(at + sizeof(uint32_t), word_at(at) & LENGTH_MASK);
}

static enum fate fate_at(const struct sw_batch *batch, size_t offset)
{
	return (enum fate)(word_at(batch->bytes.at + offset) >> FATE_SHIFT);
}

static size_t after(const struct sw_batch *batch, size_t offset)
{
	return offset + sizeof(uint32_t) + message_at(batch, offset).len;
}

static void set_fate(struct sw_batch *batch, const uint8_t *payload, enum fate fate)
{
	uint8_t *at = batch->bytes.at + (payload - batch->bytes.at) - sizeof(uint32_t);
	uint32_t word = (word_at(at) & LENGTH_MASK) | (uint32_t)fate << FATE_SHIFT;

	memcpy(at, &word, sizeof(word));
}

/* ---- what an error means ---- */

enum verdict { IS_FAULTY, IS_LATER, IS_TOO_LARGE };

/* What is not listed is the batch's fault, perhaps: it is offered three times. */
static const struct {
	rd_kafka_resp_err_t error;
	enum verdict verdict;
} verdicts[] = {
	{RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, IS_TOO_LARGE},
	{RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE, IS_TOO_LARGE},
	{RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE, IS_TOO_LARGE},
	{RD_KAFKA_RESP_ERR_INVALID_RECORD, IS_TOO_LARGE},
	{RD_KAFKA_RESP_ERR__PURGE_QUEUE, IS_LATER},
	{RD_KAFKA_RESP_ERR__PURGE_INFLIGHT, IS_LATER},
	{RD_KAFKA_RESP_ERR__QUEUE_FULL, IS_LATER},
	{RD_KAFKA_RESP_ERR__MSG_TIMED_OUT, IS_LATER},
	{RD_KAFKA_RESP_ERR__TIMED_OUT, IS_LATER},
	{RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE, IS_LATER},
	{RD_KAFKA_RESP_ERR__TRANSPORT, IS_LATER},
	{RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN, IS_LATER},
	{RD_KAFKA_RESP_ERR__AUTHENTICATION, IS_LATER},
	{RD_KAFKA_RESP_ERR__SSL, IS_LATER},
	{RD_KAFKA_RESP_ERR__RESOLVE, IS_LATER},
	{RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC, IS_LATER},
	{RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION, IS_LATER},
	{RD_KAFKA_RESP_ERR__DESTROY, IS_LATER},
	{RD_KAFKA_RESP_ERR__FATAL, IS_LATER},
	{RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, IS_LATER},
	{RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE, IS_LATER},
	{RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, IS_LATER},
	{RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT, IS_LATER},
	{RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE, IS_LATER},
	{RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE, IS_LATER},
	{RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION, IS_LATER},
	{RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, IS_LATER},
	{RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND, IS_LATER},
	{RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR, IS_LATER},
	{RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, IS_LATER},
	{RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED, IS_LATER},
	{RD_KAFKA_RESP_ERR_THROTTLING_QUOTA_EXCEEDED, IS_LATER},
};

static enum verdict verdict_of(rd_kafka_resp_err_t error)
{
	for (size_t i = 0; i < SW_COUNT_OF(verdicts); i++) {
		if (verdicts[i].error == error)
			return verdicts[i].verdict;
	}
	return IS_FAULTY;
}

/*
 * A broker refuses a whole request when one message in it is too large: only what was sent singly
 * is known to be at fault.
 */
static enum fate judge(struct flight *f, rd_kafka_resp_err_t error)
{
	switch (verdict_of(error)) {
	case IS_LATER:
		return FATE_AGAIN;
	case IS_TOO_LARGE:
		f->faulty = true;
		return f->singly || f->row->gathered || f->count == 1 ? FATE_LOST : FATE_AGAIN;
	case IS_FAULTY:
		break;
	}
	f->faulty = true;
	return f->batch->refused + 1 >= REFUSALS_MAX ? FATE_LOST : FATE_AGAIN;
}

/* Something to wait for, and to tell: not what we have called back, nor what goes on at once. */
static bool is_trouble(rd_kafka_resp_err_t error)
{
	return error != RD_KAFKA_RESP_ERR__PURGE_QUEUE &&
	       error != RD_KAFKA_RESP_ERR__PURGE_INFLIGHT && verdict_of(error) != IS_TOO_LARGE;
}

static void failed(struct flight *f, const void *payload, rd_kafka_resp_err_t error)
{
	enum fate fate = judge(f, error);

	set_fate(f->batch, payload, fate);
	if (fate == FATE_LOST)
		news.lost = error;
	else if (is_trouble(error))
		news.error = error;
}

void sw_flight_report(const rd_kafka_message_t *message)
{
	struct flight *f = message->_private;

	f->pending--;
	f->stirred = true;
	if (!message->err) {
		set_fate(f->batch, message->payload, FATE_ARRIVED);
		news.arrived = true;
		return;
	}
	failed(f, message->payload, message->err);
	if (rd_kafka_message_status(message) == RD_KAFKA_MSG_STATUS_POSSIBLY_PERSISTED)
		f->batch->seen = true;
}

/* ---- handing over ---- */

static void fill(struct flight *f, rd_kafka_message_t *ret_message)
{
	struct sw_bytes message = message_at(f->batch, f->next);
	struct sw_bytes key = key_of(f->row, message);

	memset(ret_message, 0, sizeof(*ret_message));
	ret_message->payload = (void *)(uintptr_t)message.at;
	ret_message->len = message.len;
	ret_message->key = key.len ? (void *)(uintptr_t)key.at : NULL;
	ret_message->key_len = key.len;
	ret_message->_private = f;
	f->next = after(f->batch, f->next);
}

/* librdkafka copies the key. */
static void prepend(const char *prefix, rd_kafka_message_t *message, char *room)
{
	struct sw_writer w = sw_writer(room, KEY_MAX);

	sw_write(&w, sw_bytes_text(prefix));
	sw_write(&w, sw_bytes(message->key, message->key_len));
	message->key = room;
	message->key_len = w.len;
}

static void hand_over(struct flight *f, rd_kafka_message_t *messages, unsigned count)
{
	rd_kafka_produce_batch(f->topic, RD_KAFKA_PARTITION_UA, 0, messages, (int)count);
	for (unsigned i = 0; i < count; i++) {
		if (messages[i].err)
			failed(f, messages[i].payload, messages[i].err);
		else
			f->pending++;
	}
}

/* The next messages, as many as may go together. False: there are no more. */
static bool proceed(struct flight *f)
{
	const char *prefix = f->row->prefix;
	unsigned count = 0, most = f->singly || prefix[0] ? 1 : CHUNK;
	rd_kafka_message_t messages[CHUNK];
	char key[KEY_MAX];

	while (count < most && f->next < f->batch->bytes.len)
		fill(f, &messages[count++]);
	if (count && prefix[0])
		prepend(prefix, messages, key);
	if (count)
		hand_over(f, messages, count);
	return count > 0;
}

bool sw_flight_begin(rd_kafka_topic_t *topic, struct sw_batch *batch)
{
	struct flight *f = flights;

	while (f < flights + SW_FLIGHTS_MAX && f->batch)
		f++;
	if (f == flights + SW_FLIGHTS_MAX)
		return false;
	*f = (struct flight){
		.batch = batch,
		.topic = topic,
		.count = batch->count,
		.singly = batch->refused > 0,
		.row = row_of(batch->kind),
	};
	while (proceed(f) && !f->singly)
		;
	return true;
}

/* ---- landing ---- */

/* What is settled counts at once, for others of the batch may wait long for their broker. Its bytes
 * stay where they are: librdkafka reads those of the others. */
static void count_settled(struct sw_agent *agent, struct flight *f)
{
	unsigned sent = 0, lost = 0, each = f->row->gathered ? f->batch->count : 1;

	for (size_t at = 0; at < f->batch->bytes.len; at = after(f->batch, at)) {
		enum fate fate = fate_at(f->batch, at);

		sent += fate == FATE_ARRIVED ? each : 0;
		lost += fate == FATE_LOST ? each : 0;
		if (fate == FATE_ARRIVED || fate == FATE_LOST)
			set_fate(f->batch, message_at(f->batch, at).at, FATE_COUNTED);
	}
	f->stirred = false;
	sw_kafka_host->sent_partly(agent, f->batch, sent, lost);
}

/* Takes what is settled out of the batch. */
static void shed(struct sw_batch *batch)
{
	size_t kept = 0;

	for (size_t at = 0, next; at < batch->bytes.len; at = next) {
		enum fate fate = fate_at(batch, at);

		next = after(batch, at);
		if (fate == FATE_COUNTED)
			continue;
		set_fate(batch, message_at(batch, at).at, FATE_OPEN);
		memmove(batch->bytes.at + kept, batch->bytes.at + at, next - at);
		kept += next - at;
	}
	batch->bytes.len = kept;
}

static void give_back(struct sw_agent *agent, struct flight *f)
{
	struct sw_batch *batch = f->batch;

	count_settled(agent, f);
	f->batch = NULL;
	batch->refused += f->faulty;
	if (batch->count)
		shed(batch);
	sw_kafka_host->sent(agent, batch, batch->count ? SW_SENT_LATER : SW_SENT);
}

struct sw_flight_news sw_flight_land(struct sw_agent *agent, bool go_on)
{
	struct sw_flight_news result = {.arrived = false};
	bool landed = false;

	for (struct flight *f = flights; f < flights + SW_FLIGHTS_MAX; f++) {
		while (go_on && f->batch && !f->pending && proceed(f))
			;
		if (!f->batch)
			continue;
		if (f->pending) {
			if (f->stirred)
				count_settled(agent, f);
			continue;
		}
		give_back(agent, f);
		landed = true;
	}
	if (landed) {
		result = news;
		memset(&news, 0, sizeof(news));
	}
	return result;
}

void sw_flight_abandon(struct sw_agent *agent)
{
	for (struct flight *f = flights; f < flights + SW_FLIGHTS_MAX; f++) {
		if (!f->batch)
			continue;
		f->batch->seen |= f->pending > 0;
		f->pending = 0;
		give_back(agent, f);
	}
	memset(&news, 0, sizeof(news));
}

void sw_flight_forget(void)
{
	memset(flights, 0, sizeof(flights));
	memset(&news, 0, sizeof(news));
}

unsigned sw_flights(void)
{
	unsigned count = 0;

	for (struct flight *f = flights; f < flights + SW_FLIGHTS_MAX; f++)
		count += f->batch != NULL;
	return count;
}
