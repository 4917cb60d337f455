/*
 * The JSON mapping of protobuf; see json.h.
 *
 * One walk over a descriptor serves every message that we shall ever have, and shows exactly what
 * the wire would: the rules for leaving a field out are those of protobuf-c's packer. Names, 64
 * bit numbers as text, enumerators by name and base64 are the mapping's. Of maps those from text to
 * text have a case, Any and the other well-known types have none, as in SkyWalking's messages.
 *
 * Nothing here may show the program's locale. Whole numbers are our own digits; of what printf
 * says of a double the decimal mark, whatever the locale has for it, becomes a point.
 */
#include "proto/json.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>

#include "preload/carrier.h"

/* Beyond it a double is not exact as a whole number, and digits of our own would lie. */
#define WHOLE_MAX 9007199254740992.0
#define DOUBLE_ROOM 64
#define NAMES_BITS 7
#define NAMES (1 << NAMES_BITS)
#define NAME_ROOM 32

static void add_object(struct sw_buffer *out, const ProtobufCMessage *message);

static void add_char(struct sw_buffer *out, char c)
{
	sw_buffer_add(out, sw_bytes(&c, 1));
}

/* ---- texts ---- */

static bool is_plain(uint8_t c)
{
	return c >= 0x20 && c != '"' && c != '\\';
}

static void add_escape(struct sw_buffer *out, uint8_t c)
{
	static const char digit[16] = "0123456789abcdef";
	char text[6] = {'\\', 'u', '0', '0', digit[c >> 4], digit[c & 15]};

	if (c == '"' || c == '\\') {
		text[1] = (char)c;
		sw_buffer_add(out, sw_bytes(text, 2));
	} else {
		sw_buffer_add(out, sw_bytes(text, sizeof(text)));
	}
}

/* Eight bytes at a time; what is plain in no doubt, by the borrows of a subtraction. */
static bool are_plain(const uint8_t *at)
{
	const uint64_t ones = 0x0101010101010101, tops = ones << 7;
	uint64_t c, quote, slash;

	memcpy(&c, at, sizeof(c));
	quote = c ^ ones * '"';
	slash = c ^ ones * '\\';
	return !(
		(((c - ones * 0x20) & ~c) | ((quote - ones) & ~quote) | ((slash - ones) & ~slash)) &
		tops);
}

/*
 * Copies what is plain at the beginning of `text`, for which there is room, and returns its length.
 * Almost every text is plain as a whole and short, so its end is looked at with eight bytes, too,
 * some of them once more.
 */
static size_t copy_plain(struct sw_bytes text, uint8_t *ret_text)
{
	const size_t word = sizeof(uint64_t);
	size_t run = 0;

	for (; run + word <= text.len && are_plain(text.at + run); run += word)
		memcpy(ret_text + run, text.at + run, word);
	if (text.len >= word && text.len - run < word && are_plain(text.at + text.len - word)) {
		memcpy(ret_text + text.len - word, text.at + text.len - word, word);
		return text.len;
	}
	for (; run < text.len && is_plain(text.at[run]); run++)
		ret_text[run] = text.at[run];
	return run;
}

static void add_escaped(struct sw_buffer *out, struct sw_bytes left)
{
	while (left.len) {
		uint8_t *at = sw_buffer_room(out, left.len);
		size_t run;

		if (!at)
			return;
		run = copy_plain(left, at);
		out->len += run;
		if (run < left.len)
			add_escape(out, left.at[run++]);
		left = sw_bytes_from(left, run);
	}
}

static void add_text(struct sw_buffer *out, const char *text)
{
	struct sw_bytes all = sw_bytes_text(text);
	uint8_t *at = sw_buffer_room(out, all.len + 2);
	size_t run;

	if (!at)
		return;
	at[0] = '"';
	run = copy_plain(all, at + 1);
	out->len += run + 1;
	if (run < all.len)
		add_escaped(out, sw_bytes_from(all, run));
	add_char(out, '"');
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

/*
 * As it is written: with a comma before and the colon behind. The names of fields are few and never
 * change, so each is made once and known by its address; one that finds its place taken is made
 * again every time. A child of a fork may find one half made, which is not there before `name` is.
 */
struct made_name {
	const char *_Atomic name; /* Borrowed from a descriptor; NULL: free */
	uint8_t len;
	uint8_t text[NAME_ROOM + 1];
};

static size_t make_name(const char *name, uint8_t *ret_text)
{
	size_t len = 0;

	ret_text[len++] = ',';
	ret_text[len++] = '"';
	len += camel(name, ret_text + len);
	ret_text[len++] = '"';
	ret_text[len++] = ':';
	return len;
}

static const struct made_name *find_name(const char *name)
{
	static struct made_name names[NAMES];
	struct made_name *made = &names[(uintptr_t)name * 0x9e3779b97f4a7c15 >> (64 - NAMES_BITS)];
	const char *there = atomic_load_explicit(&made->name, memory_order_relaxed);

	if (there == name)
		return made;
	if (there || strlen(name) + 4 > NAME_ROOM)
		return NULL;
	made->len = (uint8_t)make_name(name, made->text);
	atomic_store_explicit(&made->name, name, memory_order_release);
	return made;
}

static void add_made(struct sw_buffer *out, const struct made_name *made, bool first)
{
	uint8_t *at = sw_buffer_room(out, NAME_ROOM);

	if (!at)
		return;
	memcpy(at, made->text + first, NAME_ROOM); /* a size that the compiler knows */
	out->len += made->len - (size_t)first;
}

/* The first of an object has no comma. */
static void add_name(struct sw_buffer *out, const char *name, bool first)
{
	const struct made_name *made = find_name(name);
	uint8_t *at;

	if (made) {
		add_made(out, made, first);
		return;
	}
	if (!first)
		add_char(out, ',');
	add_char(out, '"');
	at = sw_buffer_room(out, strlen(name));
	if (at)
		out->len += camel(name, at);
	sw_buffer_add(out, SW_BYTES("\":"));
}

/* ---- numbers ---- */

/* Two digits for each division. */
static void add_unsigned(struct sw_buffer *out, uint64_t n)
{
	static const char pairs[] = "00010203040506070809101112131415161718192021222324"
				    "25262728293031323334353637383940414243444546474849"
				    "50515253545556575859606162636465666768697071727374"
				    "75767778798081828384858687888990919293949596979899";
	uint8_t digits[20];
	size_t at = sizeof(digits);

	for (; n >= 10; n /= 100) {
		at -= 2;
		memcpy(digits + at, pairs + n % 100 * 2, 2);
	}
	if (n || at == sizeof(digits))
		digits[--at] = (uint8_t)('0' + n);
	sw_buffer_add(out, sw_bytes(digits + at, sizeof(digits) - at));
}

static void add_signed(struct sw_buffer *out, int64_t n)
{
	if (n < 0)
		add_char(out, '-');
	add_unsigned(out, n < 0 ? -(uint64_t)n : (uint64_t)n);
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
