/* Logs, meters, events and snapshots to messages, read back by protobuf-c; check_messages.py reads
 * them with SkyWalking's classes. */
#include <criterion/criterion.h>

#include "proto/event.pb-c.h"
#include "proto/logging.pb-c.h"
#include "proto/meter.pb-c.h"
#include "proto/profile.pb-c.h"
#include "tests/proto/encoding.h"
#include "tests/proto/made.h"

#define MANY 2000

static const struct sw_sender sender = {"service", "instance"};

TestSuite(encode_records, .init = encoding_begin, .fini = encoding_end);

/* Of another message each time, larger and smaller: nothing of the last one shows. */
Test(encode_records, one_encoder_for_all)
{
	for (int round = 0; round < 3; round++) {
		Skywalking__V3__LogData *log;
		Skywalking__V3__Event *event;

		out.len = 0;
		cr_assert(sw_encode_log(SW_FORMAT_PROTOBUF, &sender, &made_logs[0], &out));
		log = skywalking__v3__log_data__unpack(NULL, out.len, out.at);
		cr_assert(log && log->tags->n_data == 2);
		cr_assert_str_eq(log->tags->data[1]->value, "caf\xc3\xa9 ?");
		cr_assert_str_eq(log->trace_context->trace_id, MADE_TRACE);
		skywalking__v3__log_data__free_unpacked(log, NULL);
		out.len = 0;
		cr_assert(sw_encode_event(encoder, SW_FORMAT_PROTOBUF, &sender, &made_events[0],
					  &out));
		event = skywalking__v3__event__unpack(NULL, out.len, out.at);
		cr_assert(event && event->n_parameters == 2);
		cr_assert_str_eq(event->parameters[0]->key, "thread");
		cr_assert_str_eq(event->source->endpoint, "/slow");
		skywalking__v3__event__free_unpacked(event, NULL);
		out.len = 0;
		cr_assert(sw_encode_log(SW_FORMAT_PROTOBUF, &sender, &made_logs[2], &out));
		log = skywalking__v3__log_data__unpack(NULL, out.len, out.at);
		cr_assert(log && !log->tags && !log->trace_context);
		cr_assert_str_eq(log->body->text->text, "a?b???");
		skywalking__v3__log_data__free_unpacked(log, NULL);
	}
}

Test(encode_records, many_labels_and_buckets)
{
	static struct sw_label label[MANY];
	static struct sw_bucket bucket[MANY];
	struct sw_meter meter = {SW_BYTES("m"), label, MANY, 0, bucket, MANY, 5};
	Skywalking__V3__MeterData *read;

	for (size_t i = 0; i < MANY; i++) {
		label[i] = (struct sw_label){SW_BYTES("name"), SW_BYTES("value")};
		bucket[i] = (struct sw_bucket){(double)i, (int64_t)i, false};
	}
	cr_assert(sw_encode_meter(encoder, SW_FORMAT_PROTOBUF, NULL, &meter, &out));
	read = skywalking__v3__meter_data__unpack(NULL, out.len, out.at);
	cr_assert(read && !read->service[0] && read->timestamp == 0);
	cr_assert_eq(read->histogram->n_labels, MANY);
	cr_assert_eq(read->histogram->n_values, MANY);
	cr_assert_eq(read->histogram->values[MANY - 1]->bucket, MANY - 1);
	cr_assert_str_eq(read->histogram->labels[MANY - 1]->value, "value");
	skywalking__v3__meter_data__free_unpacked(read, NULL);
}

Test(encode_records, long_lines)
{
	size_t len = 1 << 20;
	uint8_t *line = malloc(len);
	struct sw_log log = {.body = sw_bytes(line, len)};
	Skywalking__V3__LogData *read;

	memset(line, 0x80, len);
	cr_assert(sw_encode_log(SW_FORMAT_PROTOBUF, &sender, &log, &out));
	read = skywalking__v3__log_data__unpack(NULL, out.len, out.at);
	cr_assert(read);
	cr_assert_eq(strspn(read->body->text->text, "?"), len);
	skywalking__v3__log_data__free_unpacked(read, NULL);
	free(line);
}

Test(encode_records, what_is_there_stays_when_memory_is_refused)
{
	struct sw_buffer full = {NULL, 0, 0, true};

	cr_assert_not(sw_encode_snapshot(encoder, SW_FORMAT_PROTOBUF, &made_snapshots[0], &full));
	cr_assert_not(sw_encode_meter(encoder, SW_FORMAT_JSON, &sender, &made_odd_meter, &full));
	cr_assert(full.len == 0 && full.failed);
}

Test(encode_records, profiles)
{
	Skywalking__V3__ThreadSnapshot *read;

	cr_assert(sw_encode_snapshot(encoder, SW_FORMAT_PROTOBUF, &made_snapshots[0], &out));
	read = skywalking__v3__thread_snapshot__unpack(NULL, out.len, out.at);
	cr_assert(read && read->stack->n_code_signatures == 3);
	cr_assert_str_eq(read->stack->code_signatures[2], "/app/main.py.caf\xc3\xa9?: 42");
	skywalking__v3__thread_snapshot__free_unpacked(read, NULL);
	out.len = 0;
	cr_assert(sw_encode_query(encoder, SW_FORMAT_JSON, &sender, -1, &out));
	cr_assert(
		sw_bytes_ends(sw_bytes(out.at, out.len), SW_BYTES("\"lastCommandTime\":\"-1\"}")));
}
