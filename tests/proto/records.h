/* Records as the guest writes them, made by hand. Shared by the programs of this folder. */
#pragma once

#include "preload/record.h"
#include "preload/tags.h"

struct made {
	struct sw_record_span span;
	uint8_t text[SW_RECORD_MAX - sizeof(struct sw_record_span)];
};

static const struct sw_id made_segment = {0x0123456789abcdef, 0x00000000000000ff};

#define MADE_SEGMENT_TEXT "0123456789abcdef00000000000000ff"
#define MADE_TRACE_TEXT "0123456789abcdef80000000000000ff"

static inline void made_size(struct made *made)
{
	made->span.record.size =
		(uint32_t)((sizeof(made->span) + made->span.text + 7) & ~(size_t)7);
}

static inline void made_field(struct made *made, enum sw_field_kind kind, uint8_t key,
			      struct sw_bytes value)
{
	struct sw_field field = {(uint8_t)kind, key, (uint16_t)value.len};
	struct sw_writer w = sw_writer(made->text, sizeof(made->text));

	w.len = made->span.text;
	sw_write(&w, sw_bytes(&field, sizeof(field)));
	sw_write(&w, value);
	made->span.text = (uint32_t)w.len;
	made_size(made);
}

static inline void made_tag(struct made *made, enum sw_tag_key key, const char *value)
{
	made_field(made, SW_FIELD_TAG, (uint8_t)key, sw_bytes_text(value));
}

static inline void made_exit(struct made *made, int32_t id)
{
	made->span = (struct sw_record_span){
		.record = {.kind = SW_RECORD_SPAN},
		.segment = made_segment,
		.start_ms = 1700000000100,
		.end_ms = 1700000000150,
		.span = id,
		.parent = id ? 0 : -1,
		.component = 2,
		.status = 404,
		.type = SW_SPAN_EXIT,
		.layer = 3,
		.flags = SW_SPAN_ERROR | (id ? 0 : SW_SPAN_ALONE),
		.status_tag = SW_TAG_HTTP_STATUS_CODE,
	};
	made_field(made, SW_FIELD_OPERATION, 0, SW_BYTES("/down"));
	made_field(made, SW_FIELD_PEER, 0, SW_BYTES("down:8080"));
	made_tag(made, SW_TAG_HTTP_METHOD, "POST");
	made_tag(made, SW_TAG_HTTP_URL, "http://down:8080/down");
}

static inline void made_entry(struct made *made, const char *carrier)
{
	made->span = (struct sw_record_span){
		.record = {.kind = SW_RECORD_SPAN},
		.segment = made_segment,
		.start_ms = 1700000000000,
		.end_ms = 1700000000200,
		.parent = -1,
		.component = 49,
		.status = 200,
		.type = SW_SPAN_ENTRY,
		.layer = 3,
		.status_tag = SW_TAG_HTTP_STATUS_CODE,
	};
	made_field(made, SW_FIELD_OPERATION, 0, SW_BYTES("/users"));
	made_field(made, SW_FIELD_PEER, 0, SW_BYTES("10.0.0.1:4711"));
	if (carrier)
		made_field(made, SW_FIELD_CARRIER, 0, sw_bytes_text(carrier));
	made_tag(made, SW_TAG_HTTP_METHOD, "GET");
	made_tag(made, SW_TAG_HTTP_URL, "http://host/users");
}

/* trace-1, segment-1, span 7, caller, caller-1, /start, callee:80 */
#define MADE_CARRIER "1-dHJhY2UtMQ==-c2VnbWVudC0x-7-Y2FsbGVy-Y2FsbGVyLTE=-L3N0YXJ0-Y2FsbGVlOjgw"
