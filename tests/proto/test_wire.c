/* What goes straight to the wire is what the messages of protobuf-c say: read back, it is what they
 * make of it, and their JSON is that of the way by messages. */
#include <criterion/criterion.h>

#include "proto/json.h"
#include "proto/logging.pb-c.h"
#include "proto/tracing.pb-c.h"
#include "proto/wire.h"
#include "tests/proto/encoding.h"
#include "tests/proto/records.h"

#define SPANS 40
#define TEXT_MAX 3000

static const struct sw_sender sender = {"service", "inst\xff"};
static struct sw_buffer json, again;
static struct made record[SPANS];
static uint8_t text[1 << 20];
static unsigned seed = 1;

static void end(void)
{
	encoding_end();
	sw_buffer_free(&json);
	sw_buffer_free(&again);
}

TestSuite(wire, .init = encoding_begin, .fini = end, .timeout = 60);

static unsigned dice(unsigned below)
{
	seed = seed * 1103515245 + 12345;
	return (seed >> 8) % below;
}

/* Lengths about those at which a length takes a byte more come often. */
static size_t some_len(size_t most)
{
	static const size_t borders[] = {0, 1, 127, 128, 129, 16383, 16384, 65536};
	size_t len = dice(3) ? dice(40) : borders[dice(SW_COUNT_OF(borders))];

	return SW_MIN(len, most);
}

static struct sw_bytes some_text(size_t most)
{
	size_t len = some_len(most), at = dice(sizeof(text) / 2);

	return sw_bytes(text + at, len);
}

/* So that room is scarce in other places each time. */
static void scarce(struct sw_buffer *buffer)
{
	sw_buffer_free(buffer);
	buffer->room = 1 + dice(1000);
	buffer->at = malloc(buffer->room);
}

static void same_as_theirs(const ProtobufCMessage *read)
{
	uint8_t *theirs = malloc(out.len + 1);

	cr_assert_eq(protobuf_c_message_get_packed_size(read), out.len);
	protobuf_c_message_pack(read, theirs);
	cr_assert_arr_eq(theirs, out.at, out.len);
	free(theirs);
	again.len = 0;
	cr_assert(sw_json_message(read, &again));
	cr_assert_eq(again.len, json.len);
	cr_assert_arr_eq(again.at, json.at, json.len);
}

/* ---- lines of log ---- */

static void check_log(const struct sw_log *log)
{
	Skywalking__V3__LogData *read;

	scarce(&out);
	scarce(&json);
	cr_assert(sw_encode_log(SW_FORMAT_PROTOBUF, &sender, log, &out));
	cr_assert(sw_encode_log(SW_FORMAT_JSON, &sender, log, &json));
	read = skywalking__v3__log_data__unpack(NULL, out.len, out.at);
	cr_assert(read);
	same_as_theirs(&read->base);
	skywalking__v3__log_data__free_unpacked(read, NULL);
}

/* One byte of `plain` is any, the others are letters; of 1 most are such as JSON has in six bytes.
 */
static void fill_text(unsigned plain)
{
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (uint8_t)(dice(plain) ? 'a' + dice(26) : dice(plain == 1 ? 32 : 256));
}

static void some_logs(void)
{
	struct sw_label tag[6];

	for (int i = 0; i < 3000; i++) {
		struct sw_log log = {
			.timestamp_ms = dice(2) ? 1700000000000 + dice(1000) : -(int)dice(2),
			.body = some_text(100000),
			.json = dice(2),
			.endpoint = some_text(1000),
			.trace = some_text(200),
			.segment = some_text(40),
			.span = (int)dice(3) - 1,
			.layer = some_text(10),
			.tag = tag,
			.tags = dice(SW_COUNT_OF(tag)),
		};

		for (size_t j = 0; j < log.tags; j++)
			tag[j] = (struct sw_label){some_text(200), some_text(20000)};
		check_log(&log);
	}
}

Test(wire, logs_of_all_kinds)
{
	fill_text(20);
	some_logs();
	fill_text(1);
	some_logs();
}

/* ---- segments ---- */

static const char *const carriers[] = {
	MADE_CARRIER,
	"1-/2EA-c2VnbWVudC0x-7-Y2FsbGVy-Y2FsbGVyLTE=-L3N0YXJ0-/w==",
};

static void some_record(struct made *made, bool entry)
{
	if (entry)
		made_entry(made, NULL);
	else
		made_exit(made, (int32_t)dice(3));
	made->span.text = 0;
	made->span.flags = (uint8_t)dice(64);
	made->span.status = dice(2) ? dice(1000) : 0;
	made->span.status_tag = (uint8_t)dice(SW_TAG_COUNT + 1);
	made->span.layer = (uint8_t)dice(7);
	made->span.component = dice(3) ? dice(200) : UINT32_MAX;
	made->span.end_ms = dice(5) ? made->span.end_ms : 0;
	for (unsigned left = dice(8); left; left--) {
		enum sw_field_kind kind = (enum sw_field_kind)dice(SW_FIELD_TAG + 1);
		struct sw_bytes value = some_text(300);

		if (kind == SW_FIELD_CARRIER)
			value = sw_bytes_text(carriers[dice(SW_COUNT_OF(carriers))]);
		made_field(made, kind, (uint8_t)(kind == SW_FIELD_TAG ? dice(SW_TAG_COUNT) : 0),
			   value);
	}
	made_size(made);
}

static void check_segment(size_t count)
{
	const struct sw_record_span *span[SPANS];
	struct sw_segment segment = {span, count};
	Skywalking__V3__SegmentObject *read;

	for (size_t i = 0; i < count; i++)
		span[i] = &record[i].span;
	scarce(&out);
	scarce(&json);
	cr_assert(sw_encode_segment(encoder, SW_FORMAT_PROTOBUF, &sender, &segment, &out));
	cr_assert(sw_encode_segment(encoder, SW_FORMAT_JSON, &sender, &segment, &json));
	read = skywalking__v3__segment_object__unpack(NULL, out.len, out.at);
	cr_assert(read);
	same_as_theirs(&read->base);
	skywalking__v3__segment_object__free_unpacked(read, NULL);
}

static void some_segments(void)
{
	for (int i = 0; i < 5000; i++) {
		size_t count = 1 + dice(dice(10) ? 3 : SPANS);

		atomic_store(&sw_process_serves, dice(2));
		for (size_t j = 0; j < count; j++)
			some_record(&record[j], dice(2));
		check_segment(count);
	}
}

Test(wire, segments_of_all_kinds)
{
	fill_text(20);
	some_segments();
	fill_text(1);
	some_segments();
}

/* A trace id of nearly a whole carrier stands in the segment and in its reference. */
Test(wire, a_long_trace_has_room_twice)
{
	static char carrier[2100];

	for (size_t len = 4; len <= 2000; len += 4) {
		memcpy(carrier, "1-", 2);
		memset(carrier + 2, 'Q', len);
		strcpy(carrier + 2 + len, "-cw==-0-cw==-aQ==-ZQ==-YQ==");
		made_entry(&record[0], NULL);
		record[0].span.text = 0;
		made_field(&record[0], SW_FIELD_CARRIER, 0, sw_bytes_text(carrier));
		check_segment(1);
	}
}
