/*
 * The JSON mapping of protobuf; see json.h.
 *
 * One walk over a descriptor serves every message that we shall ever have, and shows exactly what
 * the wire would: the rules for leaving a field out are those of protobuf-c's packer. Names, 64
 * bit numbers as text, enumerators by name and base64 are the mapping's. Of maps those from text to
 * text have a case, Any and the other well-known types have none, as in SkyWalking's messages.
 * What is sent thousands of times a second, proto/wire_json.c writes.
 *
 * Nothing here may show the program's locale. Whole numbers are our own digits; of what printf
 * says of a double the decimal mark, whatever the locale has for it, becomes a point.
 */
#include "proto/json.h"

#include <math.h>
#include <stdio.h>

#include "preload/carrier.h"
#include "proto/quote.h"

/* Beyond it a double is not exact as a whole number, and digits of our own would lie. */
#define WHOLE_MAX 9007199254740992.0
#define DOUBLE_ROOM 64

static void add_object(struct sw_buffer *out, const ProtobufCMessage *message);

static void add_char(struct sw_buffer *out, char c)
{
	sw_buffer_add(out, sw_bytes(&c, 1));
}

/* ---- texts ---- */

static void add_text(struct sw_buffer *out, const char *text)
{
	struct sw_bytes all = sw_bytes_text(text);
	uint8_t *at = sw_buffer_room(out, sw_quote_most(all.len));

	if (at)
		out->len += (size_t)(sw_quote(at, all) - at);
}

static void add_base64(struct sw_buffer *out, const ProtobufCBinaryData *data)
{
	size_t len = (data->len + 2) / 3 * 4;
	uint8_t *at;

	add_char(out, '"');
	at = sw_buffer_room(out, len);
	if (at) {
		struct sw_writer w = sw_writer(at, len);

		sw_write_base64(&w, sw_bytes(data->data, data->len));
		out->len += w.len;
	}
	add_char(out, '"');
}

/* lowerCamelCase: a '_' goes and makes the next letter a capital. Returns the length. */
static size_t camel(const char *name, uint8_t *ret_text)
{
	uint8_t *at = ret_text;
	uint8_t c;

	while ((c = (uint8_t)*name++)) {
		*at++ = c;
		if (c != '_')
			continue;
		at--;
		if (*name >= 'a' && *name <= 'z')
			*at++ = (uint8_t)(*name++ & ~0x20);
	}
	return (size_t)(at - ret_text);
}

/* The first of an object has no comma. */
static void add_name(struct sw_buffer *out, const char *name, bool first)
{
	uint8_t *at;

	if (!first)
		add_char(out, ',');
	add_char(out, '"');
	at = sw_buffer_room(out, strlen(name));
	if (at)
		out->len += camel(name, at);
	sw_buffer_add(out, SW_BYTES("\":"));
}

/* ---- numbers ---- */

static void add_unsigned(struct sw_buffer *out, uint64_t n)
{
	uint8_t *at = sw_buffer_room(out, SW_QUOTE_NUMBER);

	if (at)
		out->len += (size_t)(sw_quote_unsigned(at, n) - at);
}

static void add_signed(struct sw_buffer *out, int64_t n)
{
	uint8_t *at = sw_buffer_room(out, SW_QUOTE_NUMBER);

	if (at)
		out->len += (size_t)(sw_quote_signed(at, n) - at);
}

/* As few digits as bring the same number back; 17 always do. strtod asks the same locale as
 * printf; should another thread change it in between, we only print more digits. */
static int shortest(char *text, double n)
{
	int len = 0;

	for (int digits = 15; digits <= 17; digits++) {
		len = snprintf(text, DOUBLE_ROOM, "%.*g", digits, n);
		if (strtod(text, NULL) == n)
			break;
	}
	return SW_MIN(len, DOUBLE_ROOM - 1);
}

static bool is_of_number(char c)
{
	return (c >= '0' && c <= '9') || c == '-' || c == '+' || c == 'e';
}

static void add_fraction(struct sw_buffer *out, double n)
{
	char text[DOUBLE_ROOM];
	int len = shortest(text, n);

	for (int i = 0; i < len; i++) {
		if (is_of_number(text[i]))
			add_char(out, text[i]);
		else if (is_of_number(text[i + 1])) /* last byte of the locale's decimal mark */
			add_char(out, '.');
	}
}

static void add_double(struct sw_buffer *out, double n)
{
	if (isnan(n))
		add_text(out, "NaN");
	else if (isinf(n))
		add_text(out, n < 0 ? "-Infinity" : "Infinity");
	else if (n == 0 && signbit(n))
		sw_buffer_add(out, SW_BYTES("-0.0")); /* "-0" is a whole number to some readers */
	else if (fabs(n) <= WHOLE_MAX && n == (double)(int64_t)n)
		add_signed(out, (int64_t)n);
	else
		add_fraction(out, n);
}

static void add_enum(struct sw_buffer *out, const ProtobufCEnumDescriptor *type, int32_t n)
{
	const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(type, n);

	if (value)
		add_text(out, value->name);
	else
		add_signed(out, n); /* the mapping allows it, and a newer reader may know it */
}

/* ---- fields ---- */

/* A member of a message struct, seen as what its type says. */
union member {
	int32_t i32;
	uint32_t u32;
	int64_t i64;
	uint64_t u64;
	float f;
	double d;
	protobuf_c_boolean b;
	const char *text;
	const ProtobufCMessage *message;
	ProtobufCBinaryData bytes;
};

static size_t size_of(ProtobufCType type)
{
	static const uint8_t sizes[] = {
		[PROTOBUF_C_TYPE_INT32] = sizeof(int32_t),
		[PROTOBUF_C_TYPE_SINT32] = sizeof(int32_t),
		[PROTOBUF_C_TYPE_SFIXED32] = sizeof(int32_t),
		[PROTOBUF_C_TYPE_INT64] = sizeof(int64_t),
		[PROTOBUF_C_TYPE_SINT64] = sizeof(int64_t),
		[PROTOBUF_C_TYPE_SFIXED64] = sizeof(int64_t),
		[PROTOBUF_C_TYPE_UINT32] = sizeof(uint32_t),
		[PROTOBUF_C_TYPE_FIXED32] = sizeof(uint32_t),
		[PROTOBUF_C_TYPE_UINT64] = sizeof(uint64_t),
		[PROTOBUF_C_TYPE_FIXED64] = sizeof(uint64_t),
		[PROTOBUF_C_TYPE_FLOAT] = sizeof(float),
		[PROTOBUF_C_TYPE_DOUBLE] = sizeof(double),
		[PROTOBUF_C_TYPE_BOOL] = sizeof(protobuf_c_boolean),
		[PROTOBUF_C_TYPE_ENUM] = sizeof(int32_t),
		[PROTOBUF_C_TYPE_STRING] = sizeof(void *),
		[PROTOBUF_C_TYPE_BYTES] = sizeof(ProtobufCBinaryData),
		[PROTOBUF_C_TYPE_MESSAGE] = sizeof(void *),
	};

	return sizes[type];
}

/* Sizes that the compiler knows: one load each, and there is one for every field of a message. */
static union member member_at(const ProtobufCFieldDescriptor *field, const void *at)
{
	union member member = {.bytes = {0, NULL}};

	switch (size_of(field->type)) {
	case sizeof(member.u32):
		memcpy(&member.u32, at, sizeof(member.u32));
		break;
	case sizeof(member.u64):
		memcpy(&member.u64, at, sizeof(member.u64));
		break;
	default:
		memcpy(&member.bytes, at, sizeof(member.bytes));
		break;
	}
	return member;
}

static void add_quoted(struct sw_buffer *out, const ProtobufCFieldDescriptor *field,
		       const union member *member)
{
	bool is_unsigned =
		field->type == PROTOBUF_C_TYPE_UINT64 || field->type == PROTOBUF_C_TYPE_FIXED64;

	add_char(out, '"');
	if (is_unsigned)
		add_unsigned(out, member->u64);
	else
		add_signed(out, member->i64);
	add_char(out, '"');
}

static void add_value(struct sw_buffer *out, const ProtobufCFieldDescriptor *field, const void *at)
{
	union member member = member_at(field, at);

	switch (field->type) {
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32:
		add_signed(out, member.i32);
		break;
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
		add_unsigned(out, member.u32);
		break;
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
		add_quoted(out, field, &member);
		break;
	case PROTOBUF_C_TYPE_FLOAT:
		add_double(out, (double)member.f);
		break;
	case PROTOBUF_C_TYPE_DOUBLE:
		add_double(out, member.d);
		break;
	case PROTOBUF_C_TYPE_BOOL:
		sw_buffer_add(out, member.b ? SW_BYTES("true") : SW_BYTES("false"));
		break;
	case PROTOBUF_C_TYPE_ENUM:
		add_enum(out, field->descriptor, member.i32);
		break;
	case PROTOBUF_C_TYPE_STRING:
		add_text(out, member.text);
		break;
	case PROTOBUF_C_TYPE_BYTES:
		add_base64(out, &member.bytes);
		break;
	case PROTOBUF_C_TYPE_MESSAGE:
		add_object(out, member.message);
		break;
	}
}

/* The value that proto3 does not send. What is not of the member is 0: one look at eight bytes
 * serves numbers, pointers and the length of bytes. */
static bool is_default(const ProtobufCFieldDescriptor *field, const void *at)
{
	union member member = member_at(field, at);

	if (member.u64 == 0)
		return true;
	if (field->type == PROTOBUF_C_TYPE_STRING)
		return !member.text[0];
	if (field->type == PROTOBUF_C_TYPE_FLOAT) /* -0 */
		return member.f == 0;
	return field->type == PROTOBUF_C_TYPE_DOUBLE && member.d == 0;
}

/* A choice without its object; the packer sends nothing then. */
static bool is_null(const ProtobufCFieldDescriptor *field, const void *at)
{
	return (field->type == PROTOBUF_C_TYPE_MESSAGE || field->type == PROTOBUF_C_TYPE_STRING) &&
	       !member_at(field, at).text;
}

/* An `optional` field knows whether it was set: by a pointer, or by a flag beside it. */
static bool is_set(const ProtobufCFieldDescriptor *field, const uint8_t *message)
{
	union member member = member_at(field, message + field->offset);
	protobuf_c_boolean has;

	if (field->type == PROTOBUF_C_TYPE_MESSAGE)
		return member.message;
	if (field->type == PROTOBUF_C_TYPE_STRING)
		return member.text && member.text != field->default_value;
	memcpy(&has, message + field->quantifier_offset, sizeof(has));
	return has;
}

static bool is_present(const ProtobufCFieldDescriptor *field, const uint8_t *message)
{
	uint32_t choice;
	size_t count;

	if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
		memcpy(&choice, message + field->quantifier_offset, sizeof(choice));
		return choice == field->id && !is_null(field, message + field->offset);
	}
	if (field->label == PROTOBUF_C_LABEL_REPEATED) {
		memcpy(&count, message + field->quantifier_offset, sizeof(count));
		return count > 0;
	}
	if (field->label == PROTOBUF_C_LABEL_OPTIONAL)
		return is_set(field, message);
	return field->label == PROTOBUF_C_LABEL_REQUIRED ||
	       !is_default(field, message + field->offset);
}

static void add_array(struct sw_buffer *out, const ProtobufCFieldDescriptor *field,
		      const uint8_t *message)
{
	size_t count, size = size_of(field->type);
	const uint8_t *items;

	memcpy(&count, message + field->quantifier_offset, sizeof(count));
	memcpy(&items, message + field->offset, sizeof(items));
	for (size_t i = 0; i < count; i++) {
		add_char(out, i ? ',' : '[');
		add_value(out, field, items + i * size);
	}
	add_char(out, ']');
}

static bool is_text(const ProtobufCFieldDescriptor *field, const char *name)
{
	return field->type == PROTOBUF_C_TYPE_STRING && strcmp(field->name, name) == 0;
}

/* A map is a list of messages that protoc names NAMEEntry, with a key and a value. */
static bool is_map(const ProtobufCFieldDescriptor *field)
{
	const ProtobufCMessageDescriptor *type = field->descriptor;
	struct sw_bytes name;

	if (field->type != PROTOBUF_C_TYPE_MESSAGE || type->n_fields != 2)
		return false;
	name = sw_bytes_text(type->short_name);
	return sw_bytes_ends(name, SW_BYTES("Entry")) && is_text(&type->fields[0], "key") &&
	       is_text(&type->fields[1], "value");
}

static const char *entry_text(const ProtobufCMessage *entry, unsigned field)
{
	const uint8_t *at = (const uint8_t *)entry;

	return member_at(&entry->descriptor->fields[field],
			 at + entry->descriptor->fields[field].offset)
		.text;
}

/* Keys that are there twice would be so here, too: who fills a map sees to it that none is. */
static void add_map(struct sw_buffer *out, const ProtobufCFieldDescriptor *field,
		    const uint8_t *message)
{
	const ProtobufCMessage *const *entry;
	size_t count;

	memcpy(&count, message + field->quantifier_offset, sizeof(count));
	memcpy(&entry, message + field->offset, sizeof(entry));
	for (size_t i = 0; i < count; i++) {
		add_char(out, i ? ',' : '{');
		add_text(out, entry_text(entry[i], 0));
		add_char(out, ':');
		add_text(out, entry_text(entry[i], 1));
	}
	add_char(out, '}');
}

static void add_object(struct sw_buffer *out, const ProtobufCMessage *message)
{
	const ProtobufCMessageDescriptor *type = message ? message->descriptor : NULL;
	const uint8_t *at = (const uint8_t *)message;
	bool first = true;

	add_char(out, '{');
	for (unsigned i = 0; type && i < type->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &type->fields[i];

		if (!is_present(field, at))
			continue;
		add_name(out, field->name, first);
		first = false;
		if (field->label == PROTOBUF_C_LABEL_REPEATED && is_map(field))
			add_map(out, field, at);
		else if (field->label == PROTOBUF_C_LABEL_REPEATED)
			add_array(out, field, at);
		else
			add_value(out, field, at + field->offset);
	}
	add_char(out, '}');
}

bool sw_json_message(const ProtobufCMessage *message, struct sw_buffer *out)
{
	struct sw_buffer before = *out;

	add_object(out, message);
	if (!out->failed)
		return true;
	/* what was there is whole again, so nothing of it is missing */
	out->len = before.len;
	out->failed = before.failed;
	return false;
}
