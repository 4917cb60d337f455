/*
 * Segments and lines of log as JSON, straight to the wire; see wire.h.
 *
 * The heads of fields are literals with a comma before: where one begins an object, its comma
 * becomes the brace.
 */
#include "preload/tags.h"
#include "proto/quote.h"
#include "proto/tracing.pb-c.h"
#include "proto/wire.h"

typedef Skywalking__V3__SegmentReference segment_reference;

/* Of a segment, a span, a reference, a tag, a line of log: all but its texts. */
#define SEGMENT_ROOM 512
#define SPAN_ROOM 1024
#define TAG_ROOM 96
#define LOG_ROOM 512

/* A tag up to its value. */
static const struct sw_bytes heads[SW_TAG_COUNT] = {
#define HEAD(name) ",{\"key\":\"" name "\""
#define SW_TAG(id, name, doc) [SW_TAG_##id] = {(const uint8_t *)HEAD(name), sizeof(HEAD(name)) - 1},
#include "preload/tags.def"
#undef SW_TAG
};

#define SW_TAG(id, name, doc) _Static_assert(sizeof(HEAD(name)) <= TAG_ROOM - 16, "and `value`");
#include "preload/tags.def"
#undef SW_TAG

/* ---- fields ---- */

static uint8_t *write_bytes(uint8_t *at, struct sw_bytes bytes)
{
	memcpy(at, bytes.at, bytes.len);
	return at + bytes.len;
}

/* A length that the compiler knows. */
#define WRITE(at, literal)                                                                         \
	((uint8_t *)memcpy(at, literal, sizeof(literal) - 1) + sizeof(literal) - 1)
#define NAMED(name) ",\"" name "\":"
#define TEXT(at, name, text) ((text).len ? sw_quote(WRITE(at, NAMED(name)), text) : (at))
#define NUMBER(at, name, n) ((n) ? sw_quote_signed(WRITE(at, NAMED(name)), n) : (at))
#define TRUE(at, name, is) ((is) ? WRITE(at, NAMED(name) "true") : (at))

/* Of 64 bits: as a text. */
#define WIDE(at, name, n) ((n) ? write_wide(WRITE(at, NAMED(name) "\""), n) : (at))

static uint8_t *write_wide(uint8_t *at, int64_t n)
{
	return WRITE(sw_quote_signed(at, n), "\"");
}

static struct sw_bytes enumerator(const ProtobufCEnumDescriptor *type, int n)
{
	return sw_bytes_text(protobuf_c_enum_descriptor_get_value(type, n)->name);
}

#define ENUM(at, name, type, n)                                                                    \
	((n) ? sw_quote(WRITE(at, NAMED(name)),                                                    \
			enumerator(&skywalking__v3__##type##__descriptor, n))                      \
	     : (at))

/* What begins at `from` with a comma, or is nothing. */
static uint8_t *close_object(uint8_t *from, uint8_t *at)
{
	at += at == from;
	*from = '{';
	*at++ = '}';
	return at;
}

/* ---- segments ---- */

static uint8_t *write_reference(uint8_t *at, const segment_reference *ref)
{
	uint8_t *from = WRITE(at, NAMED("refs") "[");

	at = ENUM(from, "refType", ref_type, (int)ref->ref_type);
	at = TEXT(at, "traceId", sw_bytes_text(ref->trace_id));
	at = TEXT(at, "parentTraceSegmentId", sw_bytes_text(ref->parent_trace_segment_id));
	at = NUMBER(at, "parentSpanId", ref->parent_span_id);
	at = TEXT(at, "parentService", sw_bytes_text(ref->parent_service));
	at = TEXT(at, "parentServiceInstance", sw_bytes_text(ref->parent_service_instance));
	at = TEXT(at, "parentEndpoint", sw_bytes_text(ref->parent_endpoint));
	at = TEXT(at, "networkAddressUsedAtPeer", sw_bytes_text(ref->network_address_used_at_peer));
	return WRITE(close_object(from, at), "]");
}

static uint8_t *write_tag(uint8_t *at, unsigned key, struct sw_bytes value)
{
	at = TEXT(write_bytes(at, heads[key]), "value", value);
	*at++ = '}';
	return at;
}

/* Like an object's, the first comma becomes the bracket. */
static uint8_t *write_tags(uint8_t *at, const struct sw_record_span *record)
{
	struct sw_bytes text = sw_bytes(record + 1, record->text), value;
	struct sw_own_tag own[SW_OWN_TAGS];
	struct sw_field field;
	uint8_t digits[10], *before = at, *from = WRITE(at, NAMED("tags"));
	size_t count = sw_span_own_tags(record, digits, own);

	at = from;
	while (sw_field_next(&text, &field, &value)) {
		if (field.kind == SW_FIELD_TAG)
			at = write_tag(at, field.key, value);
	}
	for (size_t i = 0; i < count; i++)
		at = write_tag(at, own[i].key, own[i].value);
	if (at == from)
		return before;
	*from = '[';
	return WRITE(at, "]");
}

static uint8_t *write_span(uint8_t *from, const struct sw_record_span *record,
			   const ProtobufCMessage *ref)
{
	struct sw_bytes operation, peer;
	uint8_t *at;

	sw_span_names(record, &operation, &peer);
	at = NUMBER(from, "spanId", record->span);
	at = NUMBER(at, "parentSpanId", record->parent);
	at = WIDE(at, "startTime", record->start_ms);
	at = WIDE(at, "endTime", record->end_ms);
	if (ref)
		at = write_reference(at, (const segment_reference *)ref);
	at = TEXT(at, "operationName", operation);
	at = TEXT(at, "peer", peer);
	at = ENUM(at, "spanType", span_type, (int)sw_span_type(record));
	at = ENUM(at, "spanLayer", span_layer, record->layer);
	at = NUMBER(at, "componentId", (int32_t)record->component);
	at = TRUE(at, "isError", record->flags & SW_SPAN_ERROR);
	return close_object(from, write_tags(at, record));
}

static uint8_t *write_id(uint8_t *at, struct sw_id id)
{
	struct sw_writer w = sw_writer(at, SW_ID_TEXT);

	sw_write_id(&w, id);
	return WRITE(at + w.len, "\"");
}

static uint8_t *write_sender(uint8_t *at, const struct sw_sender *sender)
{
	at = TEXT(at, "service", sw_bytes_text(sender->service));
	return TEXT(at, "serviceInstance", sw_bytes_text(sender->instance));
}

bool sw_wire_segment_json(const struct sw_wired *wired, struct sw_buffer *out)
{
	const struct sw_segment *segment = wired->segment;
	struct sw_id id = segment->span[0]->segment;
	size_t room = SEGMENT_ROOM + segment->count * SPAN_ROOM + wired->tags * TAG_ROOM +
		      sw_quote_most(wired->texts) + sw_quote_most(wired->trace.len);
	uint8_t *from = sw_buffer_room(out, room), *at = from;
	bool limited = false;

	if (!at)
		return false;
	at = wired->trace.len ? sw_quote(WRITE(at, "{\"traceId\":"), wired->trace)
			      : write_id(WRITE(at, "{\"traceId\":\""), sw_process_trace_of(id));
	at = write_id(WRITE(at, NAMED("traceSegmentId") "\""), id);
	at = WRITE(at, NAMED("spans"));
	for (size_t i = 0; i < segment->count; i++) {
		*at++ = i ? ',' : '[';
		at = write_span(at, segment->span[i], wired->refs ? wired->refs[i] : NULL);
		limited |= (segment->span[i]->flags & SW_SPAN_LIMITED) != 0;
	}
	at = write_sender(WRITE(at, "]"), wired->sender);
	at = WRITE(TRUE(at, "isSizeLimited", limited), "}");
	out->len += (size_t)(at - from);
	return true;
}

/* ---- lines of log ---- */

static size_t room_of(const struct sw_sender *sender, const struct sw_log *log)
{
	return LOG_ROOM + log->tags * TAG_ROOM + sw_quote_most(sw_wire_log_texts(sender, log));
}

/* The text lies in an object of its own, which is there also when the text is empty. */
static uint8_t *write_body(uint8_t *at, const struct sw_log *log)
{
	uint8_t *from;

	if (log->json) {
		from = WRITE(at, NAMED("body") "{\"type\":\"json\"" NAMED("json"));
		at = TEXT(from, "json", log->body);
	} else {
		from = WRITE(at, NAMED("body") "{\"type\":\"text\"" NAMED("text"));
		at = TEXT(from, "text", log->body);
	}
	return WRITE(close_object(from, at), "}");
}

static uint8_t *write_context(uint8_t *at, const struct sw_log *log)
{
	uint8_t *from = WRITE(at, NAMED("traceContext"));

	at = TEXT(from, "traceId", log->trace);
	at = TEXT(at, "traceSegmentId", log->segment);
	return close_object(from, NUMBER(at, "spanId", log->span));
}

static uint8_t *write_labels(uint8_t *at, const struct sw_log *log)
{
	at = WRITE(at, NAMED("tags") "{\"data\":");
	for (size_t i = 0; i < log->tags; i++) {
		uint8_t *from = at + 1;

		*at = i ? ',' : '[';
		at = TEXT(from, "key", log->tag[i].name);
		at = close_object(from, TEXT(at, "value", log->tag[i].value));
	}
	return WRITE(at, "]}");
}

bool sw_wire_log_json(const struct sw_sender *sender, const struct sw_log *log,
		      struct sw_buffer *out)
{
	uint8_t *from = sw_buffer_room(out, room_of(sender, log)), *at;

	if (!from)
		return false;
	at = WIDE(from, "timestamp", log->timestamp_ms);
	at = write_sender(at, sender);
	at = TEXT(at, "endpoint", log->endpoint);
	at = write_body(at, log);
	if (log->trace.len)
		at = write_context(at, log);
	if (log->tags)
		at = write_labels(at, log);
	at = close_object(from, TEXT(at, "layer", log->layer));
	out->len += (size_t)(at - from);
	return true;
}
