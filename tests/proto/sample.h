/*
 * The message of sample.proto as protoc-c would make it, by hand: so that the units need nothing
 * generated. That the two agree is seen by check_messages.py.
 */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

enum colour {
	COLOUR_NONE = 0,
	COLOUR_RED = 1,
	COLOUR_DEEP_BLUE = 7,
};

enum choice {
	CHOICE_NUMBER = 26,
	CHOICE_TEXT = 27,
	CHOICE_INNER = 28,
};

struct inner {
	ProtobufCMessage base;
	const char *name;
};

struct sample {
	ProtobufCMessage base;
	int32_t small, small_zigzag, small_fixed;
	int64_t wide, wide_zigzag, wide_fixed;
	uint32_t count, count_fixed;
	uint64_t long_count, long_count_fixed;
	float single;
	double twice;
	protobuf_c_boolean yes;
	int32_t colour;
	const char *text;
	ProtobufCBinaryData raw;
	struct inner *inner;
	size_t n_smalls, n_wides, n_doubles, n_flags, n_colours, n_texts, n_raws, n_inners;
	int32_t *smalls;
	int64_t *wides;
	double *doubles;
	protobuf_c_boolean *flags;
	int32_t *colours;
	const char **texts;
	ProtobufCBinaryData *raws;
	struct inner **inners;
	uint32_t choice_case; /* enum choice */
	union {
		int32_t number_choice;
		const char *text_choice;
		struct inner *inner_choice;
	};
	int32_t camelCase;
	int32_t with_digit_2_after;
};

static const ProtobufCEnumValue colour_values[] = {
	{"None", NULL, COLOUR_NONE},
	{"Red", NULL, COLOUR_RED},
	{"DeepBlue", NULL, COLOUR_DEEP_BLUE},
};

/* Each run of numbers without a gap, and where it begins in the list. */
static const ProtobufCIntRange colour_ranges[] = {{0, 0}, {7, 2}, {0, 3}};

static const ProtobufCEnumDescriptor colour_type = {
	.magic = PROTOBUF_C__ENUM_DESCRIPTOR_MAGIC,
	.name = "sw.sample.Colour",
	.n_values = 3,
	.values = colour_values,
	.n_value_ranges = 2,
	.value_ranges = colour_ranges,
};

static const ProtobufCFieldDescriptor inner_fields[] = {
	{.name = "name",
	 .id = 1,
	 .label = PROTOBUF_C_LABEL_NONE,
	 .type = PROTOBUF_C_TYPE_STRING,
	 .offset = offsetof(struct inner, name)},
};

static const ProtobufCMessageDescriptor inner_type = {
	.magic = PROTOBUF_C__MESSAGE_DESCRIPTOR_MAGIC,
	.name = "sw.sample.Inner",
	.sizeof_message = sizeof(struct inner),
	.n_fields = 1,
	.fields = inner_fields,
};

#define SAMPLE_FIELD(number, kind, member, of)                                                     \
	.name = #member, .id = number, .type = PROTOBUF_C_TYPE_##kind,                             \
	.offset = offsetof(struct sample, member), .descriptor = of
#define SAMPLE_ONE(number, kind, member, of)                                                       \
	{                                                                                          \
		SAMPLE_FIELD(number, kind, member, of), .label = PROTOBUF_C_LABEL_NONE             \
	}
#define SAMPLE_MANY(number, kind, member, of)                                                      \
	{                                                                                          \
		SAMPLE_FIELD(number, kind, member, of),                                            \
			.label = PROTOBUF_C_LABEL_REPEATED,                                        \
			.quantifier_offset = offsetof(struct sample, n_##member)                   \
	}
#define SAMPLE_CHOICE(number, kind, member, of)                                                    \
	{                                                                                          \
		SAMPLE_FIELD(number, kind, member, of),                                            \
			.label = PROTOBUF_C_LABEL_NONE,                                            \
			.quantifier_offset = offsetof(struct sample, choice_case),                 \
			.flags = PROTOBUF_C_FIELD_FLAG_ONEOF                                       \
	}

/* clang-format off */
static const ProtobufCFieldDescriptor sample_fields[] = {
	SAMPLE_ONE(1, INT32, small, NULL),
	SAMPLE_ONE(2, SINT32, small_zigzag, NULL),
	SAMPLE_ONE(3, SFIXED32, small_fixed, NULL),
	SAMPLE_ONE(4, INT64, wide, NULL),
	SAMPLE_ONE(5, SINT64, wide_zigzag, NULL),
	SAMPLE_ONE(6, SFIXED64, wide_fixed, NULL),
	SAMPLE_ONE(7, UINT32, count, NULL),
	SAMPLE_ONE(8, FIXED32, count_fixed, NULL),
	SAMPLE_ONE(9, UINT64, long_count, NULL),
	SAMPLE_ONE(10, FIXED64, long_count_fixed, NULL),
	SAMPLE_ONE(11, FLOAT, single, NULL),
	SAMPLE_ONE(12, DOUBLE, twice, NULL),
	SAMPLE_ONE(13, BOOL, yes, NULL),
	SAMPLE_ONE(14, ENUM, colour, &colour_type),
	SAMPLE_ONE(15, STRING, text, NULL),
	SAMPLE_ONE(16, BYTES, raw, NULL),
	SAMPLE_ONE(17, MESSAGE, inner, &inner_type),
	SAMPLE_MANY(18, INT32, smalls, NULL),
	SAMPLE_MANY(19, INT64, wides, NULL),
	SAMPLE_MANY(20, DOUBLE, doubles, NULL),
	SAMPLE_MANY(21, BOOL, flags, NULL),
	SAMPLE_MANY(22, ENUM, colours, &colour_type),
	SAMPLE_MANY(23, STRING, texts, NULL),
	SAMPLE_MANY(24, BYTES, raws, NULL),
	SAMPLE_MANY(25, MESSAGE, inners, &inner_type),
	SAMPLE_CHOICE(26, INT32, number_choice, NULL),
	SAMPLE_CHOICE(27, STRING, text_choice, NULL),
	SAMPLE_CHOICE(28, MESSAGE, inner_choice, &inner_type),
	SAMPLE_ONE(29, INT32, camelCase, NULL),
	SAMPLE_ONE(30, INT32, with_digit_2_after, NULL),
};
/* clang-format on */

static const ProtobufCMessageDescriptor sample_type = {
	.magic = PROTOBUF_C__MESSAGE_DESCRIPTOR_MAGIC,
	.name = "sw.sample.Sample",
	.sizeof_message = sizeof(struct sample),
	.n_fields = sizeof(sample_fields) / sizeof(sample_fields[0]),
	.fields = sample_fields,
};

static inline struct sample sample_of_nothing(void)
{
	return (struct sample){.base = {.descriptor = &sample_type}};
}

static inline struct inner inner_of(const char *name)
{
	return (struct inner){.base = {.descriptor = &inner_type}, .name = name};
}
