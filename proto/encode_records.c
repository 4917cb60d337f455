/*
 * Logs, meters, events and profiles to messages; see encode.h. Segments are in encode.c.
 *
 * What is repeated in a message is carved from one run of bytes of the encoder's, after the texts
 * were measured: room is made for all of it first, so no pointer into it moves.
 */
#include "proto/encode.h"

#include "proto/encoder.h"
#include "proto/event.pb-c.h"
#include "proto/meter.pb-c.h"
#include "proto/profile.pb-c.h"
#include "proto/wire.h"

/* Shorter names for what protoc-c calls by package, version and type. */
typedef Skywalking__V3__Label meter_label;
typedef Skywalking__V3__MeterBucketValue bucket_value;
typedef Skywalking__V3__Event__ParametersEntry parameter;

/* ---- room ---- */

static bool reserve_parts(struct sw_encoder *encoder, size_t want)
{
	size_t room = sw_encoder_generous(want);

	encoder->parts_used = 0;
	if (encoder->parts && want <= encoder->parts_room)
		return true;
	free(encoder->parts);
	encoder->parts = malloc(room);
	encoder->parts_room = encoder->parts ? room : 0;
	return encoder->parts;
}

/* An array of `count`; every size is that of pointers, so all stay aligned. */
static void *carve(struct sw_encoder *encoder, size_t count, size_t size)
{
	void *part = encoder->parts + encoder->parts_used;

	encoder->parts_used += count * size;
	return part;
}

/* A message and the pointer to it in the array. */
#define PART(type) (sizeof(type) + sizeof(type *))

static size_t text_of(struct sw_bytes text)
{
	return text.len + 1;
}

static size_t labels_text(const struct sw_label *label, size_t count)
{
	size_t text = 0;

	for (size_t i = 0; i < count; i++)
		text += text_of(label[i].name) + text_of(label[i].value);
	return text;
}

static char *keep(struct sw_encoder *encoder, struct sw_bytes text)
{
	return sw_text_keep(&encoder->text, text);
}

/* Puts the message whose texts were all kept. */
static bool finish(struct sw_encoder *encoder, const ProtobufCMessage *message,
		   enum sw_format format, struct sw_buffer *out)
{
	return !encoder->text.cut && sw_encoder_put(message, format, out);
}

/* ---- logs ---- */

bool sw_encode_log(enum sw_format format, const struct sw_sender *sender, const struct sw_log *log,
		   struct sw_buffer *out)
{
	bool failed = out->failed;

	if (format == SW_FORMAT_JSON ? sw_wire_log_json(sender, log, out)
				     : sw_wire_log(sender, log, out))
		return true;
	out->failed = failed; /* what was there is whole */
	return false;
}

/* ---- meters ---- */

static meter_label **fill_labels(struct sw_encoder *encoder, const struct sw_meter *meter)
{
	meter_label *one = carve(encoder, meter->labels, sizeof(meter_label));
	meter_label **list = carve(encoder, meter->labels, sizeof(meter_label *));

	for (size_t i = 0; i < meter->labels; i++) {
		list[i] = &one[i];
		skywalking__v3__label__init(&one[i]);
		one[i].name = keep(encoder, meter->label[i].name);
		one[i].value = keep(encoder, meter->label[i].value);
	}
	return list;
}

static bucket_value **fill_buckets(struct sw_encoder *encoder, const struct sw_meter *meter)
{
	bucket_value *one = carve(encoder, meter->buckets, sizeof(bucket_value));
	bucket_value **list = carve(encoder, meter->buckets, sizeof(bucket_value *));

	for (size_t i = 0; i < meter->buckets; i++) {
		list[i] = &one[i];
		skywalking__v3__meter_bucket_value__init(&one[i]);
		one[i].bucket = meter->bucket[i].endless ? 0 : meter->bucket[i].least;
		one[i].count = meter->bucket[i].count;
		one[i].is_negative_infinity = meter->bucket[i].endless;
	}
	return list;
}

static void fill_histogram(struct sw_encoder *encoder, const struct sw_meter *meter,
			   Skywalking__V3__MeterHistogram *histogram)
{
	skywalking__v3__meter_histogram__init(histogram);
	histogram->name = keep(encoder, meter->name);
	histogram->n_labels = meter->labels;
	histogram->labels = fill_labels(encoder, meter);
	histogram->n_values = meter->buckets;
	histogram->values = fill_buckets(encoder, meter);
}

static void fill_single(struct sw_encoder *encoder, const struct sw_meter *meter,
			Skywalking__V3__MeterSingleValue *single)
{
	skywalking__v3__meter_single_value__init(single);
	single->name = keep(encoder, meter->name);
	single->n_labels = meter->labels;
	single->labels = fill_labels(encoder, meter);
	single->value = meter->value;
}

static bool reserve_meter(struct sw_encoder *encoder, const struct sw_sender *sender,
			  const struct sw_meter *meter)
{
	size_t text = (sender ? sw_encoder_sender_text(sender) : 0) + text_of(meter->name) +
		      labels_text(meter->label, meter->labels);

	return sw_encoder_reserve_text(encoder, text) &&
	       reserve_parts(encoder, meter->labels * PART(meter_label) +
					      meter->buckets * PART(bucket_value));
}

bool sw_encode_meter(struct sw_encoder *encoder, enum sw_format format,
		     const struct sw_sender *sender, const struct sw_meter *meter,
		     struct sw_buffer *out)
{
	Skywalking__V3__MeterSingleValue single;
	Skywalking__V3__MeterHistogram histogram;
	Skywalking__V3__MeterData message;

	if (!reserve_meter(encoder, sender, meter))
		return false;
	skywalking__v3__meter_data__init(&message);
	if (meter->buckets) {
		fill_histogram(encoder, meter, &histogram);
		message.metric_case = SKYWALKING__V3__METER_DATA__METRIC_HISTOGRAM;
		message.histogram = &histogram;
	} else {
		fill_single(encoder, meter, &single);
		message.metric_case = SKYWALKING__V3__METER_DATA__METRIC_SINGLE_VALUE;
		message.single_value = &single;
	}
	if (sender) {
		message.service = keep(encoder, sw_bytes_text(sender->service));
		message.service_instance = keep(encoder, sw_bytes_text(sender->instance));
		message.timestamp = meter->timestamp_ms;
	}
	return finish(encoder, &message.base, format, out);
}

/* ---- events ---- */

static parameter **fill_parameters(struct sw_encoder *encoder, const struct sw_event *event)
{
	parameter *one = carve(encoder, event->parameters, sizeof(parameter));
	parameter **list = carve(encoder, event->parameters, sizeof(parameter *));

	for (size_t i = 0; i < event->parameters; i++) {
		list[i] = &one[i];
		skywalking__v3__event__parameters_entry__init(&one[i]);
		one[i].key = keep(encoder, event->parameter[i].name);
		one[i].value = keep(encoder, event->parameter[i].value);
	}
	return list;
}

static bool reserve_event(struct sw_encoder *encoder, const struct sw_sender *sender,
			  const struct sw_event *event)
{
	size_t text = sw_encoder_sender_text(sender) + text_of(event->uuid) + text_of(event->name) +
		      text_of(event->message) + text_of(event->endpoint) +
		      labels_text(event->parameter, event->parameters);

	return sw_encoder_reserve_text(encoder, text) &&
	       reserve_parts(encoder, event->parameters * PART(parameter));
}

bool sw_encode_event(struct sw_encoder *encoder, enum sw_format format,
		     const struct sw_sender *sender, const struct sw_event *event,
		     struct sw_buffer *out)
{
	Skywalking__V3__Event message;
	Skywalking__V3__Source source;

	if (!reserve_event(encoder, sender, event))
		return false;
	skywalking__v3__source__init(&source);
	source.service = keep(encoder, sw_bytes_text(sender->service));
	source.service_instance = keep(encoder, sw_bytes_text(sender->instance));
	source.endpoint = keep(encoder, event->endpoint);
	skywalking__v3__event__init(&message);
	message.uuid = keep(encoder, event->uuid);
	message.source = &source;
	message.name = keep(encoder, event->name);
	message.type = event->error ? SKYWALKING__V3__TYPE__Error : SKYWALKING__V3__TYPE__Normal;
	message.message = keep(encoder, event->message);
	message.n_parameters = event->parameters;
	message.parameters = fill_parameters(encoder, event);
	message.start_time = event->start_ms;
	message.end_time = event->end_ms;
	message.layer = sw_text_lend("GENERAL"); /* an event without a layer belongs to none */
	return finish(encoder, &message.base, format, out);
}

/* ---- profiles ---- */

static bool reserve_snapshot(struct sw_encoder *encoder, const struct sw_snapshot *snapshot)
{
	size_t text = text_of(snapshot->task) + text_of(snapshot->segment);

	for (size_t i = 0; i < snapshot->frames; i++)
		text += text_of(snapshot->frame[i]);
	return sw_encoder_reserve_text(encoder, text) &&
	       reserve_parts(encoder, snapshot->frames * sizeof(char *));
}

bool sw_encode_snapshot(struct sw_encoder *encoder, enum sw_format format,
			const struct sw_snapshot *snapshot, struct sw_buffer *out)
{
	Skywalking__V3__ThreadSnapshot message;
	Skywalking__V3__ThreadStack stack;

	if (!reserve_snapshot(encoder, snapshot))
		return false;
	skywalking__v3__thread_snapshot__init(&message);
	message.task_id = keep(encoder, snapshot->task);
	message.trace_segment_id = keep(encoder, snapshot->segment);
	message.time = snapshot->time_ms;
	message.sequence = snapshot->sequence;
	skywalking__v3__thread_stack__init(&stack);
	stack.n_code_signatures = snapshot->frames;
	stack.code_signatures = carve(encoder, snapshot->frames, sizeof(char *));
	for (size_t i = 0; i < snapshot->frames; i++)
		stack.code_signatures[i] = keep(encoder, snapshot->frame[i]);
	message.stack = &stack;
	return finish(encoder, &message.base, format, out);
}

bool sw_encode_finish(struct sw_encoder *encoder, enum sw_format format,
		      const struct sw_sender *sender, struct sw_bytes task, struct sw_buffer *out)
{
	Skywalking__V3__ProfileTaskFinishReport message;

	if (!sw_encoder_reserve_text(encoder, sw_encoder_sender_text(sender) + text_of(task)))
		return false;
	skywalking__v3__profile_task_finish_report__init(&message);
	message.service = keep(encoder, sw_bytes_text(sender->service));
	message.service_instance = keep(encoder, sw_bytes_text(sender->instance));
	message.task_id = keep(encoder, task);
	return finish(encoder, &message.base, format, out);
}

bool sw_encode_query(struct sw_encoder *encoder, enum sw_format format,
		     const struct sw_sender *sender, int64_t since_ms, struct sw_buffer *out)
{
	Skywalking__V3__ProfileTaskCommandQuery message;

	if (!sw_encoder_reserve_text(encoder, sw_encoder_sender_text(sender)))
		return false;
	skywalking__v3__profile_task_command_query__init(&message);
	message.service = keep(encoder, sw_bytes_text(sender->service));
	message.service_instance = keep(encoder, sw_bytes_text(sender->instance));
	message.last_command_time = since_ms;
	return finish(encoder, &message.base, format, out);
}
