/*
 * Records to messages to bytes; see encode.h.
 *
 * First a segment's records are read through once: broken ones are refused before anything is
 * made, and what the messages need is known. Then the encoder's arrays are made large enough,
 * so that no pointer into them moves while they are filled. They stay for the next segment: in
 * the long run nothing is allocated but room in the output buffer.
 *
 * protobuf-c wants texts that end in NUL and writable pointers: texts of records are copied into
 * one run of bytes, mended there, and never longer than they came. Constant ones are lent.
 */
#include "proto/encode.h"

#include "preload/carrier.h"
#include "preload/tags.h"
#include "proto/json.h"
#include "proto/management.pb-c.h"
#include "proto/tracing.pb-c.h"

/* Shorter names for what protoc-c calls by package, version and type. */
typedef Skywalking__V3__SegmentObject segment_object;
typedef Skywalking__V3__SegmentReference segment_reference;
typedef Skywalking__V3__SpanObject span_object;
typedef Skywalking__V3__KeyStringValuePair pair;

/* What a span may be given beyond its own fields: status, sw.unfinished, sw.parent. */
#define EXTRA_TAGS 3
/* Digits of a status and NUL. */
#define EXTRA_TEXT 16
/* Segment and trace id. */
#define IDS_TEXT (2ul * (SW_ID_TEXT + 1))

/* Longest number on the wire. */
#define VARINT_MAX 10

struct span_slot {
	span_object span;
	segment_reference ref;
	segment_reference *refs; /* what span.refs points at: &ref */
};

struct sw_encoder {
	struct span_slot *slot; /* Owned */
	span_object **span;	/* Owned; the i-th points at slot i */
	size_t spans_room;
	pair *pair;   /* Owned */
	pair **pairs; /* Owned; the i-th points at pair i */
	size_t pairs_room, pairs_used;
	struct sw_writer text; /* Owned */
};

struct need {
	size_t text, pairs;
};

struct sw_encoder *sw_encoder_new(void)
{
	return calloc(1, sizeof(struct sw_encoder));
}

struct sw_encoder *sw_encoder_free(struct sw_encoder *encoder)
{
	if (encoder) {
		free(encoder->slot);
		free(encoder->span);
		free(encoder->pair);
		free(encoder->pairs);
		free(encoder->text.at);
		free(encoder);
	}
	return NULL;
}

/* ---- room ---- */

/* At least `want`, and some more, so that slowly growing segments do not allocate each time. */
static size_t generous(size_t want)
{
	return want + want / 2 + 16;
}

static bool reserve_spans(struct sw_encoder *encoder, size_t want)
{
	size_t room = generous(want);

	if (want <= encoder->spans_room)
		return true;
	free(encoder->slot);
	free(encoder->span);
	encoder->spans_room = 0;
	encoder->slot = calloc(room, sizeof(*encoder->slot));
	encoder->span = calloc(room, sizeof(void *));
	if (!encoder->slot || !encoder->span)
		return false;
	for (size_t i = 0; i < room; i++) {
		encoder->span[i] = &encoder->slot[i].span;
		encoder->slot[i].refs = &encoder->slot[i].ref;
	}
	encoder->spans_room = room;
	return true;
}

static bool reserve_pairs(struct sw_encoder *encoder, size_t want)
{
	size_t room = generous(want);

	encoder->pairs_used = 0;
	if (want <= encoder->pairs_room)
		return true;
	free(encoder->pair);
	free(encoder->pairs);
	encoder->pairs_room = 0;
	encoder->pair = calloc(room, sizeof(*encoder->pair));
	encoder->pairs = calloc(room, sizeof(void *));
	if (!encoder->pair || !encoder->pairs)
		return false;
	for (size_t i = 0; i < room; i++) {
		skywalking__v3__key_string_value_pair__init(&encoder->pair[i]);
		encoder->pairs[i] = &encoder->pair[i];
	}
	encoder->pairs_room = room;
	return true;
}

static bool reserve_text(struct sw_encoder *encoder, size_t want)
{
	size_t room = generous(want);

	encoder->text.len = 0;
	encoder->text.cut = false;
	if (want <= encoder->text.room)
		return true;
	free(encoder->text.at);
	encoder->text.at = malloc(room);
	encoder->text.room = encoder->text.at ? room : 0;
	return encoder->text.at;
}

static bool reserve(struct sw_encoder *encoder, size_t spans, const struct need *need)
{
	return reserve_spans(encoder, spans) && reserve_pairs(encoder, need->pairs) &&
	       reserve_text(encoder, need->text);
}

/* ---- texts ---- */

/* protobuf-c's fields are not const; packing only reads them. */
static char *lend(const char *text)
{
	return (char *)(uintptr_t)text;
}

/* Bytes of the character of two or more bytes that begins at `at`; 0: none does. */
static size_t character(const uint8_t *at, size_t left)
{
	uint8_t c = at[0];
	uint8_t least = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80; /* not longer than needed */
	uint8_t most = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;  /* no surrogate, <= U+10FFFF */
	size_t len = c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;

	if (len == 0 || len > left || at[1] < least || at[1] > most)
		return 0;
	for (size_t i = 2; i < len; i++) {
		if ((at[i] & 0xc0) != 0x80)
			return 0;
	}
	return len;
}

/* Each byte that is not UTF-8 becomes '?', and so does NUL, where protobuf-c would end. */
static void mend(uint8_t *at, size_t len)
{
	for (size_t i = 0; i < len;) {
		size_t step = 1;

		if (at[i] >= 0x80)
			step = character(at + i, len - i);
		if (step == 0 || at[i] == 0)
			at[i] = '?';
		i += step ? step : 1;
	}
}

/* Has bytes that are NUL or above ASCII in it; a NUL borrows into its top bit. */
static uint64_t odd_bytes(const uint8_t *at)
{
	const uint64_t ones = 0x0101010101010101, tops = 0x8080808080808080;
	uint64_t word;

	memcpy(&word, at, sizeof(word));
	return (word | (word - ones)) & tops;
}

/* True when mend has nothing to do, which is nearly always. Eight bytes at a time, the last eight
 * perhaps seen twice. */
static bool is_ascii(const uint8_t *at, size_t len)
{
	uint64_t odd = 0;

	if (len >= sizeof(odd)) {
		for (size_t i = 0; i < len - sizeof(odd); i += sizeof(odd))
			odd |= odd_bytes(at + i);
		return !(odd | odd_bytes(at + len - sizeof(odd)));
	}
	for (size_t i = 0; i < len; i++)
		odd |= at[i] == 0 || at[i] >= 0x80;
	return !odd;
}

/* Ends what was written since `from` with its NUL: digits, which need no mending. */
static char *seal(struct sw_writer *text, size_t from)
{
	if (text->len == text->room) {
		text->cut = true;
		return lend("");
	}
	text->at[text->len++] = '\0';
	return (char *)text->at + from;
}

/* The same for bytes of others. */
static char *finish(struct sw_writer *text, size_t from)
{
	uint8_t *at = text->at + from;

	if (!is_ascii(at, text->len - from))
		mend(at, text->len - from);
	return seal(text, from);
}

static char *keep(struct sw_writer *text, struct sw_bytes bytes)
{
	size_t from = text->len;

	sw_write(text, bytes);
	return finish(text, from);
}

static char *keep_id(struct sw_writer *text, struct sw_id id)
{
	size_t from = text->len;

	sw_write_id(text, id);
	return seal(text, from);
}

static char *keep_number(struct sw_writer *text, uint64_t n)
{
	size_t from = text->len;

	sw_write_number(text, n);
	return seal(text, from);
}

/* NULL when it is not base64, or of nothing. */
static char *keep_decoded(struct sw_writer *text, struct sw_bytes encoded)
{
	size_t from = text->len;

	if (!sw_read_base64(encoded, text) || text->len == from)
		return NULL;
	return finish(text, from);
}

static size_t sender_text(const struct sw_sender *sender)
{
	return strlen(sender->service) + 1 + strlen(sender->instance) + 1;
}

/* ---- bytes ---- */

/*
 * The wire, in one walk over the descriptor. protobuf_c_message_pack walks twice, for the size
 * and for the bytes, and so takes two thirds of the time of a segment; it is the oracle of the
 * tests. Only the kinds of field that our messages have are known: a message with another kind is
 * refused, which the first test of such a message shows.
 */
static bool pack(const ProtobufCMessage *message, struct sw_buffer *out);

static uint8_t *write_varint(uint8_t *at, uint64_t n)
{
	for (; n >= 0x80; n >>= 7)
		*at++ = (uint8_t)(n | 0x80);
	*at++ = (uint8_t)n;
	return at;
}

static bool pack_number(struct sw_buffer *out, uint32_t id, uint64_t n)
{
	uint8_t *at;

	if (n == 0)
		return true;
	at = sw_buffer_room(out, 2ul * VARINT_MAX);
	if (at)
		out->len = (size_t)(write_varint(write_varint(at, id << 3), n) - out->at);
	return at;
}

static bool pack_text(struct sw_buffer *out, uint32_t id, const char *text)
{
	size_t len = strlen(text);
	uint8_t *at;

	if (len == 0)
		return true;
	at = sw_buffer_room(out, 2ul * VARINT_MAX + len);
	if (!at)
		return false;
	at = write_varint(write_varint(at, id << 3 | 2), len);
	memcpy(at, text, len);
	out->len = (size_t)(at - out->at) + len;
	return true;
}

/* The length comes first but is known last: one byte is left for it, and made more if needed. */
static bool pack_nested(struct sw_buffer *out, uint32_t id, const ProtobufCMessage *message)
{
	uint8_t *at = sw_buffer_room(out, VARINT_MAX + 1), length[VARINT_MAX];
	size_t from, len, more;

	if (!at)
		return false;
	from = (size_t)(write_varint(at, id << 3 | 2) - out->at) + 1;
	out->len = from;
	if (!pack(message, out))
		return false;
	len = out->len - from;
	more = (size_t)(write_varint(length, len) - length) - 1;
	if (more) {
		if (!sw_buffer_room(out, more))
			return false;
		memmove(out->at + from + more, out->at + from, len);
	}
	memcpy(out->at + from - 1, length, more + 1);
	out->len += more;
	return true;
}

/* Half of what a segment consists of. Both texts are measured first, so nothing is moved. */
static bool pack_pair(struct sw_buffer *out, uint32_t id, const pair *both)
{
	size_t key = strlen(both->key), value = strlen(both->value);
	uint8_t length[2 * VARINT_MAX], *at;
	size_t key_head = key ? 1 + (size_t)(write_varint(length, key) - length) : 0;
	size_t value_head = value ? 1 + (size_t)(write_varint(length, value) - length) : 0;

	at = sw_buffer_room(out, 4ul * VARINT_MAX + key + value);
	if (!at)
		return false;
	at = write_varint(at, id << 3 | 2);
	at = write_varint(at, key_head + key + value_head + value);
	if (key) {
		at = write_varint(write_varint(at, 1 << 3 | 2), key);
		memcpy(at, both->key, key);
	}
	at += key;
	if (value) {
		at = write_varint(write_varint(at, 2 << 3 | 2), value);
		memcpy(at, both->value, value);
	}
	out->len = (size_t)(at + value - out->at);
	return true;
}

static bool pack_pairs(struct sw_buffer *out, uint32_t id, const pair *const *item, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (!pack_pair(out, id, item[i]))
			return false;
	}
	return true;
}

static bool pack_all(struct sw_buffer *out, const ProtobufCFieldDescriptor *field,
		     const uint8_t *message)
{
	const ProtobufCMessage *const *item;
	size_t count;

	if (field->type != PROTOBUF_C_TYPE_MESSAGE)
		return false;
	memcpy(&count, message + field->quantifier_offset, sizeof(count));
	memcpy(&item, message + field->offset, sizeof(item));
	if (field->descriptor == &skywalking__v3__key_string_value_pair__descriptor)
		return pack_pairs(out, field->id, (const pair *const *)item, count);
	for (size_t i = 0; i < count; i++) {
		if (!pack_nested(out, field->id, item[i]))
			return false;
	}
	return true;
}

static bool pack_one(struct sw_buffer *out, const ProtobufCFieldDescriptor *field, const void *at)
{
	const char *text;
	int64_t wide;
	int32_t n;

	switch (field->type) {
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_ENUM:
	case PROTOBUF_C_TYPE_BOOL: /* an int that is 0 or 1 */
		memcpy(&n, at, sizeof(n));
		return pack_number(out, field->id, (uint64_t)n); /* -1 has ten bytes */
	case PROTOBUF_C_TYPE_INT64:
		memcpy(&wide, at, sizeof(wide));
		return pack_number(out, field->id, (uint64_t)wide);
	case PROTOBUF_C_TYPE_STRING:
		memcpy(&text, at, sizeof(text));
		return pack_text(out, field->id, text);
	default:
		return false;
	}
}

static bool pack(const ProtobufCMessage *message, struct sw_buffer *out)
{
	const ProtobufCFieldDescriptor *field = message->descriptor->fields;
	const uint8_t *at = (const uint8_t *)message;
	bool packed = true;

	for (unsigned i = 0; packed && i < message->descriptor->n_fields; i++, field++) {
		if (field->label == PROTOBUF_C_LABEL_REPEATED)
			packed = pack_all(out, field, at);
		else
			packed = field->label == PROTOBUF_C_LABEL_NONE && field->flags == 0 &&
				 pack_one(out, field, at + field->offset);
	}
	return packed;
}

static bool put(const ProtobufCMessage *message, enum sw_format format, struct sw_buffer *out)
{
	size_t len = out->len;
	bool failed = out->failed;

	if (format == SW_FORMAT_JSON ? sw_json_message(message, out) : pack(message, out))
		return true;
	/* what was there is whole again, so nothing of it is missing */
	out->len = len;
	out->failed = failed;
	return false;
}

/* ---- segments ---- */

static struct sw_bytes text_of(const struct sw_record_span *record)
{
	return sw_bytes(record + 1, record->text);
}

static bool head_is_whole(const struct sw_record_span *record)
{
	return record->record.kind == SW_RECORD_SPAN && record->record.size >= sizeof(*record) &&
	       record->record.size <= SW_RECORD_MAX &&
	       record->text <= record->record.size - sizeof(*record) &&
	       record->type <= SW_SPAN_EXIT && record->layer <= SKYWALKING__V3__SPAN_LAYER__FAAS;
}

/* False: broken. A kept text needs its bytes and a NUL, less than its field took. The eight
 * fields of a carrier need less than they took too: base64 shrinks, and each had a '-'. */
static bool measure_span(const struct sw_record_span *record, struct need *need)
{
	struct sw_bytes text, value;
	struct sw_field field;

	if (!head_is_whole(record))
		return false;
	text = text_of(record);
	while (sw_field_next(&text, &field, &value)) {
		if (field.kind > SW_FIELD_TAG ||
		    (field.kind == SW_FIELD_TAG && field.key >= SW_TAG_COUNT))
			return false;
		need->pairs += field.kind == SW_FIELD_TAG;
	}
	need->pairs += EXTRA_TAGS;
	need->text += record->text + EXTRA_TEXT;
	return text.len == 0;
}

static bool measure(const struct sw_segment *segment, struct need *need)
{
	for (size_t i = 0; i < segment->count; i++) {
		const struct sw_id *first = &segment->span[0]->segment;
		const struct sw_id *id = &segment->span[i]->segment;

		if (!measure_span(segment->span[i], need) || id->high != first->high ||
		    id->low != first->low)
			return false;
	}
	return segment->count > 0;
}

static void add_pair(struct sw_encoder *encoder, const char *key, char *value)
{
	pair *p = &encoder->pair[encoder->pairs_used++];

	p->key = lend(key);
	p->value = value;
}

static void add_own_tags(struct sw_encoder *encoder, const struct sw_record_span *record)
{
	bool alone = record->type == SW_SPAN_EXIT &&
		     (record->flags & (SW_SPAN_ALONE | SW_SPAN_LATE)) == SW_SPAN_ALONE;

	if (record->status && record->status_tag < SW_TAG_COUNT)
		add_pair(encoder, sw_tag_names[record->status_tag],
			 keep_number(&encoder->text, record->status));
	if (record->flags & SW_SPAN_UNFINISHED)
		add_pair(encoder, sw_tag_names[SW_TAG_SW_UNFINISHED], lend("true"));
	if (alone && atomic_load_explicit(&sw_process_serves, memory_order_relaxed))
		add_pair(encoder, sw_tag_names[SW_TAG_SW_PARENT], lend("none"));
}

/* Texts and tags of a span. Returns the carrier, empty when there is none. */
static struct sw_bytes fill_text(struct sw_encoder *encoder, const struct sw_record_span *record,
				 span_object *span)
{
	struct sw_bytes text = text_of(record), value, carrier = {NULL, 0};
	size_t first = encoder->pairs_used;
	struct sw_field field;

	while (sw_field_next(&text, &field, &value)) {
		if (field.kind == SW_FIELD_OPERATION)
			span->operation_name = keep(&encoder->text, value);
		else if (field.kind == SW_FIELD_PEER)
			span->peer = keep(&encoder->text, value);
		else if (field.kind == SW_FIELD_CARRIER &&
			 (record->type == SW_SPAN_ENTRY || record->flags & SW_SPAN_LATE))
			carrier = value;
		else if (field.kind == SW_FIELD_TAG)
			add_pair(encoder, sw_tag_names[field.key], keep(&encoder->text, value));
	}
	add_own_tags(encoder, record);
	span->n_tags = encoder->pairs_used - first;
	span->tags = encoder->pairs + first;
	return carrier;
}

/* Of at most nine digits: sw_carrier_read saw to it. */
static int32_t span_id(struct sw_bytes digits)
{
	int32_t n = 0;

	for (size_t i = 0; i < digits.len; i++)
		n = n * 10 + (digits.at[i] - '0');
	return n;
}

/* False: not a carrier. The guest follows valid ones only, so the record is broken then. */
static bool fill_reference(struct sw_writer *text, struct sw_bytes carrier, segment_reference *ref)
{
	struct sw_bytes field[SW_CARRIER_FIELDS];

	if (sw_carrier_read(carrier, field) != SW_CARRIED_SAMPLED)
		return false;
	skywalking__v3__segment_reference__init(ref);
	ref->ref_type = SKYWALKING__V3__REF_TYPE__CrossProcess;
	ref->trace_id = keep_decoded(text, field[SW_CARRIER_TRACE]);
	ref->parent_trace_segment_id = keep_decoded(text, field[SW_CARRIER_SEGMENT]);
	ref->parent_span_id = span_id(field[SW_CARRIER_SPAN]);
	ref->parent_service = keep_decoded(text, field[SW_CARRIER_SERVICE]);
	ref->parent_service_instance = keep_decoded(text, field[SW_CARRIER_INSTANCE]);
	ref->parent_endpoint = keep_decoded(text, field[SW_CARRIER_ENDPOINT]);
	ref->network_address_used_at_peer = keep_decoded(text, field[SW_CARRIER_ADDRESS]);
	return ref->trace_id && ref->parent_trace_segment_id && ref->parent_service &&
	       ref->parent_service_instance && ref->parent_endpoint &&
	       ref->network_address_used_at_peer;
}

static bool fill_span(struct sw_encoder *encoder, const struct sw_record_span *record,
		      struct span_slot *slot)
{
	span_object *span = &slot->span;
	struct sw_bytes carrier;

	skywalking__v3__span_object__init(span);
	span->span_id = record->span;
	span->parent_span_id = record->parent;
	span->start_time = record->start_ms;
	span->end_time = record->end_ms;
	span->span_type = record->type == SW_SPAN_ENTRY ? SKYWALKING__V3__SPAN_TYPE__Entry
							: SKYWALKING__V3__SPAN_TYPE__Exit;
	span->span_layer = (Skywalking__V3__SpanLayer)record->layer;
	span->component_id = (int32_t)record->component;
	span->is_error = (record->flags & SW_SPAN_ERROR) != 0;
	carrier = fill_text(encoder, record, span);
	if (carrier.len == 0)
		return true;
	span->n_refs = 1;
	span->refs = &slot->refs;
	if (!fill_reference(&encoder->text, carrier, &slot->ref))
		return false;
	if (record->flags & SW_SPAN_LATE) { /* it never left the process: no address was used */
		slot->ref.ref_type = SKYWALKING__V3__REF_TYPE__CrossThread;
		slot->ref.network_address_used_at_peer = lend("");
	}
	return true;
}

static bool fill_segment(struct sw_encoder *encoder, const struct sw_segment *segment,
			 segment_object *message)
{
	struct sw_id id = segment->span[0]->segment;
	char *trace = NULL;

	for (size_t i = 0; i < segment->count; i++) {
		struct span_slot *slot = &encoder->slot[i];

		if (!fill_span(encoder, segment->span[i], slot))
			return false;
		if (slot->span.n_refs)
			trace = slot->ref.trace_id;
		message->is_size_limited |= (segment->span[i]->flags & SW_SPAN_LIMITED) != 0;
	}
	message->n_spans = segment->count;
	message->spans = encoder->span;
	message->trace_segment_id = keep_id(&encoder->text, id);
	message->trace_id = trace ? trace : keep_id(&encoder->text, sw_process_trace_of(id));
	return true;
}

bool sw_encode_segment(struct sw_encoder *encoder, enum sw_format format,
		       const struct sw_sender *sender, const struct sw_segment *segment,
		       struct sw_buffer *out)
{
	struct need need = {IDS_TEXT + sender_text(sender), 0};
	segment_object message;

	skywalking__v3__segment_object__init(&message);
	if (!measure(segment, &need) || !reserve(encoder, segment->count, &need) ||
	    !fill_segment(encoder, segment, &message))
		return false;
	message.service = keep(&encoder->text, sw_bytes_text(sender->service));
	message.service_instance = keep(&encoder->text, sw_bytes_text(sender->instance));
	return !encoder->text.cut && put(&message.base, format, out);
}

/* ---- management ---- */

bool sw_encode_properties(struct sw_encoder *encoder, enum sw_format format,
			  const struct sw_sender *sender, const struct sw_property *property,
			  size_t count, struct sw_buffer *out)
{
	struct need need = {sender_text(sender), count};
	Skywalking__V3__InstanceProperties message;

	for (size_t i = 0; i < count; i++)
		need.text += strlen(property[i].key) + 1 + strlen(property[i].value) + 1;
	if (!reserve(encoder, 0, &need))
		return false;
	for (size_t i = 0; i < count; i++) {
		const char *key = keep(&encoder->text, sw_bytes_text(property[i].key));

		add_pair(encoder, key, keep(&encoder->text, sw_bytes_text(property[i].value)));
	}
	skywalking__v3__instance_properties__init(&message);
	message.service = keep(&encoder->text, sw_bytes_text(sender->service));
	message.service_instance = keep(&encoder->text, sw_bytes_text(sender->instance));
	message.n_properties = count;
	message.properties = encoder->pairs;
	return !encoder->text.cut && put(&message.base, format, out);
}

bool sw_encode_ping(struct sw_encoder *encoder, enum sw_format format,
		    const struct sw_sender *sender, struct sw_buffer *out)
{
	Skywalking__V3__InstancePingPkg message;

	if (!reserve_text(encoder, sender_text(sender)))
		return false;
	skywalking__v3__instance_ping_pkg__init(&message);
	message.service = keep(&encoder->text, sw_bytes_text(sender->service));
	message.service_instance = keep(&encoder->text, sw_bytes_text(sender->instance));
	return !encoder->text.cut && put(&message.base, format, out);
}
