/*
 * Writes messages in both formats for check_messages.py, which has SkyWalking's own classes:
 * emit DIR makes DIR/NAME.pb and DIR/NAME.json.
 *
 * What the messages say is stated twice on purpose, here as records and there as values.
 */
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>

#include "proto/encode.h"
#include "proto/json.h"
#include "tests/proto/made.h"
#include "tests/proto/records.h"
#include "tests/proto/sample.h"

#define RANDOM_SEGMENTS 500

static const struct sw_sender sender = {"caf\xc3\xa9 \"shop\"\\|ns", "0123-child(7)"};
static const char *folder;
static struct sw_encoder *encoder;
static struct made record[3];
static uint32_t seed = 1;

static void fail(const char *what)
{
	fprintf(stderr, "emit: %s\n", what);
	exit(1);
}

static void save(const char *name, enum sw_format format, struct sw_buffer *out)
{
	char path[4096];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s.%s", folder, name,
		 format == SW_FORMAT_JSON ? "json" : "pb");
	file = fopen(path, "wb");
	if (!file || fwrite(out->at, 1, out->len, file) != out->len || fclose(file))
		fail(path);
	sw_buffer_free(out);
}

static void segment(const char *name, size_t count)
{
	const struct sw_record_span *span[] = {&record[0].span, &record[1].span, &record[2].span};
	const struct sw_segment whole = {span, count};

	for (int format = SW_FORMAT_PROTOBUF; format <= SW_FORMAT_JSON; format++) {
		struct sw_buffer out = {NULL, 0, 0, false};

		if (!sw_encode_segment(encoder, format, &sender, &whole, &out))
			fail(name);
		save(name, format, &out);
	}
}

static void segments(void)
{
	made_entry(&record[0], NULL);
	segment("entry", 1);
	made_exit(&record[0], 1);
	made_exit(&record[1], 2);
	made_entry(&record[2], MADE_CARRIER);
	record[1].span.flags = SW_SPAN_UNFINISHED;
	record[1].span.status = 0;
	record[1].span.layer = 5;
	record[2].span.flags = SW_SPAN_LIMITED;
	segment("joined", 3);
	made_exit(&record[0], 0);
	segment("alone", 1);
	atomic_store(&sw_process_serves, true);
	segment("alone-serving", 1);
	atomic_store(&sw_process_serves, false);
	made_entry(&record[0], NULL);
	made_field(&record[0], SW_FIELD_OPERATION, 0,
		   SW_BYTES("/\xc3\xbc\xf0\x9f\x98\x80\xff\"\\\n\x7f"));
	made_field(&record[0], SW_FIELD_TAG, SW_TAG_HTTP_PARAMS, SW_BYTES("a\0b\xed\xa0\x80"));
	record[0].span.start_ms = INT64_MAX;
	record[0].span.end_ms = INT64_MIN;
	record[0].span.component = 0;
	record[0].span.layer = 0;
	segment("odd", 1);
}

static uint8_t draw(void)
{
	seed = seed * 1664525 + 1013904223;
	return (uint8_t)(seed >> 24);
}

/* Any bytes at all must come out as the same UTF-8 in both formats. */
static void random_segments(void)
{
	for (int i = 0; i < RANDOM_SEGMENTS; i++) {
		uint8_t junk[64];
		char name[32];

		made_entry(&record[0], i & 1 ? MADE_CARRIER : NULL);
		for (int tag = 0; tag < SW_TAG_COUNT; tag++) {
			size_t len = draw() & 63;

			for (size_t at = 0; at < len; at++)
				junk[at] = draw() & 1 ? draw() : "\xc3\xbc\xe2\x82\xac"[draw() % 5];
			made_field(&record[0], SW_FIELD_TAG, (uint8_t)tag, sw_bytes(junk, len));
		}
		record[0].span.status = draw();
		record[0].span.span = draw();
		snprintf(name, sizeof(name), "random-%d", i);
		segment(name, 1);
	}
}

static void management(void)
{
	static const struct sw_property property[] = {
		{"language", "c"}, {"OS Name", "linux\xff"}, {"ipv4", ""}};

	for (int format = SW_FORMAT_PROTOBUF; format <= SW_FORMAT_JSON; format++) {
		struct sw_buffer out = {NULL, 0, 0, false};

		if (!sw_encode_properties(encoder, format, &sender, property, 3, &out))
			fail("properties");
		save("properties", format, &out);
		if (!sw_encode_ping(encoder, format, &sender, &out))
			fail("ping");
		save("ping", format, &out);
	}
}

static void save_numbered(const char *what, size_t number, enum sw_format format,
			  struct sw_buffer *out, bool encoded)
{
	char name[64];

	snprintf(name, sizeof(name), "%s-%zu", what, number);
	if (!encoded)
		fail(name);
	save(name, format, out);
}

/* The kinds beside segments. A meter that is not the first of its stream does not say whose. */
static void records(enum sw_format format)
{
	struct sw_buffer out = {NULL, 0, 0, false};

	for (size_t i = 0; i < SW_COUNT_OF(made_logs); i++)
		save_numbered("log", i, format, &out,
			      sw_encode_log(format, &sender, &made_logs[i], &out));
	for (size_t i = 0; i < SW_COUNT_OF(made_meters); i++)
		save_numbered("meter", i, format, &out,
			      sw_encode_meter(encoder, format, i == 3 ? NULL : &sender,
					      &made_meters[i], &out));
	save_numbered("meter", SW_COUNT_OF(made_meters), format, &out,
		      sw_encode_meter(encoder, format, &sender, &made_odd_meter, &out));
	for (size_t i = 0; i < SW_COUNT_OF(made_events); i++)
		save_numbered("event", i, format, &out,
			      sw_encode_event(encoder, format, &sender, &made_events[i], &out));
	for (size_t i = 0; i < SW_COUNT_OF(made_snapshots); i++)
		save_numbered("snapshot", i, format, &out,
			      sw_encode_snapshot(encoder, format, &made_snapshots[i], &out));
	save_numbered("finish", 0, format, &out,
		      sw_encode_finish(encoder, format, &sender, SW_BYTES(MADE_TASK), &out));
	save_numbered("query", 0, format, &out,
		      sw_encode_query(encoder, format, &sender, -1, &out));
}

static void save_sample(const char *name, const struct sample *sample)
{
	struct sw_buffer out = {NULL, 0, 0, false};
	uint8_t *at = sw_buffer_room(&out, protobuf_c_message_get_packed_size(&sample->base));

	if (!at)
		fail(name);
	out.len = protobuf_c_message_pack(&sample->base, at);
	save(name, SW_FORMAT_PROTOBUF, &out);
	if (!sw_json_message(&sample->base, &out))
		fail(name);
	save(name, SW_FORMAT_JSON, &out);
}

static void fill_scalars(struct sample *sample)
{
	static uint8_t raw[] = {0, 0xff, 'a', '\n'};

	sample->small = -1;
	sample->small_zigzag = INT32_MIN;
	sample->small_fixed = INT32_MAX;
	sample->wide = INT64_MIN;
	sample->wide_zigzag = -2;
	sample->wide_fixed = -5;
	sample->count = UINT32_MAX;
	sample->count_fixed = 7;
	sample->long_count = UINT64_MAX;
	sample->long_count_fixed = 8;
	sample->single = 0.1f;
	sample->twice = 0.1;
	sample->yes = 1;
	sample->colour = COLOUR_DEEP_BLUE;
	sample->text = "\x01\"\\/\xe2\x82\xac";
	sample->raw = (ProtobufCBinaryData){sizeof(raw), raw};
	sample->camelCase = 1;
	sample->with_digit_2_after = 2;
}

static void fill_lists(struct sample *sample)
{
	static double doubles[] = {0.1,
				   -0.0,
				   1.0 / 3,
				   1e21,
				   5e-324,
				   1.7976931348623157e308,
				   -1e-7,
				   1e15,
				   1e16,
				   123456.789,
				   9007199254740992.0,
				   NAN,
				   INFINITY,
				   -INFINITY};
	static int32_t smalls[] = {0, INT32_MIN}, colours[] = {COLOUR_RED, COLOUR_NONE, 5};
	static int64_t wides[] = {0, INT64_MIN, INT64_MAX};
	static protobuf_c_boolean flags[] = {1, 0};
	static const char *texts[] = {"", "x"};
	static uint8_t one[] = {0xfb};
	static ProtobufCBinaryData raws[] = {{0, NULL}, {1, one}};

	sample->n_doubles = SW_COUNT_OF(doubles);
	sample->doubles = doubles;
	sample->n_smalls = SW_COUNT_OF(smalls);
	sample->smalls = smalls;
	sample->n_colours = SW_COUNT_OF(colours);
	sample->colours = colours;
	sample->n_wides = SW_COUNT_OF(wides);
	sample->wides = wides;
	sample->n_flags = SW_COUNT_OF(flags);
	sample->flags = flags;
	sample->n_texts = SW_COUNT_OF(texts);
	sample->texts = texts;
	sample->n_raws = SW_COUNT_OF(raws);
	sample->raws = raws;
}

/* One of every kind of field. */
static void samples(void)
{
	struct inner inner = inner_of("x"), empty = inner_of(NULL);
	struct inner *inners[] = {&inner, &empty};
	struct sample sample = sample_of_nothing();

	save_sample("sample-empty", &sample);
	sample.choice_case = CHOICE_TEXT;
	sample.text_choice = "";
	save_sample("sample-text", &sample);
	sample.choice_case = CHOICE_INNER;
	sample.inner_choice = &inner;
	save_sample("sample-inner", &sample);
	sample.choice_case = CHOICE_NUMBER;
	sample.number_choice = 0;
	sample.inner = &empty;
	sample.n_inners = SW_COUNT_OF(inners);
	sample.inners = inners;
	fill_scalars(&sample);
	fill_lists(&sample);
	save_sample("sample-full", &sample);
}

int main(int argc, char **argv)
{
	encoder = sw_encoder_new();
	if (argc != 2 || !encoder)
		fail("usage: emit DIR");
	folder = argv[1];
	segments();
	random_segments();
	management();
	records(SW_FORMAT_PROTOBUF);
	records(SW_FORMAT_JSON);
	samples();
	sw_encoder_free(encoder);
	return 0;
}
