/*
 * Records to messages to bytes; see encode.h.
 *
 * First a segment's records are read through once: broken ones are refused before anything is
 * made, and what it needs is known. Then the encoder's arrays are made large enough for what it
 * refers to, so that no pointer into them moves while they are filled, and it goes to the wire
 * (wire.h). They stay for the next segment: in the long run nothing is allocated but room in the
 * output buffer.
 */
#include "proto/encode.h"

#include "preload/carrier.h"
#include "preload/tags.h"
#include "proto/encoder.h"
#include "proto/management.pb-c.h"
#include "proto/tracing.pb-c.h"
#include "proto/wire.h"

/* Shorter names for what protoc-c calls by package, version and type. */
typedef Skywalking__V3__SegmentReference segment_reference;
typedef Skywalking__V3__KeyStringValuePair pair;

/* Values of a span's own tags: digits of a status, two words. */
#define EXTRA_TEXT 24

struct span_room {
	segment_reference *ref; /* Owned; of spans that refer to another segment, at most all */
	const ProtobufCMessage **refs; /* Owned; of each span, NULL: refers to none */
	size_t spans_room;
	pair *pair;   /* Owned */
	pair **pairs; /* Owned; the i-th points at pair i */
	size_t pairs_room, pairs_used;
};

struct need {
	size_t text, tags;
	bool carriers; /* a span may refer to another segment */
};

struct sw_encoder *sw_encoder_new(void)
{
	struct sw_encoder *encoder = calloc(1, sizeof(*encoder));
	struct span_room *spans = calloc(1, sizeof(*spans));

	if (!encoder || !spans) {
		free(encoder);
		free(spans);
		return NULL;
	}
	encoder->spans = spans;
	return encoder;
}

struct sw_encoder *sw_encoder_free(struct sw_encoder *encoder)
{
	if (encoder) {
		free(encoder->spans->ref);
		free(encoder->spans->refs);
		free(encoder->spans->pair);
		free(encoder->spans->pairs);
		free(encoder->spans);
		free(encoder->text.at);
		free(encoder->parts);
		free(encoder);
	}
	return NULL;
}

/* ---- room ---- */

static bool reserve_spans(struct sw_encoder *encoder, size_t want)
{
	struct span_room *spans = encoder->spans;
	size_t room = sw_encoder_generous(want);

	if (want <= spans->spans_room)
		return true;
	free(spans->ref);
	free(spans->refs);
	spans->spans_room = 0;
	spans->ref = calloc(room, sizeof(*spans->ref));
	spans->refs = calloc(room, sizeof(void *));
	if (!spans->ref || !spans->refs)
		return false;
	spans->spans_room = room;
	return true;
}

static bool reserve_pairs(struct sw_encoder *encoder, size_t want)
{
	size_t room = sw_encoder_generous(want);

	encoder->spans->pairs_used = 0;
	if (want <= encoder->spans->pairs_room)
		return true;
	free(encoder->spans->pair);
	free(encoder->spans->pairs);
	encoder->spans->pairs_room = 0;
	encoder->spans->pair = calloc(room, sizeof(*encoder->spans->pair));
	encoder->spans->pairs = calloc(room, sizeof(void *));
	if (!encoder->spans->pair || !encoder->spans->pairs)
		return false;
	for (size_t i = 0; i < room; i++) {
		skywalking__v3__key_string_value_pair__init(&encoder->spans->pair[i]);
		encoder->spans->pairs[i] = &encoder->spans->pair[i];
	}
	encoder->spans->pairs_room = room;
	return true;
}

bool sw_encoder_reserve_text(struct sw_encoder *encoder, size_t want)
{
	size_t room = sw_encoder_generous(want);

	encoder->text.len = 0;
	encoder->text.cut = false;
	if (want <= encoder->text.room)
		return true;
	free(encoder->text.at);
	encoder->text.at = malloc(room);
	encoder->text.room = encoder->text.at ? room : 0;
	return encoder->text.at;
}

/* ---- texts ---- */

/* NULL when it is not base64, or of nothing. */
static char *keep_decoded(struct sw_writer *text, struct sw_bytes encoded)
{
	size_t from = text->len;

	if (!sw_read_base64(encoded, text) || text->len == from)
		return NULL;
	return sw_text_finish(text, from);
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
		need->tags += field.kind == SW_FIELD_TAG;
		need->carriers |= field.kind == SW_FIELD_CARRIER;
	}
	need->tags += SW_OWN_TAGS;
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
	pair *p = &encoder->spans->pair[encoder->spans->pairs_used++];

	p->key = sw_text_lend(key);
	p->value = value;
}

static bool may_refer(const struct sw_record_span *record)
{
	return record->type == SW_SPAN_ENTRY || record->flags & SW_SPAN_LATE;
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

static struct sw_bytes carrier_of(const struct sw_record_span *record)
{
	struct sw_bytes text = text_of(record), value, carrier = {NULL, 0};
	struct sw_field field;

	while (may_refer(record) && sw_field_next(&text, &field, &value)) {
		if (field.kind == SW_FIELD_CARRIER)
			carrier = value;
	}
	return carrier;
}

/* What the span refers to. */
static bool refer(struct sw_encoder *encoder, const struct sw_record_span *record,
		  struct sw_bytes carrier, segment_reference *ref)
{
	if (!fill_reference(&encoder->text, carrier, ref))
		return false;
	if (record->flags & SW_SPAN_LATE) { /* it never left the process: no address was used */
		ref->ref_type = SKYWALKING__V3__REF_TYPE__CrossThread;
		ref->network_address_used_at_peer = sw_text_lend("");
	}
	return true;
}

/* What carriers say is decoded, and the last one's trace is the segment's. False: one is broken. */
static bool refer_all(struct sw_encoder *encoder, const struct need *need, struct sw_wired *wired)
{
	struct span_room *spans = encoder->spans;

	if (!reserve_spans(encoder, wired->segment->count) ||
	    !sw_encoder_reserve_text(encoder, need->text))
		return false;
	wired->refs = spans->refs;
	for (size_t i = 0; i < wired->segment->count; i++) {
		const struct sw_record_span *record = wired->segment->span[i];
		struct sw_bytes carrier = carrier_of(record);

		spans->refs[i] = carrier.len ? &spans->ref[i].base : NULL;
		if (!carrier.len)
			continue;
		if (!refer(encoder, record, carrier, &spans->ref[i]))
			return false;
		wired->trace = sw_bytes_text(spans->ref[i].trace_id);
	}
	return !encoder->text.cut;
}

bool sw_encode_segment(struct sw_encoder *encoder, enum sw_format format,
		       const struct sw_sender *sender, const struct sw_segment *segment,
		       struct sw_buffer *out)
{
	struct need need = {sw_encoder_sender_text(sender), 0, false};
	struct sw_wired wired = {.sender = sender, .segment = segment};
	bool failed = out->failed;

	if (!measure(segment, &need) || (need.carriers && !refer_all(encoder, &need, &wired)))
		return false;
	wired.texts = need.text;
	wired.tags = need.tags;
	if (format == SW_FORMAT_JSON ? sw_wire_segment_json(&wired, out)
				     : sw_wire_segment(&wired, out))
		return true;
	out->failed = failed; /* what was there is whole */
	return false;
}

/* ---- management ---- */

bool sw_encode_properties(struct sw_encoder *encoder, enum sw_format format,
			  const struct sw_sender *sender, const struct sw_property *property,
			  size_t count, struct sw_buffer *out)
{
	size_t text = sw_encoder_sender_text(sender);
	Skywalking__V3__InstanceProperties message;

	for (size_t i = 0; i < count; i++)
		text += strlen(property[i].key) + 1 + strlen(property[i].value) + 1;
	if (!reserve_pairs(encoder, count) || !sw_encoder_reserve_text(encoder, text))
		return false;
	for (size_t i = 0; i < count; i++) {
		const char *key = sw_text_keep(&encoder->text, sw_bytes_text(property[i].key));

		add_pair(encoder, key,
			 sw_text_keep(&encoder->text, sw_bytes_text(property[i].value)));
	}
	skywalking__v3__instance_properties__init(&message);
	message.service = sw_text_keep(&encoder->text, sw_bytes_text(sender->service));
	message.service_instance = sw_text_keep(&encoder->text, sw_bytes_text(sender->instance));
	message.n_properties = count;
	message.properties = encoder->spans->pairs;
	return !encoder->text.cut && sw_encoder_put(&message.base, format, out);
}

bool sw_encode_ping(struct sw_encoder *encoder, enum sw_format format,
		    const struct sw_sender *sender, struct sw_buffer *out)
{
	Skywalking__V3__InstancePingPkg message;

	if (!sw_encoder_reserve_text(encoder, sw_encoder_sender_text(sender)))
		return false;
	skywalking__v3__instance_ping_pkg__init(&message);
	message.service = sw_text_keep(&encoder->text, sw_bytes_text(sender->service));
	message.service_instance = sw_text_keep(&encoder->text, sw_bytes_text(sender->instance));
	return !encoder->text.cut && sw_encoder_put(&message.base, format, out);
}
