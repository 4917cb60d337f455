/*
 * Messages to the wire; see pack.h.
 *
 * One walk over the descriptor. protobuf_c_message_pack walks twice, for the size and for the
 * bytes, and so takes two thirds of the time of a segment; it is the oracle of the tests. Only the
 * kinds of field that our messages have are known: a message with another kind is refused, which
 * the first test of such a message shows.
 */
#include "proto/pack.h"

#include "proto/common.pb-c.h"

typedef Skywalking__V3__KeyStringValuePair pair;

/* Longest number on the wire. */
#define VARINT_MAX 10

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

static bool pack_bytes(struct sw_buffer *out, uint32_t id, const char *text)
{
	size_t len = strlen(text);
	uint8_t *at = sw_buffer_room(out, 2ul * VARINT_MAX + len);

	if (!at)
		return false;
	at = write_varint(write_varint(at, id << 3 | 2), len);
	memcpy(at, text, len);
	out->len = (size_t)(at - out->at) + len;
	return true;
}

static bool pack_text(struct sw_buffer *out, uint32_t id, const char *text)
{
	return !text[0] || pack_bytes(out, id, text);
}

/* Little-endian, as this machine has it. -0 is 0, for protobuf-c, too. */
static bool pack_double(struct sw_buffer *out, uint32_t id, uint64_t bits)
{
	uint8_t *at;

	if (bits << 1 == 0)
		return true;
	at = sw_buffer_room(out, VARINT_MAX + sizeof(bits));
	if (!at)
		return false;
	at = write_varint(at, id << 3 | 1);
	memcpy(at, &bits, sizeof(bits));
	out->len = (size_t)(at - out->at) + sizeof(bits);
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

static bool pack_texts(struct sw_buffer *out, uint32_t id, const char *const *item, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (!pack_bytes(out, id, item[i]))
			return false;
	}
	return true;
}

static bool pack_all(struct sw_buffer *out, const ProtobufCFieldDescriptor *field,
		     const uint8_t *message)
{
	const void *const *item;
	size_t count;

	memcpy(&count, message + field->quantifier_offset, sizeof(count));
	memcpy(&item, message + field->offset, sizeof(item));
	if (field->type == PROTOBUF_C_TYPE_STRING)
		return pack_texts(out, field->id, (const char *const *)item, count);
	if (field->type != PROTOBUF_C_TYPE_MESSAGE)
		return false;
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
	const void *pointer;
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
	case PROTOBUF_C_TYPE_DOUBLE:
		memcpy(&wide, at, sizeof(wide));
		return pack_double(out, field->id, (uint64_t)wide);
	case PROTOBUF_C_TYPE_STRING:
		memcpy(&pointer, at, sizeof(pointer));
		return pack_text(out, field->id, pointer);
	case PROTOBUF_C_TYPE_MESSAGE:
		memcpy(&pointer, at, sizeof(pointer));
		return !pointer || pack_nested(out, field->id, pointer);
	default:
		return false;
	}
}

/* Of a choice only the chosen one is looked at; ours are all between messages. */
static bool pack_choice(struct sw_buffer *out, const ProtobufCFieldDescriptor *field,
			const uint8_t *message)
{
	uint32_t chosen;

	memcpy(&chosen, message + field->quantifier_offset, sizeof(chosen));
	if (chosen != field->id)
		return true;
	return field->type == PROTOBUF_C_TYPE_MESSAGE &&
	       pack_one(out, field, message + field->offset);
}

static bool pack(const ProtobufCMessage *message, struct sw_buffer *out)
{
	const ProtobufCFieldDescriptor *field = message->descriptor->fields;
	const uint8_t *at = (const uint8_t *)message;
	bool packed = true;

	for (unsigned i = 0; packed && i < message->descriptor->n_fields; i++, field++) {
		if (field->label == PROTOBUF_C_LABEL_REPEATED)
			packed = pack_all(out, field, at);
		else if (field->flags == 0)
			packed = field->label == PROTOBUF_C_LABEL_NONE &&
				 pack_one(out, field, at + field->offset);
		else
			packed = field->flags == PROTOBUF_C_FIELD_FLAG_ONEOF &&
				 pack_choice(out, field, at);
	}
	return packed;
}

bool sw_pack(const ProtobufCMessage *message, struct sw_buffer *out)
{
	return pack(message, out);
}
