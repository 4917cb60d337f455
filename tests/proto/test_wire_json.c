/* Segments and lines of log as JSON: examples in full. That every other is what proto/json.c makes
 * of the message, test_wire.c says. */
#include <criterion/criterion.h>

#include "tests/proto/encoding.h"
#include "tests/proto/records.h"

static const struct sw_sender sender = {"shop", "shop@1"};
static struct made made;

TestSuite(wire_json, .init = encoding_begin, .fini = encoding_end);

static void says(const char *expected)
{
	sw_buffer_add(&out, sw_bytes("", 1));
	cr_assert_str_eq((const char *)out.at, expected);
	out.len = 0;
}

static void segment_says(const char *expected)
{
	const struct sw_record_span *span = &made.span;
	struct sw_segment segment = {&span, 1};

	cr_assert(sw_encode_segment(encoder, SW_FORMAT_JSON, &sender, &segment, &out));
	says(expected);
}

Test(wire_json, a_request_that_was_called)
{
	made_entry(&made, MADE_CARRIER);
	segment_says("{\"traceId\":\"trace-1\",\"traceSegmentId\":\"" MADE_SEGMENT_TEXT "\","
		     "\"spans\":[{\"parentSpanId\":-1,\"startTime\":\"1700000000000\","
		     "\"endTime\":\"1700000000200\","
		     "\"refs\":[{\"traceId\":\"trace-1\",\"parentTraceSegmentId\":\"segment-1\","
		     "\"parentSpanId\":7,\"parentService\":\"caller\","
		     "\"parentServiceInstance\":\"caller-1\",\"parentEndpoint\":\"/start\","
		     "\"networkAddressUsedAtPeer\":\"callee:80\"}],"
		     "\"operationName\":\"/users\",\"peer\":\"10.0.0.1:4711\","
		     "\"spanLayer\":\"Http\",\"componentId\":49,"
		     "\"tags\":[{\"key\":\"http.method\",\"value\":\"GET\"},"
		     "{\"key\":\"http.url\",\"value\":\"http://host/users\"},"
		     "{\"key\":\"http.status_code\",\"value\":\"200\"}]}],"
		     "\"service\":\"shop\",\"serviceInstance\":\"shop@1\"}");
}

Test(wire_json, a_call_that_failed)
{
	made_exit(&made, 3);
	made.span.flags |= SW_SPAN_LIMITED;
	segment_says(
		"{\"traceId\":\"" MADE_TRACE_TEXT "\",\"traceSegmentId\":\"" MADE_SEGMENT_TEXT "\","
		"\"spans\":[{\"spanId\":3,\"startTime\":\"1700000000100\","
		"\"endTime\":\"1700000000150\",\"operationName\":\"/down\",\"peer\":\"down:8080\","
		"\"spanType\":\"Exit\",\"spanLayer\":\"Http\",\"componentId\":2,\"isError\":true,"
		"\"tags\":[{\"key\":\"http.method\",\"value\":\"POST\"},"
		"{\"key\":\"http.url\",\"value\":\"http://down:8080/down\"},"
		"{\"key\":\"http.status_code\",\"value\":\"404\"}]}],"
		"\"service\":\"shop\",\"serviceInstance\":\"shop@1\",\"isSizeLimited\":true}");
}

/* An object without a field is an object. */
Test(wire_json, a_span_of_nothing)
{
	made_entry(&made, NULL);
	made.span = (struct sw_record_span){
		.record = {.kind = SW_RECORD_SPAN, .size = sizeof(made.span)},
		.segment = made_segment,
		.type = SW_SPAN_ENTRY,
	};
	segment_says("{\"traceId\":\"" MADE_TRACE_TEXT "\",\"traceSegmentId\":\"" MADE_SEGMENT_TEXT
		     "\",\"spans\":[{}],"
		     "\"service\":\"shop\",\"serviceInstance\":\"shop@1\"}");
}

static void log_says(const struct sw_log *log, const char *expected)
{
	cr_assert(sw_encode_log(SW_FORMAT_JSON, &sender, log, &out));
	says(expected);
}

Test(wire_json, lines)
{
	struct sw_label tag[] = {{SW_BYTES("level"), SW_BYTES("INFO")},
				 {SW_BYTES("logger"), {NULL, 0}}};
	struct sw_log log = {
		.timestamp_ms = 1700000000000,
		.body = SW_BYTES("said \"no\"\n"),
		.endpoint = SW_BYTES("/users"),
		.trace = SW_BYTES("t"),
		.segment = SW_BYTES("s"),
		.span = 1,
		.tag = tag,
		.tags = 2,
		.layer = SW_BYTES("GENERAL"),
	};
	struct sw_log nothing = {.json = true};

	log_says(&log,
		 "{\"timestamp\":\"1700000000000\",\"service\":\"shop\","
		 "\"serviceInstance\":\"shop@1\",\"endpoint\":\"/users\","
		 "\"body\":{\"type\":\"text\",\"text\":{\"text\":\"said \\\"no\\\"\\u000a\"}},"
		 "\"traceContext\":{\"traceId\":\"t\",\"traceSegmentId\":\"s\",\"spanId\":1},"
		 "\"tags\":{\"data\":[{\"key\":\"level\",\"value\":\"INFO\"},"
		 "{\"key\":\"logger\"}]},\"layer\":\"GENERAL\"}");
	log_says(&nothing, "{\"service\":\"shop\",\"serviceInstance\":\"shop@1\","
			   "\"body\":{\"type\":\"json\",\"json\":{}}}");
}
