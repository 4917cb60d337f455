/*
 * Segments and lines of log to the wire; see wire.h.
 *
 * Room for the longest that a message can become is made first, so nothing else asks for it. A
 * message in a message has its length before it: those of few texts are measured, spans are written
 * behind a gap of two bytes, which is right for nearly all of them.
 */
#include "proto/wire.h"

#include "preload/tags.h"
#include "proto/tracing.pb-c.h"

typedef Skywalking__V3__SegmentReference segment_reference;

/* Of a span all but its texts: numbers, heads of texts, its own tags. Of a tag its name. */
#define SPAN_ROOM 512
#define TAG_NAME_MAX 32
#define TAG_ROOM (TAG_NAME_MAX + 4 * SW_WIRE_HEAD)
/* A segment's ids, and the rest of it. */
#define SEGMENT_ROOM 256
#define LOG_ROOM 256

static const struct sw_bytes names[SW_TAG_COUNT] = {
#define SW_TAG(id, name, doc) [SW_TAG_##id] = {(const uint8_t *)name, sizeof(name) - 1},
#include "preload/tags.def"
#undef SW_TAG
};

#define SW_TAG(id, name, doc) _Static_assert(sizeof(name) <= TAG_NAME_MAX, "TAG_ROOM has room");
#include "preload/tags.def"
#undef SW_TAG

/* ---- what there is to say, in both forms ---- */

size_t sw_span_own_tags(const struct sw_record_span *record, uint8_t digits[10],
			struct sw_own_tag ret_tag[SW_OWN_TAGS])
{
	bool alone = record->type == SW_SPAN_EXIT &&
		     (record->flags & (SW_SPAN_ALONE | SW_SPAN_LATE)) == SW_SPAN_ALONE;
	struct sw_writer w = sw_writer(digits, 10);
	size_t count = 0;

	if (record->status && record->status_tag < SW_TAG_COUNT) {
		sw_write_number(&w, record->status);
		ret_tag[count++] = (struct sw_own_tag){record->status_tag, sw_written(&w)};
	}
	if (record->flags & SW_SPAN_UNFINISHED)
		ret_tag[count++] = (struct sw_own_tag){SW_TAG_SW_UNFINISHED, SW_BYTES("true")};
	if (alone && atomic_load_explicit(&sw_process_serves, memory_order_relaxed))
		ret_tag[count++] = (struct sw_own_tag){SW_TAG_SW_PARENT, SW_BYTES("none")};
	return count;
}

void sw_span_names(const struct sw_record_span *record, struct sw_bytes *ret_operation,
		   struct sw_bytes *ret_peer)
{
	struct sw_bytes text = sw_bytes(record + 1, record->text), value;
	struct sw_field field;

	*ret_operation = *ret_peer = sw_bytes(NULL, 0);
	while (sw_field_next(&text, &field, &value)) {
		if (field.kind == SW_FIELD_OPERATION)
			*ret_operation = value;
		else if (field.kind == SW_FIELD_PEER)
			*ret_peer = value;
	}
}

int sw_span_type(const struct sw_record_span *record)
{
	return record->type == SW_SPAN_ENTRY ? SKYWALKING__V3__SPAN_TYPE__Entry
					     : SKYWALKING__V3__SPAN_TYPE__Exit;
}

size_t sw_wire_log_texts(const struct sw_sender *sender, const struct sw_log *log)
{
	size_t texts = strlen(sender->service) + strlen(sender->instance) + log->endpoint.len +
		       log->body.len + log->trace.len + log->segment.len + log->layer.len;

	for (size_t i = 0; i < log->tags; i++)
		texts += log->tag[i].name.len + log->tag[i].value.len;
	return texts;
}

/* ---- pairs ---- */

static uint8_t *write_pair(uint8_t *at, struct sw_bytes key, struct sw_bytes value)
{
	at = sw_wire_length(at, 1, sw_wire_text_len(key.len) + sw_wire_text_len(value.len));
	return sw_wire_text(sw_wire_text(at, 1, key), 2, value);
}

/* A span's; the key is one of ours. */
static uint8_t *write_tag(uint8_t *at, struct sw_bytes key, struct sw_bytes value)
{
	at = sw_wire_length(at, 12, sw_wire_text_len(key.len) + sw_wire_text_len(value.len));
	return sw_wire_text(sw_wire_own(at, 1, key), 2, value);
}

/* ---- segments ---- */

/* What was left for the length is filled; what is behind moves if that was not right. Returns the
 * new end. */
static uint8_t *close_gap(uint8_t *gap, uint8_t *end)
{
	uint8_t *from = gap + 2;
	size_t len = (size_t)(end - from), took = sw_wire_varint_len(len);

	if (took != 2)
		memmove(gap + took, from, len);
	sw_wire_varint(gap, len);
	return gap + took + len;
}

static uint8_t *write_reference(uint8_t *at, const segment_reference *ref)
{
	uint8_t *gap;

	*at++ = 5 << 3 | 2;
	gap = at;
	at = sw_wire_number(at + 2, 1, ref->ref_type);
	at = sw_wire_text(at, 2, sw_bytes_text(ref->trace_id));
	at = sw_wire_text(at, 3, sw_bytes_text(ref->parent_trace_segment_id));
	at = sw_wire_number(at, 4, ref->parent_span_id);
	at = sw_wire_text(at, 5, sw_bytes_text(ref->parent_service));
	at = sw_wire_text(at, 6, sw_bytes_text(ref->parent_service_instance));
	at = sw_wire_text(at, 7, sw_bytes_text(ref->parent_endpoint));
	at = sw_wire_text(at, 8, sw_bytes_text(ref->network_address_used_at_peer));
	return close_gap(gap, at);
}

static uint8_t *write_tags(uint8_t *at, const struct sw_record_span *record)
{
	struct sw_bytes text = sw_bytes(record + 1, record->text), value;
	struct sw_own_tag own[SW_OWN_TAGS];
	struct sw_field field;
	uint8_t digits[10];
	size_t count = sw_span_own_tags(record, digits, own);

	while (sw_field_next(&text, &field, &value)) {
		if (field.kind == SW_FIELD_TAG)
			at = write_tag(at, names[field.key], value);
	}
	for (size_t i = 0; i < count; i++)
		at = write_tag(at, names[own[i].key], own[i].value);
	return at;
}

static uint8_t *write_span(uint8_t *at, const struct sw_record_span *record,
			   const ProtobufCMessage *ref)
{
	struct sw_bytes operation, peer;
	uint8_t *gap;

	sw_span_names(record, &operation, &peer);
	*at++ = 3 << 3 | 2;
	gap = at;
	at = sw_wire_number(at + 2, 1, record->span);
	at = sw_wire_number(at, 2, record->parent);
	at = sw_wire_number(at, 3, record->start_ms);
	at = sw_wire_number(at, 4, record->end_ms);
	if (ref)
		at = write_reference(at, (const segment_reference *)ref);
	at = sw_wire_text(at, 6, operation);
	at = sw_wire_text(at, 7, peer);
	at = sw_wire_number(at, 8, sw_span_type(record));
	at = sw_wire_number(at, 9, record->layer);
	at = sw_wire_number(at, 10, (int32_t)record->component);
	at = sw_wire_number(at, 11, (record->flags & SW_SPAN_ERROR) != 0);
	return close_gap(gap, write_tags(at, record));
}

static uint8_t *write_id(uint8_t *at, unsigned field, struct sw_id id)
{
	uint8_t digits[SW_ID_TEXT];
	struct sw_writer w = sw_writer(digits, sizeof(digits));

	sw_write_id(&w, id);
	return sw_wire_own(at, field, sw_written(&w));
}

bool sw_wire_segment(const struct sw_wired *wired, struct sw_buffer *out)
{
	const struct sw_segment *segment = wired->segment;
	struct sw_id id = segment->span[0]->segment;
	size_t room = SEGMENT_ROOM + segment->count * SPAN_ROOM + wired->tags * TAG_ROOM +
		      wired->texts + wired->trace.len; /* the trace also stands in a reference */
	uint8_t *at = sw_buffer_room(out, room);
	bool limited = false;

	if (!at)
		return false;
	at = wired->trace.len ? sw_wire_text(at, 1, wired->trace)
			      : write_id(at, 1, sw_process_trace_of(id));
	at = write_id(at, 2, id);
	for (size_t i = 0; i < segment->count; i++) {
		at = write_span(at, segment->span[i], wired->refs ? wired->refs[i] : NULL);
		limited |= (segment->span[i]->flags & SW_SPAN_LIMITED) != 0;
	}
	at = sw_wire_text(at, 4, sw_bytes_text(wired->sender->service));
	at = sw_wire_text(at, 5, sw_bytes_text(wired->sender->instance));
	at = sw_wire_number(at, 6, limited);
	out->len = (size_t)(at - out->at);
	return true;
}

/* ---- lines of log ---- */

static size_t room_of(const struct sw_sender *sender, const struct sw_log *log)
{
	return LOG_ROOM + log->tags * 4 * SW_WIRE_HEAD + sw_wire_log_texts(sender, log);
}

/* The text lies in a message of its own, which is there also when the text is empty. */
static uint8_t *write_body(uint8_t *at, const struct sw_log *log)
{
	struct sw_bytes type = log->json ? SW_BYTES("json") : SW_BYTES("text");
	size_t body = sw_wire_text_len(log->body.len);

	at = sw_wire_length(at, 5,
			    sw_wire_text_len(type.len) + 1 + sw_wire_varint_len(body) + body);
	at = sw_wire_own(at, 1, type);
	at = sw_wire_length(at, log->json ? 3 : 2, body);
	return sw_wire_text(at, 1, log->body);
}

static uint8_t *write_context(uint8_t *at, const struct sw_log *log)
{
	uint8_t *gap;

	*at++ = 6 << 3 | 2;
	gap = at;
	at = sw_wire_text(at + 2, 1, log->trace);
	at = sw_wire_text(at, 2, log->segment);
	return close_gap(gap, sw_wire_number(at, 3, log->span));
}

static uint8_t *write_labels(uint8_t *at, const struct sw_log *log)
{
	uint8_t *gap;

	*at++ = 7 << 3 | 2;
	gap = at;
	at += 2;
	for (size_t i = 0; i < log->tags; i++)
		at = write_pair(at, log->tag[i].name, log->tag[i].value);
	return close_gap(gap, at);
}

bool sw_wire_log(const struct sw_sender *sender, const struct sw_log *log, struct sw_buffer *out)
{
	uint8_t *at = sw_buffer_room(out, room_of(sender, log));

	if (!at)
		return false;
	at = sw_wire_number(at, 1, log->timestamp_ms);
	at = sw_wire_text(at, 2, sw_bytes_text(sender->service));
	at = sw_wire_text(at, 3, sw_bytes_text(sender->instance));
	at = sw_wire_text(at, 4, log->endpoint);
	at = write_body(at, log);
	if (log->trace.len)
		at = write_context(at, log);
	if (log->tags)
		at = write_labels(at, log);
	at = sw_wire_text(at, 8, log->layer);
	out->len = (size_t)(at - out->at);
	return true;
}
