/*
 * Batches underway to Kafka: every message is settled once, whatever the reports say and in
 * whatever order, and what is offered again is what was not settled. librdkafka is played here.
 */
#include <criterion/criterion.h>

#if __has_include(<librdkafka/rdkafka.h>)
#include "reporter/plugins/kafka/flight.c"

#define MOST 300

static struct {
	rd_kafka_message_t messages[MOST];
	char keys[MOST][64];
	unsigned count;
	rd_kafka_resp_err_t refuse; /* at once, instead of taking it */
	rd_kafka_msg_status_t status;
} given;

static struct {
	unsigned sent, lost, calls;
	enum sw_sent outcome;
} told;

int rd_kafka_produce_batch(rd_kafka_topic_t *topic, int32_t partition, int flags,
			   rd_kafka_message_t *messages, int count)
{
	(void)topic, (void)partition, (void)flags;
	for (int i = 0; i < count; i++) {
		messages[i].err = given.refuse;
		if (given.refuse)
			continue;
		snprintf(given.keys[given.count], 64, "%.*s", (int)messages[i].key_len,
			 (const char *)messages[i].key);
		given.messages[given.count++] = messages[i];
	}
	return count;
}

rd_kafka_msg_status_t rd_kafka_message_status(const rd_kafka_message_t *message)
{
	(void)message;
	return given.status;
}

static void sent(struct sw_agent *agent, struct sw_batch *batch, enum sw_sent outcome)
{
	(void)agent, (void)batch;
	told.outcome = outcome;
	told.calls++;
}

static void sent_partly(struct sw_agent *agent, struct sw_batch *batch, unsigned arrived,
			unsigned lost)
{
	(void)agent;
	told.sent += arrived;
	told.lost += lost;
	batch->count -= arrived + lost;
}

static const struct sw_host played = {
	.kinds = sw_kinds,
	.sent = sent,
	.sent_partly = sent_partly,
};
const struct sw_host *sw_kafka_host = &played;

/* SegmentObject with nothing but traceSegmentId. */
static void add(struct sw_batch *batch, const char *id)
{
	uint8_t message[64] = {1 << 3 | 2, 1, 'x', 2 << 3 | 2, (uint8_t)strlen(id)};

	memcpy(message + 5, id, strlen(id));
	sw_flight_frame(batch, sw_bytes(message, 5 + strlen(id)));
	batch->count++;
}

static struct sw_batch *batch_of(unsigned count)
{
	struct sw_batch *batch = calloc(1, sizeof(*batch));
	char id[16];

	batch->kind = SW_BATCH_SEGMENT;
	for (unsigned i = 0; i < count; i++) {
		snprintf(id, sizeof(id), "id-%u", i);
		add(batch, id);
	}
	return batch;
}

static void report(unsigned i, rd_kafka_resp_err_t error)
{
	given.messages[i].err = error;
	sw_flight_report(&given.messages[i]);
}

static void report_all(rd_kafka_resp_err_t error)
{
	for (unsigned i = 0; i < given.count; i++)
		report(i, error);
	given.count = 0;
}

Test(kafka, all_arrive)
{
	struct sw_batch *batch = batch_of(200);

	cr_assert(sw_flight_begin(NULL, batch));
	cr_assert_eq(given.count, 200);
	cr_assert_str_eq(given.keys[0], "id-0");
	cr_assert_str_eq(given.keys[199], "id-199");
	sw_flight_land(NULL, true);
	cr_assert_eq(told.calls, 0);
	report_all(0);
	cr_assert(sw_flight_land(NULL, true).arrived);
	cr_assert(told.sent == 200 && told.lost == 0 && told.outcome == SW_SENT);
	cr_assert_eq(sw_flights(), 0);
}

Test(kafka, what_is_settled_leaves_and_the_rest_goes_again)
{
	struct sw_batch *batch = batch_of(5);

	sw_flight_begin(NULL, batch);
	report(3, 0);
	report(0, RD_KAFKA_RESP_ERR__TRANSPORT);
	report(4, RD_KAFKA_RESP_ERR__MSG_TIMED_OUT);
	report(2, 0);
	sw_flight_land(NULL, true);
	cr_assert_eq(told.calls, 0, "one is not known yet");
	report(1, 0);
	cr_assert_eq(sw_flight_land(NULL, true).error, RD_KAFKA_RESP_ERR__MSG_TIMED_OUT);
	cr_assert(told.sent == 3 && told.outcome == SW_SENT_LATER && batch->count == 2);
	cr_assert_not(batch->seen);
	given.count = 0;
	sw_flight_begin(NULL, batch);
	cr_assert_eq(given.count, 2);
	cr_assert_str_eq(given.keys[0], "id-0");
	cr_assert_str_eq(given.keys[1], "id-4");
}

Test(kafka, too_large_is_found_singly)
{
	struct sw_batch *batch = batch_of(3);

	sw_flight_begin(NULL, batch);
	report_all(RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
	cr_assert_eq(sw_flight_land(NULL, true).error, 0, "nothing to wait for");
	cr_assert(told.sent == 0 && told.lost == 0 && told.outcome == SW_SENT_LATER);
	sw_flight_begin(NULL, batch);
	for (unsigned i = 0; i < 3; i++) {
		cr_assert_eq(given.count, 1, "one after the other");
		report_all(i == 1 ? RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE : 0);
		sw_flight_land(NULL, true);
	}
	cr_assert(told.sent == 2 && told.lost == 1 && told.outcome == SW_SENT);
}

Test(kafka, one_that_goes_singly_stops_when_told_to)
{
	struct sw_batch *batch = batch_of(3);

	batch->refused = 1;
	sw_flight_begin(NULL, batch);
	cr_assert_eq(given.count, 1);
	report_all(RD_KAFKA_RESP_ERR__PURGE_QUEUE);
	sw_flight_land(NULL, false);
	cr_assert(told.outcome == SW_SENT_LATER && batch->count == 3 && given.count == 0);
}

Test(kafka, a_fault_is_lost_the_third_time)
{
	struct sw_batch *batch = batch_of(2);

	for (unsigned times = 0; times < 3; times++) {
		cr_assert_eq(told.lost, 0);
		sw_flight_begin(NULL, batch);
		while (given.count) {
			report_all(RD_KAFKA_RESP_ERR_POLICY_VIOLATION);
			sw_flight_land(NULL, true);
		}
	}
	cr_assert(told.lost == 2 && told.outcome == SW_SENT);
}

Test(kafka, refused_by_librdkafka_itself)
{
	struct sw_batch *batch = batch_of(70);

	given.refuse = RD_KAFKA_RESP_ERR__QUEUE_FULL;
	cr_assert(sw_flight_begin(NULL, batch));
	sw_flight_land(NULL, true);
	cr_assert(told.outcome == SW_SENT_LATER && batch->count == 70 && told.sent == 0);
}

Test(kafka, abandoned_ones_may_have_arrived)
{
	struct sw_batch *batch = batch_of(3), *whole = batch_of(1);

	sw_flight_begin(NULL, batch);
	report(0, 0);
	sw_flight_begin(NULL, whole);
	report(3, RD_KAFKA_RESP_ERR__PURGE_QUEUE);
	sw_flight_abandon(NULL);
	cr_assert(told.sent == 1 && batch->count == 2 && batch->seen);
	cr_assert_not(whole->seen);
	cr_assert_eq(sw_flights(), 0);
}

Test(kafka, doubt_is_noted)
{
	struct sw_batch *batch = batch_of(1);

	given.status = RD_KAFKA_MSG_STATUS_POSSIBLY_PERSISTED;
	sw_flight_begin(NULL, batch);
	report_all(RD_KAFKA_RESP_ERR__PURGE_INFLIGHT);
	sw_flight_land(NULL, true);
	cr_assert(batch->seen);
}

Test(kafka, no_more_than_there_is_room_for)
{
	for (unsigned i = 0; i < SW_FLIGHTS_MAX; i++)
		cr_assert(sw_flight_begin(NULL, batch_of(1)));
	cr_assert_not(sw_flight_begin(NULL, batch_of(1)));
}

/* ---- keys ---- */

static struct sw_bytes key(const struct key_row *row, const char *message, size_t len)
{
	return key_of(row, sw_bytes(message, len));
}

#define KEY(row, text) key(&key_rows[row], text, sizeof(text) - 1)

Test(kafka, keys)
{
	/* a log: timestamp, service, traceContext {traceId, traceSegmentId} */
	cr_assert(sw_bytes_equal(KEY(3, "\x08\x96\x01\x12\x01s\x32\x08\x0a\x01t\x12\x03seg"),
				 SW_BYTES("seg")));
	cr_assert_eq(KEY(3, "\x08\x96\x01\x12\x01s").len, 0, "a log of no trace");
	/* meters: the first {singleValue, service, serviceInstance} of several */
	cr_assert(sw_bytes_equal(KEY(4, "\x0a\x0a\x0a\x00\x1a\x01s\x22\x03one"
					"\x0a\x05\x22\x03two"),
				 SW_BYTES("one")));
	/* what lies before it, of every wire type */
	cr_assert(sw_bytes_equal(KEY(2, "\x19........\x0d....\x08\x01\x12\x02id"), SW_BYTES("id")));
}

Test(kafka, keys_of_nonsense)
{
	cr_assert_eq(KEY(2, "").len, 0);
	cr_assert_eq(KEY(2, "\x12").len, 0);
	cr_assert_eq(KEY(2, "\x12\x09short").len, 5, "no further than there is something");
	cr_assert_eq(KEY(2, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff").len, 0);
	cr_assert_eq(KEY(2, "\x0f\x0f").len, 0);
	cr_assert_eq(KEY(2, "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f").len, 0);
}

Test(kafka, composed_keys)
{
	struct sw_batch *batch = batch_of(1);

	batch->kind = SW_BATCH_PROPERTIES;
	sw_flight_begin(NULL, batch);
	cr_assert_str_eq(given.keys[0], "register-id-0");
}
#endif
