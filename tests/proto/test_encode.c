/* Records to messages, read back by protobuf-c; check_messages.py reads them with SkyWalking's. */
#include <criterion/criterion.h>
#include <stdatomic.h>

#include "proto/management.pb-c.h"
#include "proto/tracing.pb-c.h"
#include "tests/proto/encoding.h"
#include "tests/proto/records.h"

typedef Skywalking__V3__SegmentObject segment_object;
typedef Skywalking__V3__SpanObject span_object;

static const struct sw_sender sender = {"service", "instance"};
static struct made record[3];

static void begin(void)
{
	encoding_begin();
	atomic_store(&sw_process_serves, false);
}

TestSuite(encode, .init = begin, .fini = encoding_end);

static bool encode(enum sw_format format, size_t count)
{
	const struct sw_record_span *span[] = {&record[0].span, &record[1].span, &record[2].span};
	struct sw_segment segment = {span, count};

	return sw_encode_segment(encoder, format, &sender, &segment, &out);
}

/* The first `count` records, encoded and read back; the packer agrees with protobuf-c's. */
static segment_object *encoded(size_t count)
{
	segment_object *read;
	uint8_t *again;

	out.len = 0;
	cr_assert(encode(SW_FORMAT_PROTOBUF, count));
	read = skywalking__v3__segment_object__unpack(NULL, out.len, out.at);
	cr_assert(read);
	cr_assert_eq(skywalking__v3__segment_object__get_packed_size(read), out.len);
	again = malloc(out.len);
	skywalking__v3__segment_object__pack(read, again);
	cr_assert_arr_eq(again, out.at, out.len);
	free(again);
	return read;
}

static void release(segment_object *read)
{
	skywalking__v3__segment_object__free_unpacked(read, NULL);
}

/* Broken: false in both formats, and what was in the buffer is as it was. */
static void cr_refused(size_t count)
{
	sw_buffer_free(&out);
	sw_buffer_add(&out, SW_BYTES("kept"));
	cr_assert_not(encode(SW_FORMAT_PROTOBUF, count));
	cr_assert_not(encode(SW_FORMAT_JSON, count));
	cr_assert_eq(out.len, 4);
	cr_assert_arr_eq(out.at, "kept", 4);
}

static void cr_tag(const span_object *span, size_t i, const char *key, const char *value)
{
	cr_assert_gt(span->n_tags, i);
	cr_assert_str_eq(span->tags[i]->key, key);
	cr_assert_str_eq(span->tags[i]->value, value);
}

Test(encode, entry_without_carrier_starts_a_trace)
{
	segment_object *read;
	span_object *span;

	made_entry(&record[0], NULL);
	read = encoded(1);
	cr_assert_str_eq(read->trace_id, MADE_TRACE_TEXT);
	cr_assert_str_eq(read->trace_segment_id, MADE_SEGMENT_TEXT);
	cr_assert_str_eq(read->service, "service");
	cr_assert_str_eq(read->service_instance, "instance");
	cr_assert_not(read->is_size_limited);
	cr_assert_eq(read->n_spans, 1);
	span = read->spans[0];
	cr_assert_eq(span->span_id, 0);
	cr_assert_eq(span->parent_span_id, -1);
	cr_assert_eq(span->start_time, 1700000000000);
	cr_assert_eq(span->end_time, 1700000000200);
	cr_assert_str_eq(span->operation_name, "/users");
	cr_assert_str_eq(span->peer, "10.0.0.1:4711");
	cr_assert_eq(span->span_type, SKYWALKING__V3__SPAN_TYPE__Entry);
	cr_assert_eq(span->span_layer, SKYWALKING__V3__SPAN_LAYER__Http);
	cr_assert_eq(span->component_id, 49);
	cr_assert_not(span->is_error);
	cr_assert_not(span->skip_analysis);
	cr_assert_eq(span->n_refs, 0);
	cr_assert_eq(span->n_logs, 0);
	cr_assert_eq(span->n_tags, 3);
	cr_tag(span, 0, "http.method", "GET");
	cr_tag(span, 1, "http.url", "http://host/users");
	cr_tag(span, 2, "http.status_code", "200");
	release(read);
}

Test(encode, entry_with_carrier_joins)
{
	Skywalking__V3__SegmentReference *ref;
	segment_object *read;

	made_entry(&record[0], MADE_CARRIER);
	read = encoded(1);
	cr_assert_str_eq(read->trace_id, "trace-1");
	cr_assert_str_eq(read->trace_segment_id, MADE_SEGMENT_TEXT);
	cr_assert_eq(read->spans[0]->n_refs, 1);
	ref = read->spans[0]->refs[0];
	cr_assert_eq(ref->ref_type, SKYWALKING__V3__REF_TYPE__CrossProcess);
	cr_assert_str_eq(ref->trace_id, "trace-1");
	cr_assert_str_eq(ref->parent_trace_segment_id, "segment-1");
	cr_assert_eq(ref->parent_span_id, 7);
	cr_assert_str_eq(ref->parent_service, "caller");
	cr_assert_str_eq(ref->parent_service_instance, "caller-1");
	cr_assert_str_eq(ref->parent_endpoint, "/start");
	cr_assert_str_eq(ref->network_address_used_at_peer, "callee:80");
	cr_assert_eq(read->spans[0]->n_tags, 3);
	release(read);
}

Test(encode, children_come_in_the_order_given)
{
	segment_object *read;

	made_exit(&record[0], 2);
	made_exit(&record[1], 1);
	made_entry(&record[2], MADE_CARRIER);
	read = encoded(3);
	cr_assert_str_eq(read->trace_id, "trace-1");
	cr_assert_eq(read->n_spans, 3);
	cr_assert_eq(read->spans[0]->span_id, 2);
	cr_assert_eq(read->spans[1]->span_id, 1);
	cr_assert_eq(read->spans[2]->span_id, 0);
	cr_assert_eq(read->spans[0]->parent_span_id, 0);
	cr_assert_eq(read->spans[0]->span_type, SKYWALKING__V3__SPAN_TYPE__Exit);
	cr_assert(read->spans[0]->is_error);
	cr_assert_eq(read->spans[0]->n_refs, 0);
	cr_tag(read->spans[0], 0, "http.method", "POST");
	cr_tag(read->spans[0], 2, "http.status_code", "404");
	cr_tag(read->spans[2], 0, "http.method", "GET");
	release(read);
}

Test(encode, an_exit_alone_is_marked_only_where_requests_are_served)
{
	segment_object *read;

	made_exit(&record[0], 0);
	read = encoded(1);
	cr_assert_str_eq(read->trace_id, MADE_TRACE_TEXT);
	cr_assert_eq(read->spans[0]->parent_span_id, -1);
	cr_assert_eq(read->spans[0]->n_tags, 3);
	release(read);
	atomic_store(&sw_process_serves, true);
	read = encoded(1);
	cr_assert_eq(read->spans[0]->n_tags, 4);
	cr_tag(read->spans[0], 3, "sw.parent", "none");
	release(read);
	made_exit(&record[0], 1); /* has its Entry */
	read = encoded(1);
	cr_assert_eq(read->spans[0]->n_tags, 3);
	release(read);
}

Test(encode, an_unfinished_call_says_so)
{
	segment_object *read;

	made_exit(&record[0], 1);
	record[0].span.flags = SW_SPAN_UNFINISHED;
	record[0].span.status = 0;
	read = encoded(1);
	cr_assert_not(read->spans[0]->is_error);
	cr_assert_eq(read->spans[0]->n_tags, 3);
	cr_tag(read->spans[0], 2, "sw.unfinished", "true");
	release(read);
}

Test(encode, a_status_needs_a_tag)
{
	segment_object *read;

	made_entry(&record[0], NULL);
	record[0].span.status = UINT32_MAX;
	read = encoded(1);
	cr_tag(read->spans[0], 2, "http.status_code", "4294967295");
	release(read);
	record[0].span.status_tag = SW_TAG_COUNT;
	read = encoded(1);
	cr_assert_eq(read->spans[0]->n_tags, 2);
	release(read);
}

Test(encode, one_limited_span_limits_the_segment)
{
	segment_object *read;

	made_exit(&record[0], 1);
	made_entry(&record[1], NULL);
	record[1].span.flags |= SW_SPAN_LIMITED;
	read = encoded(2);
	cr_assert(read->is_size_limited);
	release(read);
}

Test(encode, correlation_and_an_exits_carrier_are_not_sent)
{
	segment_object *read;

	made_exit(&record[0], 1);
	made_field(&record[0], SW_FIELD_CARRIER, 0, SW_BYTES(MADE_CARRIER));
	made_field(&record[0], SW_FIELD_CORRELATION, 0, SW_BYTES("a2V5:dmFsdWU="));
	read = encoded(1);
	cr_assert_str_eq(read->trace_id, MADE_TRACE_TEXT);
	cr_assert_eq(read->spans[0]->n_refs, 0);
	cr_assert_eq(read->spans[0]->n_tags, 3);
	release(read);
}

/* ---- bytes that are not UTF-8 ---- */

static const struct {
	const char *raw;
	size_t len;
	const char *mended;
} mends[] = {
#define MEND(raw, mended)                                                                          \
	{                                                                                          \
		raw, sizeof(raw) - 1, mended                                                       \
	}
	MEND("", ""),
	MEND("plain, longer than eight", "plain, longer than eight"),
	MEND("\xff", "?"),
	MEND("a\0b", "a?b"),
	MEND("12345678\0", "12345678?"),
	MEND("\0"
	     "12345678",
	     "?12345678"),
	MEND("12345678\x80", "12345678?"),
	MEND("\xc3\xbc", "\xc3\xbc"),
	MEND("\xe2\x82\xac", "\xe2\x82\xac"),
	MEND("\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80"),
	MEND("\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf"),
	MEND("\xed\x9f\xbf\xee\x80\x80", "\xed\x9f\xbf\xee\x80\x80"),
	MEND("ends in half \xe2\x82", "ends in half ??"),
	MEND("\xc3", "?"),
	MEND("\xc3(", "?("),
	MEND("\xc0\xaf", "??"), /* longer than needed */
	MEND("\xe0\x80\xaf", "???"),
	MEND("\xf0\x80\x80\xaf", "????"),
	MEND("\xed\xa0\x80", "???"),	  /* a surrogate */
	MEND("\xf4\x90\x80\x80", "????"), /* beyond U+10FFFF */
	MEND("\xf5\x80\x80\x80", "????"),
	MEND("\xe2\x82\xe2\x82\xac", "??\xe2\x82\xac"),
	MEND("\xf0\x9f\x98\xc3\xbc", "???\xc3\xbc"),
#undef MEND
};

Test(encode, texts_are_mended)
{
	for (size_t i = 0; i < SW_COUNT_OF(mends); i++) {
		struct sw_bytes raw = sw_bytes(mends[i].raw, mends[i].len);
		segment_object *read;

		made_entry(&record[0], NULL);
		record[0].span.text = 0;
		made_field(&record[0], SW_FIELD_OPERATION, 0, raw);
		made_field(&record[0], SW_FIELD_PEER, 0, raw);
		made_field(&record[0], SW_FIELD_TAG, SW_TAG_HTTP_URL, raw);
		read = encoded(1);
		cr_assert_str_eq(read->spans[0]->operation_name, mends[i].mended);
		cr_assert_str_eq(read->spans[0]->peer, mends[i].mended);
		cr_assert_str_eq(read->spans[0]->tags[0]->value, mends[i].mended);
		release(read);
	}
}

Test(encode, a_carriers_texts_are_mended)
{
	segment_object *read;

	/* trace id ff 'a' 00 */
	made_entry(&record[0], "1-/2EA-c2VnbWVudC0x-7-Y2FsbGVy-Y2FsbGVyLTE=-L3N0YXJ0-/w==");
	read = encoded(1);
	cr_assert_str_eq(read->trace_id, "?a?");
	cr_assert_str_eq(read->spans[0]->refs[0]->network_address_used_at_peer, "?");
	release(read);
}

Test(encode, a_senders_names_are_mended)
{
	const struct sw_record_span *span = &record[0].span;
	const struct sw_segment segment = {&span, 1};
	const struct sw_sender bad = {"s\xff", "\xc3"};
	segment_object *read;

	made_entry(&record[0], NULL);
	cr_assert(sw_encode_segment(encoder, SW_FORMAT_PROTOBUF, &bad, &segment, &out));
	read = skywalking__v3__segment_object__unpack(NULL, out.len, out.at);
	cr_assert_str_eq(read->service, "s?");
	cr_assert_str_eq(read->service_instance, "?");
	release(read);
}

/* ---- hostile records ---- */

Test(encode, no_spans_are_refused)
{
	cr_refused(0);
}

Test(encode, a_broken_head_is_refused)
{
	made_entry(&record[0], NULL);
	record[0].span.record.kind = SW_RECORD_FILLER;
	cr_refused(1);
	made_entry(&record[0], NULL);
	record[0].span.record.size = sizeof(struct sw_record_span) - 8;
	cr_refused(1);
	record[0].span.record.size = sizeof(struct sw_record_span);
	cr_refused(1); /* shorter than its text */
	record[0].span.record.size = SW_RECORD_MAX + 8;
	cr_refused(1);
	record[0].span.record.size = UINT32_MAX;
	cr_refused(1);
	made_entry(&record[0], NULL);
	record[0].span.text = UINT32_MAX;
	cr_refused(1);
	made_entry(&record[0], NULL);
	record[0].span.type = 2;
	cr_refused(1);
	made_entry(&record[0], NULL);
	record[0].span.layer = 7;
	cr_refused(1);
}

Test(encode, a_field_beyond_the_text_is_refused)
{
	static const struct sw_field field = {SW_FIELD_PEER, 0, UINT16_MAX};

	made_entry(&record[0], NULL);
	memcpy(record[0].text, &field, sizeof(field));
	cr_refused(1);
}

Test(encode, a_text_cut_anywhere_is_whole_fields_or_refused)
{
	uint32_t whole;
	size_t good = 0;

	made_entry(&record[0], MADE_CARRIER);
	whole = record[0].span.text;
	for (uint32_t len = 0; len <= whole; len++) {
		record[0].span.text = len;
		out.len = 0;
		good += encode(SW_FORMAT_PROTOBUF, 1);
	}
	cr_assert_eq(good, 6); /* after each of its five fields, and without any */
}

Test(encode, unknown_fields_and_tags_are_refused)
{
	made_entry(&record[0], NULL);
	made_field(&record[0], (enum sw_field_kind)(SW_FIELD_TAG + 1), 0, SW_BYTES("x"));
	cr_refused(1);
	made_entry(&record[0], NULL);
	made_field(&record[0], SW_FIELD_TAG, SW_TAG_COUNT, SW_BYTES("x"));
	cr_refused(1);
	made_entry(&record[0], NULL);
	made_field(&record[0], SW_FIELD_TAG, UINT8_MAX, SW_BYTES("x"));
	cr_refused(1);
}

Test(encode, spans_of_two_segments_are_refused)
{
	made_exit(&record[0], 1);
	made_entry(&record[1], NULL);
	record[1].span.segment.low++;
	cr_refused(2);
}

Test(encode, one_broken_span_spoils_its_segment)
{
	made_exit(&record[0], 1);
	made_exit(&record[1], 2);
	made_entry(&record[2], NULL);
	record[1].span.text--;
	cr_refused(3);
}

Test(encode, carriers_that_are_none_are_refused)
{
	static const char *const carriers[] = {
		"1",
		"0-dA==-cw==-0-cw==-aQ==-ZQ==-YQ==", /* not sampled */
		"1-dA==-cw==-0-cw==-aQ==-ZQ==",	     /* seven fields */
		"1-dA==-cw==-x-cw==-aQ==-ZQ==-YQ==", /* no number */
		"1-dA==-cw==-0-cw==-aQ==-ZQ==-",     /* empty */
		"1-====-cw==-0-cw==-aQ==-ZQ==-YQ==", /* of nothing */
		"1-d=A=-cw==-0-cw==-aQ==-ZQ==-YQ==", /* padded inside */
		"1-dA==-cw==-0-cw==-aQ==-ZQ==-Y=Q=",
	};

	for (size_t i = 0; i < SW_COUNT_OF(carriers); i++) {
		made_entry(&record[0], carriers[i]);
		cr_refused(1);
	}
}

/* All the room that a record has, in fields of nothing, of one byte and in one carrier. */
Test(encode, full_records_fit)
{
	segment_object *read;
	char carrier[SW_RECORD_MAX];
	struct sw_writer w = sw_writer(carrier, 2049);

	for (size_t len = 0; len < 2; len++) {
		made_entry(&record[0], NULL);
		while (record[0].span.text + sizeof(struct sw_field) + len <=
		       sizeof(record[0].text))
			made_field(&record[0], SW_FIELD_TAG, 0, sw_bytes("x", len));
		read = encoded(1);
		cr_assert_gt(read->spans[0]->n_tags, 700);
		release(read);
	}
	sw_write(&w, SW_BYTES("1-AAAA-AAAA-999999999-AAAA-AAAA-AAAA-"));
	while (w.len + 4 <= 2048)
		sw_write(&w, SW_BYTES("AAAA"));
	carrier[w.len] = '\0';
	made_entry(&record[0], carrier);
	read = encoded(1);
	cr_assert_eq(read->spans[0]->refs[0]->parent_span_id, 999999999);
	cr_assert_eq(strlen(read->spans[0]->refs[0]->network_address_used_at_peer),
		     (w.len - 37) / 4 * 3);
	release(read);
}

/* Each byte of a segment's records in turn made random: never a crash, and never a message that
 * does not read back. */
Test(encode, random_records)
{
	uint32_t seed = 1;

	for (size_t round = 0; round < 20000; round++) {
		uint8_t *at = (uint8_t *)&record[round & 1];

		made_exit(&record[0], 1);
		made_entry(&record[1], MADE_CARRIER);
		for (int i = 0; i < 3; i++) {
			seed = seed * 1664525 + 1013904223;
			at[(seed >> 8) % 300] = (uint8_t)(seed >> 24);
		}
		out.len = 0;
		if (encode(SW_FORMAT_PROTOBUF, 2))
			release(encoded(2));
		out.len = 0;
		encode(SW_FORMAT_JSON, 2);
	}
}

/* ---- the others ---- */

Test(encode, encoder_serves_small_and_large_in_turn)
{
	static const struct sw_record_span *span[500];
	static struct made many[SW_COUNT_OF(span)];
	struct sw_segment segment = {span, SW_COUNT_OF(span)};
	segment_object *read;

	for (size_t i = 0; i < SW_COUNT_OF(span); i++) {
		made_exit(&many[i], (int32_t)i + 1);
		span[i] = &many[i].span;
	}
	for (int round = 0; round < 3; round++) {
		out.len = 0;
		cr_assert(sw_encode_segment(encoder, SW_FORMAT_PROTOBUF, &sender, &segment, &out));
		read = skywalking__v3__segment_object__unpack(NULL, out.len, out.at);
		cr_assert_eq(read->n_spans, SW_COUNT_OF(span));
		cr_assert_eq(read->spans[499]->span_id, 500);
		cr_tag(read->spans[499], 1, "http.url", "http://down:8080/down");
		release(read);
		made_entry(&record[0], NULL);
		release(encoded(1));
	}
}

Test(encode, properties)
{
	static const struct sw_property property[] = {
		{"language", "c"}, {"hostname", "h\xff"}, {"empty", ""}, {"k\xc3", "v"}};
	Skywalking__V3__InstanceProperties *read;

	cr_assert(sw_encode_properties(encoder, SW_FORMAT_PROTOBUF, &sender, property, 4, &out));
	read = skywalking__v3__instance_properties__unpack(NULL, out.len, out.at);
	cr_assert_str_eq(read->service, "service");
	cr_assert_str_eq(read->service_instance, "instance");
	cr_assert_str_eq(read->layer, "");
	cr_assert_eq(read->n_properties, 4);
	cr_assert_str_eq(read->properties[0]->key, "language");
	cr_assert_str_eq(read->properties[1]->value, "h?");
	cr_assert_str_eq(read->properties[2]->value, "");
	cr_assert_str_eq(read->properties[3]->key, "k?");
	skywalking__v3__instance_properties__free_unpacked(read, NULL);
}

Test(encode, no_properties)
{
	Skywalking__V3__InstanceProperties *read;

	cr_assert(sw_encode_properties(encoder, SW_FORMAT_PROTOBUF, &sender, NULL, 0, &out));
	read = skywalking__v3__instance_properties__unpack(NULL, out.len, out.at);
	cr_assert_eq(read->n_properties, 0);
	skywalking__v3__instance_properties__free_unpacked(read, NULL);
}

Test(encode, ping)
{
	Skywalking__V3__InstancePingPkg *read;

	cr_assert(sw_encode_ping(encoder, SW_FORMAT_PROTOBUF, &sender, &out));
	read = skywalking__v3__instance_ping_pkg__unpack(NULL, out.len, out.at);
	cr_assert_str_eq(read->service, "service");
	cr_assert_str_eq(read->service_instance, "instance");
	skywalking__v3__instance_ping_pkg__free_unpacked(read, NULL);
	out.len = 0;
	cr_assert(sw_encode_ping(encoder, SW_FORMAT_JSON, &sender, &out));
	sw_buffer_add(&out, sw_bytes("", 1));
	cr_assert_str_eq((const char *)out.at,
			 "{\"service\":\"service\",\"serviceInstance\":\"instance\"}");
}

Test(encode, appends_to_what_is_there)
{
	size_t first;

	made_entry(&record[0], NULL);
	cr_assert(encode(SW_FORMAT_PROTOBUF, 1));
	first = out.len;
	cr_assert(encode(SW_FORMAT_PROTOBUF, 1));
	cr_assert_eq(out.len, 2 * first);
	cr_assert_arr_eq(out.at, out.at + first, first);
}

Test(encode, without_memory_nothing_is_appended)
{
	made_entry(&record[0], NULL);
	sw_buffer_add(&out, SW_BYTES("kept"));
	out.failed = true;
	cr_assert_not(encode(SW_FORMAT_PROTOBUF, 1));
	cr_assert_not(encode(SW_FORMAT_JSON, 1));
	cr_assert_not(sw_encode_ping(encoder, SW_FORMAT_PROTOBUF, &sender, &out));
	cr_assert_eq(out.len, 4);
	cr_assert(out.failed);
}
